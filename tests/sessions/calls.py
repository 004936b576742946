"""Calls as a model asks for them."""

from __future__ import annotations

from llm.types import ToolCall


def read_call(call_id: str, path: str = "a.txt") -> ToolCall:
    """A call that runs unasked."""
    return ToolCall(id=call_id, name="read_file", arguments={"path": path})


def write_call(call_id: str, path: str = "a.txt", content: str = "x") -> ToolCall:
    """A call that a person must allow first."""
    return ToolCall(id=call_id, name="write_file", arguments={"path": path, "content": content})

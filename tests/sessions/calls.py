"""Calls as a model asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llm.types import ModelToolCall


def read_call(call_id: str, path: str = "a.txt") -> ModelToolCall:
    """A call that runs unasked."""
    return ModelToolCall(id=call_id, name="read_file", arguments={"path": path})


def write_call(call_id: str, path: str = "a.txt", content: str = "x") -> ModelToolCall:
    """A call that a person must allow first."""
    return ModelToolCall(id=call_id, name="write_file", arguments={"path": path, "content": content})


def subtask(
    name: str, description: str = "", *, agent: str = "coder", dependencies: Sequence[str] = ()
) -> dict[str, Any]:
    """A sub-task as a model writes it."""
    made: dict[str, Any] = {"id": name, "description": description or f"Do {name}.", "agent": agent}
    return {**made, "dependencies": list(dependencies)} if dependencies else made


def plan_call(call_id: str, *subtasks: dict[str, Any], goal: str = "A parser") -> ModelToolCall:
    """A plan, which a person must allow."""
    return ModelToolCall(id=call_id, name="create_plan", arguments={"goal": goal, "subtasks": list(subtasks)})

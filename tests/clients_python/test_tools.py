"""Functions as tools: how the model sees them, and how they are called."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from codelab_client import Result, ToolCall, Tools


def test_the_signature_is_the_schema() -> None:
    tools = Tools()

    @tools.tool(kind="read", approval="never")
    def weather(city: str, days: int = 1, unit: Literal["C", "F"] = "C", tags: list[str] | None = None) -> str:
        """Tell the weather of a city."""
        return f"{city} {days}"

    (definition,) = tools.definitions()
    assert definition == {
        "name": "weather",
        "description": "Tell the weather of a city.",
        "kind": "read",
        "approval": "never",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"enum": ["C", "F"]},
                "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    }


def test_tools_that_the_server_knows_are_named_only() -> None:
    tools = Tools()

    @tools.tool
    def move_file(from_: str, to: str) -> None: ...

    assert tools.definitions() == ["move_file"]


def test_what_has_no_schema_is_refused_at_once() -> None:
    tools = Tools()
    with pytest.raises(TypeError, match="parameters"):
        tools.tool(_takes_bytes)
    tools.tool(parameters={"type": "object"})(_takes_bytes)
    with pytest.raises(ValueError, match="exists already"):
        tools.tool(parameters={"type": "object"})(_takes_bytes)


def _takes_bytes(data: bytes) -> None: ...


async def test_whatever_a_function_does_is_a_result() -> None:
    tools = Tools()

    @tools.tool(parameters={"type": "object"})
    def nan() -> float:
        return float("nan")

    @tools.tool
    async def fails(text: str) -> str:
        raise RuntimeError(text)

    @tools.tool
    def move_file(from_: str, to: str) -> str:
        return f"{from_} {to}"

    @tools.tool
    def whole() -> Result:
        return Result(parts=[{"type": "text", "text": "x"}], is_error=True)

    @tools.tool
    def bytes_in_parts() -> Result:
        return Result(parts=[{"type": "text", "text": b"x"}])

    @tools.tool
    def long_error() -> None:
        raise ValueError("x" * 200_000)

    async def run(name: str, **arguments: Any) -> Result:
        return await tools.execute(ToolCall("c", name, arguments))

    assert (await run("nan")).error
    assert (await run("fails", text="boom")).error == "RuntimeError: boom"
    assert (await run("fails")).error
    assert "not JSON serializable" in str((await run("bytes_in_parts")).error)
    assert len(str((await run("long_error")).error)) <= 10_000
    assert (await run("nothing")).error == "This client has no tool nothing."
    assert (await run("move_file", **{"from": "a", "to": "b"})).value == "a b"
    assert (await run("whole")).fields() == {"parts": [{"type": "text", "text": "x"}], "is_error": True}

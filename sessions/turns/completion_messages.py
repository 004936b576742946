"""Reads the messages of stored requests, whose rows are the same for all APIs.

This module never writes, and never reads the database.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Protocol

from agents.roles import role_of
from agents.tools import TOOLS
from llm.types import ModelImage, ModelMessage, ModelRequest, ModelToolCall, Tool
from llm.wire.cache_marks import want_marks
from llm.wire.instructions import place_instructions
from sessions.models import CompletionApi
from sessions.turns.provider_fields import CALLS

#: Names of tools that every provider takes.
_FITTING_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OTHER_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]")
_KEPT_CHARACTERS = 55


class Wanted(Protocol):
    """A request, stored or not."""

    @property
    def api(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def messages(self) -> list[Any]: ...
    @property
    def tools(self) -> list[Any]: ...
    @property
    def options(self) -> dict[str, Any]: ...


def message_of(row: Mapping[str, Any]) -> ModelMessage:
    """Return a stored message."""
    extra = dict(row.get("extra", {}))
    extras = extra.pop(CALLS, {})
    calls = tuple(_call_of(call) for call in row.get("tool_calls", ()))
    if extras:
        calls = tuple(replace(call, extra=call.extra or extras.get(call.id, {})) for call in calls)
    return ModelMessage(
        role=row["role"],
        content=row["content"],
        tool_calls=calls,
        tool_call_id=row.get("tool_call_id", ""),
        images=tuple(ModelImage(**image) for image in row.get("images", ())),
        name=row.get("name", ""),
        extra=extra,
        origin=row.get("origin", ""),
        cached=row.get("cached", False),
    )


def _call_of(row: Mapping[str, Any]) -> ModelToolCall:
    """Return a stored call. Its arguments are a text where they are not a JSON object."""
    if isinstance(text := row["arguments"], str):
        return ModelToolCall(**{**row, "arguments": {}, "raw_arguments": text})
    return ModelToolCall(**row)


def tools_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Tool, ...]:
    """Return stored tools."""
    return tuple(Tool(**row) for row in rows)


def request_of(wanted: Wanted) -> ModelRequest:
    """Return what a caller asks of a model, with names of tools that its provider takes."""
    options = dict(wanted.options)
    messages = list(map(message_of, wanted.messages))
    tools = tools_of(wanted.tools)
    is_translated = wanted.api != CompletionApi.CHAT
    if is_translated and (names := fitting_names([tool.name for tool in tools])):
        messages, tools, options = with_names(messages, tools, options, names)
    if wanted.api == CompletionApi.RESPONSES and tools:
        messages = want_marks(messages)
    return ModelRequest(
        model=wanted.model,
        messages=tuple(messages),
        tools=tools,
        max_output_tokens=options.pop("max_tokens", None),
        options=options,
        is_translated=is_translated,
    )


def given_names(wanted: Wanted) -> dict[str, str]:
    """Return the names that a caller gave its tools, by those that the model got instead."""
    if wanted.api == CompletionApi.CHAT:
        return {}
    return {fitting: name for name, fitting in fitting_names([tool["name"] for tool in wanted.tools]).items()}


def agents_prompt(
    agent: str, messages: Iterable[ModelMessage], tools: Iterable[Tool], *, is_translated: bool
) -> tuple[str, list[ModelMessage]]:
    """Return the instructions of an agent with those of its caller, and the rest of the messages."""
    messages = place_instructions(messages) if is_translated else list(messages)
    prompt = role_of(agent).instructions(tools=[tool.name for tool in tools if tool.name in TOOLS])
    instructions = [message.content for message in messages if message.role == "system"]
    if instructions:
        prompt += "\n\n# Instructions of the caller\n\n" + "\n\n".join(instructions)
    return prompt, [message for message in messages if message.role != "system"]


def fitting_names(names: Sequence[str]) -> dict[str, str]:
    """Return the names of tools that every provider takes, by those names of a caller's that are not among them.

    The same names always give the same result.
    """
    taken = set(names)
    renamed: dict[str, str] = {}
    for name in dict.fromkeys(names):
        if not _FITTING_NAME.fullmatch(name):
            renamed[name] = _fit(name, taken)
            taken.add(renamed[name])
    return renamed


def _fit(name: str, taken: Collection[str]) -> str:
    fitting = _OTHER_CHARACTERS.sub("_", name)
    if len(fitting) > _KEPT_CHARACTERS or fitting in taken:
        fitting = f"{fitting[:_KEPT_CHARACTERS]}_{sha256(name.encode(errors='replace')).hexdigest()[:8]}"
    return fitting


def with_names(
    messages: Iterable[ModelMessage], tools: Iterable[Tool], options: Mapping[str, Any], names: Mapping[str, str]
) -> tuple[list[ModelMessage], tuple[Tool, ...], dict[str, Any]]:
    """Return what a request says about tools, with other names for some of them."""
    renamed = [
        replace(
            message,
            tool_calls=tuple(replace(call, name=names.get(call.name, call.name)) for call in message.tool_calls),
        )
        for message in messages
    ]
    fitted = dict(options)
    choice = options.get("tool_choice")
    if isinstance(choice, Mapping) and isinstance(function := choice.get("function"), Mapping):
        name = function.get("name")
        fitted["tool_choice"] = {**choice, "function": {**function, "name": names.get(str(name), name)}}
    return renamed, tuple(replace(tool, name=names.get(tool.name, tool.name)) for tool in tools), fitted

"""One step of an agent: one model call, assembled. The caller decides what a step leads to and writes it down."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from agents.events import AgentEvent, StepFinished, TextDelta
from llm.errors import ModelBrokenToolCall, ModelTruncated
from llm.types import EndChunk, ModelStream, TextChunk, ToolCall, ToolCallChunk

#: Model calls in one turn; a model that asks for tools for ever is stopped here.
MAX_STEPS = 50


@dataclass(slots=True)
class _Call:
    """A tool call while its pieces arrive."""

    id: str = ""
    name: str = ""
    arguments: str = ""


async def step(chunks: ModelStream) -> AsyncGenerator[AgentEvent]:
    """Turn the chunks of one model call into events, the last one StepFinished.

    Raises `llm.errors.ModelError`: a stream without its end marker, and a tool call that cannot be read, are failures
    and never half an answer.
    """
    texts: list[str] = []
    calls: dict[int, _Call] = {}
    end: EndChunk | None = None
    async for chunk in chunks:
        match chunk:
            case TextChunk(text):
                texts.append(text)
                yield TextDelta(text)
            case ToolCallChunk():
                call = calls.setdefault(chunk.index, _Call())
                call.id = call.id or chunk.id
                call.name = call.name or chunk.name
                call.arguments += chunk.arguments
            case EndChunk():
                end = chunk
    if end is None:
        raise ModelTruncated("no end marker")
    yield StepFinished(
        text="".join(texts),
        tool_calls=tuple(_complete(calls[index]) for index in sorted(calls)),
        input_tokens=end.input_tokens,
        output_tokens=end.output_tokens,
    )


def _complete(call: _Call) -> ToolCall:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError as error:
        raise ModelBrokenToolCall(f"{call.name}: {error}") from error
    if not (call.id and call.name and isinstance(arguments, dict)):
        raise ModelBrokenToolCall(f"{call.name or 'no name'}: not an object of arguments, or no id")
    return ToolCall(id=call.id, name=call.name, arguments=arguments)

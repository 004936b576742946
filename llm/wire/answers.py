"""Reads the events of streamed answers. Tolerates what many servers leave out or add."""

from typing import Any

from pydantic import ValidationError

from llm import errors
from llm.sizes import require_few_values
from llm.types import Chunk, ReasoningChunk, TextChunk, TokenUsage, ToolCallChunk
from llm.usage import Usage, parse_usage
from llm.wire.parts import WireModel
from llm.wire.refusals import parse_error


class _FunctionDelta(WireModel):
    name: str | None = None
    arguments: str | None = None


class _ToolCallDelta(WireModel):
    index: int | None = None
    id: str | None = None
    function: _FunctionDelta | None = None


class _Delta(WireModel):
    content: str | None = None
    #: Most servers use this name, others the next one.
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCallDelta] | None = None


class _Choice(WireModel):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Event(WireModel):
    choices: list[_Choice] | None = None
    usage: Usage | None = None
    error: dict[str, Any] | str | None = None


class ModelReply:
    """The state of one stream: its end marker and usage."""

    def __init__(self) -> None:
        #: The provider's own end marker; empty until it arrives.
        self.reason = ""
        self.usage: TokenUsage | None = None
        #: Whether the provider has announced that nothing follows.
        self.is_over = False

    def receive(self, data: bytes) -> list[Chunk]:
        """Return the chunks in the data of an event. Raises ModelError for an error in it."""
        if data == b"[DONE]":
            self.is_over = True
            return []
        require_few_values(data)
        try:
            event = _Event.model_validate_json(data)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            raise errors.ModelUnavailable(f"an event that cannot be read: {problem['loc']} {problem['msg']}") from None
        if event.error:
            raise parse_error(0, {"error": event.error})
        if event.usage:
            self.usage = parse_usage(event.usage)
        chunks: list[Chunk] = []
        for choice in event.choices or ():
            if self.reason:
                # Content after the end marker does not belong to the answer.
                break
            if choice.delta:
                chunks += _chunks(choice.delta)
            self.reason = choice.finish_reason or ""
        return chunks


def _chunks(delta: _Delta) -> list[Chunk]:
    chunks: list[Chunk] = []
    if reasoning := delta.reasoning_content or delta.reasoning:
        chunks.append(ReasoningChunk(reasoning))
    if delta.content:
        chunks.append(TextChunk(delta.content))
    for place, call in enumerate(delta.tool_calls or ()):
        function = call.function or _FunctionDelta()
        chunks.append(
            ToolCallChunk(
                index=place if call.index is None else call.index,
                id=call.id or "",
                name=function.name or "",
                arguments=function.arguments or "",
            )
        )
    return chunks

"""OpenAI's chat completions: a request in its words, and what the events of its stream say.

Many servers speak it nearly right. What they leave out or add is taken as it is meant; what cannot be read is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from llm import catalog, errors
from llm.types import (
    Chunk,
    ModelImage,
    ModelMessage,
    ModelRequest,
    ReasoningChunk,
    TextChunk,
    Tool,
    ToolCallChunk,
    Usage,
    Vectors,
)

#: How providers say, in an error's code or words, that a request is longer than the model's window.
TOO_LONG = re.compile(
    r"context[_ ]?(length|window|size)|maximum context|prompt is too long|too many (input )?tokens", re.IGNORECASE
)

#: What an error that comes within a stream, so without a status of its own, would have had as one.
STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "invalid_request_error": 400,
}


def messages(of: Iterable[ModelMessage], *, images: bool = False, remote_images: bool = True) -> list[dict[str, Any]]:
    """Write messages in OpenAI's form; a note stands for images that cannot be sent."""
    return [_message(message, images=images, remote_images=remote_images) for message in of]


def _message(message: ModelMessage, *, images: bool, remote_images: bool) -> dict[str, Any]:
    content: str | list[dict[str, Any]] = message.content
    if message.images:
        sent = [image for image in message.images if images and (remote_images or not image.is_remote)]
        text = message.content
        if left_out := len(message.images) - len(sent):
            why = "sent as data, not as addresses" if sent or images else "not at all"
            note = f"[{left_out} of {len(message.images)} images left out: this model takes images {why}.]"
            text = f"{text}\n\n{note}" if text else note
        content = _parts(text, sent) if sent else text
    wire: dict[str, Any] = {"role": message.role, "content": content}
    if message.name:
        wire["name"] = message.name
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _parts(text: str, images: Iterable[ModelImage]) -> list[dict[str, Any]]:
    """Return a text and the images that stand in it, one after the other."""
    parts: list[dict[str, Any]] = []
    begin = 0
    for image in images:
        end = len(text) if image.at is None else image.at
        parts += _text(text, begin, end)
        begin = max(begin, end)
        shown = {"url": image.url, "detail": image.detail} if image.detail else {"url": image.url}
        parts.append({"type": "image_url", "image_url": shown})
    return parts + _text(text, begin, len(text))


def _text(text: str, begin: int, end: int) -> list[dict[str, Any]]:
    # The line break that put the text behind an image to the one before it. Providers refuse empty parts.
    piece = text[begin:end].removeprefix("\n") if begin else text[:end]
    return [{"type": "text", "text": piece}] if piece else []


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def parameters(request: ModelRequest, *, output_limit: str = "max_tokens") -> dict[str, Any]:
    """Return everything of a request but the model and the messages."""
    wire: dict[str, Any] = {**request.options, "stream": True, "stream_options": {"include_usage": True}}
    if request.max_output_tokens is not None:
        wire[output_limit] = request.max_output_tokens
    if request.tools:
        wire["tools"] = [_tool(tool) for tool in request.tools]
    return wire


def body(request: ModelRequest, provider: catalog.Provider) -> bytes:
    """Return the request for a provider of OpenAI's kind."""
    images = "images" in catalog.find(request.model).capabilities
    wire = {
        "model": request.model.partition("/")[2],
        "messages": messages(request.messages, images=images),
        **parameters(request, output_limit=provider.output_limit),
    }
    return json.dumps(wire, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


class _Read(BaseModel):
    """What is read of an event; all other fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Function(_Read):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(_Read):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(_Read):
    content: str | None = None
    #: The name that most servers use for what a model thinks, and the one that the others use.
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(_Read):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _InputDetails(_Read):
    cached_tokens: int | None = None


class _OutputDetails(_Read):
    reasoning_tokens: int | None = None


class _Usage(_Read):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Event(_Read):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: dict[str, Any] | str | None = None


class _Embedding(_Read):
    index: int
    embedding: list[float]


class _Embeddings(_Read):
    data: list[_Embedding]
    usage: _Usage | None = None


def vectors(data: bytes) -> Vectors:
    """Read an answer of embeddings. Raises ModelError."""
    try:
        told = _Embeddings.model_validate_json(data)
    except ValidationError as error:
        raise errors.ModelUnavailable(f"embeddings that cannot be read: {error.error_count()} errors") from None
    usage = usage_of(told.usage) if told.usage else None
    ordered = sorted(told.data, key=lambda each: each.index)
    return Vectors([each.embedding for each in ordered], usage or Usage())


class Answer:
    """What the events of one stream have said so far, beside the chunks."""

    def __init__(self) -> None:
        #: The provider's own end marker; empty until it came.
        self.reason = ""
        self.usage: Usage | None = None
        #: The provider says that nothing follows.
        self.is_over = False

    def read(self, data: bytes) -> list[Chunk]:
        """Return the chunks that the data of an event makes. Raises ModelError for an error that stands in it."""
        if data == b"[DONE]":
            self.is_over = True
            return []
        try:
            event = _Event.model_validate_json(data)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            raise errors.ModelUnavailable(f"an event that cannot be read: {problem['loc']} {problem['msg']}") from None
        if event.error:
            raise failure(0, {"error": event.error})
        if event.usage:
            self.usage = usage_of(event.usage)
        chunks: list[Chunk] = []
        for choice in event.choices or ():
            if self.reason:
                # Nothing belongs to an answer that has ended.
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
        function = call.function or _Function()
        chunks.append(
            ToolCallChunk(
                index=place if call.index is None else call.index,
                id=call.id or "",
                name=function.name or "",
                arguments=function.arguments or "",
            )
        )
    return chunks


def usage_of(told: Any) -> Usage | None:
    """Read a count of tokens in OpenAI's form, also LiteLLM's object of it; None where there is nothing in it."""
    read = told.prompt_tokens or 0
    # Some providers count what was thought in the total alone.
    said = max(told.completion_tokens or 0, (getattr(told, "total_tokens", 0) or 0) - read)
    if not read and not said:
        return None
    return Usage(
        input_tokens=read,
        output_tokens=said,
        cached_tokens=getattr(getattr(told, "prompt_tokens_details", None), "cached_tokens", 0) or 0,
        reasoning_tokens=getattr(getattr(told, "completion_tokens_details", None), "reasoning_tokens", 0) or 0,
    )


def failure(status: int, told: Any, headers: Mapping[str, str] | None = None) -> errors.ModelError:
    """Translate an error in OpenAI's form, or anything else that came with a status; 0 within a stream."""
    error = told.get("error", told) if isinstance(told, dict) else told
    fields = error if isinstance(error, dict) else {"message": error}
    code, kind, message = (str(fields.get(name) or "") for name in ("code", "type", "message"))
    detail = f"HTTP {status}: {code} {kind} {message}"[:2000]
    if not status:
        status = int(code) if code.isascii() and code.isdigit() else 0
        status = status or STATUS_OF_CODE.get(code) or STATUS_OF_CODE.get(kind) or 500
    if status in {400, 413, 422, 500} and TOO_LONG.search(f"{code} {message}"):
        return errors.ModelContextTooLong(detail)
    of_kind = errors.BY_STATUS.get(status, errors.ModelUnavailable)
    return of_kind(detail, retry_after=errors.retry_after(headers or {}))

"""OpenAI's chat completions and embeddings: builds requests and parses the events of answers.

Tolerates what many servers leave out or add. Data that cannot be read is an error.
"""

import json
import math
import re
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from llm import catalog, errors
from llm.sizes import require_few_values
from llm.types import (
    Chunk,
    ModelImage,
    ModelMessage,
    ModelRequest,
    ReasoningChunk,
    TextChunk,
    TokenUsage,
    Tool,
    ToolCallChunk,
    Vectors,
)
from llm.usage import Usage, parse_usage

#: In the code or message of an error for a request that is longer than the model's window.
TOO_LONG_PATTERN = re.compile(
    r"context[_ ]?(length|window|size)|maximum context|prompt is too long|too many (input )?tokens", re.IGNORECASE
)

#: A vector in a response with embeddings.
VECTOR_PATTERN = re.compile(rb'"embedding"\s*+:\s*+\[([-+0-9.eE,\s]*+)\]')

#: For errors within a stream, which have no status of their own.
STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "invalid_request_error": 400,
}


def build_messages(
    messages: Iterable[ModelMessage], *, images: bool = False, remote_images: bool = True
) -> list[dict[str, Any]]:
    """Return messages in OpenAI's form, with a note for images that the model cannot read."""
    return [_build_message(message, images=images, remote_images=remote_images) for message in messages]


def _build_message(message: ModelMessage, *, images: bool, remote_images: bool) -> dict[str, Any]:
    content: str | list[dict[str, Any]] = message.content
    if message.images:
        readable = [image for image in message.images if images and (remote_images or not image.is_remote)]
        text = message.content
        if omitted := len(message.images) - len(readable):
            why = "reads images only as data, not at addresses" if images else "does not read images"
            note = f"[{omitted} of {len(message.images)} images left out: this model {why}.]"
            text = f"{text}\n\n{note}" if text else note
        content = _build_parts(text, readable) if readable else text
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


def _build_parts(text: str, images: Iterable[ModelImage]) -> list[dict[str, Any]]:
    """Return a text and its images as parts, in their order."""
    parts: list[dict[str, Any]] = []
    begin = 0
    for image in images:
        end = len(text) if image.at is None else image.at
        parts += _build_text_part(text, begin, end)
        begin = max(begin, end)
        fields = {"url": image.url, "detail": image.detail} if image.detail else {"url": image.url}
        parts.append({"type": "image_url", "image_url": fields})
    return parts + _build_text_part(text, begin, len(text))


def _build_text_part(text: str, begin: int, end: int) -> list[dict[str, Any]]:
    # Without the line break that joined this text to the one before the image. Providers refuse empty parts.
    piece = text[begin:end].removeprefix("\n") if begin else text[:end]
    return [{"type": "text", "text": piece}] if piece else []


def _build_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def build_parameters(request: ModelRequest, *, output_limit: str = "max_tokens") -> dict[str, Any]:
    """Return a request without its model and messages."""
    wire: dict[str, Any] = {**request.options, "stream": True, "stream_options": {"include_usage": True}}
    if request.max_output_tokens is not None:
        wire[output_limit] = request.max_output_tokens
    if request.tools:
        wire["tools"] = [_build_tool(tool) for tool in request.tools]
    return wire


def build_body(request: ModelRequest, provider: catalog.Provider) -> bytes:
    """Return the request for an OpenAI-compatible provider."""
    images = "images" in catalog.find(request.model).capabilities
    wire = {
        "model": request.model.partition("/")[2],
        "messages": build_messages(request.messages, images=images),
        **build_parameters(request, output_limit=provider.output_limit),
    }
    return json.dumps(wire, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


class _WireModel(BaseModel):
    """A part of an event. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _FunctionDelta(_WireModel):
    name: str | None = None
    arguments: str | None = None


class _ToolCallDelta(_WireModel):
    index: int | None = None
    id: str | None = None
    function: _FunctionDelta | None = None


class _Delta(_WireModel):
    content: str | None = None
    #: Most servers use this name, others the next one.
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCallDelta] | None = None


class _Choice(_WireModel):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Event(_WireModel):
    choices: list[_Choice] | None = None
    usage: Usage | None = None
    error: dict[str, Any] | str | None = None


class _Embedding(_WireModel):
    index: int
    #: The position of the vector in the response.
    embedding: int


class _Embeddings(_WireModel):
    data: list[_Embedding]
    usage: Usage | None = None


def parse_vectors(body: bytes | bytearray) -> Vectors:
    """Parse a response with embeddings. Raises ModelError.

    The numbers are cut out first and kept as 32-bit ones: as Python's own they would take ten times as much memory.
    """
    vectors: list[array[float]] = []

    def cut(match: re.Match[bytes]) -> bytes:
        vectors.append(array("f", map(float, match[1].split(b","))))
        return b'"embedding":%d' % (len(vectors) - 1)

    try:
        response = _Embeddings.model_validate_json(VECTOR_PATTERN.sub(cut, body))
        ordered = [vectors[each.embedding] for each in sorted(response.data, key=lambda each: each.index)]
    except ValidationError as error:
        raise errors.ModelUnavailable(f"embeddings that cannot be read: {error.error_count()} errors") from None
    except (ValueError, IndexError):
        raise errors.ModelUnavailable("embeddings with numbers that cannot be read") from None
    if not all(math.isfinite(sum(vector)) for vector in ordered):
        raise errors.ModelUnavailable("embeddings with numbers that are too large")
    usage = parse_usage(response.usage) if response.usage else None
    return Vectors(ordered, usage or TokenUsage())


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


def parse_error(status: int, body: Any, headers: Mapping[str, str] | None = None) -> errors.ModelError:
    """Return the ModelError for a body in OpenAI's form, or any other one. The status is 0 within a stream."""
    error = body.get("error", body) if isinstance(body, dict) else body
    fields = error if isinstance(error, dict) else {"message": error}
    code, kind, message = (str(fields.get(name) or "") for name in ("code", "type", "message"))
    detail = f"HTTP {status}: {code} {kind} {message}"[:2000]
    if not status:
        status = int(code) if code.isascii() and code.isdigit() else 0
        status = status or STATUS_OF_CODE.get(code) or STATUS_OF_CODE.get(kind) or 500
    if status in {400, 413, 422, 500} and TOO_LONG_PATTERN.search(f"{code} {message}"):
        return errors.ModelContextTooLong(detail)
    error_class = errors.ERRORS_BY_STATUS.get(status, errors.ModelUnavailable)
    return error_class(detail, retry_after=errors.parse_retry_after(headers or {}))

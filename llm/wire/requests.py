"""Builds requests for chat completions in OpenAI's form."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from llm import catalog
from llm.origins import origin_of
from llm.sizes import reject_constant
from llm.types import ModelImage, ModelMessage, ModelRequest, ModelToolCall, Tool
from llm.wire.cache_marks import MAX_MARKS, mark_prefix, mark_tools, mark_wanted, speaks_anthropic, takes_cache_marks
from llm.wire.history import has_short_call_ids, repair, replay, with_fitting_names
from llm.wire.instructions import place_instructions
from llm.wire.pieces import BodyPieces
from llm.wire.result_images import place_images
from llm.wire.thinking import fit_thinking
from llm.wire.thoughts import SEALED_FIELDS

#: What this service adds to messages beyond the text: thoughts of the model as they came, and marks for its cache.
MESSAGE_FIELDS = frozenset(
    {"cache_control", "reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", *SEALED_FIELDS}
)
#: Of messages and calls.
KNOWN_FIELDS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "id", "type", "function", "index"}
)
#: The names of the limit on an answer.
OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens")


def leave_out(value: Any, names: frozenset[str]) -> Any:
    """Return messages without some of MESSAGE_FIELDS, also within their parts and calls."""
    names &= MESSAGE_FIELDS
    if not names:
        return value
    if isinstance(value, dict):
        return {name: leave_out(each, names) for name, each in value.items() if name not in names}
    return [leave_out(each, names) for each in value] if isinstance(value, list) else value


def build_conversation(request: ModelRequest, *, remote_images: bool = True) -> list[dict[str, Any]]:
    """Return the messages of a request in OpenAI's form, as its model's provider takes them."""
    offered = {tool.name for tool in request.tools}
    origin = "" if request.is_translated else origin_of(request.written_for, request.endpoint)
    if request.is_translated:
        messages = place_instructions(request.messages, request.model)
        messages = repair(messages, offered=offered, short_ids=has_short_call_ids(request.model))
    elif request.written_for:
        messages = list(with_fitting_names(request.messages, offered))
    else:
        messages, origin = replay(request.messages, offered=offered, short_ids=has_short_call_ids(request.model)), ""
    target = origin_of(request.model, request.endpoint)
    images = "images" in catalog.find(request.model).capabilities
    if images and (request.is_translated or not request.written_for):
        messages = place_images(messages, request.model)
    wire = build_messages(messages, images=images, remote_images=remote_images)
    for message, built in zip(messages, wire, strict=True):
        if (message.origin or origin) == target:
            _add_extra(built, message)
    if takes_cache_marks(request.model):
        _mark(wire, messages, request)
    result: list[dict[str, Any]] = leave_out(wire, request.omitted)
    return result


def _mark(wire: list[dict[str, Any]], messages: list[ModelMessage], request: ModelRequest) -> None:
    """Mark what the provider shall keep in its cache: where a caller wants it, or where a session needs it."""
    within_results = catalog.provider_of(request.model) is not None
    if not request.written_for:
        mark_prefix(wire, within_results=within_results)
    else:
        has_marked_tool = any(tool.cached for tool in request.tools)
        mark_wanted(wire, messages, marks=MAX_MARKS - has_marked_tool, within_results=within_results)


def _add_extra(built: dict[str, Any], message: ModelMessage) -> None:
    """Add what only the provider of a message understands, and never in the place of a field that is known."""
    for call, built_call in zip(message.tool_calls, built.get("tool_calls", ()), strict=True):
        built_call |= {name: value for name, value in call.extra.items() if name not in KNOWN_FIELDS}
    built |= {name: value for name, value in message.extra.items() if name not in KNOWN_FIELDS}


def build_messages(
    messages: Iterable[ModelMessage], *, images: bool = False, remote_images: bool = True
) -> list[dict[str, Any]]:
    """Return messages in OpenAI's form, with a note for images that the model cannot read."""
    return [_build_message(message, images=images, remote_images=remote_images) for message in messages]


def _build_message(message: ModelMessage, *, images: bool, remote_images: bool) -> dict[str, Any]:
    content: str | list[dict[str, Any]] | None = message.content
    if message.images:
        readable = [image for image in message.images if images and (remote_images or not image.is_remote)]
        text = message.content
        if omitted := len(message.images) - len(readable):
            why = "reads images only as data, not at addresses" if images else "does not read images"
            note = f"[{omitted} of {len(message.images)} images left out: this model {why}.]"
            text = f"{text}\n\n{note}" if text else note
        content = _build_parts(text, readable) if readable else text
    elif message.tool_calls and not message.content.strip():
        # Strict providers refuse a blank text.
        content = None
    wire: dict[str, Any] = {"role": message.role, "content": content}
    if message.name:
        wire["name"] = message.name
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _build_arguments(call)}}
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _build_arguments(call: ModelToolCall) -> str:
    """Return a call's arguments as text. Strict providers refuse a history with a text that is not a JSON object."""
    if call.raw_arguments:
        with suppress(ValueError, RecursionError):
            if isinstance(json.loads(call.raw_arguments, parse_constant=reject_constant), dict):
                return call.raw_arguments
    return json.dumps(call.arguments, ensure_ascii=False)


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
    return [{"type": "text", "text": piece}] if piece.strip() else []


def _build_tool(tool: Tool, *, omitted: frozenset[str]) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    if tool.strict is not None and "strict" not in omitted:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def build_parameters(request: ModelRequest, *, output_limit: str = "max_tokens") -> dict[str, Any]:
    """Return a request without its model and messages."""
    options = request.options
    if request.is_translated:
        options = fit_thinking(options, request.model, request.max_output_tokens)
    wire: dict[str, Any] = {name: value for name, value in options.items() if name not in request.omitted}
    wire["stream"] = True
    if "stream_options" not in request.omitted:
        wire["stream_options"] = {"include_usage": True}
    if request.max_output_tokens is not None:
        names = (output_limit, *OUTPUT_LIMITS)
        wire[next((name for name in names if name not in request.omitted), output_limit)] = request.max_output_tokens
    if request.tools:
        wire["tools"] = [_build_tool(tool, omitted=request.omitted) for tool in request.tools]
        if speaks_anthropic(request.model):
            mark_tools(wire["tools"], request.tools)
    return wire


def build_body(request: ModelRequest, provider: catalog.Provider) -> bytes:
    """Return the request for an OpenAI-compatible provider."""
    return build_pieces(request, provider).join()


def build_pieces(request: ModelRequest, provider: catalog.Provider | None = None) -> BodyPieces:
    """Return the request for an OpenAI-compatible provider, in pieces."""
    parameters = (
        build_parameters(request, output_limit=provider.output_limit) if provider else build_parameters(request)
    )
    return pieces_of(request, request.model.partition("/")[2], build_conversation(request), parameters)


def pieces_of(
    request: ModelRequest, model: str, messages: Iterable[Mapping[str, Any]], parameters: Mapping[str, Any]
) -> BodyPieces:
    """Return the pieces of a body that was built for a request."""
    images = {image.url: image.id for message in request.messages for image in message.images if image.id}
    return BodyPieces.of(model, messages, parameters, images)

"""Every real provider, through LiteLLM; the only module that imports it, and only when a worker first needs it.

LiteLLM builds and authenticates the request and translates the provider's stream. What it must not do here: retry,
cache, route, report, or call a cut stream finished. Facts about it are measured in docs/models.md.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncGenerator, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm import errors
from llm.types import Chunk, EndChunk, Message, ModelRequest, ReasoningChunk, TextChunk, ToolCallChunk

if TYPE_CHECKING:
    from types import ModuleType

    import openai

# Set before the import below: without them LiteLLM fetches a price table from the network when it is imported, and
# ends a stream after 100 equal chunks, of which code and tables can have more.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("REPEATED_STREAMING_CHUNK_LIMIT", "1000000")

#: Seconds a connection to a provider may take. The limits on silence are `llm.deadlines`; LiteLLM's own default for
#: the whole request is 6,000 s.
REQUEST_TIMEOUT = 3600.0


def preload() -> ModuleType:
    """Import LiteLLM (seconds, 160 MB) and switch off what a library must not do by itself."""
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_streaming_logging = True
    return litellm


async def stream(request: ModelRequest) -> AsyncGenerator[Chunk]:
    """Call the provider and yield the chunks of its answer. Raises `ModelError`, never an error of LiteLLM's own."""
    litellm = preload()
    import openai

    started = False
    end: EndChunk | None = None
    usage: Any = None
    try:
        response = await litellm.acompletion(**_arguments(request))
        try:
            async for part in response:
                usage = getattr(part, "usage", None) or usage
                for choice in part.choices:
                    for chunk in _content(choice.delta):
                        started = True
                        yield chunk
                    if choice.finish_reason:
                        end = EndChunk(reason=choice.finish_reason)
                if end and isinstance(response.completion_stream, openai.AsyncStream):
                    usage = await _usage_behind(response.completion_stream)
                    break
        finally:
            await response.aclose()
    except Exception as error:
        raise _model_error(error, litellm, started=started) from error
    # LiteLLM makes up a finish_reason where a provider sent none; what the provider itself said stands here.
    if end is None or not (response.received_finish_reason or response.intermittent_finish_reason):
        raise errors.ModelTruncated("the stream ended without the provider's end marker")
    yield EndChunk(
        reason=end.reason,
        input_tokens=getattr(usage, "prompt_tokens", 0) or 0,
        output_tokens=getattr(usage, "completion_tokens", 0) or 0,
    )


def cost(model: str, *, input_tokens: int, output_tokens: int) -> Decimal | None:
    """Return what LiteLLM's list of prices says, in US dollars; None where it does not have the model."""
    if not (input_tokens or output_tokens):
        # The provider counted nothing, which is not the same as for nothing.
        return None
    try:
        prices = preload().cost_per_token(model=model, prompt_tokens=input_tokens, completion_tokens=output_tokens)
    except Exception:
        # It raises a bare Exception for a model it does not know.
        return None
    # By way of text: the float itself has more digits than the price.
    return sum((Decimal(str(price)) for price in prices), Decimal(0))


def _arguments(request: ModelRequest) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": request.model,
        "messages": [_wire_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "timeout": REQUEST_TIMEOUT,
        # Retries are ours: a provider that is asked three times behind our back costs three times as much.
        "max_retries": 0,
        "num_retries": 0,
        # Parameters that one provider does not know are left out instead of ending the turn.
        "drop_params": True,
    }
    if request.tools:
        arguments["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in request.tools
        ]
    if os.environ.get("OPENAI_API_BASE") and not os.environ.get("OPENAI_API_KEY"):
        # A local server often has no key, but the client library insists on one.
        arguments["api_key"] = "none"
    return arguments


def _wire_message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
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


def _content(delta: Any) -> Iterator[Chunk]:
    # LiteLLM's object has this attribute only where the provider sent it.
    if reasoning := getattr(delta, "reasoning_content", None):
        yield ReasoningChunk(reasoning)
    if delta.content:
        yield TextChunk(delta.content)
    for call in delta.tool_calls or ():
        yield ToolCallChunk(
            index=call.index,
            id=call.id or "",
            name=call.function.name or "",
            arguments=call.function.arguments or "",
        )


async def _usage_behind(stream: openai.AsyncStream[Any]) -> Any:
    """Read what comes after the end marker past LiteLLM, which would put all chunks together again and count them.

    That takes 25 to 50 ms of the event loop for an answer of 200 tokens, while all other answers wait.
    """
    usage = None
    async for part in stream:
        usage = getattr(part, "usage", None) or usage
    return usage


BY_STATUS: dict[int, type[errors.ModelError]] = {
    400: errors.ModelRefused,
    401: errors.ModelNotAuthorized,
    403: errors.ModelNotAuthorized,
    404: errors.ModelNotFound,
    408: errors.ModelTimedOut,
    413: errors.ModelContextTooLong,
    422: errors.ModelRefused,
    429: errors.ModelRateLimited,
}


#: What client libraries say before they ask anybody, each in its own words and with a status that means nothing.
MISSING_KEY = re.compile(r"missing credentials|missing \S* ?api key|unable to locate credentials", re.IGNORECASE)


def _model_error(error: Exception, litellm: ModuleType, *, started: bool) -> errors.ModelError:
    """Translate an error of LiteLLM. Whatever it is, after the first chunk it means a cut answer."""
    detail = f"{type(error).__name__}: {error}"
    if started:
        return errors.ModelTruncated(detail)
    # What LiteLLM makes of a fault within the stream wraps the fault itself.
    error = getattr(error, "original_exception", None) or error
    if isinstance(error, litellm.ContextWindowExceededError):
        return errors.ModelContextTooLong(detail)
    if "LLM Provider NOT provided" in detail:
        return errors.ModelNotFound(detail)
    if MISSING_KEY.search(detail):
        return errors.ModelNotAuthorized(detail)
    # By status and not by class: LiteLLM has no class for some statuses and several for others.
    return BY_STATUS.get(getattr(error, "status_code", 0), errors.ModelUnavailable)(detail)

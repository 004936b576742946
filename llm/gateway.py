"""Calls providers with their own wire format through LiteLLM. Only this module imports it, when it is first needed.

LiteLLM builds and authenticates the request and translates the provider's stream. It must not retry, cache, route,
report, or call a cut stream finished. docs/models.md has measurements.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llm import errors, finish
from llm.types import (
    Chunk,
    EmbeddingRequest,
    EndChunk,
    Endpoint,
    ModelRequest,
    ReasoningChunk,
    TextChunk,
    TokenUsage,
    Vectors,
)
from llm.usage import parse_usage
from llm.wire.pieces import SendObserver, ignore_sent
from llm.wire.refusals import parse_error
from llm.wire.requests import build_conversation, build_parameters, pieces_of
from llm.wire.thoughts import Thoughts
from llm.wire.tool_calls import CallSorter

if TYPE_CHECKING:
    from types import ModuleType

    import openai

# Set before LiteLLM is imported: otherwise its import fetches a price table from the network, and a stream ends after
# 100 equal chunks, which code and tables can exceed.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("REPEATED_STREAMING_CHUNK_LIMIT", "1000000")

#: Providers that use only the key in the request. Others also use credentials of the worker's machine, so a call with a
#: caller's key could be charged to the operator.
OWN_KEY_PROVIDERS = frozenset({"anthropic", "cohere", "cohere_chat", "deepseek", "gemini", "mistral", "openai"})

#: LiteLLM's names for thoughts: the text, and the blocks with signatures that Anthropic wants back.
THOUGHT_FIELDS = ("reasoning_content", "thinking_blocks")
#: Parameters of OpenAI-compatible servers, which LiteLLM would hand to other providers as they are.
SERVER_OPTIONS = frozenset(
    [
        "chat_template_kwargs",
        "enable_thinking",
        "grammar",
        "guided_choice",
        "guided_grammar",
        "guided_json",
        "guided_regex",
        "min_p",
        "min_tokens",
        "reasoning",
        "repeat_penalty",
        "repetition_penalty",
        "stop_token_ids",
        "structured_outputs",
        "top_a",
        "typical_p",
    ]
)

#: `llm.deadlines` has the limits on silence; LiteLLM's own default for the whole request is 6,000 s.
REQUEST_TIMEOUT_SECONDS = 3600.0


_is_loaded = threading.Event()


def preload() -> ModuleType:
    """Import LiteLLM (seconds, 160 MB) and switch off its messages, telemetry and logging."""
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_streaming_logging = True
    _is_loaded.set()
    return litellm


async def stream(request: ModelRequest, on_send: SendObserver = ignore_sent) -> AsyncGenerator[Chunk]:
    """Call the provider and yield the chunks of its answer. Raises `ModelError`, never an error of LiteLLM's own."""
    # Importing it on the event loop would block all other answers for seconds.
    litellm = preload() if _is_loaded.is_set() else await asyncio.to_thread(preload)
    import openai

    messages, parameters = _build_wire(request)
    on_send(pieces_of(request, request.model, messages, parameters))
    arguments = _build_arguments(request, messages, parameters, litellm)
    has_started = False
    end = ""
    usage: Any = None
    calls, thoughts = CallSorter(), Thoughts()
    try:
        response = await litellm.acompletion(**arguments)
        try:
            async for part in response:
                usage = getattr(part, "usage", None) or usage
                for choice in part.choices:
                    for chunk in _chunks(choice.delta, calls, thoughts):
                        has_started = True
                        yield chunk
                    end = choice.finish_reason or end
                if end and isinstance(response.completion_stream, openai.AsyncStream):
                    usage = await _read_usage(response.completion_stream) or usage
                    # LiteLLM may have read the usage already without passing it on.
                    usage = usage or next((u for c in response.chunks[-3:] if (u := getattr(c, "usage", None))), None)
                    break
        finally:
            await response.aclose()
    except Exception as error:
        raise _translate(error, litellm, has_started=has_started) from error
    # LiteLLM invents a finish_reason for a provider that sent none; these fields have the provider's own.
    own_end = response.received_finish_reason or response.intermittent_finish_reason
    if not end or not own_end:
        raise errors.ModelTruncated("the stream ended without the provider's end marker")
    reason = finish.judge(own_end, has_output=has_started)
    for chunk in calls.finish():
        yield chunk
    yield EndChunk(reason=reason, usage=parse_usage(usage), extra=thoughts.fields())


async def embed(request: EmbeddingRequest) -> Vectors:
    """Request embeddings from the provider. Raises `ModelError`, never an error of LiteLLM's own."""
    litellm = preload() if _is_loaded.is_set() else await asyncio.to_thread(preload)
    credentials = _credentials(request.model, request.endpoint, litellm)
    try:
        response = await litellm.aembedding(
            model=request.model,
            input=list(request.inputs),
            dimensions=request.dimensions,
            timeout=request.call_timeout,
            max_retries=0,
            drop_params=True,
            **credentials,
        )
        vectors = [each["embedding"] for each in response.data]
    except Exception as error:
        raise _translate(error, litellm, has_started=False) from error
    return Vectors(vectors, parse_usage(response.usage) or TokenUsage())


def _build_wire(request: ModelRequest) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the messages and the parameters that LiteLLM translates for the provider."""
    # For some providers LiteLLM would fetch an image itself, from within the operator's network.
    messages = build_conversation(request, remote_images=False)
    return messages, {name: value for name, value in build_parameters(request).items() if name not in SERVER_OPTIONS}


def _build_arguments(
    request: ModelRequest, messages: list[dict[str, Any]], parameters: dict[str, Any], litellm: ModuleType
) -> dict[str, Any]:
    return {
        "model": request.model,
        "messages": messages,
        **parameters,
        "timeout": REQUEST_TIMEOUT_SECONDS,
        # `llm.calls` retries. Further retries here would multiply the cost.
        "max_retries": 0,
        "num_retries": 0,
        # Drops parameters that a provider does not know, instead of failing the turn.
        "drop_params": True,
        **_credentials(request.model, request.endpoint, litellm),
    }


def _credentials(model: str, endpoint: Endpoint | None, litellm: ModuleType) -> dict[str, str]:
    if endpoint and endpoint.api_base:
        # LiteLLM looks for keys in many places, and would send what it finds to this address.
        raise errors.ModelAddressRefused("a caller's own address, for a provider that is not OpenAI-compatible")
    if endpoint and endpoint.api_key:
        if _provider(model, litellm) not in OWN_KEY_PROVIDERS:
            raise errors.ModelNotAuthorized("a caller's key, for a provider that uses other credentials as well")
        return {"api_key": endpoint.api_key}
    if os.environ.get("OPENAI_API_BASE") and not os.environ.get("OPENAI_API_KEY"):
        # A local server often has no key, but the client library requires one.
        return {"api_key": "none"}
    return {}


def _provider(model: str, litellm: ModuleType) -> str:
    try:
        return str(litellm.get_llm_provider(model)[1])
    except Exception as error:
        raise errors.ModelNotFound(f"{type(error).__name__}: {error}") from error


def _chunks(delta: Any, calls: CallSorter, thoughts: Thoughts) -> Iterator[Chunk]:
    # LiteLLM's object has these attributes only if the provider sent them.
    reasoning = {name: value for name in THOUGHT_FIELDS if (value := getattr(delta, name, None))}
    if reasoning and (shown := thoughts.receive(reasoning)):
        yield ReasoningChunk(shown)
    if delta.content:
        yield TextChunk(delta.content)
    if delta.tool_calls:
        yield from calls.receive([call.model_dump(exclude_none=True) for call in delta.tool_calls])


async def _read_usage(stream: openai.AsyncStream[Any]) -> Any:
    """Read the usage after the end marker, bypassing LiteLLM.

    LiteLLM would join all chunks and count them, which blocks the event loop for 25 to 50 ms for 200 tokens.
    """
    usage = None
    async for part in stream:
        usage = getattr(part, "usage", None) or usage
    return usage


#: Client libraries raise these before any request, each with its own text and with a meaningless status.
MISSING_KEY = re.compile(r"missing credentials|missing \S* ?api key|unable to locate credentials", re.IGNORECASE)


#: Of its own class, which would be taken for the provider's words.
LITELLM_NAME = re.compile(r"^(litellm\.\w+: )+")


def _translate(error: Exception, litellm: ModuleType, *, has_started: bool) -> errors.ModelError:
    """Return the ModelError for an error of LiteLLM. After the first chunk, every error means a cut answer."""
    detail = f"{type(error).__name__}: {error}"
    if has_started:
        return errors.ModelTruncated(detail)
    # LiteLLM wraps errors within the stream.
    error = getattr(error, "original_exception", None) or error
    if "LLM Provider NOT provided" in detail:
        return errors.ModelNotFound(detail)
    if MISSING_KEY.search(detail):
        return errors.ModelNotAuthorized(detail)
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    # By status and words and not by class: LiteLLM has no class for some statuses and several for others.
    refusal = parse_error(getattr(error, "status_code", 0) or 500, _body_of(error), headers)
    if isinstance(error, litellm.ContextWindowExceededError) and type(refusal) is errors.ModelRefused:
        return errors.ModelContextTooLong(detail)
    refusal.detail = detail
    return refusal


def _body_of(error: Exception) -> Any:
    """Return the provider's own answer, or LiteLLM's sentence, which usually ends with it."""
    body = getattr(error, "body", None)
    if isinstance(body, dict | list) and body:
        return body
    words = LITELLM_NAME.sub("", str(error))
    begin = min((place for sign in "{[" if (place := words.find(sign)) >= 0), default=len(words))
    # Behind the provider's body LiteLLM may add sentences of its own.
    with suppress(ValueError, RecursionError):
        return [words[:begin], json.JSONDecoder().raw_decode(words, begin)[0]]
    return words

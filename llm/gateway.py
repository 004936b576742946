"""Providers with a wire format of their own, through LiteLLM; the only module that imports it, when first needed.

LiteLLM builds and authenticates the request and translates the provider's stream. What it must not do here: retry,
cache, route, report, or call a cut stream finished. Facts about it are measured in docs/models.md.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING, Any

from llm import catalog, errors, wire
from llm.types import (
    Chunk,
    EmbeddingRequest,
    EndChunk,
    Endpoint,
    ModelRequest,
    ReasoningChunk,
    TextChunk,
    ToolCallChunk,
    Usage,
    Vectors,
)

if TYPE_CHECKING:
    from types import ModuleType

    import openai

# Set before the import below: without them LiteLLM fetches a price table from the network when it is imported, and
# ends a stream after 100 equal chunks, of which code and tables can have more.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("REPEATED_STREAMING_CHUNK_LIMIT", "1000000")

#: Providers whose key is what is passed as one. Others take credentials of the worker's own machine besides, so a
#: caller's key must not be sent there: we would pay.
OWN_KEY_PROVIDERS = frozenset({"anthropic", "cohere", "cohere_chat", "deepseek", "gemini", "mistral", "openai"})

#: Seconds a connection to a provider may take. The limits on silence are `llm.deadlines`; LiteLLM's own default for
#: the whole request is 6,000 s.
REQUEST_TIMEOUT = 3600.0


_loaded = threading.Event()


def preload() -> ModuleType:
    """Import LiteLLM (seconds, 160 MB) and switch off what a library must not do by itself."""
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_streaming_logging = True
    _loaded.set()
    return litellm


async def stream(request: ModelRequest) -> AsyncGenerator[Chunk]:
    """Call the provider and yield the chunks of its answer. Raises `ModelError`, never an error of LiteLLM's own."""
    # Where it was not loaded at the worker's start, all other answers would wait for seconds.
    litellm = preload() if _loaded.is_set() else await asyncio.to_thread(preload)
    import openai

    arguments = _arguments(request, litellm)
    started = False
    end = ""
    usage: Any = None
    try:
        response = await litellm.acompletion(**arguments)
        try:
            async for part in response:
                usage = getattr(part, "usage", None) or usage
                for choice in part.choices:
                    for chunk in _content(choice.delta):
                        started = True
                        yield chunk
                    end = choice.finish_reason or end
                if end and isinstance(response.completion_stream, openai.AsyncStream):
                    usage = await _usage_behind(response.completion_stream) or usage
                    # It may have read the count already, and kept it to itself.
                    usage = usage or next((u for c in response.chunks[-3:] if (u := getattr(c, "usage", None))), None)
                    break
        finally:
            await response.aclose()
    except Exception as error:
        raise _model_error(error, litellm, started=started) from error
    # LiteLLM makes up a finish_reason where a provider sent none; what the provider itself said stands here.
    if not end or not (response.received_finish_reason or response.intermittent_finish_reason):
        raise errors.ModelTruncated("the stream ended without the provider's end marker")
    yield EndChunk(reason=end, usage=wire.usage_of(usage) if usage else None)


async def embed(request: EmbeddingRequest) -> Vectors:
    """Ask the provider for embeddings. Raises `ModelError`, never an error of LiteLLM's own."""
    litellm = preload() if _loaded.is_set() else await asyncio.to_thread(preload)
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
        raise _model_error(error, litellm, started=False) from error
    return Vectors(vectors, wire.usage_of(response.usage) or Usage())


def _arguments(request: ModelRequest, litellm: ModuleType) -> dict[str, Any]:
    model = catalog.find(request.model)
    return {
        "model": request.model,
        # LiteLLM would fetch an image at an address itself for some providers, from within the operator's network.
        "messages": wire.messages(request.messages, images="images" in model.capabilities, remote_images=False),
        **wire.parameters(request),
        "timeout": REQUEST_TIMEOUT,
        # Retries are ours: a provider that is asked three times behind our back costs three times as much.
        "max_retries": 0,
        "num_retries": 0,
        # Parameters that one provider does not know are left out instead of ending the turn.
        "drop_params": True,
        **_credentials(request.model, request.endpoint, litellm),
    }


def _credentials(model: str, endpoint: Endpoint | None, litellm: ModuleType) -> dict[str, str]:
    if endpoint and endpoint.api_base:
        # It looks for keys in more places than anybody knows, and would send what it finds to this address.
        raise errors.ModelAddressRefused("an address of a caller's own, for a provider of another kind than OpenAI's")
    if endpoint and endpoint.api_key:
        if _provider(model, litellm) not in OWN_KEY_PROVIDERS:
            raise errors.ModelNotAuthorized("a caller's key, for a provider that takes other credentials as well")
        return {"api_key": endpoint.api_key}
    if os.environ.get("OPENAI_API_BASE") and not os.environ.get("OPENAI_API_KEY"):
        # A local server often has no key, but the client library insists on one.
        return {"api_key": "none"}
    return {}


def _provider(model: str, litellm: ModuleType) -> str:
    try:
        return str(litellm.get_llm_provider(model)[1])
    except Exception as error:
        raise errors.ModelNotFound(f"{type(error).__name__}: {error}") from error


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
    kind = errors.BY_STATUS.get(getattr(error, "status_code", 0), errors.ModelUnavailable)
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return kind(detail, retry_after=errors.retry_after(headers))

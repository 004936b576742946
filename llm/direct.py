"""Providers of OpenAI's kind, without LiteLLM: one HTTP request, whose lines are read as they arrive.

LiteLLM takes about 0.5 ms of processor time for each chunk and 20 ms for each request, this about a twentieth of both
(docs/performance.md). Each provider that is called in this way stands in the catalog; a test compares the two ways.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx

from llm import addresses, errors, wire
from llm.catalog import Provider
from llm.sse import Events, EventTooLongError
from llm.types import Chunk, EndChunk, ModelRequest

#: Seconds until a connection stands. All other limits are `llm.deadlines`, which count content.
CONNECT_TIMEOUT = 10.0

#: Seconds that a provider gets for its count of tokens, once it has said that the answer is complete.
USAGE_TIMEOUT = 5.0

#: Bytes of an error that are read.
LONGEST_ERROR = 64 * 1024

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()


def preload() -> None:
    """Load what takes time: the certificates."""
    _certificates()


async def close() -> None:
    """Close the connections that this event loop keeps for further requests."""
    if client := _clients.pop(asyncio.get_running_loop(), None):
        await client.aclose()


@functools.cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _timeout() -> httpx.Timeout:
    return httpx.Timeout(None, connect=CONNECT_TIMEOUT)


@asynccontextmanager
async def _client(*, shared: bool) -> AsyncIterator[httpx.AsyncClient]:
    """Yield the client of this event loop, which keeps connections, or one that is used once."""
    if not shared:
        # At a checked address, and not through a proxy, which would look the name up again. A kept connection might
        # be given to another server with the same number.
        async with httpx.AsyncClient(verify=_certificates(), timeout=_timeout(), trust_env=False) as client:
            yield client
        return
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30)
        _clients[loop] = httpx.AsyncClient(verify=_certificates(), timeout=_timeout(), limits=limits)
    yield _clients[loop]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where a request goes, and with what."""

    url: str
    headers: dict[str, str] = field(repr=False)
    extensions: dict[str, Any] = field(default_factory=dict)
    shared: bool = True


async def _target(request: ModelRequest, provider: Provider) -> _Target:
    headers = {"content-type": "application/json", "accept": "text/event-stream", "accept-encoding": "identity"}
    endpoint = request.endpoint
    if endpoint and endpoint.api_base:
        # Somebody else's server gets somebody else's key, or none.
        checked = await addresses.checked(endpoint.api_base, allow_private=endpoint.allow_private)
        key = endpoint.api_key
        target = _Target(
            url=_completions(checked.url),
            headers=headers | {"host": checked.host},
            extensions={"sni_hostname": checked.name},
            shared=False,
        )
    else:
        given = next((base for name in provider.base_variables if (base := os.environ.get(name))), "")
        key = endpoint.api_key if endpoint and endpoint.api_key else os.environ.get(provider.key_variable, "")
        if not key and not given and provider.key_variable and provider.api_base.startswith("https:"):
            raise errors.ModelNotAuthorized(f"{provider.key_variable} is not set")
        target = _Target(url=_completions(given or provider.api_base), headers=headers)
    if key:
        if not (key.isascii() and key.isprintable()):
            raise errors.ModelNotAuthorized("a key with characters that no key has")
        target.headers["authorization"] = f"Bearer {key}"
    return target


def _completions(base: str) -> str:
    """Return the URL of the chat completions below an address; one without a path gets the usual one."""
    base = base.rstrip("/")
    try:
        base += "" if urlsplit(base).path else "/v1"
    except ValueError as error:
        raise errors.ModelUnavailable(f"the operator's address is no URL: {error}") from None
    return base if base.endswith("/chat/completions") else f"{base}/chat/completions"


async def stream(request: ModelRequest, provider: Provider) -> AsyncGenerator[Chunk]:
    """Call the provider and yield the chunks of its answer. Raises `ModelError`."""
    answer = wire.Answer()
    started = False
    try:
        async with _opened(request, provider) as response:
            events = Events()
            pieces = response.aiter_bytes()
            async for piece in pieces:
                for event in events.feed(piece):
                    for chunk in answer.read(event):
                        started = True
                        yield chunk
                if answer.reason or answer.is_over:
                    break
            if answer.reason:
                await _rest(answer, events, pieces)
    except (errors.ModelError, httpx.HTTPError, httpx.InvalidURL, EventTooLongError) as error:
        raise _failure(error, started=started) from error
    if not answer.reason:
        raise errors.ModelTruncated("the stream ended without the provider's end marker")
    yield EndChunk(reason=answer.reason, usage=answer.usage)


@asynccontextmanager
async def _opened(request: ModelRequest, provider: Provider) -> AsyncIterator[httpx.Response]:
    """Send the request and yield the stream of the answer. Raises ModelError for everything that is no stream."""
    target = await _target(request, provider)
    async with (
        _client(shared=target.shared) as client,
        client.stream(
            "POST",
            target.url,
            content=wire.body(request, provider),
            headers=target.headers,
            extensions=target.extensions,
        ) as response,
    ):
        is_json = response.headers.get("content-type", "").startswith("application/json")
        if response.status_code != httpx.codes.OK or is_json:
            # A stream was asked for, so JSON with a good status is an error as well.
            status = 0 if response.status_code == httpx.codes.OK else response.status_code
            raise wire.failure(status, await _error(response), response.headers)
        yield response


async def _error(response: httpx.Response) -> Any:
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > LONGEST_ERROR:
            break
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


async def _rest(answer: wire.Answer, events: Events, pieces: AsyncIterator[bytes]) -> None:
    """Read what comes after the end marker: the count of tokens. The answer is complete, whatever happens here.

    To the end of the response, too, without which the connection could not be used again.
    """
    with suppress(TimeoutError, errors.ModelError, httpx.HTTPError, EventTooLongError):
        async with asyncio.timeout(USAGE_TIMEOUT):
            async for piece in pieces:
                for event in events.feed(piece):
                    answer.read(event)


def _failure(error: Exception, *, started: bool) -> errors.ModelError:
    """Translate what happened; whatever it is, after the first chunk it means a cut answer."""
    detail = error.detail if isinstance(error, errors.ModelError) else f"{type(error).__name__}: {error}"
    if started:
        return errors.ModelTruncated(detail)
    return error if isinstance(error, errors.ModelError) else errors.ModelUnavailable(detail)

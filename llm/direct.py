"""Providers of OpenAI's kind, without LiteLLM: one HTTP request, whose lines are read as they arrive.

LiteLLM takes ten times as much of the processor (docs/performance.md). Each provider that is called in this way stands
in the catalog; a test compares the two ways.
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
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
import certifi
from aiohttp.http_exceptions import HttpProcessingError

from llm import addresses, errors, wire
from llm.catalog import Provider
from llm.sse import Events, EventTooLongError
from llm.types import Chunk, EmbeddingRequest, EndChunk, Endpoint, ModelRequest, Vectors

#: Seconds until a connection stands. All other limits are `llm.deadlines`, which count content.
CONNECT_TIMEOUT = 10.0

#: Seconds that a provider gets for its count of tokens, once it has said that the answer is complete.
USAGE_TIMEOUT = 5.0

COMPLETIONS, EMBEDDINGS = "chat/completions", "embeddings"

#: Bytes of an error that are read.
LONGEST_ERROR = 64 * 1024

#: What the client raises when a server cannot be reached, goes away or does not speak HTTP.
BROKEN = (aiohttp.ClientError, HttpProcessingError, OSError, EventTooLongError)

_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()


def preload() -> None:
    """Load what takes time: the certificates."""
    _certificates()


async def close() -> None:
    """Close the connections that this event loop keeps for further requests."""
    if session := _sessions.pop(asyncio.get_running_loop(), None):
        await session.close()


@functools.cache
def _certificates() -> ssl.SSLContext:
    # The machine's own, among them those of a company's proxy, and the usual ones, which an image may lack.
    certificates = ssl.create_default_context()
    certificates.load_verify_locations(certifi.where())
    return certificates


def _session(*, shared: bool) -> aiohttp.ClientSession:
    if shared:
        connector = aiohttp.TCPConnector(limit=0, ssl=_certificates(), keepalive_timeout=30)
    else:
        connector = aiohttp.TCPConnector(limit=0, ssl=_certificates(), force_close=True)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
        # The operator's proxies; they would look a checked name up again.
        trust_env=shared,
    )


@asynccontextmanager
async def _client(*, shared: bool) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the client of this event loop, which keeps connections, or one that is used once."""
    if not shared:
        # A kept connection might be given to another server with the same number.
        async with _session(shared=False) as session:
            yield session
        return
    loop = asyncio.get_running_loop()
    if loop not in _sessions:
        _sessions[loop] = _session(shared=True)
    yield _sessions[loop]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where a request goes, and with what."""

    url: str
    headers: dict[str, str] = field(repr=False)
    #: The name in the server's certificate, where the URL has a number.
    name: str | None = None
    shared: bool = True


async def _target(endpoint: Endpoint | None, provider: Provider, path: str = COMPLETIONS) -> _Target:
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "user-agent": "codelab-ai-service",
    }
    if endpoint and endpoint.api_base:
        # Somebody else's server gets somebody else's key, or none.
        checked = await addresses.checked(endpoint.api_base, allow_private=endpoint.allow_private)
        key = endpoint.api_key
        target = _Target(
            url=_url(checked.url, path),
            headers=headers | {"host": checked.host},
            name=checked.name,
            shared=False,
        )
    else:
        given = next((base for name in provider.base_variables if (base := os.environ.get(name))), "")
        key = endpoint.api_key if endpoint and endpoint.api_key else os.environ.get(provider.key_variable, "")
        if not key and not given and provider.key_variable and provider.api_base.startswith("https:"):
            raise errors.ModelNotAuthorized(f"{provider.key_variable} is not set")
        target = _Target(url=_url(given or provider.api_base, path), headers=headers)
    if key:
        if not (key.isascii() and key.isprintable()):
            raise errors.ModelNotAuthorized("a key with characters that no key has")
        target.headers["authorization"] = f"Bearer {key}"
    return target


def _url(base: str, path: str) -> str:
    """Return the URL of an endpoint below an address, also one of the chat completions; without a path /v1 is meant."""
    base = base.rstrip("/").removesuffix(f"/{COMPLETIONS}")
    try:
        base += "" if urlsplit(base).path else "/v1"
    except ValueError as error:
        raise errors.ModelUnavailable(f"the operator's address is no URL: {error}") from None
    return f"{base}/{path}"


async def stream(request: ModelRequest, provider: Provider) -> AsyncGenerator[Chunk]:
    """Call the provider and yield the chunks of its answer. Raises `ModelError`."""
    answer = wire.Answer()
    started = False
    try:
        async with _opened(request, provider) as response:
            events = Events()
            async for piece in response.content.iter_any():
                for event in events.feed(piece):
                    for chunk in answer.read(event):
                        started = True
                        yield chunk
                if answer.reason or answer.is_over:
                    break
            if answer.reason:
                await _rest(answer, events, response.content)
    except (errors.ModelError, *BROKEN) as error:
        # Once its end marker came, an answer is complete, whatever comes behind it.
        if not answer.reason:
            raise _failure(error, started=started) from error
    if not answer.reason:
        raise errors.ModelTruncated("the stream ended without the provider's end marker")
    yield EndChunk(reason=answer.reason, usage=answer.usage)


@asynccontextmanager
async def _opened(request: ModelRequest, provider: Provider) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send the request and yield the stream of the answer. Raises ModelError for everything that is no stream."""
    target = await _target(request.endpoint, provider)
    async with (
        _client(shared=target.shared) as client,
        client.post(
            target.url,
            data=wire.body(request, provider),
            headers=target.headers,
            server_hostname=target.name,
            allow_redirects=False,
        ) as response,
    ):
        if response.status != HTTPStatus.OK or response.content_type == "application/json":
            # A stream was asked for, so JSON with a good status is an error as well.
            status = 0 if response.status == HTTPStatus.OK else response.status
            raise wire.failure(status, await _error(response), response.headers)
        yield response


async def embed(request: EmbeddingRequest, provider: Provider) -> Vectors:
    """Ask the provider for embeddings. Raises `ModelError`."""
    target = await _target(request.endpoint, provider, EMBEDDINGS)
    body: dict[str, Any] = {
        "model": request.model.partition("/")[2],
        "input": request.inputs,
        "encoding_format": "float",
    }
    if request.dimensions:
        body["dimensions"] = request.dimensions
    try:
        async with (
            _client(shared=target.shared) as client,
            client.post(
                target.url,
                json=body,
                headers=target.headers,
                server_hostname=target.name,
                allow_redirects=False,
            ) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise wire.failure(response.status, await _error(response), response.headers)
            return wire.vectors(await response.read())
    except BROKEN as error:
        raise _failure(error, started=False) from error


async def _error(response: aiohttp.ClientResponse) -> Any:
    body = b""
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > LONGEST_ERROR:
            break
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


async def _rest(answer: wire.Answer, events: Events, content: aiohttp.StreamReader) -> None:
    """Read what comes after the end marker: the count of tokens. The answer is complete, whatever happens here.

    To the end of the response, too, without which the connection could not be used again.
    """
    with suppress(errors.ModelError, *BROKEN):
        async with asyncio.timeout(USAGE_TIMEOUT):
            async for piece in content.iter_any():
                for event in events.feed(piece):
                    answer.read(event)


def _failure(error: Exception, *, started: bool) -> errors.ModelError:
    """Translate what happened; whatever it is, after the first chunk it means a cut answer."""
    detail = error.detail if isinstance(error, errors.ModelError) else f"{type(error).__name__}: {error}"
    if started:
        return errors.ModelTruncated(detail)
    return error if isinstance(error, errors.ModelError) else errors.ModelUnavailable(detail)

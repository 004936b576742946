"""Calls OpenAI-compatible providers without LiteLLM: one HTTP request, whose lines are read as they arrive.

LiteLLM takes ten times as much CPU time (docs/performance.md). The catalog names the providers; a test compares both
ways.
"""

import asyncio
import functools
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
import certifi
from aiohttp.helpers import get_env_proxy_for_url
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from llm import addresses, bodies, errors, keys
from llm.catalog import Provider
from llm.pacing import Pacer
from llm.sizes import MAX_EVENT_BYTES, max_embeddings_bytes
from llm.sse import EventReader, EventTooLongError
from llm.types import Chunk, EmbeddingRequest, Endpoint, ModelRequest, Vectors
from llm.wire.answers import ModelReply
from llm.wire.pieces import SendObserver, ignore_sent
from llm.wire.refusals import parse_error
from llm.wire.requests import build_pieces
from llm.wire.vectors import parse_vectors

#: All limits after connecting are those of `llm.deadlines`, which count content.
CONNECT_TIMEOUT_SECONDS = 10.0

#: For a provider's usage report, after its end marker.
USAGE_TIMEOUT_SECONDS = 5.0
#: For the end of the response, after everything else.
END_TIMEOUT_SECONDS = 0.1

COMPLETIONS_PATH, EMBEDDINGS_PATH = "chat/completions", "embeddings"

#: A server that cannot be reached, closes the connection or does not speak HTTP.
CONNECTION_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, EventTooLongError)

_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()


def preload() -> None:
    """Load the certificates, which takes time."""
    _certificates()


async def close() -> None:
    """Close the connections that this event loop keeps for further requests."""
    if session := _sessions.pop(asyncio.get_running_loop(), None):
        await session.close()


@functools.cache
def _certificates() -> ssl.SSLContext:
    # The machine's own, which may include those of a company's proxy, and the usual ones, which an image may lack.
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
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
        # aiohttp would inflate a whole piece at once, and a piece may become a thousand times as long.
        auto_decompress=False,
    )


@asynccontextmanager
async def _client(*, shared: bool) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the client of this event loop, which keeps connections, or one for a single request."""
    if not shared:
        # A kept connection might be reused for another server with the same IP address.
        async with _session(shared=False) as session:
            yield session
        return
    loop = asyncio.get_running_loop()
    if loop not in _sessions:
        _sessions[loop] = _session(shared=True)
    yield _sessions[loop]


@functools.lru_cache(maxsize=256)
def _proxy(url: str) -> URL | None:
    """Return the operator's proxy for a URL, as the environment names it, with its password.

    With `trust_env` aiohttp would look it up in a thread for each request. In another thread it would look for a
    password of the provider in `.netrc`, and raise ValueError for a request that has a key as well.
    """
    try:
        proxy, password = get_env_proxy_for_url(URL(url))
    except LookupError:
        return None
    return proxy.with_user(password.login).with_password(password.password) if password else proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where a request goes."""

    url: str
    headers: dict[str, str] = field(repr=False)
    #: The name in the server's certificate, if the URL has an IP address.
    name: str | None = None
    shared: bool = True

    def options(self) -> dict[str, Any]:
        """Return how aiohttp sends a request there. A proxy would look up a checked name again."""
        proxy = _proxy(self.url) if self.shared else None
        return {"headers": self.headers, "server_hostname": self.name, "proxy": proxy, "allow_redirects": False}


async def _target(endpoint: Endpoint | None, provider: Provider, path: str = COMPLETIONS_PATH) -> _Target:
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "user-agent": "codelab-ai-service",
    }
    if endpoint and endpoint.api_base:
        # A caller's server gets the caller's key or none, never the operator's.
        address = await addresses.resolve(endpoint.api_base, allow_private=endpoint.allow_private)
        key = endpoint.api_key
        target = _Target(
            url=_url(address.url, path), headers=headers | {"host": address.host}, name=address.name, shared=False
        )
    else:
        base = next((value for name in provider.base_variables if (value := os.environ.get(name))), "")
        key = endpoint.api_key if endpoint and endpoint.api_key else os.environ.get(provider.key_variable, "")
        key = keys.trim(key)
        if not key and not base and provider.key_variable and provider.api_base.startswith("https:"):
            raise errors.ModelNotAuthorized(f"{provider.key_variable} is not set")
        target = _Target(url=_url(base or provider.api_base, path), headers=headers)
    if key:
        if problem := keys.problem(key):
            raise errors.ModelNotAuthorized(f"the key {problem}")
        target.headers["authorization"] = f"Bearer {key}"
    return target


def _url(base: str, path: str) -> str:
    """Return the URL of an endpoint. The address may be that of the chat completions; without a path, /v1 is added."""
    base = base.rstrip("/").removesuffix(f"/{COMPLETIONS_PATH}")
    try:
        base += "" if urlsplit(base).path else "/v1"
    except ValueError as error:
        raise errors.ModelUnavailable(f"the operator's address is not a URL: {error}") from None
    return f"{base}/{path}"


async def stream(
    request: ModelRequest, provider: Provider, on_send: SendObserver = ignore_sent
) -> AsyncGenerator[Chunk]:
    """Call the provider and yield the chunks of its answer. Raises `ModelError`."""
    reply = ModelReply()
    try:
        async with _open(request, provider, on_send) as response, aclosing(bodies.read_pieces(response)) as pieces:
            events, pacer = EventReader(), Pacer()
            async for piece in _until_end(reply, pieces):
                for event in events.feed(piece) if piece else events.finish():
                    for chunk in reply.receive(event):
                        yield chunk
                    await pacer.pause()
    except (errors.ModelError, *CONNECTION_ERRORS) as error:
        # After its end marker an answer is complete, whatever follows.
        if not reply.has_ended:
            raise _translate(error, has_started=reply.has_output) from error
    for chunk in reply.end():
        yield chunk


@asynccontextmanager
async def _open(
    request: ModelRequest, provider: Provider, on_send: SendObserver
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send the request and yield the response, whose body is a stream of events. Raises ModelError for others."""
    target = await _target(request.endpoint, provider)
    body = build_pieces(request, provider)
    on_send(body)
    async with (
        _client(shared=target.shared) as client,
        client.post(target.url, data=body.join(), **target.options()) as response,
    ):
        if response.status != HTTPStatus.OK:
            raise parse_error(response.status, await bodies.read_error(response), response.headers)
        # Whatever its type: servers call streams JSON, and answer with one JSON object or an error instead.
        yield response


async def embed(request: EmbeddingRequest, provider: Provider) -> Vectors:
    """Request embeddings from the provider. Raises `ModelError`."""
    target = await _target(request.endpoint, provider, EMBEDDINGS_PATH)
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
            client.post(target.url, json=body, **target.options()) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise parse_error(response.status, await bodies.read_error(response), response.headers)
            received = bytearray()
            async for piece in bodies.read_pieces(
                response, max_embeddings_bytes(len(request.inputs), request.dimensions)
            ):
                received += piece
            return await asyncio.to_thread(parse_vectors, received)
    except CONNECTION_ERRORS as error:
        raise _translate(error, has_started=False) from error


async def _until_end(reply: ModelReply, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Yield the pieces of the response, and an empty one where it ends without `[DONE]`.

    Behind an end marker its usage may follow, and content where a server marks each piece, so the response is read a
    little longer. With its end the connection can be reused.
    """
    async for piece in pieces:
        yield piece
        if reply.reason or reply.is_over:
            break
    else:
        yield b""
        return
    loop, state, wait_until = asyncio.get_running_loop(), "", 0.0
    while True:
        if state != (state := reply.state):
            is_complete = reply.is_over or reply.has_final_usage
            wait_until = loop.time() + (END_TIMEOUT_SECONDS if is_complete else USAGE_TIMEOUT_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(wait_until):
                piece = await anext(pieces, b"")
            if piece:
                yield b"" if reply.is_over else piece
                continue
        yield b""
        return


def _translate(error: Exception, *, has_started: bool) -> errors.ModelError:
    """Return the ModelError for an exception. After the first chunk, every error means a cut answer."""
    detail = error.detail if isinstance(error, errors.ModelError) else f"{type(error).__name__}: {error}"
    if isinstance(error, EventTooLongError):
        return errors.ModelAnswerTooLong(f"an event of more than {MAX_EVENT_BYTES:,} bytes")
    if isinstance(error, errors.ModelAnswerTooLong):
        return error
    if has_started:
        return errors.ModelTruncated(detail)
    return error if isinstance(error, errors.ModelError) else errors.ModelUnavailable(detail)

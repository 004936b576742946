"""Calls OpenAI-compatible providers without LiteLLM: one HTTP request, whose lines are read as they arrive.

LiteLLM takes ten times as much CPU time (docs/performance.md). The catalog names the providers; a test compares both
ways.
"""

import asyncio
import functools
import json
import os
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
import certifi
from aiohttp.http_exceptions import HttpProcessingError

from llm import addresses, errors, finish
from llm.catalog import Provider
from llm.pacing import Pacer
from llm.sizes import MAX_EVENT_BYTES, MAX_RESPONSE_BYTES, max_embeddings_bytes
from llm.sse import EventReader, EventTooLongError
from llm.types import Chunk, EmbeddingRequest, EndChunk, Endpoint, ModelRequest, Vectors
from llm.wire.answers import ModelReply
from llm.wire.refusals import parse_error
from llm.wire.requests import build_body
from llm.wire.vectors import parse_vectors

#: All limits after connecting are those of `llm.deadlines`, which count content.
CONNECT_TIMEOUT_SECONDS = 10.0

#: For a provider's usage report, after its end marker.
USAGE_TIMEOUT_SECONDS = 5.0

COMPLETIONS_PATH, EMBEDDINGS_PATH = "chat/completions", "embeddings"

MAX_ERROR_BYTES = 64 * 1024

#: At most so much of a compressed body is inflated at once.
INFLATED_PIECE_BYTES = 64 * 1024
#: For zlib: the largest window, and gzip's or zlib's own header, whichever comes.
ANY_HEADER = zlib.MAX_WBITS | 32

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
        # The operator's proxies, which would look up a checked name again.
        trust_env=shared,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where a request goes."""

    url: str
    headers: dict[str, str] = field(repr=False)
    #: The name in the server's certificate, if the URL has an IP address.
    name: str | None = None
    shared: bool = True


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
        if not key and not base and provider.key_variable and provider.api_base.startswith("https:"):
            raise errors.ModelNotAuthorized(f"{provider.key_variable} is not set")
        target = _Target(url=_url(base or provider.api_base, path), headers=headers)
    if key:
        if not (key.isascii() and key.isprintable()):
            raise errors.ModelNotAuthorized("a key with characters that no key has")
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


async def stream(request: ModelRequest, provider: Provider) -> AsyncGenerator[Chunk]:
    """Call the provider and yield the chunks of its answer. Raises `ModelError`."""
    reply = ModelReply()
    has_started = False
    try:
        async with _open(request, provider) as response, aclosing(_pieces(response)) as pieces:
            events, pacer = EventReader(), Pacer()
            async for piece in pieces:
                for event in events.feed(piece):
                    for chunk in reply.receive(event):
                        has_started = True
                        yield chunk
                    await pacer.pause()
                if reply.reason or reply.is_over:
                    break
            if reply.reason:
                await _read_usage(reply, events, pieces)
    except (errors.ModelError, *CONNECTION_ERRORS) as error:
        # After its end marker an answer is complete, whatever follows.
        if not reply.reason:
            raise _translate(error, has_started=has_started) from error
    if not reply.reason:
        raise errors.ModelTruncated("the stream ended without the provider's end marker")
    yield EndChunk(reason=finish.judge(reply.reason, has_output=has_started), usage=reply.usage)


async def _pieces(response: aiohttp.ClientResponse, max_bytes: int = MAX_RESPONSE_BYTES) -> AsyncGenerator[bytes]:
    """Yield the body as it arrives. Raises ModelAnswerTooLong, and ModelUnavailable for an unknown compression.

    Requests ask for no compression, but some servers compress all the same.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower() or "identity"
    if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
        raise errors.ModelUnavailable(f"a body in the encoding {encoding[:40]!r}")
    inflater = None if encoding == "identity" else zlib.decompressobj(ANY_HEADER)
    size, pacer = 0, Pacer()
    async for received in response.content.iter_any():
        for piece in _inflate(inflater, received) if inflater else (received,):
            size += len(piece)
            if size > max_bytes:
                raise errors.ModelAnswerTooLong(f"a response of more than {max_bytes:,} bytes")
            yield piece
            await pacer.pause()


def _inflate(inflater: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    while data:
        try:
            piece = inflater.decompress(data, INFLATED_PIECE_BYTES)
        except zlib.error as error:
            raise errors.ModelUnavailable(f"a compressed body that cannot be read: {error}") from None
        if piece:
            yield piece
        data = inflater.unconsumed_tail


@asynccontextmanager
async def _open(request: ModelRequest, provider: Provider) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send the request and yield the response, whose body is a stream of events. Raises ModelError for others."""
    target = await _target(request.endpoint, provider)
    async with (
        _client(shared=target.shared) as client,
        client.post(
            target.url,
            data=build_body(request, provider),
            headers=target.headers,
            server_hostname=target.name,
            allow_redirects=False,
        ) as response,
    ):
        if response.status != HTTPStatus.OK or response.content_type == "application/json":
            # The request was for a stream, so JSON with status 200 is an error as well.
            status = 0 if response.status == HTTPStatus.OK else response.status
            raise parse_error(status, await _read_error(response), response.headers)
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
            client.post(
                target.url, json=body, headers=target.headers, server_hostname=target.name, allow_redirects=False
            ) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise parse_error(response.status, await _read_error(response), response.headers)
            received = bytearray()
            async for piece in _pieces(response, max_embeddings_bytes(len(request.inputs), request.dimensions)):
                received += piece
            return await asyncio.to_thread(parse_vectors, received)
    except CONNECTION_ERRORS as error:
        raise _translate(error, has_started=False) from error


async def _read_error(response: aiohttp.ClientResponse) -> Any:
    body = bytearray()
    async with aclosing(_pieces(response)) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > MAX_ERROR_BYTES:
                break
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


async def _read_usage(reply: ModelReply, events: EventReader, pieces: AsyncIterator[bytes]) -> None:
    """Read the usage, which follows the end marker. Errors are ignored, because the answer is complete.

    Reads to the end of the response, so that the connection can be reused.
    """
    with suppress(errors.ModelError, *CONNECTION_ERRORS):
        async with asyncio.timeout(USAGE_TIMEOUT_SECONDS):
            async for piece in pieces:
                for event in events.feed(piece):
                    reply.receive(event)


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

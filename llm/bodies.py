"""Reads bodies of responses as they arrive, within limits."""

import json
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import aiohttp

from llm import errors
from llm.pacing import Pacer
from llm.sizes import MAX_RESPONSE_BYTES

MAX_ERROR_BYTES = 64 * 1024
#: At most so much of a compressed body is inflated at once.
INFLATED_PIECE_BYTES = 64 * 1024
#: For zlib: the largest window, and gzip's or zlib's own header, whichever comes.
ANY_HEADER = zlib.MAX_WBITS | 32


async def read_pieces(response: aiohttp.ClientResponse, max_bytes: int = MAX_RESPONSE_BYTES) -> AsyncGenerator[bytes]:
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


async def read_error(response: aiohttp.ClientResponse) -> Any:
    body = bytearray()
    async with aclosing(read_pieces(response)) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > MAX_ERROR_BYTES:
                break
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")

"""A stand-in for PgBouncer in session mode: it passes on a client's whole session, and refuses what PgBouncer refuses.

By default PgBouncer knows few parameters of the startup packet, and closes the connection for any other one (its
setting `ignore_startup_parameters`). It also makes up the process id that a client is told, so that a client cannot
take it for that of PostgreSQL's process.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

#: Those that PgBouncer passes on.
KNOWN_PARAMETERS = frozenset(
    ["user", "database", "client_encoding", "datestyle", "timezone", "standard_conforming_strings", "application_name"]
)
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
MADE_UP_PID = 1_234_567


@contextmanager
def pooler(postgres: str) -> Iterator[tuple[str, list[str]]]:
    """Serve in front of a PostgreSQL; yield the URL of the database there, and the refusals so far."""
    server, refused = urlsplit(postgres), list[str]()
    started = threading.Event()
    running: dict[str, Any] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await _serve(reader, writer, server.hostname or "", server.port or 5432, refused)
        finally:
            writer.close()

    async def run() -> None:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        stopped = asyncio.Event()
        running.update(loop=asyncio.get_running_loop(), stopped=stopped, port=listening.sockets[0].getsockname()[1])
        started.set()
        await stopped.wait()
        listening.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    started.wait(60)
    try:
        address = f"{server.netloc.rpartition(':')[0]}:{running['port']}"
        yield server._replace(netloc=address).geturl(), refused
    finally:
        running["loop"].call_soon_threadsafe(running["stopped"].set)
        thread.join(10)


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, refused: list[str]
) -> None:
    packet, code = await _startup_packet(reader)
    while code in (SSL_REQUEST, GSS_REQUEST):
        writer.write(b"N")
        packet, code = await _startup_packet(reader)
    if code == CANCEL_REQUEST:
        return
    names = packet[8:].rstrip(b"\0").split(b"\0")[::2]
    for name in (name.decode() for name in names):
        if name.lower() not in KNOWN_PARAMETERS:
            refused.append(name)
            text = f"unsupported startup parameter: {name}"
            fields = f"SFATAL\0VFATAL\0C08P01\0M{text}\0\0".encode()
            writer.write(b"E" + struct.pack("!I", len(fields) + 4) + fields)
            await writer.drain()
            return
    server_reader, server_writer = await asyncio.open_connection(host, port)
    server_writer.write(packet)
    try:
        await asyncio.gather(_pass_on(reader, server_writer), _pass_on_answers(server_reader, writer))
    finally:
        server_writer.close()


async def _startup_packet(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    head = await reader.readexactly(8)
    size, code = struct.unpack("!II", head)
    return head + await reader.readexactly(size - 8), code


async def _pass_on_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on the answers of PostgreSQL, but another process id."""
    kind = b""
    while kind != b"K":
        kind = await reader.readexactly(1)
        (size,) = struct.unpack("!I", length := await reader.readexactly(4))
        body = await reader.readexactly(size - 4)
        if kind == b"K":
            body = struct.pack("!I", MADE_UP_PID) + body[4:]
        writer.write(kind + length + body)
        if kind == b"E":
            return
    await _pass_on(reader, writer)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

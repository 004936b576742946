"""MCP servers, whose tools are offered to the model as `mcp__SERVER__TOOL`.

A server is a stranger: one that hangs, dies, lists too much or answers too much costs its own tools only. What it lists
at the start counts for the session, because that is what the server of CodeLab and people have judged.
"""

import asyncio
import base64
import binascii
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TextIO

import httpx2
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from codelab_cli.mcp_definitions import define
from codelab_cli.mcp_servers import Server
from codelab_cli.outcome import Outcome, ToolFailed
from codelab_cli.tools import texts

#: Returns the id of a stored image, for its bytes and its media type.
type UploadImage = Callable[[bytes, str], Awaitable[str]]

CONNECT_SECONDS = 20.0
CALL_SECONDS = 120.0
CLOSE_SECONDS = 8.0
#: What the server of CodeLab takes from one client, and how much of it one MCP server may use.
MAX_TOOLS, MAX_TOOLS_OF_SERVER, MAX_PAGES = 100, 50, 20
MAX_ALL_BYTES = 90_000
#: Of one result.
MAX_PARTS, MAX_PART_CHARACTERS, MAX_IMAGE_BYTES = 20, 60_000, 5 * 2**20
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class McpServers:
    """All MCP servers of a client. `problems` has sentences for the user about what is left out."""

    def __init__(
        self, servers: Sequence[Server], *, upload_image: UploadImage | None = None, log: Path | None = None
    ) -> None:
        self._connections = [_Connection(server, log or Path(os.devnull)) for server in servers]
        self._upload_image = upload_image
        self._tools: dict[str, tuple[_Connection, str]] = {}
        self._definitions: list[dict[str, Any]] = []
        self.problems: list[str] = []

    async def start(self) -> None:
        """Start all servers at once and list their tools."""
        lists = await asyncio.gather(*(connection.open() for connection in self._connections))
        left = MAX_ALL_BYTES
        for connection, tools in zip(self._connections, lists, strict=True):
            if connection.problem:
                self.problems.append(connection.problem)
            skipped: list[str] = []
            for tool in tools:
                definition, problem = define(connection.server.name, tool)
                size = 0 if definition is None else len(json.dumps(definition))
                if definition is None or definition["name"] in self._tools:
                    skipped.append(f"{tool.name[:60]} ({problem or 'its name is taken'})")
                elif size > left or len(self._tools) >= MAX_TOOLS:
                    skipped.append(f"{tool.name[:60]} (no room)")
                else:
                    left -= size
                    self._tools[definition["name"]] = (connection, tool.name)
                    self._definitions.append(definition)
            if skipped:
                more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
                self.problems.append(
                    f"MCP server {connection.server.name}: tools left out: {', '.join(skipped[:5])}{more}."
                )

    async def close(self) -> None:
        """End all servers."""
        await asyncio.gather(*(connection.close() for connection in self._connections))

    def definitions(self) -> list[dict[str, Any]]:
        """Return the tools, as entries of `hello.tools`."""
        return list(self._definitions)

    def has(self, name: str) -> bool:
        """Return whether a server has this tool."""
        return name in self._tools

    async def call(self, name: str, arguments: dict[str, Any]) -> Outcome:
        """Call a tool. Raises ToolFailed."""
        connection, tool = self._tools[name]
        # The protocol of CodeLab has no empty arguments.
        given = {} if arguments == {"_": ""} else arguments
        result = await connection.call(tool, given)
        parts = [part for item in result.content[:MAX_PARTS] for part in await self._part(item)]
        if len(result.content) > MAX_PARTS:
            parts.append(_text(f"({len(result.content) - MAX_PARTS} more parts were left out.)"))
        if not parts and result.structured_content is not None:
            parts.append(_text(json.dumps(result.structured_content, ensure_ascii=False)))
        return Outcome(parts=tuple(parts or [_text("(The tool answered nothing.)")]), is_error=bool(result.is_error))

    async def _part(self, item: types.ContentBlock) -> list[dict[str, Any]]:
        match item:
            case types.TextContent():
                return [_text(item.text)]
            case types.ImageContent():
                return [await self._image(item.data, item.mime_type)]
            case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
                return [_text(f"{resource.uri}:\n{resource.text}")]
            case types.EmbeddedResource(resource=resource):
                return [_text(f"({resource.uri}: data of type {resource.mime_type}, which is not shown.)")]
            case types.ResourceLink():
                return [_text(f"{item.name}: {item.uri}")]
            case _:
                return [_text(f"(A part of type {item.type} is not shown.)")]

    async def _image(self, data: str, media_type: str) -> dict[str, Any]:
        try:
            content = base64.b64decode(data, validate=True)
        except binascii.Error:
            return _text("(An image that cannot be read.)")
        if self._upload_image is None or media_type not in IMAGE_TYPES or len(content) > MAX_IMAGE_BYTES:
            return _text(f"(An image of type {media_type[:40]}, {len(content)} bytes, which is not shown.)")
        try:
            return {"type": "image", "image_id": await self._upload_image(content, media_type)}
        except Exception as error:
            # The tool has run; its answer without the image is worth more than none.
            return _text(f"(An image that could not be sent: {_reason(error)}.)")


class _Connection:
    """One server: a task that has it open, because its scopes must be left where they were entered."""

    def __init__(self, server: Server, log: Path) -> None:
        self.server = server
        #: Why it has no tools, or not all, as a sentence.
        self.problem = ""
        self._log = log
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._connecting = asyncio.Lock()

    async def open(self) -> list[types.Tool]:
        """Start the server and return its tools; none, and a `problem`, where that fails."""
        try:
            await self._connect()
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._list()
        except TimeoutError:
            self.problem = f"MCP server {self.server.name} did not answer in {CONNECT_SECONDS:g} s and is left out."
        except Exception as error:
            self.problem = f"MCP server {self.server.name} failed and is left out: {_reason(error)}."
        await self.close()
        return []

    async def call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """Call a tool; a server that has ended is started once more before. Raises ToolFailed."""
        name = self.server.name
        try:
            client = await self._connect()
        except Exception as error:
            raise ToolFailed(f"MCP server {name} has ended and does not start: {_reason(error)}") from None
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await client.call_tool(tool, arguments, read_timeout_seconds=CALL_SECONDS)
        except TimeoutError:
            raise ToolFailed(f"MCP server {name} did not answer in {CALL_SECONDS:g} s. It may have done it.") from None
        except MCPError as error:
            if error.code == types.CONNECTION_CLOSED:
                await self.close()
                raise ToolFailed(f"MCP server {name} ended while {tool} ran. It may have done it.") from None
            raise ToolFailed(f"MCP server {name}: {str(error)[:2000]}") from None
        except Exception as error:
            raise ToolFailed(f"MCP server {name} failed in {tool}: {_reason(error)}") from None

    async def close(self) -> None:
        """End the server."""
        self._closing.set()
        if self._task:
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = self._client = None

    async def _connect(self) -> Client:
        async with self._connecting:
            if self._client is not None and self._task is not None and not self._task.done():
                return self._client
            return await self._start()

    async def _start(self) -> Client:
        self._closing = asyncio.Event()
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep_open(ready))
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._client = await asyncio.shield(ready)
        except BaseException:
            self._task.cancel()
            raise
        return self._client

    async def _keep_open(self, ready: asyncio.Future[Client]) -> None:
        """Have the server open until `close`."""
        closing = self._closing
        try:
            with self._log.open("ab") as log, _text_of(log) as errors:
                if self.server.command is not None:
                    transport = stdio_client(self._program(self.server.command), errlog=errors)
                    await self._serve(transport, ready, closing)
                else:
                    async with create_mcp_http_client(headers=dict(self.server.headers)) as http:
                        await self._serve(
                            streamable_http_client(self.server.url or "", http_client=http), ready, closing
                        )
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error if isinstance(error, Exception) else ToolFailed("it was stopped"))
                with suppress(BaseException):
                    ready.exception()
            if not isinstance(error, Exception):
                raise

    async def _serve(self, transport: Any, ready: asyncio.Future[Client], closing: asyncio.Event) -> None:
        async with Client(
            transport, client_info=types.Implementation(name="codelab", version="1"), cache=None
        ) as client:
            ready.set_result(client)
            await closing.wait()

    def _program(self, command: str) -> StdioServerParameters:
        return StdioServerParameters(
            command=command,
            args=list(self.server.args),
            env=self.server.env,
            cwd=self.server.cwd,
            encoding_error_handler="replace",
        )

    async def _list(self) -> list[types.Tool]:
        assert self._client
        tools: list[types.Tool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None or len(tools) > MAX_TOOLS_OF_SERVER:
                break
        if len(tools) > MAX_TOOLS_OF_SERVER:
            self.problem = (
                f"MCP server {self.server.name} has more than {MAX_TOOLS_OF_SERVER} tools; the first"
                f" {MAX_TOOLS_OF_SERVER} are used."
            )
        return tools[:MAX_TOOLS_OF_SERVER]


def _text_of(log: IO[bytes]) -> TextIO:
    return open(os.dup(log.fileno()), "w", encoding="utf-8", errors="replace")  # noqa: PTH123 (a descriptor)


def _reason(error: BaseException) -> str:
    """Return a short reason without addresses, which can have keys in them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError):
        return "its program was not found"
    if isinstance(error, httpx2.HTTPError):
        return f"it cannot be reached ({type(error).__name__})"
    if isinstance(error, TimeoutError):
        return f"it did not answer in {CONNECT_SECONDS:g} s"
    return str(error)[:300].rstrip(".") or type(error).__name__


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": texts.cut(text, MAX_PART_CHARACTERS)}

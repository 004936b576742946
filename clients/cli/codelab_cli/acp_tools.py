"""The tools of one session of `codelab acp`: the workspace's own, and those that the editor does better.

An editor with a file system has unsaved text, and shows what is written; one with a terminal shows what runs. The
journal and the rules of paths and secrets are the same in both cases.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from codelab_cli.acp_stdio import Editor, EditorFailed
from codelab_cli.journal import Journal
from codelab_cli.mcp_servers import Server
from codelab_cli.outcome import Outcome, ToolFailed
from codelab_cli.tools import arguments as types
from codelab_cli.tools import blocks, paths, secrets, shells, texts
from codelab_cli.tools.root import Links
from codelab_cli.tools.toolbox import MoreTools, Toolbox

MAX_OUTPUT_BYTES = 32_000

#: Shows a terminal of the editor with a call.
type ShowTerminal = Callable[[str, str], Awaitable[None]]

_call_id: ContextVar[str] = ContextVar("call_id", default="")


class EditorToolbox(Toolbox):
    """The toolbox of a session of an editor. `files`, `terminal`: what the editor can do."""

    def __init__(
        self,
        root: Path,
        journal: Journal,
        *,
        allow_secrets: bool,
        mcp: MoreTools,
        editor: Editor,
        session_id: str,
        capabilities: dict[str, Any],
        show_terminal: ShowTerminal,
    ) -> None:
        super().__init__(root, journal, allow_secrets, mcp)
        files = capabilities.get("fs")
        files = files if isinstance(files, dict) else {}
        self._reads, self._writes = files.get("readTextFile") is True, files.get("writeTextFile") is True
        self._has_terminal = capabilities.get("terminal") is True
        self._editor, self._session_id, self._show_terminal = editor, session_id, show_terminal

    async def run(
        self, call_id: str, name: str, arguments: dict[str, Any], *, turn_id: str = "", approved_by_person: bool = False
    ) -> Outcome:
        """Run a call, once."""
        _call_id.set(call_id)
        return await super().run(call_id, name, arguments, turn_id=turn_id, approved_by_person=approved_by_person)

    async def _tool(self, name: str, given: dict[str, Any], *, approved_by_person: bool) -> dict[str, Any]:
        is_utf8 = given.get("encoding", "utf-8").lower() in ("utf-8", "utf8")
        try:
            if name == "read_file" and self._reads and is_utf8:
                return await self._read(types.parse(types.ReadFile, given))
            if name == "write_file" and self._writes and is_utf8:
                return await self._write_file(types.parse(types.WriteFile, given))
            if name == "apply_diff" and self._reads and self._writes:
                return await self._apply_diff(types.parse(types.ApplyDiff, given))
            if name == "execute_command" and self._has_terminal:
                return await self._execute(types.parse(types.ExecuteCommand, given), approved_by_person)
        except EditorFailed as error:
            raise ToolFailed(str(error)) from None
        return await super()._tool(name, given, approved_by_person=approved_by_person)

    async def _read(self, arguments: types.ReadFile) -> dict[str, Any]:
        lines: dict[str, int] = {"line": arguments.start_line} if arguments.start_line else {}
        if arguments.end_line:
            lines["limit"] = arguments.end_line - (arguments.start_line or 1) + 1
        text = await self._text(arguments.path, Links.FOLLOW, **lines)
        return {"success": True, "content": text, "lines_read": len(text.splitlines())}

    async def _text(self, path: str, links: Links, **lines: int) -> str:
        place = self._checked(path, links)
        answer = await self._request("fs/read_text_file", path=str(self.root / place), **lines)
        text = str(answer.get("content", ""))
        if not self._allow_secrets:
            secrets.check(place, text[:200].encode())
        return text

    async def _write_file(self, arguments: types.WriteFile) -> dict[str, Any]:
        if arguments.create_dirs and (parents := paths.split(arguments.path)[:-1]):
            await super()._tool("create_directory", {"path": "/".join(parents)}, approved_by_person=True)
        return await self._write(arguments.path, arguments.content)

    async def _apply_diff(self, arguments: types.ApplyDiff) -> dict[str, Any]:
        text = await self._text(arguments.path, Links.REFUSE)
        changes = blocks.parse(arguments.diff)
        result = await self._write(arguments.path, blocks.apply(text, changes, arguments.path))
        before = texts.sha256(text.encode())
        return {**result, "blocks_applied": len(changes), "sha256_before": before}

    async def _write(self, path: str, text: str) -> dict[str, Any]:
        place = self._checked(path, Links.REFUSE)
        await self._request("fs/write_text_file", path=str(self.root / place), content=text)
        data = text.encode()
        return {"success": True, "path": path, "bytes_written": len(data), "sha256_after": texts.sha256(data)}

    def _checked(self, path: str, links: Links) -> str:
        """Return the real path in the workspace. Raises ToolFailed for one that leads out, or to secrets."""
        with self._root.place(path, links) as place:
            if not self._allow_secrets and links is Links.FOLLOW:
                secrets.check(place.path)
            return place.path

    async def _execute(self, arguments: types.ExecuteCommand, approved_by_person: bool) -> dict[str, Any]:
        if not approved_by_person:
            self._commands.check_secrets(arguments)
        words = shells.split(arguments.command, shell=arguments.shell)
        with self._root.place(arguments.cwd or ".", Links.FOLLOW) as place:
            folder = str(self.root / place.path)
        program = {"command": words[0], "args": list(words[1:]), "cwd": folder}
        begun = asyncio.get_running_loop().time()
        terminal = await self._request("terminal/create", **program, outputByteLimit=MAX_OUTPUT_BYTES)
        named = {"terminalId": str(terminal.get("terminalId", ""))}
        is_timed_out = False
        try:
            await self._show_terminal(_call_id.get(), named["terminalId"])
            try:
                async with asyncio.timeout(arguments.timeout):
                    status = await self._request("terminal/wait_for_exit", **named)
            except TimeoutError:
                is_timed_out, status = True, {}
                await self._request("terminal/kill", **named)
            output = await self._request("terminal/output", **named)
        except BaseException:
            with suppress(Exception):
                await self._request("terminal/kill", **named)
            raise
        finally:
            with suppress(Exception):
                await self._request("terminal/release", **named)
        status = output.get("exitStatus") or status
        return {
            "command": arguments.command,
            "exit_code": status.get("exitCode"),
            "stdout": str(output.get("output", "")),
            "stderr": "",
            "duration_ms": round((asyncio.get_running_loop().time() - begun) * 1000),
            "timed_out": is_timed_out,
        }

    async def _request(self, method: str, **params: Any) -> dict[str, Any]:
        answer = await self._editor.request(method, {"sessionId": self._session_id, **params})
        return answer if isinstance(answer, dict) else {}


def mcp_servers(given: Any, folder: Path) -> list[Server]:
    """Return the MCP servers that an editor names; it has asked its user about them."""
    return [_server(each, folder) for each in given or () if isinstance(each, dict) and each.get("type") != "sse"]


def _server(given: dict[str, Any], folder: Path) -> Server:
    def pairs(name: str) -> dict[str, str]:
        return {str(each.get("name")): str(each.get("value", "")) for each in given.get(name) or ()}

    name, source = str(given.get("name", "mcp")), folder
    if given.get("type") == "http":
        return Server(name=name, source=source, url=str(given.get("url", "")), headers=pairs("headers"))
    words = tuple(map(str, given.get("args") or ()))
    command = str(given.get("command", ""))
    return Server(name=name, source=source, command=command, args=words, env=pairs("env"), cwd=str(folder))

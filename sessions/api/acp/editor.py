"""Runs tools by an editor's file system and terminal, where it has them. The editor keeps to its own workspace."""

import asyncio
import hashlib
import shlex
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from sessions.api.acp.peer import PROGRAM_TIMEOUT_SECONDS, ClientFailed, Peer
from sessions.api.acp.tool_views import absolute, blocks_of

#: Bytes of output that a terminal keeps, and characters of a file that a model is given at once.
MAX_OUTPUT_BYTES, MAX_FILE_CHARACTERS = 100_000, 200_000
DEFAULT_COMMAND_SECONDS = 60
GIT_SECONDS = 60

#: Shows the terminal of a call in the editor.
type ShowTerminal = Callable[[str, str], Awaitable[None]]


def tools_of(capabilities: dict[str, Any]) -> list[str]:
    """Return the tools that an editor with these capabilities can run."""
    files = capabilities.get("fs")
    files = files if isinstance(files, dict) else {}
    reads, writes = files.get("readTextFile") is True, files.get("writeTextFile") is True
    names = ["read_file"] * reads + ["write_file"] * writes + ["apply_diff"] * (reads and writes)
    if capabilities.get("terminal") is True:
        names += ["execute_command", "git_diff", "git_commit"]
    return names


class Editor:
    """The editor of one connection, for one session."""

    def __init__(self, session_key: str, folder: str, peer: Peer, show_terminal: ShowTerminal) -> None:
        self._session_key, self._folder, self._peer, self._show_terminal = session_key, folder, peer, show_terminal

    async def run(self, call_id: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the result of a call. Raises ClientFailed with a sentence for the model."""
        match tool:
            case "read_file":
                return await self._read_file(arguments)
            case "write_file":
                return await self._write(arguments["path"], arguments["content"])
            case "apply_diff":
                return await self._apply_diff(arguments["path"], arguments["diff"])
            case "execute_command":
                return await self._execute(call_id, arguments)
            case "git_diff":
                options = ["--cached"] if arguments.get("staged") else []
                words = ["git", "--no-pager", "diff", "--no-color", "--no-ext-diff", *options]
                output = await self._program(call_id, [*words, "--", arguments.get("path", ".")])
                return {"success": output["exit_code"] == 0, "diff": output["stdout"]}
            case "git_commit":
                return await self._commit(call_id, arguments)
        raise ClientFailed(f"The editor cannot run {tool}.")

    async def _read_file(self, arguments: dict[str, Any]) -> dict[str, Any]:
        first, last = arguments.get("start_line"), arguments.get("end_line")
        lines: dict[str, Any] = {"line": first} if first else {}
        if last:
            lines["limit"] = last - (first or 1) + 1
        text = await self._text(arguments["path"], **lines)
        if len(text) > MAX_FILE_CHARACTERS:
            raise ClientFailed(f"The file has {len(text):,} characters. Read some of its lines.")
        return {"success": True, "content": text, "lines_read": len(text.splitlines())}

    async def _text(self, path: str, **lines: int) -> str:
        answer = await self._request("fs/read_text_file", {"path": absolute(self._folder, path), **lines})
        return str(answer.get("content", ""))

    async def _write(self, path: str, text: str) -> dict[str, Any]:
        await self._request("fs/write_text_file", {"path": absolute(self._folder, path), "content": text})
        data = text.encode()
        return {"success": True, "bytes_written": len(data), "sha256_after": hashlib.sha256(data).hexdigest()}

    async def _apply_diff(self, path: str, diff: str) -> dict[str, Any]:
        text = before = await self._text(path)
        blocks = blocks_of(diff)
        for number, (old, new) in enumerate(blocks, 1):
            # A file may end without a line break; the last line of a part has one.
            found = text.count(old) if text.endswith("\n") else f"{text}\n".count(old)
            if found != 1 or not old:
                times = f"{found} times" if old else "no text"
                raise ClientFailed(f"Block {number}: its SEARCH text was found {times} in {path}, not exactly once.")
            ended = text if old in text else f"{text}\n"
            text = ended.replace(old, new, 1)
        result = await self._write(path, text)
        before_hash = hashlib.sha256(before.encode()).hexdigest()
        return {"success": True, "path": path, "blocks_applied": len(blocks), "sha256_before": before_hash} | {
            "sha256_after": result["sha256_after"]
        }

    async def _execute(self, call_id: str, arguments: dict[str, Any]) -> dict[str, Any]:
        command, seconds = arguments["command"], arguments.get("timeout", DEFAULT_COMMAND_SECONDS)
        if arguments.get("shell"):
            is_windows = "\\" in self._folder or self._folder[1:2] == ":"
            words = ["cmd.exe", "/C", command] if is_windows else ["/bin/sh", "-c", command]
        else:
            try:
                words = shlex.split(command)
            except ValueError:
                raise ClientFailed("The command has quotes that do not match.") from None
        output = await self._program(call_id, words, folder=arguments.get("cwd") or ".", seconds=seconds)
        return {"command": command, **output}

    async def _commit(self, call_id: str, arguments: dict[str, Any]) -> dict[str, Any]:
        paths = ["--", *arguments["paths"]] if arguments.get("paths") else []
        programs = [["git", "add", *paths]] if paths else []
        programs += [["git", "commit", "-m", arguments["message"], *paths], ["git", "rev-parse", "HEAD"]]
        for words in programs:
            output = await self._program(call_id, words)
            if output["exit_code"] != 0:
                raise ClientFailed(f"{' '.join(words[:2])} failed: {output['stdout'].strip()}")
        return {"success": True, "commit": output["stdout"].strip()}

    async def _program(
        self, call_id: str, words: list[str], *, folder: str = ".", seconds: int = GIT_SECONDS
    ) -> dict[str, Any]:
        """Run a program in a terminal of the editor, shown with the call, and return its output."""
        begun = time.monotonic()
        params = {"command": words[0], "args": words[1:], "env": [], "cwd": absolute(self._folder, folder)}
        # Not cancelled with this call: the editor may have begun the program, and its answer names the terminal.
        creating = asyncio.ensure_future(self._create_terminal(params))
        is_timed_out = False
        try:
            terminal = await asyncio.shield(creating)
            await self._show_terminal(call_id, terminal["terminalId"])
            try:
                status = await self._request("terminal/wait_for_exit", terminal, timeout=seconds)
            except TimeoutError:
                is_timed_out = True
                await self._request("terminal/kill", terminal)
                status = {}
            output = await self._request("terminal/output", terminal)
        except BaseException:
            # The turn was stopped, or the terminal is broken.
            with suppress(Exception):
                await self._request("terminal/kill", await creating)
            raise
        finally:
            with suppress(Exception):
                await self._request("terminal/release", await creating)
        exit_status = output.get("exitStatus") or status
        return {
            "exit_code": exit_status.get("exitCode"),
            "stdout": str(output.get("output", "")),
            "stderr": "",
            "duration_ms": round((time.monotonic() - begun) * 1000),
            "timed_out": is_timed_out,
            **({"truncated": True} if output.get("truncated") else {}),
            **({"signal": exit_status["signal"]} if exit_status.get("signal") else {}),
        }

    async def _create_terminal(self, params: dict[str, Any]) -> dict[str, Any]:
        created = await self._request("terminal/create", {**params, "outputByteLimit": MAX_OUTPUT_BYTES})
        return {"terminalId": str(created.get("terminalId", ""))}

    async def _request(self, method: str, params: dict[str, Any], *, timeout: float | None = None) -> dict[str, Any]:
        """Return an object. Raises ClientFailed; TimeoutError only where a timeout is given."""
        full = {"sessionId": self._session_key, **params}
        try:
            answer = await self._peer.request(method, full, timeout=timeout or PROGRAM_TIMEOUT_SECONDS)
        except TimeoutError:
            if timeout is not None:
                raise
            raise ClientFailed(f"The editor did not answer to {method}.") from None
        return answer if isinstance(answer, dict) else {}

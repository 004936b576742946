"""The tools of a workspace, ready for calls: what is offered to the server, and how a call is run once."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from codelab_cli.journal import Call, Journal
from codelab_cli.outcome import Outcome, ToolFailed
from codelab_cli.tools import arguments as types
from codelab_cli.tools import editing, git, reading, texts
from codelab_cli.tools.backups import Backups
from codelab_cli.tools.commands import Commands
from codelab_cli.tools.root import Root

logger = logging.getLogger(__name__)

#: Of all paths that calls have named, for the instructions of the folders that are worked in.
MAX_TOUCHED = 200

NAMES = (
    "read_file",
    "list_files",
    "search_in_code",
    "write_file",
    "apply_diff",
    "create_directory",
    "delete_file",
    "move_file",
    "execute_command",
    "git_diff",
    "git_commit",
)


class MoreTools(Protocol):
    """Tools of other programs, such as MCP servers."""

    async def start(self) -> None:
        """Start the programs; those that fail are left out."""

    async def close(self) -> None:
        """End the programs."""

    def definitions(self) -> list[dict[str, Any]]:
        """Return the tools, as entries of `hello.tools`."""

    def has(self, name: str) -> bool:
        """Return whether a tool of this name exists."""

    async def call(self, name: str, arguments: dict[str, Any]) -> Outcome:
        """Call a tool. Raises ToolFailed."""


class Toolbox:
    """The tools of one workspace. Use it as an async context manager, so that no program outlives it."""

    def __init__(self, root: Path, journal: Journal, allow_secrets: bool = False, mcp: MoreTools | None = None) -> None:
        self._root = Root(root)
        self._journal = journal
        self._allow_secrets = allow_secrets
        self._mcp = mcp
        self._commands = Commands(self._root, allow_secrets=allow_secrets)
        self._backups = Backups(journal.folder / "backups")
        self._editing = asyncio.Lock()
        self._running: dict[tuple[str, str], asyncio.Task[Outcome]] = {}
        #: Paths that calls have named; `codelab_cli.workspace.facts` takes them.
        self.touched: list[str] = []

    @property
    def root(self) -> Path:
        """Return the real path of the workspace."""
        return self._root.path

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start the MCP servers, so that `definitions` has their tools."""
        if self._mcp:
            await self._mcp.start()

    async def close(self) -> None:
        """End what runs, and the programs behind the tools. The journal stays open."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._mcp:
            await self._mcp.close()
        self._root.close()

    def definitions(self) -> list[str | dict[str, Any]]:
        """Return the entries of `hello.tools`."""
        return [*NAMES, *(self._mcp.definitions() if self._mcp else [])]

    async def run(
        self, call_id: str, name: str, arguments: dict[str, Any], *, turn_id: str = "", approved_by_person: bool = False
    ) -> Outcome:
        """Run a call, or return what came of it when it has run or runs already. Never raises for what a tool does.

        A person who has approved the call has read its arguments, so a command may name files with secrets then. When
        the caller is cancelled, a command is ended.
        """
        key = (turn_id, call_id)
        task = self._running.get(key)
        if task is None:
            call = Call(call_id, name, arguments, turn_id)
            task = asyncio.create_task(self._run_once(call, approved_by_person=approved_by_person))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
            return await task
        return await asyncio.shield(task)

    def cancel(self, call_id: str, *, turn_id: str = "") -> None:
        """End a call whose result has no use any more, because its turn was stopped."""
        if task := self._running.get((turn_id, call_id)):
            task.cancel()

    async def _run_once(self, call: Call, *, approved_by_person: bool) -> Outcome:
        try:
            earlier = await asyncio.to_thread(self._journal.begin, call)
        except (OSError, sqlite3.Error) as error:
            text = f"{call.name} was not run, because the client's journal cannot be written: {error}"
            return Outcome(error=text, is_error=True)
        if earlier is not None:
            if earlier.is_unknown and isinstance(path := call.arguments.get("path"), str):
                await asyncio.to_thread(editing.remove_unfinished, self._root, path)
            return earlier
        work = asyncio.create_task(self._perform(call, approved_by_person=approved_by_person))
        try:
            outcome = await asyncio.shield(work)
        except asyncio.CancelledError:
            # A thread cannot be stopped, but is soon done; then its outcome is known.
            work.cancel()
            text = f"{call.name} was stopped before its end. A part of it may have been done."
            stopped = Outcome(error=text, is_error=True)
            done = (await asyncio.gather(work, return_exceptions=True))[0]
            self._finish(call, done if isinstance(done, Outcome) else stopped)
            raise
        await asyncio.to_thread(self._finish, call, outcome)
        return outcome

    def _finish(self, call: Call, outcome: Outcome) -> None:
        try:
            self._journal.finish(call, outcome)
        except (OSError, sqlite3.Error):
            # The server is told all the same; only a killed client would call it unknown.
            logger.exception("journal_not_written")

    async def _perform(self, call: Call, *, approved_by_person: bool) -> Outcome:
        try:
            if self._mcp and self._mcp.has(call.name):
                outcome = await self._mcp.call(call.name, call.arguments)
            else:
                result = await self._tool(call.name, call.arguments, approved_by_person=approved_by_person)
                outcome = Outcome(result=result)
        except ToolFailed as error:
            outcome = Outcome(error=str(error), is_error=True)
        except OSError as error:
            outcome = Outcome(error=f"{call.name}: {error.strerror or type(error).__name__}", is_error=True)
        except Exception as error:
            logger.exception("tool_crashed")
            outcome = Outcome(error=f"The client failed in {call.name}: {type(error).__name__}", is_error=True)
        return texts.fit(outcome)

    async def _tool(self, name: str, given: dict[str, Any], *, approved_by_person: bool) -> dict[str, Any]:
        self._touch(given)
        root, allow = self._root, self._allow_secrets
        match name:
            case "read_file":
                reads = types.parse(types.ReadFile, given)
                return await _in_thread(lambda: reading.read_file(root, reads, allow_secrets=allow))
            case "list_files":
                lists = types.parse(types.ListFiles, given)
                return await _in_thread(lambda: reading.list_files(root, lists))
            case "search_in_code":
                search = types.parse(types.SearchInCode, given)
                return await _in_thread(lambda: reading.search_in_code(root, search, allow_secrets=allow))
            case "write_file":
                writes = types.parse(types.WriteFile, given)
                return await self._edit(
                    lambda: editing.write_file(root, writes, backups=self._backups, allow_secrets=allow)
                )
            case "apply_diff":
                diff = types.parse(types.ApplyDiff, given)
                return await self._edit(lambda: editing.apply_diff(root, diff, allow_secrets=allow))
            case "create_directory":
                folder = types.parse(types.CreateDirectory, given)
                return await self._edit(lambda: editing.create_directory(root, folder))
            case "delete_file":
                deletes = types.parse(types.DeleteFile, given)
                return await self._edit(lambda: editing.delete_file(root, deletes, allow_secrets=allow))
            case "move_file":
                moves = types.parse(types.MoveFile, given)
                return await self._edit(lambda: editing.move_file(root, moves, allow_secrets=allow))
            case "execute_command":
                command = types.parse(types.ExecuteCommand, given)
                return await self._commands.execute(command, approved_by_person=approved_by_person)
            case "git_diff":
                return await git.git_diff(self._commands, types.parse(types.GitDiff, given), allow_secrets=allow)
            case "git_commit":
                return await git.git_commit(self._commands, types.parse(types.GitCommit, given))
            case _:
                raise ToolFailed(f"This client has no tool {name!r}")

    async def _edit(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run edits one after the other: each is given the file that the one before has left."""
        async with self._editing:
            return await _in_thread(work)

    def _touch(self, arguments: dict[str, Any]) -> None:
        for name in ("path", "from", "to", "cwd"):
            path = arguments.get(name)
            if isinstance(path, str) and path not in self.touched and len(self.touched) < MAX_TOUCHED:
                self.touched.append(path)


async def _in_thread[Result](work: Callable[[], Result]) -> Result:
    """Run blocking work to its end, also when the caller is cancelled."""
    thread: Awaitable[Result] = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        return await thread

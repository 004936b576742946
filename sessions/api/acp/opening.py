"""Opens sessions on a connection: new ones, those with a history to replay, and those that a client knows."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from pydantic import ValidationError

from sessions.api.acp import history, rpc, schemas
from sessions.api.acp.attached import AttachedSession, Client
from sessions.api.acp.editor import tools_of
from sessions.api.acp.errors import error_of
from sessions.api.acp.options import modes, options
from sessions.api.acp.rpc import Code, RpcError
from sessions.api.acp.schemas import CURSOR, OPEN_PROMPTS
from sessions.api.commands import announce, store_timeout
from sessions.api.http import bind_session, no_session
from sessions.database import in_thread
from sessions.models import Session, new_id
from sessions.protocol.client import require_clean_text
from sessions.protocol.client_tools import read_tools
from sessions.protocol.workspace import Workspace
from sessions.turns.client_tools import set_client_tools
from sessions.turns.sessions import open_in_folder, owned_session, set_client_plans
from sessions.turns.workspaces import set_workspace

#: Sessions that one connection follows, and prompts of a session that wait for their answers.
MAX_ATTACHED, MAX_PROMPTS = 64, 50
CURSOR_PATTERN = re.compile(r"(\d{1,18})(?:\.(\d{1,3}))?")
ABSOLUTE_PATTERN = re.compile(r"/|[A-Za-z]:[\\/]|\\\\")
#: The answer is sent later.
LATER: Any = object()


class OpenSessions:
    """The sessions that one connection follows."""

    def __init__(self, client: Client, identify: Callable[[], Awaitable[AbstractBaseUser]]) -> None:
        #: The client, as `initialize` has described it, and our extension in its capabilities.
        self.client = client
        self.codelab: dict[str, Any] = {}
        self._identify = identify
        self._attached: dict[str, AttachedSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def all(self) -> list[AttachedSession]:
        """Return all of them."""
        return list(self._attached.values())

    def find(self, key: str) -> AttachedSession | None:
        """Return one, if it is open."""
        return self._attached.get(key)

    def require(self, key: str) -> AttachedSession:
        """Return one. Raises RpcError."""
        if attached := self._attached.get(key):
            return attached
        text = f"Session `{key}` is not open on this connection. Open it with session/load or session/resume."
        raise RpcError(Code.RESOURCE_NOT_FOUND, text)

    async def stored(self, key: str) -> Session:
        """Return the caller's session. Another user's session looks like a missing one. Raises Rejected."""
        require_clean_text(key)
        user = await self._identify()
        session = await in_thread(owned_session)(user.pk, key)
        if session is None or session.is_completion:
            raise no_session(key)
        bind_session(session)
        return session

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something besides, until it is done or the connection ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, key: str) -> None:
        """Stop following a session, after its prompts are answered."""
        if attached := self._attached.pop(key, None):
            await attached.ended()
            await attached.close()

    async def close_all(self) -> None:
        """Stop all that the connection does."""
        for task in self._tasks:
            task.cancel()
        for attached in self._attached.values():
            await attached.close()

    async def new(self, params: schemas.NewSession, _: rpc.RequestId) -> dict[str, Any]:
        """Create a session in a folder."""
        self._require_room()
        _require_folder(params.cwd)
        user = await self._identify()
        tools = self._tools_of(params)
        async with store_timeout():
            session = await in_thread(open_in_folder)(user.pk, params.cwd, params.chosen_name("session_id"))
            definitions = await self._set_tools(session, tools)
            attached = await self._attach(session, params, tools, definitions)
            await attached.follow(session.last_number, own_messages=set())
        return {"sessionId": session.key, **_state(session, params.mcp_servers, attached.cursor)}

    async def load(self, params: schemas.OpenSession, request_id: rpc.RequestId) -> Any:
        """Replay a session, or what follows the client's cursor."""
        return await self._open(params, request_id, replays=True)

    async def resume(self, params: schemas.ResumeSession, request_id: rpc.RequestId) -> Any:
        """Follow a session from now on, or from the client's cursor."""
        return await self._open(params, request_id, replays=False)

    async def _open(self, params: schemas.OpenSession, request_id: rpc.RequestId, *, replays: bool) -> Any:
        _require_folder(params.cwd)
        session = await self.stored(params.session_id)
        after, part = _cursor(params, session, 0 if replays else session.last_number)
        if params.session_id not in self._attached:
            self._require_room()
        tools = self._tools_of(params)
        prompts = params.meta.get(OPEN_PROMPTS)
        ids = [each for each in prompts if isinstance(each, str)][:MAX_PROMPTS] if isinstance(prompts, list) else []
        async with store_timeout():
            definitions = await self._set_tools(session, tools) if tools else frozenset()
            own_messages = await in_thread(history.own_messages)(session.pk, ids) if ids else set()
            attached = await self._attach(session, params, tools, definitions)
        if not replays and CURSOR not in params.meta:
            # What this very request has changed is not news to the client.
            after = session.last_number

        async def follow() -> None:
            try:
                await attached.follow(after, part, own_messages=own_messages)
                await self.client.send(rpc.result(request_id, _state(session, params.mcp_servers, attached.cursor)))
                await attached.greet()
            except Exception as error:
                fault = error_of(error)
                await self.client.send(rpc.error(request_id, fault.code, str(fault), fault.data))

        self.spawn(follow())
        return LATER

    async def _attach(
        self,
        session: Session,
        params: schemas.NewSession | schemas.OpenSession,
        tools: list[Any],
        definitions: frozenset[str],
    ) -> AttachedSession:
        """Follow a session on this connection, instead of what followed it before."""
        await in_thread(set_client_plans)(session.pk, True)
        if workspace := _workspace(params):
            announce(await in_thread(set_workspace)(session.pk, workspace))
            await in_thread(session.refresh_from_db)(fields=["last_number"])
        before = self._attached.pop(session.key, None)
        if before is not None:
            await before.close()
        has_own_tools = "tools" in self.codelab or "tools" in params.codelab
        runs = ("client" if has_own_tools else "editor") if tools else ""
        # An editor has no journal: what it was told to run before is not given to it again, but asked about.
        name = str(new_id()) if runs == "editor" else params.chosen_name("client_id") or self.client.runner
        client = replace(self.client, runner=name)
        attached = AttachedSession(session, params.cwd, client, runs=runs, definitions=definitions)
        if before is not None:
            attached.take_over(before)
        self._attached[session.key] = attached
        return attached

    async def _set_tools(self, session: Session, tools: list[Any]) -> frozenset[str]:
        """Set what the client of a session can run; return the hashes of the tools that it defines."""
        change, definitions = await in_thread(set_client_tools)(session.pk, *read_tools(tools))
        announce(change)
        return definitions

    def _tools_of(self, params: schemas.FolderParams) -> list[Any]:
        """Return the tools that this client runs, by its own means or by the editor's."""
        own = params.codelab.get("tools", self.codelab.get("tools"))
        return own if isinstance(own, list) else tools_of(self.client.capabilities)

    def _require_room(self) -> None:
        if len(self._attached) >= MAX_ATTACHED:
            text = f"{MAX_ATTACHED} sessions are open on this connection. Close one with session/close."
            raise RpcError(Code.INVALID_REQUEST, text)


def _workspace(params: schemas.Params) -> Workspace | None:
    """Return what the client says of its workspace. Raises RpcError."""
    given = params.codelab.get("workspace")
    if given is None:
        return None
    try:
        return Workspace.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(["_meta.codelab.workspace", *map(str, problem["loc"])])
        raise RpcError(Code.INVALID_PARAMS, f"Field `{place}` is not usable: {problem['msg']}.") from None


def _require_folder(folder: str) -> None:
    require_clean_text(folder)
    if not ABSOLUTE_PATTERN.match(folder):
        raise RpcError(Code.INVALID_PARAMS, "Field `cwd` is not usable: it must be an absolute path.")


def _cursor(params: schemas.Params, session: Session, default: int) -> tuple[int, int]:
    """Return the number after which a client continues, and how many updates of the next event it has."""
    cursor = params.meta.get(CURSOR)
    if cursor is None:
        return default, 0
    match = CURSOR_PATTERN.fullmatch(str(cursor))
    if match is None or int(match[1]) > session.last_number:
        raise RpcError(Code.INVALID_PARAMS, f"`{CURSOR}` is not a cursor of this session. Load it without one.")
    return int(match[1]), int(match[2] or 0)


def _state(session: Session, mcp_servers: list[Any] | None, cursor: str) -> dict[str, Any]:
    state = {"modes": modes(session.current_agent), "configOptions": options(session.current_agent, session.mode)}
    names = [str(server.get("name", ""))[:100] for server in mcp_servers or () if isinstance(server, dict)]
    ignored = {"codelab": {"ignored_mcp_servers": names}} if names else {}
    return {**state, "_meta": {CURSOR: cursor, **ignored}}

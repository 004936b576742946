"""`codelab acp`: an agent of the Agent Client Protocol on standard input and output, for editors.

It passes messages on to the server's `/acp`. What it adds: the connection may break at any moment without losing or
repeating anything, tools run here, and MCP servers of the editor start here.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import httpx

from codelab_cli.acp_link import LinkLost, ServerLink
from codelab_cli.acp_requests import ServerRequests
from codelab_cli.acp_sessions import CLIENT_MESSAGE_ID, CURSOR, OPEN_PROMPTS, OpenSession, Sent, start_session
from codelab_cli.acp_stdio import INVALID_PARAMS, Editor, EditorFailed, Message
from codelab_cli.credentials import CredentialStore, SharedCredentials
from codelab_cli.journal import JournalBusy
from codelab_cli.outcome import ToolFailed
from codelab_cli.settings import Settings
from codelab_cli.workspace import facts
from codelab_client import CodelabError, SignInRequired

logger = logging.getLogger(__name__)

OPENS = ("session/new", "session/load", "session/resume")


class Bridge:
    """Between one editor and one server."""

    def __init__(
        self,
        url: str,
        token: Callable[[], Awaitable[str | None]],
        *,
        allow_secrets: bool = False,
        editor: Editor | None = None,
    ) -> None:
        self._url, self._allow_secrets = url, allow_secrets
        self._editor = editor or Editor()
        self._link = ServerLink(
            url, token=token, opened=self._opened, received=self._from_server, lost=self._lost, failed=self._failed
        )
        self._numbers = count(1)
        self._sent: dict[int, Sent] = {}
        #: Requests of the bridge itself.
        self._own: dict[int, asyncio.Future[Any]] = {}
        self._initialize: Message | None = None
        self._capabilities: Message = {}
        self._sessions: dict[str, OpenSession] = {}
        self._requests = ServerRequests(self._link, self._editor)
        self._is_ready = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve the editor until it closes its end."""
        linking = asyncio.create_task(self._link.run())
        try:
            async for message in self._editor.messages():
                self._link.want()
                if message["method"] in OPENS and "id" in message:
                    # MCP servers take seconds to start, and a cancel must not wait for them.
                    self._spawn(self._editor.answering(message, self._open(message)))
                else:
                    await self._editor.answering(message, self._from_editor(message))
        finally:
            tasks = [linking, *self._tasks, *self._requests.tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for session in self._sessions.values():
                await session.close()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _from_editor(self, message: Message) -> None:
        method, params = message["method"], message.get("params") or {}
        if "id" not in message:
            if method == "session/cancel":
                for sent in self._sent.values():
                    if sent.method == "session/prompt" and sent.session_id == params.get("sessionId"):
                        sent.is_cancelled = True
            await self._notify(method, params)
            return
        if method == "initialize":
            capabilities = params.get("clientCapabilities") or {}
            self._capabilities = capabilities
            # The server must ask the bridge for tools, and not the editor.
            kept = {name: value for name, value in capabilities.items() if name not in ("fs", "terminal")}
            self._initialize = params = {**params, "clientCapabilities": kept}
        if method == "session/prompt":
            meta = {CLIENT_MESSAGE_ID: str(uuid.uuid4()), **(params.get("_meta") or {})}
            params = {**params, "_meta": meta}
        await self._request(Sent(message["id"], method, params))

    async def _open(self, message: Message) -> None:
        """Start the tools of a session, then ask the server to open it."""
        params = message.get("params") or {}
        try:
            session_id = str(params.get("sessionId") or uuid.uuid4())
            session = await self._start(session_id, params)
        except (ToolFailed, JournalBusy, OSError, ValueError, TypeError) as error:
            await self._editor.error(message["id"], INVALID_PARAMS, str(error))
            return
        workspace = await asyncio.to_thread(facts, session.toolbox.root)
        extension = {
            "workspace": workspace,
            "tools": session.toolbox.definitions(),
            "client_id": session.journal.client_id,
            "session_id": session_id,
        }
        meta = {**(params.get("_meta") or {}), "codelab": extension}
        params = {**params, "mcpServers": [], "_meta": meta}
        session.params, session.cursor = params, meta.get(CURSOR)
        self._sessions[session_id] = session
        await self._request(Sent(message["id"], message["method"], params))

    async def _start(self, session_id: str, params: Message) -> OpenSession:
        await self._forget(session_id)
        return await start_session(
            self._url,
            session_id,
            params,
            editor=self._editor,
            capabilities=self._capabilities,
            allow_secrets=self._allow_secrets,
            show_terminal=lambda call_id, terminal_id: self._show_terminal(session_id, call_id, terminal_id),
        )

    async def _request(self, sent: Sent) -> None:
        number = next(self._numbers)
        self._sent[number] = sent
        if self._is_ready or sent.method == "initialize":
            with contextlib.suppress(LinkLost):
                await self._link.send({"id": number, "method": sent.method, "params": sent.params})

    async def _notify(self, method: str, params: Message) -> None:
        if self._is_ready:
            with contextlib.suppress(LinkLost):
                await self._link.send({"method": method, "params": params})

    async def _ask(self, method: str, params: Message) -> Any:
        """Return the result of a request of the bridge itself. Raises LinkLost, and EditorFailed for an error."""
        number = next(self._numbers)
        answer = self._own[number] = asyncio.get_running_loop().create_future()
        try:
            await self._link.send({"id": number, "method": method, "params": params})
            return await answer
        finally:
            self._own.pop(number, None)

    async def _opened(self) -> None:
        """Bring a new connection to where the last one was: say hello, resume the sessions, send what waits again."""
        if self._initialize is None:
            return
        if not any(sent.method == "initialize" for sent in self._sent.values()):
            await self._ask("initialize", self._initialize)
        else:
            await self._send_waiting(only="initialize")
        for session_id, session in list(self._sessions.items()):
            if session.is_open:
                await self._resume(session_id, session)
        self._is_ready = True
        cancelled = set()
        for number, sent in list(self._sent.items()):
            if sent.method == "initialize":
                continue
            params = sent.params
            opening = self._sessions.get(sent.session_id)
            if sent.method in ("session/load", "session/resume") and opening and opening.cursor:
                params = {**params, "_meta": {**params["_meta"], CURSOR: opening.cursor}}
            await self._link.send({"id": number, "method": sent.method, "params": params})
            if sent.is_cancelled:
                cancelled.add(sent.session_id)
        for session_id in cancelled:
            await self._link.send({"method": "session/cancel", "params": {"sessionId": session_id}})

    async def _resume(self, session_id: str, session: OpenSession) -> None:
        meta = {**session.params["_meta"], CURSOR: session.cursor or "0"}
        prompts = [sent for sent in self._sent.values() if sent.session_id == session_id]
        meta[OPEN_PROMPTS] = [
            sent.params["_meta"][CLIENT_MESSAGE_ID] for sent in prompts if sent.method == "session/prompt"
        ]
        params = {**session.params, "sessionId": session_id, "_meta": meta}
        try:
            await self._ask("session/resume", params)
        except EditorFailed as error:
            # It was deleted. What waits for it gets the server's own word.
            logger.warning("session %s cannot be resumed: %s", session_id, error)
            session.is_open = False

    def _lost(self) -> None:
        self._is_ready = False
        for answer in self._own.values():
            if not answer.done():
                answer.set_exception(LinkLost())
        self._requests.lost()

    async def _failed(self, text: str, code: int) -> None:
        """Answer all that waits: the server was never reached, or refuses this client."""
        waiting, self._sent = self._sent, {}
        for sent in waiting.values():
            await self._editor.error(sent.editor_id, code, text)

    async def _from_server(self, message: Message) -> None:
        if "method" not in message:
            await self._answered(message)
        elif "id" in message:
            self._requests.serve(message, self._sessions.get(message["params"].get("sessionId", "")))
        elif message["method"] == "$/cancel_request":
            self._requests.withdraw(message["params"].get("requestId"))
        else:
            await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        params = message.get("params") or {}
        await self._editor.send({"method": message["method"], "params": params})
        session = self._sessions.get(params.get("sessionId", ""))
        if session is None:
            return
        session.cursor = (params.get("_meta") or {}).get(CURSOR, session.cursor)
        update = params.get("update") or {}
        if update.get("sessionUpdate") == "tool_call_update" and update.get("status"):
            session.forget_answer(str(update.get("toolCallId", "")))

    async def _answered(self, message: Message) -> None:
        number = message.get("id")
        if (own := self._own.get(number)) is not None and not own.done():  # type: ignore[arg-type]
            if "error" in message:
                own.set_exception(EditorFailed(str(message["error"].get("message"))))
            else:
                own.set_result(message.get("result"))
            return
        sent = self._sent.pop(number, None)  # type: ignore[arg-type]
        if sent is None:
            return
        if "error" in message:
            if sent.method in OPENS:
                await self._forget(sent.session_id)
            await self._editor.send({"id": sent.editor_id, "error": message["error"]})
            return
        result = message.get("result")
        if sent.method == "initialize" and isinstance(result, dict):
            # They start here.
            result.get("agentCapabilities", {})["mcpCapabilities"] = {"http": True, "sse": False}
        session = self._sessions.get(sent.session_id)
        if sent.method in OPENS and session is not None and isinstance(result, dict):
            session.is_open = True
            session.cursor = (result.get("_meta") or {}).get(CURSOR, session.cursor)
        await self._editor.send({"id": sent.editor_id, "result": result})
        if sent.method == "initialize" and not self._is_ready:
            self._is_ready = True
            await self._send_waiting()
        if sent.method in ("session/close", "session/delete"):
            await self._forget(sent.session_id)

    async def _send_waiting(self, only: str = "") -> None:
        """Send what the editor has asked before the server answered to `initialize`."""
        for number, sent in list(self._sent.items()):
            if only in ("", sent.method):
                await self._link.send({"id": number, "method": sent.method, "params": sent.params})

    async def _forget(self, session_id: str) -> None:
        if session := self._sessions.pop(session_id, None):
            await session.close()

    async def _show_terminal(self, session_id: str, call_id: str, terminal_id: str) -> None:
        session = self._sessions[session_id]
        content = [{"type": "terminal", "terminalId": terminal_id}]
        update = {"sessionUpdate": "tool_call_update", "toolCallId": call_id, "content": content}
        params = {"sessionId": session_id, "update": update, "_meta": {CURSOR: session.cursor or "0"}}
        await self._editor.send({"method": "session/update", "params": params})


async def serve(settings: Settings) -> None:
    """Serve the editor on standard input and output until it closes its end."""
    logging.basicConfig(level=logging.WARNING)
    async with httpx.AsyncClient(base_url=settings.url, timeout=10) as http:

        async def token() -> str | None:
            if settings.api_key:
                return settings.api_key
            # Read again for each connection: `codelab login` may have come in between.
            credentials = SharedCredentials(await asyncio.to_thread(CredentialStore, settings))
            try:
                return await credentials.token(http)
            except SignInRequired:
                return None
            except CodelabError as error:
                raise OSError(str(error)) from None

        await Bridge(settings.url.rstrip("/"), token, allow_secrets=settings.allow_secrets).run()

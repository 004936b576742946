"""The methods of the Agent Client Protocol, as verbs of sessions. Each look-up is by owner."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import Error as DatabaseError

from agents.policy import Mode
from sessions.api.acp import history, rpc, schemas
from sessions.api.acp.attached import Client
from sessions.api.acp.opening import LATER, MAX_PROMPTS, OpenSessions
from sessions.api.acp.options import AGENT_OPTION, APPROVALS_OPTION, options
from sessions.api.acp.prompts import content_of, store_images
from sessions.api.acp.rpc import Code, RpcError
from sessions.api.acp.schemas import parse
from sessions.api.commands import announce, handle_message, stop_turn, store_change, store_timeout
from sessions.api.draining import drain
from sessions.callers import Action
from sessions.database import in_thread
from sessions.errors import AccessDenied, NothingToCancel, ShuttingDown
from sessions.models import Session
from sessions.turns import deletion
from sessions.turns.current_agent import choose_agent
from sessions.turns.sessions import change_session

logger = structlog.get_logger(__name__)

PROTOCOL_VERSION = 1
#: Seconds before a stop that failed is tried again, and how often.
STOP_RETRY_SECONDS, MAX_STOP_TRIES = 0.5, 60

CAPABILITIES = {
    "loadSession": True,
    "promptCapabilities": {"image": True, "audio": False, "embeddedContext": True},
    # MCP servers run where the files are: `codelab acp` starts them.
    "mcpCapabilities": {"http": False, "sse": False},
    "sessionCapabilities": {"list": {}, "resume": {}, "close": {}, "delete": {}},
    "_meta": {"acp/cursor": True, "codelab": {"tools": True, "workspace": True, "client_message_id": True}},
}
AUTH_METHOD = {
    "id": "bearer",
    "name": "API key or token",
    "description": "Connect with the header Authorization: Bearer …, or use `codelab login` and `codelab acp`.",
}


class Methods:
    """What one connection may ask for."""

    def __init__(self, client: Client, identify: Callable[[], Awaitable[AbstractBaseUser]]) -> None:
        self._identify = identify
        self._sessions = OpenSessions(client, identify)
        self._is_initialized = False
        self._handlers: dict[str, tuple[type[schemas.Params], tuple[Action, ...], Any]] = {
            "initialize": (schemas.Initialize, (), self._initialize),
            "authenticate": (schemas.Authenticate, (Action.READ,), self._authenticate),
            "session/new": (schemas.NewSession, (Action.WRITE,), self._sessions.new),
            "session/load": (schemas.OpenSession, (Action.READ,), self._sessions.load),
            "session/resume": (schemas.ResumeSession, (Action.READ,), self._sessions.resume),
            "session/list": (schemas.ListSessions, (Action.READ,), self._list),
            "session/close": (schemas.OfSession, (Action.WRITE,), self._close),
            "session/delete": (schemas.OfSession, (Action.WRITE,), self._delete),
            "session/prompt": (schemas.Prompt, (Action.WRITE, Action.TURN), self._prompt),
            "session/cancel": (schemas.OfSession, (), self._cancel),
            "session/set_mode": (schemas.SetMode, (Action.WRITE,), self._set_mode),
            "session/set_config_option": (schemas.SetConfigOption, (Action.WRITE,), self._set_option),
            "$/cancel_request": (schemas.CancelRequest, (), self._cancel_request),
        }

    async def handle(self, request: rpc.Request) -> Any:
        """Return the result of a request, or LATER. Raises RpcError and what the verbs raise."""
        if request.method not in self._handlers:
            text = f"The method `{request.method[:100]}` does not exist here."
            raise RpcError(Code.METHOD_NOT_FOUND, text)
        model, actions, handler = self._handlers[request.method]
        params = parse(model, request.params)
        if request.method != "initialize":
            if not self._is_initialized:
                raise RpcError(Code.INVALID_REQUEST, "Send `initialize` first.")
            await self._identify()
            await self._sessions.client.caller.authorize(*actions)
        return await handler(params, request.id)

    async def after(self, answer: Any) -> None:
        """Do what follows an answer that was sent: updates of a session that a client did not know before."""
        if isinstance(answer, dict) and (attached := self._sessions.find(answer.get("sessionId", ""))):
            await attached.greet()

    async def close(self) -> None:
        """Stop all that the connection does."""
        await self._sessions.close_all()

    async def _initialize(self, params: schemas.Initialize, _: rpc.RequestId) -> dict[str, Any]:
        capabilities = params.client_capabilities
        extension = parse(schemas.Params, capabilities)
        client = self._sessions.client
        runner = extension.chosen_name("client_id") or client.runner
        self._sessions.client = replace(client, capabilities=capabilities, runner=runner)
        self._sessions.codelab = extension.codelab
        self._is_initialized = True
        return {
            "protocolVersion": PROTOCOL_VERSION,
            "agentCapabilities": CAPABILITIES,
            "agentInfo": {"name": "codelab", "title": "CodeLab AI Service", "version": settings.CODELAB_VERSION},
            "authMethods": [AUTH_METHOD],
        }

    async def _authenticate(self, params: schemas.Authenticate, _: rpc.RequestId) -> dict[str, Any]:
        if params.method_id != AUTH_METHOD["id"]:
            raise RpcError(Code.INVALID_PARAMS, f"Field `methodId` is not usable: use `{AUTH_METHOD['id']}`.")
        return {}

    async def _list(self, params: schemas.ListSessions, _: rpc.RequestId) -> dict[str, Any]:
        user = await self._identify()
        if (params.cursor and not params.cursor.isdecimal()) or len(params.cursor or "") > 9:
            raise RpcError(Code.INVALID_PARAMS, "Field `cursor` is not usable: use `nextCursor` of the page before.")
        page = await in_thread(history.sessions_page)(user.pk, params.cwd, int(params.cursor or 0))
        sessions, next_cursor = page
        return {"sessions": sessions, **({"nextCursor": next_cursor} if next_cursor else {})}

    async def _close(self, params: schemas.OfSession, _: rpc.RequestId) -> dict[str, Any]:
        await self._sessions.stored(params.session_id)
        await self._stop(params.session_id)
        await self._sessions.close(params.session_id)
        return {}

    async def _delete(self, params: schemas.OfSession, _: rpc.RequestId) -> dict[str, Any]:
        await store_change(self._sessions.stored(params.session_id), deletion.delete_session)
        return {}

    async def _prompt(self, params: schemas.Prompt, request_id: rpc.RequestId) -> Any:
        attached = self._sessions.require(params.session_id)
        content = content_of(params.prompt)
        if attached.prompts >= MAX_PROMPTS:
            raise RpcError(Code.INVALID_REQUEST, f"{MAX_PROMPTS} prompts wait for their answers. Wait for one.")
        if drain.is_draining:
            raise ShuttingDown
        if content.images:
            await self._sessions.client.caller.authorize(Action.IMAGE)
        async with attached.accepting, store_timeout() as deadline:
            image_ids = await store_images(attached.session.pk, content)
            accepted = await handle_message(
                attached.session.pk,
                content.text,
                client_message_id=params.client_message_id,
                agent=content.agent,
                images=image_ids,
                api_key=self._sessions.client.caller.api_key,
                deadline=deadline,
            )
            attached.bind(request_id, accepted)
        announce(accepted)
        return LATER

    async def _cancel(self, params: schemas.OfSession, _: rpc.RequestId) -> None:
        if self._sessions.find(params.session_id):
            self._sessions.spawn(self._stop(params.session_id))

    async def _cancel_request(self, params: schemas.CancelRequest, _: rpc.RequestId) -> None:
        for attached in self._sessions.all():
            if turn_id := attached.turn_of(params.request_id):
                self._sessions.spawn(self._stop_turn(attached.session, turn_id))

    async def _stop(self, session_id: str) -> None:
        """Stop the turns that this connection's prompts wait for, or without any the turn that is open."""
        if attached := self._sessions.find(session_id):
            async with attached.accepting:
                turn_ids: list[uuid.UUID | None] = [*attached.stop_prompts()]
            for turn_id in reversed(turn_ids or [None]):
                await self._stop_turn(attached.session, turn_id)

    async def _stop_turn(self, session: Session, turn_id: uuid.UUID | None) -> None:
        """Stop a turn, again and again while that fails: a prompt that was cancelled must not answer an error."""
        for _ in range(MAX_STOP_TRIES):
            try:
                await self._sessions.client.caller.authorize(Action.WRITE)
                async with store_timeout() as deadline:
                    announce(await stop_turn(session.pk, turn_id, deadline=deadline))
                return
            except (NothingToCancel, Session.DoesNotExist):
                return
            except (DatabaseError, TimeoutError, AccessDenied) as error:
                logger.warning("turn_not_stopped", error=type(error).__name__)
            await asyncio.sleep(STOP_RETRY_SECONDS)

    async def _set_mode(self, params: schemas.SetMode, _: rpc.RequestId) -> dict[str, Any]:
        await store_change(self._sessions.stored(params.session_id), choose_agent, params.mode_id)
        return {}

    async def _set_option(self, params: schemas.SetConfigOption, _: rpc.RequestId) -> dict[str, Any]:
        lookup, value = self._sessions.stored(params.session_id), params.value
        if params.config_id == AGENT_OPTION and isinstance(value, str):
            await store_change(lookup, choose_agent, value)
        elif params.config_id == APPROVALS_OPTION and value in list(Mode):
            await store_change(lookup, change_session, mode=Mode(value))
        else:
            lookup.close()
            raise RpcError(Code.INVALID_PARAMS, f"The option `{params.config_id}` cannot have the value `{value}`.")
        session = await self._sessions.stored(params.session_id)
        return {"configOptions": options(session.current_agent, session.mode)}

"""The WebSocket of the Agent Client Protocol: one connection, any number of sessions.

A handler stores or reads in milliseconds, because the messages of a connection are handled one at a time. What takes
longer, such as the end of a prompt, is answered by what follows the session. A bad message gets an error and ends
nothing.
"""

import asyncio
from typing import Any

import structlog
from django.contrib.auth.models import AbstractBaseUser
from django.db import Error as DatabaseError

from sessions import metrics
from sessions.api.acp import rpc
from sessions.api.acp.attached import Client
from sessions.api.acp.errors import error_of
from sessions.api.acp.methods import Methods
from sessions.api.acp.opening import LATER
from sessions.api.acp.peer import Peer
from sessions.api.commands import store_timeout
from sessions.api.errors import explain
from sessions.api.sockets import BoundedSocket
from sessions.api.streaming import open_sockets
from sessions.callers import Action, Caller
from sessions.errors import AccessDenied
from sessions.models import new_id
from sessions.protocol.codes import CloseCode, ErrorCode

logger = structlog.get_logger(__name__)

#: What a ticket for this socket names as its session.
TICKET_NAME = "/acp"
#: The subprotocols that the server chooses from, for pages that send their token as one.
SUBPROTOCOLS = ("acp", "codelab.v2", "codelab.v1")
#: A client that is not signed in can read in the answer to `initialize` how to sign in, and is closed then.
ANONYMOUS_SECONDS = 30.0


class AcpConsumer(BoundedSocket):
    """One connection of an editor."""

    async def connect(self) -> None:
        """Accept at once, because the server drops without a word a client that waits here for five seconds."""
        scope: Any = self.scope
        self.caller: Caller = scope["caller"]
        self.writable = scope.get("writable")
        self.user: AbstractBaseUser | None = None
        self.user_id: int | None = None
        self.is_counted = False
        self.identifying = asyncio.Lock()
        self.watching: asyncio.Task[None] | None = None
        connection_id = str(new_id())
        self.peer = Peer(self.send)
        self.methods = Methods(self._client(connection_id), self.identify)
        chosen = next((name for name in SUBPROTOCOLS if name in scope["subprotocols"]), None)
        # ASGI has bytes, whatever Channels' types say.
        headers: Any = [(b"Acp-Connection-Id", connection_id.encode())]
        await self.accept(chosen, headers=headers)
        metrics.open_sockets.inc()
        structlog.contextvars.bind_contextvars(socket_id=connection_id)
        try:
            await self.identify()
        except AccessDenied as error:
            if error.code == ErrorCode.NOT_SIGNED_IN:
                self.watching = asyncio.create_task(self.close_later(error))
            else:
                await self.refuse(error)
        except (DatabaseError, TimeoutError):
            # The client's next request tries again, and reports a failure.
            logger.info("caller_not_identified")

    def _client(self, connection_id: str) -> Client:
        return Client(
            peer=self.peer,
            caller=self.caller,
            send=self.send,
            fail=lambda: self.close(int(CloseCode.INTERNAL_ERROR)),
            writable=self.writable,
            runner=connection_id,
        )

    async def identify(self) -> AbstractBaseUser:
        """Return the user. Raises AccessDenied."""
        async with self.identifying, store_timeout():
            if self.user is None:
                has_ticket = b"ticket=" in self.scope["query_string"]
                user = await self.caller.identify(TICKET_NAME if has_ticket else None)
                if self.user_id is None:
                    open_sockets.require_free(user.pk)
                    open_sockets.add(user.pk)
                    self.user_id = user.pk
                await self.caller.authorize(Action.CONNECTION)
                self.user = user
                if self.watching is not None:
                    self.watching.cancel()
                self.watching = asyncio.create_task(self.watch())
            return self.user

    async def watch(self) -> None:
        """End the connection when its caller is signed out."""
        await self.refuse(await self.caller.signed_out())

    async def close_later(self, error: AccessDenied) -> None:
        """End the connection of a client that is not signed in."""
        await asyncio.sleep(ANONYMOUS_SECONDS)
        await self.refuse(error)

    async def refuse(self, error: Exception) -> None:
        """Say why the connection ends, and close it."""
        problem = explain(error)
        metrics.frames_refused.labels(error_code=str(problem.code)).inc()
        fault = error_of(error)
        await self.send(rpc.error(None, fault.code, str(fault), fault.data))
        await self.close(int(problem.close_code or CloseCode.INTERNAL_ERROR))

    async def disconnect(self, code: int) -> None:
        """Stop all that this connection does. It may never be called, so nothing else depends on it."""
        metrics.open_sockets.dec()
        if self.user_id is not None:
            open_sockets.remove(self.user_id)
        if self.watching is not None:
            self.watching.cancel()
        self.peer.close()
        await self.methods.close()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle one message; answer any error of a request with an error."""
        request_id: rpc.RequestId = None
        is_notification = False
        try:
            if text_data is None:
                raise rpc.RpcError(rpc.Code.INVALID_REQUEST, "Messages are JSON text; this one was binary.")
            message = rpc.decode(text_data)
            if isinstance(message, rpc.Response):
                self.peer.settle(message)
                return
            request_id, is_notification = message.id, message.is_notification
            answer = await self.methods.handle(message)
            if answer is not LATER and not is_notification:
                await self.send(rpc.result(request_id, answer))
            await self.methods.after(answer)
        except Exception as error:
            await self.answer_error(request_id, error, is_notification=is_notification)
        finally:
            structlog.contextvars.unbind_contextvars("turn_id", "session_id", "session_key")

    async def answer_error(self, request_id: rpc.RequestId, error: Exception, *, is_notification: bool) -> None:
        """Answer a request with an error, and close the connection where the error ends it."""
        fault = error_of(error)
        metrics.frames_refused.labels(error_code=str((fault.data or {}).get("error_code", fault.code))).inc()
        if not is_notification:
            await self.send(rpc.error(fault.request_id or request_id, fault.code, str(fault), fault.data))
        if isinstance(error, AccessDenied) and self.user is not None and error.ends_socket:
            problem = explain(error)
            if problem.close_code is not None and error.code != ErrorCode.RATE_LIMITED:
                await self.close(int(problem.close_code))

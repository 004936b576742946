"""How a socket comes to its session: who opens it, and whether it exists yet.

A socket begins a session that does not exist. With `lazy` in its `hello` it waits for the first message instead, and
follows the session from its first event on, whichever client has begun it.
"""

import asyncio
from typing import Any

import structlog
from django.db import Error as DatabaseError

from sessions.api.commands import store_timeout
from sessions.api.sockets import BoundedSocket
from sessions.api.streaming import open_sockets
from sessions.callers import Action, Caller
from sessions.database import in_thread
from sessions.errors import AccessDenied
from sessions.events.hub import current_hub
from sessions.models import Session
from sessions.turns.sessions import open_session, owned_session

logger = structlog.get_logger(__name__)

#: Seconds before another try to join the session of a socket, while the database is away.
JOIN_RETRY_SECONDS = 1.0


class SessionSocket(BoundedSocket):
    """A socket of one session of one user, which may not exist yet."""

    def open(self, key: str, caller: Caller) -> None:
        """Begin without a session."""
        self.key, self.caller = key, caller
        self.session: Session | None = None
        self.user_id: int | None = None
        self.is_counted = False
        #: Held while the socket comes to its session, and while nothing may come between.
        self.attaching = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._joining: asyncio.Task[None] | None = None
        self._awaiting: asyncio.Task[None] | None = None

    @property
    def begins_at_once(self) -> bool:
        """Return whether a session begins when its socket is opened."""
        raise NotImplementedError

    async def enter(self, session: Session, *, is_new: bool) -> None:
        """Use the session from now on. `is_new`: it did not exist when the socket was opened."""
        raise NotImplementedError

    def joined(self, session: Session) -> None:
        """Do what an open socket of an existing session does without a frame of its client."""
        raise NotImplementedError

    async def reject(self, error: Exception, ref: str | None = None) -> None:
        """Tell the client of an error."""
        raise NotImplementedError

    async def join_or_retry(self) -> None:
        """Open the session, now or when the database is back."""
        try:
            await self._join()
        except AccessDenied as error:
            await self.reject(error)
        except (DatabaseError, TimeoutError):
            # The client's next frame reports a failure: nothing is sent to a client that has sent nothing.
            self._joining = asyncio.create_task(self._join_later())

    async def _join(self) -> None:
        async with store_timeout():
            session = await self.attach(begins=self.begins_at_once)
        if session:
            self.joined(session)

    async def _join_later(self) -> None:
        """Join when the database is back: a client that only listens would otherwise never hear anything."""
        while self.session is None and self._awaiting is None:
            await asyncio.sleep(JOIN_RETRY_SECONDS)
            try:
                await self._join()
            except AccessDenied as error:
                await self.reject(error)
                return
            except (DatabaseError, TimeoutError) as error:
                logger.info("socket_not_joined", error=type(error).__name__)

    async def attach(self, *, begins: bool = False) -> Session | None:
        """Identify the caller and return the session, None while it does not exist. Raises AccessDenied.

        With `begins` the session is created.
        """
        async with self.attaching:
            if self.session is not None:
                return self.session
            if self.user_id is None:
                user: Any = await self.caller.identify(self.key)
                open_sockets.require_free(user.pk)
                open_sockets.add(user.pk)
                self.user_id = user.pk
            if not self.is_counted:
                await self.caller.authorize(Action.CONNECTION)
                self.is_counted = True
            if self._watching is None:
                self._watching = asyncio.create_task(self._watch())
            find = open_session if begins else owned_session
            session = await in_thread(find)(self.user_id, self.key)
            if session is not None:
                await self._enter(session)
            elif self._awaiting is None:
                self._awaiting = asyncio.create_task(self._await_session(self.user_id))
            return session

    async def begin(self) -> Session:
        """Create the session for the first frame that changes it. The caller has been identified."""
        async with self.attaching:
            if self.session is not None:
                return self.session
            assert self.user_id is not None
            session = await in_thread(open_session)(self.user_id, self.key)
            await self._enter(session)
            return session

    async def _enter(self, session: Session) -> None:
        await self.enter(session, is_new=self._awaiting is not None)
        self.session = session
        if self._awaiting not in (None, asyncio.current_task()):
            self._awaiting.cancel()

    async def _await_session(self, user_id: int) -> None:
        """Follow the session from its first event, when another client has begun it."""
        while self.session is None:
            await current_hub().until_begun(user_id, self.key)
            try:
                await self.attach()
            except AccessDenied as error:
                await self.reject(error)
                return
            except Session.DoesNotExist:
                # It was deleted before this socket was in it. Another one may begin.
                continue
            except (DatabaseError, TimeoutError) as error:
                logger.info("socket_not_joined", error=type(error).__name__)
                await asyncio.sleep(JOIN_RETRY_SECONDS)

    async def _watch(self) -> None:
        """End the socket when its caller is signed out."""
        await self.reject(await self.caller.signed_out())

    def leave(self) -> None:
        """Stop to count and to wait."""
        if self.user_id is not None:
            open_sockets.remove(self.user_id)
        for task in (self._watching, self._joining, self._awaiting):
            if task is not None:
                task.cancel()

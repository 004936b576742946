"""Asks from time to time whether the credentials of open sockets are still good: once for each, however many sockets.

One round for all sockets of a process, because most of them are idle, and a query for each would be all that they cost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings
from django.db import Error as DatabaseError

from codelab.identity.credentials import Credential, look_up
from codelab.identity.models import Kind
from sessions.database import in_thread

logger = structlog.get_logger(__name__)

#: A credential and whose it is.
type Held = tuple[Kind, str, int]


class Recheck:
    """The credentials of the sockets of one event loop."""

    def __init__(self) -> None:
        self._held: Counter[Held] = Counter()
        self._ended: dict[Held, asyncio.Event] = {}
        self._rounds: asyncio.Task[None] | None = None

    async def end_of(self, credential: Credential) -> None:
        """Return when the credential is nobody's any more, within `CODELAB_RECHECK_SECONDS`."""
        held = (credential.kind, credential.reference, credential.user.pk)
        self._held[held] += 1
        ended = self._ended.setdefault(held, asyncio.Event())
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._look_around())
        try:
            await ended.wait()
        finally:
            self._held[held] -= 1
            if not self._held[held]:
                del self._held[held], self._ended[held]
            if not self._held and self._rounds:
                self._rounds.cancel()
                self._rounds = None

    async def _look_around(self) -> None:
        while True:
            await asyncio.sleep(settings.CODELAB_RECHECK_SECONDS)
            try:
                gone = await in_thread(_gone)(list(self._held))
            except DatabaseError as error:
                # Nothing new can be shown either while the database is away.
                logger.warning("credentials_not_checked", error=type(error).__name__)
                continue
            except Exception:
                # Without its rounds no socket would ever end.
                logger.exception("recheck_crashed")
                continue
            for held in gone:
                if held in self._ended:
                    self._ended[held].set()


def _gone(all_held: list[Held]) -> list[Held]:
    gone = []
    for kind, reference, user_id in all_held:
        found = look_up(kind, reference)
        if found is None or found.user.pk != user_id:
            gone.append((kind, reference, user_id))
    return gone


_rechecks: WeakKeyDictionary[asyncio.AbstractEventLoop, Recheck] = WeakKeyDictionary()


def recheck() -> Recheck:
    """Return that of the running event loop."""
    return _rechecks.setdefault(asyncio.get_running_loop(), Recheck())

"""Checks periodically whether the credentials of open sockets are still valid, once for each credential.

One round serves all sockets of a process: most are idle, and a query for each socket would be most of its cost.
"""

import asyncio
from collections import Counter
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings
from django.db import Error as DatabaseError

from codelab.identity.credentials import Credential, look_up
from codelab.identity.models import CredentialKind
from sessions.database import in_thread

logger = structlog.get_logger(__name__)

#: Kind and reference of a credential, and the id of its user.
type CredentialKey = tuple[CredentialKind, str, int]


class CredentialMonitor:
    """Watches the credentials of one event loop's sockets."""

    def __init__(self) -> None:
        self._sockets: Counter[CredentialKey] = Counter()
        self._invalid: dict[CredentialKey, asyncio.Event] = {}
        self._task: asyncio.Task[None] | None = None

    async def wait_until_invalid(self, credential: Credential) -> None:
        """Return when the credential is not valid any more, at most `CODELAB_RECHECK_SECONDS` later."""
        key = (credential.kind, credential.reference, credential.user.pk)
        self._sockets[key] += 1
        invalid = self._invalid.setdefault(key, asyncio.Event())
        if self._task is None:
            self._task = asyncio.create_task(self._check_periodically())
        try:
            await invalid.wait()
        finally:
            self._sockets[key] -= 1
            if not self._sockets[key]:
                del self._sockets[key], self._invalid[key]
            if not self._sockets and self._task:
                self._task.cancel()
                self._task = None

    async def _check_periodically(self) -> None:
        while True:
            await asyncio.sleep(settings.CODELAB_RECHECK_SECONDS)
            try:
                invalid = await in_thread(_find_invalid)(list(self._sockets))
            except DatabaseError as error:
                # While the database is away sockets get no new events either.
                logger.warning("credentials_not_checked", error=type(error).__name__)
                continue
            except Exception:
                # Without these checks no socket would ever be closed.
                logger.exception("recheck_crashed")
                continue
            for key in invalid:
                if key in self._invalid:
                    self._invalid[key].set()


def _find_invalid(keys: list[CredentialKey]) -> list[CredentialKey]:
    invalid = []
    for kind, reference, user_id in keys:
        credential = look_up(kind, reference)
        if credential is None or credential.user.pk != user_id:
            invalid.append((kind, reference, user_id))
    return invalid


_monitors: WeakKeyDictionary[asyncio.AbstractEventLoop, CredentialMonitor] = WeakKeyDictionary()


def credential_monitor() -> CredentialMonitor:
    """Return the running event loop's monitor."""
    return _monitors.setdefault(asyncio.get_running_loop(), CredentialMonitor())

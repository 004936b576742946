"""Callers: the user behind a request or a socket, and what they may do.

`codelab.identity` puts a caller into the scope of each socket and, as `caller`, on each request of an API. No module of
sessions must know about tokens, keys or cookies.
"""

from enum import StrEnum
from typing import Protocol, cast
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest

from sessions.errors import AccessDenied


class Action(StrEnum):
    """What a caller is about to do."""

    #: Follow a session over a socket.
    CONNECTION = "connection"
    READ = "read"
    #: Change anything: each frame and each request that does.
    WRITE = "write"
    #: Begin a turn. Its message counts as WRITE, too.
    TURN = "turn"
    #: Upload an image.
    IMAGE = "image"
    #: List the models.
    CATALOG = "catalog"
    #: Request a completion without a session, which is a turn, too.
    COMPLETION = "completion"
    #: Stop or delete such a request.
    RESPONSE = "response"


class Caller(Protocol):
    """The client that opened a socket or sent a request."""

    @property
    def api_key(self) -> UUID | None:
        """The API key that identified the user, if any."""
        ...

    async def identify(self, key: str | None = None) -> AbstractBaseUser:
        """Return the user, who opens the session `key` if given. Raises AccessDenied; may read the database."""
        ...

    async def authorize(self, *actions: Action) -> None:
        """Count actions of the identified user, all or none. Raises AccessDenied if they may not do them now."""
        ...

    async def signed_out(self) -> AccessDenied:
        """Wait until the identified user's credential ends (signed out, expired or revoked), and return why."""
        ...

    async def record_opening(self, key: str) -> None:
        """Record that the identified user opened the session `key` with a request."""
        ...


def caller_of(request: HttpRequest) -> Caller:
    """Return the caller of an API request."""
    return cast(Caller, request.caller)  # type: ignore[attr-defined]

"""The sender of a request or the client of a socket, as far as sessions need to know: a user and what they may do.

`codelab.identity` creates callers. It puts one into the scope of each socket and, as `caller`, on each request of the
API. No module of sessions knows about tokens, keys or cookies.
"""

from __future__ import annotations

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
    #: Begin a turn. Sending its message counts as WRITE besides.
    TURN = "turn"
    #: Upload an image.
    IMAGE = "image"
    #: List the models.
    CATALOG = "catalog"
    #: Ask a model or an agent without a session. This is a turn, too.
    COMPLETION = "completion"


class Caller(Protocol):
    """The client that opened a socket or sent a request."""

    @property
    def api_key(self) -> UUID | None:
        """The API key that identified the user, if it was one."""
        ...

    async def identify(self, key: str | None = None) -> AbstractBaseUser:
        """Return the user, who opens the session `key` if one is given. Raises AccessDenied; may read the database."""
        ...

    async def authorize(self, action: Action) -> None:
        """Count the action and return. Raises AccessDenied if the identified user may not do it now."""
        ...

    async def signed_out(self) -> AccessDenied:
        """Wait until the credential of the identified user ends (signed out, expired or revoked), and return why."""
        ...

    async def opened(self, key: str) -> None:
        """Record that the identified user opened the session `key` with a request."""
        ...


def caller_of(request: HttpRequest) -> Caller:
    """Return the caller of an API request."""
    return cast(Caller, request.caller)  # type: ignore[attr-defined]

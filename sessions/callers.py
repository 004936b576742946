"""Who is on the other side, as far as sessions need to know: a user, who may do some things and not others, for now.

The project makes callers (`codelab.identity`); it puts one into the scope of each socket and, as `caller`, on each
request of the API. Nothing here or in the rest of sessions knows about tokens, keys or cookies.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, cast
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest

from sessions.errors import Refusal


class Use(StrEnum):
    """What a caller is about to do."""

    #: Follow a session over a socket.
    CONNECTION = "connection"
    READ = "read"
    #: Change anything: each frame and each request that does.
    WRITE = "write"
    #: Begin a turn, besides sending the message that does.
    TURN = "turn"
    #: Put an image into a session.
    IMAGE = "image"
    #: Look at the models there are.
    CATALOG = "catalog"
    #: Ask a model or an agent without a session: a turn all the same.
    COMPLETION = "completion"


class Caller(Protocol):
    """Whoever opened a socket or sent a request."""

    @property
    def api_key(self) -> UUID | None:
        """The API key that the identified user came with, if it was one."""
        ...

    async def identify(self, key: str | None = None) -> AbstractBaseUser:
        """Return the user, who wants the session `key` if there is one. Raises Refusal; may ask the database."""
        ...

    async def permit(self, use: Use) -> None:
        """Return when the identified user may do this now, and count it; raises Refusal."""
        ...

    async def ended(self) -> Refusal:
        """Return as soon as the identified user is nobody any more: signed out, expired, revoked."""
        ...

    async def opened(self, key: str) -> None:
        """Take note that the identified user has opened the session `key` by a request."""
        ...


def caller_of(request: HttpRequest) -> Caller:
    """Return who sent a request of the API."""
    return cast(Caller, request.caller)  # type: ignore[attr-defined]

"""REST: a user's API keys, and tickets for sockets."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import cast

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone
from ninja import Field, Router, Schema
from ninja.responses import Status

from codelab.identity import api_keys
from codelab.identity.address import address_of
from codelab.identity.callers import IdentifiedCaller
from codelab.identity.models import ApiKey, Kind, Scope, spaced
from codelab.identity.tickets import TICKET_LIFE, new_ticket
from sessions.api.http import ERRORS, ApiError
from sessions.callers import caller_of
from sessions.database import in_thread
from sessions.protocol import MAX_KEY_LENGTH, ErrorCode, FrameError, require_clean_text

router = Router()


class ApiKeyIn(Schema):
    """An API key to be made."""

    name: str = Field(min_length=1, max_length=100, description="What it is for.")
    scopes: list[Scope] = Field([Scope.READ, Scope.WRITE], min_length=1)
    expires_at: datetime | None = Field(None, description="With a time zone; without it the key has no end.")


class ApiKeyOut(Schema):
    """An API key without its secret."""

    id: uuid.UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewApiKeyOut(ApiKeyOut):
    key: str = Field(description="The key itself. It is shown only now.")


class ApiKeyList(Schema):
    api_keys: list[ApiKeyOut]
    total: int


class TicketIn(Schema):
    """The session whose socket is to be opened."""

    session_id: str = Field(min_length=1, max_length=MAX_KEY_LENGTH)


class TicketOut(Schema):
    """Open the socket with `?ticket=`; it is good for one socket on this session."""

    ticket: str
    session_id: str
    expires_in: int


@router.get("/api-keys", response={200: ApiKeyList, **ERRORS}, tags=["identity"])
async def list_api_keys(request: HttpRequest) -> ApiKeyList:
    """List the caller's API keys, the newest first, revoked ones too."""

    def read() -> list[ApiKey]:
        return list(ApiKey.objects.filter(user=_user(request).pk).order_by("-pk"))

    keys = await in_thread(read)()
    return ApiKeyList(api_keys=[_out(key) for key in keys], total=len(keys))


@router.post("/api-keys", response={201: NewApiKeyOut, **ERRORS}, tags=["identity"])
async def create_api_key(request: HttpRequest, body: ApiKeyIn) -> Status[NewApiKeyOut]:
    """Make an API key. The answer is the only place where it is shown."""
    _require_person(request)
    _require_clean(body.name)
    if body.expires_at is not None and (body.expires_at.tzinfo is None or body.expires_at <= timezone.now()):
        text = "Field `expires_at` is not usable: give a moment in the future, with its time zone."
        raise ApiError(400, ErrorCode.INVALID_FIELD, text)
    beyond = set(body.scopes) - _caller(request).credential.scopes - {Scope.LLM}
    if beyond:
        text = f"A key can have no scope that you do not have: {spaced(set(map(str, beyond)))}."
        raise ApiError(403, ErrorCode.INSUFFICIENT_SCOPE, text)
    key, secret = await in_thread(api_keys.make)(
        _user(request),
        name=body.name,
        scopes=spaced({str(scope) for scope in body.scopes}),
        expires_at=body.expires_at,
        address=address_of(request),
    )
    return Status(201, NewApiKeyOut(**_out(key).dict(), key=secret))


@router.delete("/api-keys/{uuid:key_id}", response={200: ApiKeyOut, **ERRORS}, tags=["identity"])
async def revoke_api_key(request: HttpRequest, key_id: uuid.UUID) -> ApiKeyOut:
    """Revoke an API key. Sockets that were opened with it are closed within the minute."""
    _require_person(request)
    key = await in_thread(api_keys.revoke)(_user(request).pk, key_id, address=address_of(request))
    if key is None:
        raise ApiError(404, ErrorCode.NOT_FOUND, f"You have no API key `{key_id}`.")
    return _out(key)


@router.post("/ws-ticket", response={200: TicketOut, **ERRORS}, tags=["identity"])
async def create_ticket(request: HttpRequest, body: TicketIn) -> TicketOut:
    """Give a ticket for one socket, for clients that can send neither headers nor subprotocols with it."""
    _require_clean(body.session_id)
    ticket = await in_thread(new_ticket)(_caller(request).credential, body.session_id)
    return TicketOut(ticket=ticket, session_id=body.session_id, expires_in=int(TICKET_LIFE.total_seconds()))


def _user(request: HttpRequest) -> User:
    return cast(User, request.auth)  # type: ignore[attr-defined]


def _caller(request: HttpRequest) -> IdentifiedCaller:
    return cast(IdentifiedCaller, caller_of(request))


def _require_person(request: HttpRequest) -> None:
    """Raise ApiError for a key that would make or revoke keys: one that was stolen must not outlive its revocation."""
    if _caller(request).credential.kind == Kind.API_KEY:
        text = "An API key cannot make or revoke API keys: sign in with a password."
        raise ApiError(403, ErrorCode.INSUFFICIENT_SCOPE, text)


def _require_clean(text: str) -> None:
    try:
        require_clean_text(text)
    except FrameError as error:
        raise ApiError(400, error.code, str(error)) from None


def _out(key: ApiKey) -> ApiKeyOut:
    return ApiKeyOut(
        id=key.pk,
        name=key.name,
        prefix=key.prefix,
        scopes=key.scopes.split(),
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
    )

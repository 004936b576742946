"""The REST endpoints of a user's API keys and of WebSocket tickets."""

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
from codelab.identity.models import ApiKey, CredentialKind, Scope, join_scopes
from codelab.identity.tickets import TICKET_LIFETIME, issue_ticket
from sessions.api.http import ERRORS
from sessions.callers import caller_of
from sessions.database import in_thread
from sessions.errors import AccessDenied, NotFound
from sessions.protocol.client import require_clean_text
from sessions.protocol.codes import MAX_KEY_LENGTH, ErrorCode, Rejected

router = Router()


class AccountOut(Schema):
    """The user who is calling."""

    username: str
    signed_in: bool = Field(description="False where the server lets callers of its own machine in without sign-in.")


class ApiKeyIn(Schema):
    """A new API key."""

    name: str = Field(min_length=1, max_length=100, description="What the key is for.")
    scopes: list[Scope] = Field([Scope.READ, Scope.WRITE], min_length=1)
    expires_at: datetime | None = Field(None, description="With a time zone. Without it the key does not expire.")


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
    key: str = Field(description="The key itself, shown only in this response.")


class ApiKeyList(Schema):
    api_keys: list[ApiKeyOut]
    total: int


class TicketIn(Schema):
    """The session to open a socket on."""

    session_id: str = Field(min_length=1, max_length=MAX_KEY_LENGTH)


class TicketOut(Schema):
    """A ticket for one socket on this session: open it with `?ticket=`."""

    ticket: str
    session_id: str
    expires_in: int


@router.get("/account", response={200: AccountOut, **ERRORS}, tags=["identity"])
async def get_account(request: HttpRequest) -> AccountOut:
    """Return who is calling."""
    is_open = _caller(request).credential.kind == CredentialKind.OPEN_ACCESS
    return AccountOut(username=_user(request).get_username(), signed_in=not is_open)


@router.get("/api-keys", response={200: ApiKeyList, **ERRORS}, tags=["identity"])
async def list_api_keys(request: HttpRequest) -> ApiKeyList:
    """List the caller's API keys, newest first, including revoked ones."""

    def read() -> list[ApiKey]:
        return list(ApiKey.objects.filter(user=_user(request).pk).order_by("-pk"))

    keys = await in_thread(read)()
    return ApiKeyList(api_keys=[_out(key) for key in keys], total=len(keys))


@router.post("/api-keys", response={201: NewApiKeyOut, **ERRORS}, tags=["identity"])
async def create_api_key(request: HttpRequest, body: ApiKeyIn) -> Status[NewApiKeyOut]:
    """Create an API key. Only this response shows the key."""
    _require_person(request)
    require_clean_text(body.name)
    if body.expires_at is not None and (body.expires_at.tzinfo is None or body.expires_at <= timezone.now()):
        text = "Field `expires_at` is not usable: it must be in the future and have a time zone."
        raise Rejected(ErrorCode.INVALID_FIELD, text)
    missing = set(body.scopes) - _caller(request).credential.scopes - {Scope.LLM}
    if missing:
        text = f"A key cannot have a scope that you do not have: {join_scopes(set(map(str, missing)))}."
        raise AccessDenied(ErrorCode.INSUFFICIENT_SCOPE, text)
    key, secret = await in_thread(api_keys.create)(
        _user(request),
        name=body.name,
        scopes=join_scopes({str(scope) for scope in body.scopes}),
        expires_at=body.expires_at,
        address=address_of(request),
    )
    return Status(201, NewApiKeyOut(**_out(key).dict(), key=secret))


@router.delete("/api-keys/{uuid:key_id}", response={200: ApiKeyOut, **ERRORS}, tags=["identity"])
async def revoke_api_key(request: HttpRequest, key_id: uuid.UUID) -> ApiKeyOut:
    """Revoke an API key. Sockets opened with it close within a minute."""
    _require_person(request)
    key = await in_thread(api_keys.revoke)(_user(request).pk, key_id, address=address_of(request))
    if key is None:
        raise NotFound(ErrorCode.NOT_FOUND, f"You have no API key `{key_id}`.")
    return _out(key)


@router.post("/ws-ticket", response={200: TicketOut, **ERRORS}, tags=["identity"])
async def create_ticket(request: HttpRequest, body: TicketIn) -> TicketOut:
    """Issue a ticket for one socket, for clients that can send neither headers nor subprotocols."""
    require_clean_text(body.session_id)
    ticket = await in_thread(issue_ticket)(_caller(request).credential, body.session_id)
    return TicketOut(ticket=ticket, session_id=body.session_id, expires_in=int(TICKET_LIFETIME.total_seconds()))


def _user(request: HttpRequest) -> User:
    return cast(User, request.auth)  # type: ignore[attr-defined]


def _caller(request: HttpRequest) -> IdentifiedCaller:
    return cast(IdentifiedCaller, caller_of(request))


def _require_person(request: HttpRequest) -> None:
    """Raise AccessDenied for an API key: a stolen one must not create another that outlives its revocation."""
    if _caller(request).credential.kind == CredentialKind.API_KEY:
        text = "An API key cannot create or revoke API keys. Sign in with a password."
        raise AccessDenied(ErrorCode.INSUFFICIENT_SCOPE, text)


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

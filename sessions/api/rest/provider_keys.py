"""Stores users' keys for model providers. No answer ever contains a key."""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from ninja import Field, Router, Schema
from pydantic import SecretStr

from llm import catalog, keys
from sessions.api.http import ERRORS, owner, require_clean
from sessions.billing import provider_keys
from sessions.database import in_thread
from sessions.errors import NotFound
from sessions.models import ProviderKey
from sessions.protocol.codes import ErrorCode, Rejected

router = Router(tags=["models"])

ALL = "/provider-keys"
ONE = "/provider-keys/{provider}"


class ProviderKeyIn(Schema):
    api_key: SecretStr = Field(min_length=1, max_length=1000)
    api_base: str = Field("", max_length=500, description="The user's own server; empty: the provider's.")


class ProviderKeyOut(Schema):
    """A stored key: its provider and its last characters."""

    provider: str
    last_four: str = Field(description="Empty for a key of less than 12 characters.")
    api_base: str
    updated_at: datetime


class ProviderKeyList(Schema):
    provider_keys: list[ProviderKeyOut]
    providers: list[str] = Field(description="The providers that a key can be stored for.")


class DeletedProviderKey(Schema):
    provider: str
    status: str = "deleted"


@router.get(ALL, response={200: ProviderKeyList, **ERRORS})
async def list_provider_keys(request: HttpRequest) -> dict[str, Any]:
    """List the caller's keys for providers by their last characters."""
    stored = await in_thread(provider_keys.all_of)(owner(request).pk)
    return {"provider_keys": stored, "providers": sorted(catalog.provider_names())}


@router.put(ONE, response={200: ProviderKeyOut, **ERRORS})
async def put_provider_key(request: HttpRequest, provider: str, body: ProviderKeyIn) -> ProviderKey:
    """Store or replace the caller's key for a provider; it applies from the next model call on."""
    if provider not in catalog.provider_names():
        names = ", ".join(sorted(catalog.provider_names()))
        raise NotFound(ErrorCode.UNKNOWN_PROVIDER, f"Provider `{provider[:64]}` does not exist. Use one of: {names}.")
    key = keys.trim(body.api_key.get_secret_value())
    if problem := "is blank" if not key else keys.problem(key):
        raise Rejected(ErrorCode.INVALID_FIELD, f"Field `api_key` is not usable: the key {problem}.")
    require_clean(body.api_base)
    _require_address(body.api_base)
    return await in_thread(provider_keys.store)(owner(request).pk, provider, key, body.api_base)


@router.get(ONE, response={200: ProviderKeyOut, **ERRORS})
async def get_provider_key(request: HttpRequest, provider: str) -> ProviderKey:
    """Return the last characters of the caller's key for a provider."""
    key = await in_thread(provider_keys.find)(owner(request).pk, provider)
    if key is None:
        raise _not_found(provider)
    return key


@router.delete(ONE, response={200: DeletedProviderKey, **ERRORS})
async def delete_provider_key(request: HttpRequest, provider: str) -> DeletedProviderKey:
    """Delete the caller's key for a provider; the next model call uses the server's key."""
    if not await in_thread(provider_keys.remove)(owner(request).pk, provider):
        raise _not_found(provider)
    return DeletedProviderKey(provider=provider)


def _require_address(url: str) -> None:
    """Raise Rejected for an address that workers refuse. They resolve its name before each call."""
    if not url:
        return
    schemes = {"https", "http"} if settings.CODELAB_PRIVATE_MODEL_ADDRESSES else {"https"}
    try:
        parts = urlsplit(url)
        is_usable = bool(parts.hostname and parts.port != 0) and "@" not in parts.netloc and parts.scheme in schemes
        is_usable = is_usable and not (parts.query or parts.fragment)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise Rejected(
            ErrorCode.INVALID_FIELD,
            "Field `api_base` is not usable: it must look like https://host/v1, without a key in it.",
        )


def _not_found(provider: str) -> NotFound:
    return NotFound(ErrorCode.PROVIDER_KEY_NOT_FOUND, f"You have no key for `{provider[:64]}`.")

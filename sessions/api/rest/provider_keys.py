"""Keys of a user for providers of models: they go in, and never come out again."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from ninja import Field, Router, Schema
from pydantic import SecretStr

from llm import catalog
from sessions.api.http import ERRORS, owner, require_clean
from sessions.billing import provider_keys
from sessions.database import in_thread
from sessions.errors import InvalidField, NotFound
from sessions.models import ProviderKey
from sessions.protocol import ErrorCode

router = Router(tags=["models"])

ONE = "/provider-keys/{provider}"


class ProviderKeyIn(Schema):
    api_key: SecretStr = Field(min_length=1, max_length=1000)
    api_base: str = Field("", max_length=500, description="A server of one's own; empty: the provider's.")


class ProviderKeyOut(Schema):
    """What is told of a key: that there is one, and how it ends."""

    provider: str
    last_four: str = Field(description="Empty for a key of less than 12 characters.")
    api_base: str
    updated_at: datetime


class ProviderKeyDeleted(Schema):
    provider: str
    status: str = "deleted"


@router.put(ONE, response={200: ProviderKeyOut, **ERRORS})
async def put_provider_key(request: HttpRequest, provider: str, body: ProviderKeyIn) -> ProviderKeyOut:
    """Store the caller's key for a provider, in place of an older one; counts from the next model call on."""
    if provider not in catalog.provider_names():
        names = ", ".join(sorted(catalog.provider_names()))
        raise NotFound(ErrorCode.UNKNOWN_PROVIDER, f"There is no provider `{provider[:64]}`. There are: {names}.")
    key = body.api_key.get_secret_value().strip()
    if not (key and key.isascii() and key.isprintable()):
        raise InvalidField("Field `api_key` is not usable: no key has such characters.")
    require_clean(body.api_base)
    _require_address(body.api_base)
    return _shown(await in_thread(provider_keys.store)(owner(request).pk, provider, key, body.api_base))


@router.get(ONE, response={200: ProviderKeyOut, **ERRORS})
async def get_provider_key(request: HttpRequest, provider: str) -> ProviderKeyOut:
    """Say whether the caller has a key for a provider, and how it ends."""
    key = await in_thread(provider_keys.find)(owner(request).pk, provider)
    if key is None:
        raise _not_found(provider)
    return _shown(key)


@router.delete(ONE, response={200: ProviderKeyDeleted, **ERRORS})
async def delete_provider_key(request: HttpRequest, provider: str) -> ProviderKeyDeleted:
    """Delete the caller's key for a provider; this server's is used from the next model call on."""
    if not await in_thread(provider_keys.remove)(owner(request).pk, provider):
        raise _not_found(provider)
    return ProviderKeyDeleted(provider=provider)


def _require_address(url: str) -> None:
    """Refuse an address that no worker would connect to; the worker looks where its name leads before each call."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname and parts.port != 0) and "@" not in parts.netloc
    except ValueError:
        good = False
        parts = urlsplit("")
    schemes = {"https", "http"} if settings.CODELAB_PRIVATE_MODEL_ADDRESSES else {"https"}
    if not good or parts.scheme not in schemes or parts.query or parts.fragment:
        text = "Field `api_base` is not usable: it must look like https://host/v1, without a key in it."
        raise InvalidField(text)


def _shown(key: ProviderKey) -> ProviderKeyOut:
    return ProviderKeyOut(
        provider=key.provider, last_four=key.last_four, api_base=key.api_base, updated_at=key.updated_at
    )


def _not_found(provider: str) -> NotFound:
    return NotFound(ErrorCode.PROVIDER_KEY_NOT_FOUND, f"You have no key for `{provider[:64]}`.")

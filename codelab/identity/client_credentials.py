"""What a client says it is at `/oauth/`: its id and secret by HTTP Basic or as fields of the form (RFC 6749 2.3.1)."""

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from django.http import HttpRequest

from codelab.identity.oauth_errors import invalid_client, invalid_request


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """As received and not checked. A public client has no secret, and may send an empty one."""

    client_id: str
    secret: str = field(repr=False)
    is_basic: bool


def form_field(request: HttpRequest, name: str) -> str:
    """Return a field of the form, empty when it is missing. Raises OAuthError for one that is sent more than once."""
    values = request.POST.getlist(name)
    if len(values) > 1:
        raise invalid_request(f"The parameter {name} is sent more than once.")
    return _clean(str(values[0])) if values else ""


def of_request(request: HttpRequest) -> ClientCredentials:
    """Return the client's credentials. Raises OAuthError for unreadable ones, and for two that differ."""
    client_id, secret = form_field(request, "client_id"), form_field(request, "client_secret")
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    # Some clients send their old access token with every request, so other schemes are not meant for us.
    if scheme.lower() != "basic":
        return ClientCredentials(client_id, secret, is_basic=False)
    basic_id, basic_secret = _basic(value)
    if client_id not in ("", basic_id) or secret not in ("", basic_secret):
        raise invalid_request("The form and the header Authorization name different credentials of a client.")
    return ClientCredentials(basic_id, basic_secret, is_basic=True)


def _basic(value: str) -> tuple[str, str]:
    try:
        client_id, colon, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        client_id = colon = secret = ""
    if not client_id or not colon:
        raise invalid_client()
    # Both are encoded like a form's fields, so that an id may contain a colon.
    return _clean(unquote_plus(client_id)), _clean(unquote_plus(secret))


def _clean(text: str) -> str:
    # PostgreSQL cannot search for a NUL, and no stored value contains one.
    return text.replace("\x00", "�")

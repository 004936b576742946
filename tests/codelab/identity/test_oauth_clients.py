"""How clients authenticate at the token endpoint, and the errors that libraries for OAuth read there."""

from __future__ import annotations

import base64
import json
from io import StringIO
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DataError, OperationalError
from django.test import Client as Browser
from pytest_django import Settings

from codelab.identity import tokens
from codelab.identity.models import Client
from codelab.identity.oauth_errors import of_error
from codelab.identity.token_families import TokenPair
from tests.codelab.identity.conftest import PASSWORD

# Requests use the database in other threads, which see only committed rows.
pytestmark = pytest.mark.django_db(transaction=True)

FORM = "application/x-www-form-urlencoded"
ROBOT = {"grant_type": "client_credentials"}
SIGN_IN = {"grant_type": "password", "username": "alice", "password": PASSWORD}
SIGN_IN_AGAIN = {"grant_type": "refresh_token"}


def post(fields: Any, path: str = "/oauth/token", **headers: str) -> Any:
    """Send a form as every library does; Django's test client would send parts."""
    return Browser().generic("POST", path, urlencode(fields), content_type=FORM, headers=headers)


def basic(client_id: str, secret: str) -> dict[str, str]:
    text = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def error_of(response: Any) -> tuple[int, str]:
    """Return the status and the error, which has the form of RFC 6749 whatever happened."""
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    body = json.loads(response.content)
    assert isinstance(body["error_description"], str)
    assert body["error_description"]
    assert "Basic" in response["WWW-Authenticate"] if body["error"] == "invalid_client" else True
    return response.status_code, body["error"]


@pytest.fixture
def secret(alice: User, editor: Client) -> str:
    """The secret of the client `robot`, which acts as Alice."""
    out = StringIO()
    call_command("create_oauth_client", "robot", "--user", "alice", "--scope", "api:read", stdout=out)
    return out.getvalue().partition("client_secret=")[2].strip()


def test_a_client_authenticates_by_http_basic_alone(secret: str) -> None:
    response = post(ROBOT, **basic("robot", secret))
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert tokens.verify(response.json()["access_token"]).scopes == {"api:read"}


def test_the_same_credentials_may_be_sent_twice(secret: str) -> None:
    fields = {**ROBOT, "client_id": "robot", "client_secret": secret}
    assert post(fields, **basic("robot", secret)).status_code == 200
    assert post({**ROBOT, "client_id": "robot"}, **basic("robot", secret)).status_code == 200


@pytest.mark.parametrize("fields", [{"client_id": "another"}, {"client_id": "robot", "client_secret": "another"}])
def test_credentials_that_differ_are_refused(secret: str, fields: dict[str, str]) -> None:
    assert error_of(post({**ROBOT, **fields}, **basic("robot", secret))) == (400, "invalid_request")


def test_a_public_client_names_itself_with_an_empty_password(alice: User, editor: Client) -> None:
    response = post(SIGN_IN, **basic("codelab-flutter-app", ""))
    assert response.status_code == 200
    fields = {**SIGN_IN_AGAIN, "refresh_token": response.json()["refresh_token"]}
    assert post(fields, **basic("codelab-flutter-app", "")).status_code == 200


def test_basic_credentials_are_percent_decoded(alice: User) -> None:
    name, password = "größe: 50 %+", "a:b c+d%ü"
    Client.objects.create(client_id=name, secret_hash=make_password(password), user=alice, scopes="api:read")
    assert post(ROBOT, **basic(name, password)).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic ",
        "Basic junk",
        "Basic ====",
        "Basic " + base64.b64encode(b"robot").decode(),
        "Basic " + base64.b64encode(b":secret").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Basic " + base64.b64encode(b"robot:wrong").decode(),
        "Basic " + base64.b64encode(b"unknown:wrong").decode(),
        "Basic " + base64.b64encode(b"ro%00bot:a%00b").decode(),
        "basic " + base64.b64encode(b"robot:").decode(),
    ],
)
@pytest.mark.parametrize("fields", [ROBOT, {**SIGN_IN_AGAIN, "refresh_token": "clr_x"}])
def test_wrong_basic_credentials_are_an_invalid_client(secret: str, authorization: str, fields: dict[str, str]) -> None:
    assert error_of(post(fields, Authorization=authorization)) == (401, "invalid_client")


def test_an_access_token_in_the_header_is_no_client(token_pair: TokenPair) -> None:
    fields = {**SIGN_IN_AGAIN, "client_id": "codelab-flutter-app", "refresh_token": str(token_pair.refresh_token)}
    assert post(fields, Authorization=f"Bearer {token_pair.access_token}").status_code == 200


def test_a_client_without_a_user_is_told_what_is_wrong(secret: str) -> None:
    assert error_of(post({**ROBOT, "client_id": "unknown", "client_secret": "x"})) == (401, "invalid_client")
    assert error_of(post({**ROBOT, "scope": "admin"}, **basic("robot", secret))) == (400, "invalid_scope")
    assert error_of(post({**ROBOT, "scope": "api:write"}, **basic("robot", secret))) == (400, "invalid_scope")


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke"])
@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        ("", FORM, None),
        ('{"grant_type": "password"}', "application/json", None),
        ("x=" + "y" * 1_100_000, FORM, 413),
        ("&".join(f"x{number}=y" for number in range(1100)), FORM, 400),
        ("grant_type=password", f"{FORM}; charset=utf-16", 400),
        ("--x", "multipart/form-data", 400),
        ("token=a&token=b&client_id=a&client_id=b", FORM, 400),
    ],
    ids=["empty", "json", "large", "many", "charset", "parts", "twice"],
)
def test_a_body_that_cannot_be_used_is_an_invalid_request(
    editor: Client, path: str, content: str, content_type: str, status: int | None
) -> None:
    response = Browser().generic("POST", path, content, content_type=content_type)
    assert error_of(response) == (status or (422 if path == "/oauth/token" else 400), "invalid_request")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (RuntimeError("a fault"), (500, "server_error")),
        (OperationalError("PostgreSQL is away"), (503, "temporarily_unavailable")),
        (DataError("a value that PostgreSQL refuses"), (400, "invalid_request")),
    ],
)
def test_a_fault_is_told_in_the_same_form(fault: Exception, expected: tuple[int, str]) -> None:
    response = of_error(fault).response()
    assert error_of(response) == expected
    assert ("Retry-After" in response) == (expected[0] == 503)


def test_clients_configure_themselves_by_metadata(editor: Client, settings: Settings) -> None:
    settings.CODELAB_TOKEN_ISSUER = "https://ai.example.com"
    settings.ALLOWED_HOSTS = ["ai.example.com"]
    metadata = Browser().get("/.well-known/oauth-authorization-server", headers={"Host": "ai.example.com"}, secure=True)
    assert metadata["Cache-Control"] == "public, max-age=900"
    body = metadata.json()
    assert body["issuer"] == "https://ai.example.com"
    assert body["token_endpoint"] == "https://ai.example.com/oauth/token"
    assert body["revocation_endpoint"] == "https://ai.example.com/oauth/revoke"
    assert body["jwks_uri"] == "https://ai.example.com/.well-known/jwks.json"
    assert body["response_types_supported"] == []
    assert "client_secret_basic" in body["token_endpoint_auth_methods_supported"]
    assert set(body["grant_types_supported"]) == {"password", "refresh_token", "client_credentials"}
    assert body["scopes_supported"] == ["api:read", "api:write", "llm"]

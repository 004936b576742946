"""The token endpoint, byte for byte as the original's clients read it; access tokens and forgeries."""

from __future__ import annotations

import base64
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser
from django.test import RequestFactory
from django.utils import timezone
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey
from pytest_django import Settings

from codelab.identity import keys, oauth, token_families, tokens
from codelab.identity.address import address_of
from codelab.identity.models import AuditEntry, Client, RefreshToken, SigningKey, TokenFamily
from codelab.identity.secrets import digest_of
from codelab.identity.token_families import TokenPair
from tests.codelab.identity.conftest import PASSWORD

# Requests use the database in other threads, which see only committed rows.
pytestmark = pytest.mark.django_db(transaction=True)

EDITOR = {"client_id": "codelab-flutter-app"}
AGAIN = "the same token again within its grace"
SIGN_IN = {"grant_type": "password", "username": "alice", "password": PASSWORD, **EDITOR}


def post(fields: dict[str, str], path: str = "/oauth/token", **headers: str) -> Any:
    return Browser().post(path, fields, headers=headers)


def problem(response: Any) -> tuple[int, str, str]:
    body = response.json()
    assert body.keys() == {"error", "error_description"}
    return response.status_code, body["error"], body["error_description"]


def kinds() -> list[str]:
    return list(AuditEntry.objects.order_by("created_at", "pk").values_list("kind", flat=True))


def test_a_password_grant_has_the_fields_that_the_editor_reads(alice: User, editor: Client) -> None:
    response = post(SIGN_IN)
    body = response.json()
    assert response.status_code == 200
    assert list(body) == ["access_token", "refresh_token", "token_type", "expires_in", "scope"]
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("bearer", 900, "api:read api:write")
    assert response["Cache-Control"] == "no-store"
    assert response["X-Correlation-ID"]
    assert kinds() == ["login_success"]


def test_an_e_mail_address_works_as_a_name(alice: User, bob: User, editor: Client) -> None:
    User.objects.filter(pk=alice.pk).update(email="Alice@example.com")
    assert post({**SIGN_IN, "username": "alice@example.com"}).status_code == 200
    User.objects.filter(pk=bob.pk).update(email="alice@example.com")
    assert post({**SIGN_IN, "username": "alice@example.com"}).status_code == 401


def test_the_access_token_has_the_originals_claims(alice: User, token_pair: TokenPair) -> None:
    found = Browser().get("/.well-known/jwks.json")
    assert found["Cache-Control"] == "public, max-age=900"
    (key,) = found.json()["keys"]
    assert {"kty": "RSA", "use": "sig", "alg": "RS256"}.items() <= key.items()
    assert key.keys() == {"kty", "use", "alg", "kid", "n", "e"}
    token = jwt.decode(token_pair.access_token, KeySet.import_key_set(found.json()), algorithms=["RS256"])
    assert token.header == {"typ": "JWT", "alg": "RS256", "kid": key["kid"]}
    claims = token.claims
    assert {"iss": "https://auth.codelab.local", "aud": "codelab-api", "type": "access"}.items() <= claims.items()
    assert (claims["client_id"], claims["scope"]) == ("codelab-flutter-app", "api:read api:write")
    assert claims["exp"] - claims["iat"] == 900
    assert claims["nbf"] == claims["iat"]
    assert uuid.UUID(claims["sub"]) != uuid.UUID(claims["jti"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({**SIGN_IN, "password": "wrong"}, (401, "invalid_grant", "Invalid username or password")),
        ({**SIGN_IN, "username": "nobody"}, (401, "invalid_grant", "Invalid username or password")),
        ({**SIGN_IN, "username": "a\x00b"}, (401, "invalid_grant", "Invalid username or password")),
        ({**SIGN_IN, "client_id": "nobody"}, (401, "invalid_grant", "Invalid username or password")),
        ({**SIGN_IN, "scope": "admin"}, (401, "invalid_grant", "Invalid username or password")),
        ({**SIGN_IN, "client_secret": "made up"}, (401, "invalid_client", "Invalid client credentials")),
        (
            {"grant_type": "password", **EDITOR},
            (400, "invalid_request", "Missing required parameters: username, password"),
        ),
        (
            {"grant_type": "refresh_token", **EDITOR},
            (400, "invalid_request", "Missing required parameter: refresh_token"),
        ),
        (
            {"grant_type": "refresh_token", "refresh_token": "junk", **EDITOR},
            (401, "invalid_grant", "Invalid or expired refresh token"),
        ),
        (
            {"grant_type": "authorization_code", **EDITOR},
            (400, "unsupported_grant_type", "Grant type 'authorization_code' is not implemented"),
        ),
        ({"grant_type": "magic", **EDITOR}, (400, "unsupported_grant_type", "Grant type 'magic' is not supported")),
        (
            {"grant_type": "client_credentials", **EDITOR},
            (401, "invalid_client", "This client cannot sign in by itself"),
        ),
    ],
)
def test_errors_are_the_originals(
    alice: User, editor: Client, fields: dict[str, str], expected: tuple[int, str, str]
) -> None:
    assert problem(post(fields)) == expected
    assert not TokenFamily.objects.exists()


def test_missing_fields_are_listed(editor: Client) -> None:
    response = post({"username": "alice"})
    assert response.status_code == 422
    assert response.json() == {
        "error": "invalid_request",
        "error_description": "Missing required parameters: grant_type, client_id. Send them as a form, not as JSON.",
        "detail": [
            {"type": "missing", "loc": ["body", name], "msg": "Field required", "input": None}
            for name in ("grant_type", "client_id")
        ],
    }


def test_an_inactive_user_gets_no_token(alice: User, editor: Client) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert problem(post(SIGN_IN))[0] == 401
    assert kinds() == ["login_failed"]


# Refresh tokens


def refresh(secret: str | None, **more: str) -> Any:
    return post({"grant_type": "refresh_token", "refresh_token": secret or "", **EDITOR, **more})


def use_up(*secrets: str | None) -> None:
    """Let the grace of used tokens pass."""
    digests = [digest_of(str(secret)) for secret in secrets]
    used_at = timezone.now() - token_families.REFRESH_GRACE
    assert RefreshToken.objects.exclude(used_at=None).filter(pk__in=digests).update(used_at=used_at) == len(secrets)


def test_a_refresh_token_is_valid_once_and_its_late_reuse_revokes_the_family(token_pair: TokenPair) -> None:
    second = refresh(token_pair.refresh_token).json()
    assert second["refresh_token"] != token_pair.refresh_token
    third = refresh(second["refresh_token"]).json()
    use_up(token_pair.refresh_token)
    reused = refresh(token_pair.refresh_token)
    assert problem(reused) == (401, "invalid_grant", "Refresh token has been revoked (reuse detected)")
    assert problem(refresh(third["refresh_token"]))[0] == 401
    family = TokenFamily.objects.get()
    assert not token_families.is_valid(family)
    assert kinds() == ["token_refresh", "token_refresh", "security_incident_refresh_token_reused"]


def test_a_family_lasts_30_days_from_its_last_refresh(token_pair: TokenPair) -> None:
    left = TokenFamily.objects.get().expires_at - timezone.now()
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)
    yesterday = timezone.now() - timedelta(days=1)
    RefreshToken.objects.update(expires_at=yesterday)
    TokenFamily.objects.update(expires_at=yesterday)
    assert problem(refresh(token_pair.refresh_token)) == (401, "invalid_grant", "Invalid or expired refresh token")


def test_a_refresh_token_belongs_to_its_client(token_pair: TokenPair) -> None:
    Client.objects.create(client_id="another")
    assert problem(refresh(token_pair.refresh_token, client_id="another"))[0] == 401
    assert refresh(token_pair.refresh_token).status_code == 200


def test_a_new_password_ends_sign_ins_with_the_old_one(alice: User, token_pair: TokenPair) -> None:
    alice.set_password("another long password of alice")
    alice.save()
    assert problem(refresh(token_pair.refresh_token))[0] == 401


def test_a_sign_in_is_ended_by_either_of_its_tokens(alice: User, editor: Client) -> None:
    for token in ("access_token", "refresh_token"):
        made = token_families.begin(alice, editor, "api:read", address="", refreshable=True)
        assert post({"token": getattr(made, token)}, "/oauth/revoke").status_code == 200
        assert problem(refresh(made.refresh_token))[0] == 401
    assert post({"token": "junk"}, "/oauth/revoke").status_code == 200
    assert problem(post({}, "/oauth/revoke"))[:2] == (400, "invalid_request")


def test_a_token_that_is_sent_again_soon_gives_the_newest_token(token_pair: TokenPair) -> None:
    second, again = (refresh(token_pair.refresh_token).json()["refresh_token"] for _ in range(2))
    assert second == again
    third = refresh(second).json()["refresh_token"]
    # Another window of the client, which has not read what the first one stored.
    late = refresh(token_pair.refresh_token)
    assert (late.status_code, late.json()["refresh_token"]) == (200, third)
    assert tokens.verify(late.json()["access_token"])
    assert RefreshToken.objects.filter(used_at=None).count() == 1
    assert TokenFamily.objects.get().revoked_at is None
    details = list(AuditEntry.objects.order_by("created_at", "pk").values_list("kind", "detail"))
    assert details == [("token_refresh", text) for text in ("", AGAIN, "", AGAIN)]


def test_a_grace_is_counted_from_the_first_use(token_pair: TokenPair) -> None:
    second = refresh(token_pair.refresh_token).json()["refresh_token"]
    refresh(second)
    assert refresh(token_pair.refresh_token).status_code == 200
    use_up(token_pair.refresh_token)
    assert problem(refresh(token_pair.refresh_token))[2] == "Refresh token has been revoked (reuse detected)"
    assert TokenFamily.objects.get().revoked_at is not None


def test_an_endless_row_of_refreshes_ends_the_grace(token_pair: TokenPair, django_assert_max_num_queries: Any) -> None:
    secret = token_pair.refresh_token
    for _ in range(token_families.MAX_GRACE_SUCCESSORS + 1):
        secret = refresh(secret).json()["refresh_token"]
    with django_assert_max_num_queries(30):
        assert problem(refresh(token_pair.refresh_token))[0] == 401


def test_requests_with_one_refresh_token_get_one_successor(alice: User, editor: Client) -> None:
    made = token_families.begin(alice, editor, "api:read", address="", refreshable=True)

    def use(_: int) -> str:
        try:
            return str(refresh(made.refresh_token).json()["refresh_token"])
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(use, range(4)))) == 1
    assert TokenFamily.objects.get().revoked_at is None


def test_no_secret_is_stored(alice: User, token_pair: TokenPair) -> None:
    row = RefreshToken.objects.get()
    assert token_pair.refresh_token
    assert token_pair.refresh_token.encode() not in bytes(row.digest)
    assert len(row.digest) == 32
    assert SigningKey.objects.get().private_pem.startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")


# Clients


def register(client_id: str, *arguments: str) -> str:
    out = StringIO()
    call_command("create_oauth_client", client_id, *arguments, stdout=out)
    return out.getvalue().partition("client_secret=")[2].strip()


def test_a_confidential_client_signs_in_by_itself(alice: User) -> None:
    secret = register("robot", "--user", "alice", "--scope", "api:read")
    fields = {"grant_type": "client_credentials", "client_id": "robot"}
    body = post({**fields, "client_secret": secret}).json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert body["scope"] == "api:read"
    assert token_families.find_valid_family(tokens.verify(body["access_token"]).family_id).user == alice  # type: ignore[union-attr]
    basic = base64.b64encode(f"robot:{secret}".encode()).decode()
    assert post(fields, Authorization=f"Basic {basic}").status_code == 200
    for wrong in ({}, {"client_secret": "wrong"}):
        assert problem(post({**fields, **wrong}))[:2] == (401, "invalid_client")
    assert kinds() == ["client_login", "client_login"]


# Limits


def behind_proxy(settings: Settings) -> None:
    settings.CODELAB_BEHIND_PROXY = True
    settings.CODELAB_LIMITS = {**settings.CODELAB_LIMITS, "sign_ins": "off"}


def test_five_failures_block_a_name_for_a_while(alice: User, editor: Client) -> None:
    for _ in range(5):
        assert post({**SIGN_IN, "password": "wrong"}).status_code == 401
    for _ in range(3):
        response = post(SIGN_IN)
        status, error, text = problem(response)
        seconds = int(response["Retry-After"])
        assert (status, error) == (429, "invalid_grant")
        assert text == f"Too many failed attempts. Try again in {seconds} seconds."
        assert 800 < seconds <= 900
    page = Browser().post("/login", {"username": "alice", "password": PASSWORD})
    assert (page.status_code, "Too many failed attempts" in page.content.decode()) == (200, True)


def test_others_cannot_lock_a_user_out(alice: User, editor: Client, settings: Settings) -> None:
    behind_proxy(settings)
    assert post(SIGN_IN, **{"X-Forwarded-For": "192.0.2.1"}).status_code == 200
    for _ in range(10):
        post({**SIGN_IN, "password": "wrong"}, **{"X-Forwarded-For": "198.51.100.9"})
    # A stranger's guesses block the stranger …
    assert post(SIGN_IN, **{"X-Forwarded-For": "198.51.100.9"}).status_code == 429
    assert post(SIGN_IN, **{"X-Forwarded-For": "192.0.2.2"}).status_code == 200
    # … and many strangers block strangers, but not the place that Alice signed in from before.
    for number in range(20):
        for _ in range(5):
            post({**SIGN_IN, "password": "wrong"}, **{"X-Forwarded-For": f"203.0.113.{number}"})
    assert post(SIGN_IN, **{"X-Forwarded-For": "192.0.2.3"}).status_code == 429
    assert post(SIGN_IN, **{"X-Forwarded-For": "192.0.2.1"}).status_code == 200


def test_a_success_forgets_the_failures_of_a_name(alice: User, editor: Client) -> None:
    for _ in range(3):
        for _ in range(2):
            assert post({**SIGN_IN, "password": "wrong"}).status_code == 401
        assert post(SIGN_IN).status_code == 200


def test_a_hundred_failures_block_an_address_for_strangers(
    alice: User, bob: User, editor: Client, settings: Settings
) -> None:
    settings.CODELAB_LIMITS = {**settings.CODELAB_LIMITS, "sign_ins": "off"}
    assert post(SIGN_IN).status_code == 200
    for number in range(100):
        assert post({**SIGN_IN, "username": f"guess {number}"}).status_code == 401
    assert post({**SIGN_IN, "username": "bob"}).status_code == 429
    # Alice shares the address and signed in from it before.
    assert post(SIGN_IN).status_code == 200


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (1, "192.0.2.1", "192.0.2.1"),
        (1, "203.0.113.1, 192.0.2.1", "192.0.2.1"),
        (2, "203.0.113.1, 192.0.2.1, 10.0.0.1", "192.0.2.1"),
        (2, "192.0.2.1", "192.0.2.1"),
        (2, "junk, 10.0.0.1", ""),
    ],
)
def test_the_address_is_what_the_outermost_proxy_saw(
    settings: Settings, hops: int, forwarded: str, address: str
) -> None:
    settings.CODELAB_BEHIND_PROXY, settings.CODELAB_PROXY_HOPS = True, hops
    assert address_of(RequestFactory().get("/", headers={"X-Forwarded-For": forwarded})) == address


def test_pages_of_foreign_origins_get_no_tokens(alice: User, editor: Client) -> None:
    for path in ("/oauth/token", "/oauth/revoke"):
        assert problem(post({**SIGN_IN, "token": "x"}, path, Origin="https://evil.example"))[:2] == (
            403,
            "origin_not_allowed",
        )
    assert post(SIGN_IN, Origin="http://testserver", Host="testserver").status_code == 200


def test_refreshes_do_not_wait_behind_passwords(alice: User, token_pair: TokenPair) -> None:
    slots = [oauth._waiting_passwords.acquire(blocking=False) for _ in range(oauth.MAX_WAITING_PASSWORDS)]
    try:
        response = post(SIGN_IN)
        assert (response.status_code, response["Retry-After"]) == (503, "2")
        assert refresh(token_pair.refresh_token).status_code == 200
    finally:
        for _ in filter(None, slots):
            oauth._waiting_passwords.release()
    assert post(SIGN_IN).status_code == 200


def test_token_requests_from_an_address_are_limited(editor: Client, settings: Settings) -> None:
    settings.CODELAB_LIMITS = {**settings.CODELAB_LIMITS, "sign_ins": "3/minute"}
    for _ in range(3):
        assert refresh("junk").status_code == 401
    response = refresh("junk")
    assert problem(response)[:2] == (429, "rate_limit_exceeded")
    assert 0 < int(response["Retry-After"]) <= 60


# Forgeries


def claims_of(token_pair: TokenPair, **changes: Any) -> dict[str, Any]:
    payload = token_pair.access_token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def signed(claims: dict[str, Any], **header: Any) -> str:
    key = keys.signing_keys().current
    return jwt.encode({"alg": "RS256", "kid": key.kid, **header}, claims, key)


def test_our_own_token_is_valid(token_pair: TokenPair) -> None:
    assert tokens.verify(token_pair.access_token).scopes == {"api:read", "api:write"}
    assert tokens.verify(signed(claims_of(token_pair))).scopes == {"api:read", "api:write"}


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "type", "scope", "sid")),
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"type": "refresh"},
        {"nbf": 2**40},
        {"exp": "never"},
        {"sid": "no uuid"},
        {"x": "y" * 10_000},
    ],
    ids=str,
)
def test_a_token_with_other_claims_is_refused(token_pair: TokenPair, changes: dict[str, Any]) -> None:
    with pytest.raises(tokens.InvalidToken):
        tokens.verify(signed(claims_of(token_pair, **changes)))


def test_a_token_that_has_expired_says_so(token_pair: TokenPair) -> None:
    with pytest.raises(tokens.ExpiredToken):
        tokens.verify(signed(claims_of(token_pair, exp=int(time.time()) - 60)))


def test_a_forged_token_is_refused(token_pair: TokenPair) -> None:
    kid = keys.signing_keys().current.kid
    claims = claims_of(token_pair)
    other = RSAKey.generate_key(2048)
    public, private = keys.signing_keys().current.as_pem(private=False), keys.signing_keys().current.raw_value
    none = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none", "kid": kid}, claims)
    )
    forged = [
        jwt.encode({"alg": "RS256", "kid": kid}, claims, other),
        jwt.encode({"alg": "RS256", "kid": kid, "jwk": other.as_dict(private=False)}, claims, other),
        # The public key as the secret of an HMAC.
        jwt.encode({"alg": "HS256", "kid": kid}, claims, OctKey.import_key(base64.b64encode(public)), ["HS256"]),
        f"{none}.",
        signed(claims, kid="unknown"),
        jwt.encode({"alg": "RS512", "kid": kid}, claims, RSAKey(private, private), ["RS512"]),
        token_pair.access_token[:-4] + "AAAA",
        "",
        "a.b.c",
        "clr_x",
        str(token_pair.refresh_token),
    ]
    for token in forged:
        with pytest.raises(tokens.InvalidToken):
            tokens.verify(token)


def test_a_rotated_key_still_verifies_its_tokens(token_pair: TokenPair) -> None:
    old = keys.signing_keys().current.kid
    call_command("rotate_signing_key", "--now", stdout=StringIO())
    assert keys.signing_keys().current.kid != old
    assert tokens.verify(token_pair.access_token)
    assert len(Browser().get("/.well-known/jwks.json").json()["keys"]) == 2
    SigningKey.objects.filter(kid=old).update(retired_at=timezone.now() - timedelta(days=1))
    keys.clear_cache()
    with pytest.raises(tokens.InvalidToken):
        tokens.verify(token_pair.access_token)


def test_a_new_key_is_published_before_it_signs(token_pair: TokenPair) -> None:
    old = keys.signing_keys().current.kid
    call_command("rotate_signing_key", stdout=StringIO())
    new = SigningKey.objects.get(is_current=True).kid
    published = {key["kid"] for key in Browser().get("/.well-known/jwks.json").json()["keys"]}
    assert published == {old, new}
    assert keys.signing_keys().current.kid == old
    SigningKey.objects.filter(kid=old).update(retired_at=timezone.now())
    keys.clear_cache()
    assert keys.signing_keys().current.kid == new
    assert tokens.verify(token_pair.access_token)


def test_another_secret_key_makes_another_signing_key(token_pair: TokenPair, settings: Settings) -> None:
    settings.SECRET_KEY = "another key for tests, which signs nothing that anybody keeps"
    keys.clear_cache()
    assert keys.signing_keys()
    assert SigningKey.objects.count() == 2


def test_of_two_processes_that_need_a_key_at_once_one_creates_it() -> None:
    def first(_: int) -> str:
        try:
            return str(keys._load().current.kid)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(first, range(2)))) == 1
    assert SigningKey.objects.count() == 1


def test_many_unknown_keys_cost_one_query(token_pair: TokenPair, django_assert_max_num_queries: Any) -> None:
    forged = [signed(claims_of(token_pair), kid=f"unknown {number}") for number in range(50)]
    with django_assert_max_num_queries(4):
        for token in forged:
            with pytest.raises(tokens.InvalidToken):
                tokens.verify(token)

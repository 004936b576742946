"""Every kind of credential over REST and sockets: which are admitted, and which are refused with which code."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from codelab.identity import api_keys, rate_limits, token_families, tokens
from codelab.identity.models import ApiKey, AuditEntry, Client, RefreshToken, SessionOpening, Ticket, TokenFamily
from codelab.identity.token_families import TokenPair
from codelab.identity.upkeep import delete_expired
from sessions.database import in_thread
from sessions.models import ModelCall, Session, Turn
from sessions.turns import inbox
from sessions.turns.sessions import open_session
from tests.codelab.identity.conftest import Caller, Socket, receive, send_message

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("loop")]

ANSWERED = "agent_switched"


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("error_code", "")


async def refused(socket: Socket) -> tuple[str, int]:
    """Return the code of the error frame and the close code after it."""
    frame, end = await receive(socket), await receive(socket)
    assert frame["content"] == frame["error"]
    return frame["error_code"], end["closed"]


# REST


def test_a_token_and_a_key_open_the_api(alice: User, token_pair: TokenPair, key: str) -> None:
    for caller in (Caller(token_pair.access_token), Caller(key), Caller(**{"X-API-Key": key})):
        assert caller.request("POST", "/api/v1/sessions", {"session_id": "mine"}).status_code == 200
    assert list(Session.objects.values_list("owner__username", "key")) == [("alice", "mine")]


def test_a_request_without_a_credential_is_refused() -> None:
    response = Caller().request("GET", "/api/v1/sessions")
    assert code(response) == (401, "not_signed_in")
    assert response["WWW-Authenticate"] == 'Bearer realm="codelab"'


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer junk"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer clk_junk"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "junk"},
        {"X-API-Key": "junk"},
        {"X-API-Key": ""},
        {"X-Internal-Auth": "change-me-internal-key"},
    ],
)
def test_a_bad_credential_is_an_error_even_beside_a_good_one(
    alice: User, key: str, settings: Settings, headers: dict[str, str]
) -> None:
    settings.OPEN_ACCESS_USER = "alice"
    beside = Caller(**{"X-API-Key": key}) if "X-API-Key" not in headers else Caller(key)
    for caller in (Caller(), beside):
        response = caller.request("GET", "/api/v1/sessions", **headers)
        assert code(response) == (401, "TOKEN_INVALID")
        assert response["WWW-Authenticate"] == 'Bearer realm="codelab", error="invalid_token"'


def test_two_good_credentials_of_two_users_are_an_error(bob: User, token_pair: TokenPair) -> None:
    _, bobs = api_keys.create(bob, name="x", scopes="api:read", expires_at=None, address="")
    response = Caller(token_pair.access_token).request("GET", "/api/v1/sessions", **{"X-API-Key": bobs})
    assert code(response) == (401, "TOKEN_INVALID")


def test_a_token_in_the_url_is_refused(token_pair: TokenPair, key: str) -> None:
    for query in (
        f"token={token_pair.access_token}",
        f"access_token={token_pair.access_token}",
        f"api_key={key}",
        f"ticket={key}",
        "ticket=clt_x",
    ):
        assert code(Caller().request("GET", f"/api/v1/sessions?{query}")) == (401, "TOKEN_INVALID")


def test_the_internal_key_acts_as_a_named_user(alice: User, settings: Settings) -> None:
    settings.CODELAB_INTERNAL_KEY = "a long internal key"
    caller = Caller(**{"X-Internal-Auth": "a long internal key"})
    assert code(caller.request("GET", "/api/v1/sessions")) == (401, "TOKEN_INVALID")
    settings.CODELAB_INTERNAL_USER = "alice"
    assert caller.request("POST", "/api/v1/sessions").status_code == 200
    assert Session.objects.get().owner == alice


def test_open_access_is_for_this_machine_only(alice: User, settings: Settings) -> None:
    settings.OPEN_ACCESS_USER = "alice"
    assert Caller().request("GET", "/api/v1/sessions").status_code == 200
    assert code(Caller(address="192.0.2.1").request("GET", "/api/v1/sessions")) == (401, "not_signed_in")
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        response = Caller().request("GET", "/api/v1/sessions", **{header: "127.0.0.1"})
        assert code(response) == (401, "not_signed_in"), header


def test_an_old_cookie_is_not_an_error_because_browsers_send_it_by_themselves(alice: User, settings: Settings) -> None:
    settings.OPEN_ACCESS_USER = "alice"
    assert Caller(Cookie="sessionid=forged").request("GET", "/api/v1/sessions").status_code == 200


def test_a_read_only_key_cannot_write(alice: User) -> None:
    _, secret = api_keys.create(alice, name="x", scopes="api:read", expires_at=None, address="")
    caller = Caller(secret)
    assert caller.request("GET", "/api/v1/sessions").status_code == 200
    response = caller.request("POST", "/api/v1/sessions")
    assert code(response) == (403, "insufficient_scope")
    _, secret = api_keys.create(alice, name="x", scopes="llm", expires_at=None, address="")
    assert code(Caller(secret).request("GET", "/api/v1/sessions")) == (403, "insufficient_scope")


def test_an_expired_and_a_revoked_credential_say_so(alice: User, token_pair: TokenPair, settings: Settings) -> None:
    _, secret = api_keys.create(alice, name="x", scopes="api:read", expires_at=None, address="")
    ApiKey.objects.update(expires_at=timezone.now())
    assert code(Caller(secret).request("GET", "/api/v1/sessions")) == (401, "TOKEN_EXPIRED")
    ApiKey.objects.update(expires_at=None, revoked_at=timezone.now())
    assert code(Caller(secret).request("GET", "/api/v1/sessions")) == (401, "TOKEN_EXPIRED")
    settings.CODELAB_ACCESS_TOKEN_SECONDS = -60
    old = tokens.issue(TokenFamily.objects.get())
    assert code(Caller(old).request("GET", "/api/v1/sessions")) == (401, "TOKEN_EXPIRED")
    token_families.revoke(TokenFamily.objects.get())
    assert code(Caller(token_pair.access_token).request("GET", "/api/v1/sessions")) == (401, "TOKEN_EXPIRED")


def test_a_deactivated_user_is_signed_out(alice: User, token_pair: TokenPair, key: str) -> None:
    User.objects.update(is_active=False)
    for secret in (token_pair.access_token, key):
        assert code(Caller(secret).request("GET", "/api/v1/sessions")) == (401, "TOKEN_EXPIRED")


# API keys


def test_an_api_key_is_shown_once_listed_and_revoked(token_pair: TokenPair, bob: User) -> None:
    alice = Caller(token_pair.access_token)
    response = alice.request("POST", "/api/v1/api-keys", {"name": "ci", "scopes": ["api:read"]})
    made = response.json()
    assert response.status_code == 201
    assert made["key"].startswith(made["prefix"])
    assert (made["scopes"], made["last_used_at"]) == (["api:read"], None)
    assert Caller(made["key"]).request("GET", "/api/v1/sessions").status_code == 200
    used_at = ApiKey.objects.get().last_used_at
    assert Caller(made["key"]).request("GET", "/api/v1/sessions").status_code == 200
    assert ApiKey.objects.get().last_used_at == used_at, "written at most once a minute"
    listed = alice.request("GET", "/api/v1/api-keys")
    assert listed.json()["total"] == 1
    assert made["key"] not in listed.content.decode()
    path = f"/api/v1/api-keys/{made['id']}"
    _, bobs = api_keys.create(bob, name="x", scopes="api:read api:write", expires_at=None, address="")
    assert code(Caller(bobs).request("DELETE", path)) == (403, "insufficient_scope"), "a key revokes no keys"
    assert alice.request("DELETE", path).json()["revoked_at"]
    assert alice.request("DELETE", path).status_code == 200
    assert code(Caller(made["key"]).request("GET", "/api/v1/sessions")) == (401, "TOKEN_EXPIRED")
    assert list(AuditEntry.objects.values_list("kind", flat=True).order_by("pk"))[-1] == "api_key_revoke"


def test_a_key_cannot_create_keys_and_a_user_cannot_grant_a_missing_scope(
    alice: User, editor: Client, key: str
) -> None:
    assert code(Caller(key).request("POST", "/api/v1/api-keys", {"name": "x"})) == (403, "insufficient_scope")
    made = token_families.begin(alice, editor, "api:write", address="", refreshable=False)
    response = Caller(made.access_token).request("POST", "/api/v1/api-keys", {"name": "x", "scopes": ["api:read"]})
    assert code(response) == (403, "insufficient_scope")
    for body in ({"name": "x", "scopes": []}, {"name": ""}, {"name": "x", "scopes": ["admin"]}, {"name": "a\x00"}):
        assert Caller(made.access_token).request("POST", "/api/v1/api-keys", body).status_code == 400
    for moment in ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00"):
        late = {"name": "x", "scopes": ["api:write"], "expires_at": moment}
        assert code(Caller(made.access_token).request("POST", "/api/v1/api-keys", late)) == (400, "invalid_field")


# Sockets


async def test_a_socket_is_opened_by_header_subprotocol_and_ticket(token_pair: TokenPair, key: str) -> None:
    for number, secret in enumerate((token_pair.access_token, key)):
        async with Caller(secret).socket(f"/api/v1/ws/a{number}") as socket:
            assert (await send_message(socket))["type"] == ANSWERED
        for start in ("codelab.token.", "bearer."):
            for real, chosen in ((["codelab.v1"], "codelab.v1"), (["codelab.v2"], "codelab.v2"), ([], None)):
                async with Caller().socket("/api/v1/ws/b", [f"{start}{secret}", *real]) as socket:
                    assert socket.subprotocol == chosen
                    await socket.send_to(text_data='{"type": "cancel"}')
                    assert (await receive(socket))["error_code"] in ("nothing_to_cancel", "hello_first")
    asked = await Caller(key).ask("POST", "/api/v1/ws-ticket", {"session_id": "c"})
    ticket = asked.json()
    assert ticket["expires_in"] == 60
    async with Caller().socket(f"/api/v1/ws/c?ticket={ticket['ticket']}") as socket:
        assert (await send_message(socket))["type"] == ANSWERED
    owners = await in_thread(lambda: set(Session.objects.values_list("owner__username", flat=True)))()
    assert owners == {"alice"}


@pytest.mark.parametrize(
    ("path", "subprotocols", "headers", "expected"),
    [
        ("/ws/x", [], {}, "not_signed_in"),
        ("/ws/x", [], {"Cookie": "sessionid=forged"}, "not_signed_in"),
        ("/ws/x", [], {"Authorization": "Bearer junk"}, "TOKEN_INVALID"),
        ("/ws/x", ["bearer.junk", "codelab.v1"], {}, "TOKEN_INVALID"),
        ("/ws/x", ["codelab.token."], {}, "TOKEN_INVALID"),
        ("/ws/x?ticket=clt_junk", [], {}, "TOKEN_INVALID"),
        ("/ws/x?ticket=", [], {}, "TOKEN_INVALID"),
        ("/ws/x?token=eyJhbGciOiJSUzI1NiJ9.e30.x", [], {}, "TOKEN_INVALID"),
    ],
)
async def test_a_socket_without_a_valid_credential_gets_an_error_and_is_closed(
    path: str, subprotocols: list[str], headers: dict[str, str], expected: str
) -> None:
    async with Caller().socket(path, subprotocols, **headers) as socket:
        assert await refused(socket) == (expected, 4401)


async def test_a_page_of_a_foreign_origin_is_refused_whatever_it_sends(key: str) -> None:
    async with Caller(key).socket("/ws/x", Origin="https://evil.example") as socket:
        assert await refused(socket) == ("origin_not_allowed", 4403)


async def test_a_ticket_is_valid_once_for_one_session_and_a_minute(key: str) -> None:
    def ticket() -> str:
        return str(Caller(key).request("POST", "/api/v1/ws-ticket", {"session_id": "mine"}).json()["ticket"])

    one = await in_thread(ticket)()
    paths = [f"/ws/mine?ticket={one}"] * 5

    async def is_admitted(path: str) -> bool:
        async with Caller().socket(path) as socket:
            await socket.send_to(text_data='{"type": "cancel"}')
            return bool((await receive(socket))["error_code"] == "nothing_to_cancel")

    assert sorted(await asyncio.gather(*map(is_admitted, paths))) == [False] * 4 + [True]
    assert not await is_admitted(f"/ws/other?ticket={await in_thread(ticket)()}")
    late = await in_thread(ticket)()
    await in_thread(Ticket.objects.update)(expires_at=timezone.now())
    async with Caller().socket(f"/ws/mine?ticket={late}") as socket:
        assert await refused(socket) == ("TOKEN_EXPIRED", 4401)
    revoked = await in_thread(ticket)()
    await in_thread(ApiKey.objects.update)(revoked_at=timezone.now())
    async with Caller().socket(f"/ws/mine?ticket={revoked}") as socket:
        assert await refused(socket) == ("TOKEN_EXPIRED", 4401)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/v1/sessions"), ("GET", "/api/v1/sessions/mine"), ("GET", "/api/v1/sessions/mine/history")],
)
async def test_the_editors_socket_is_admitted_after_rest_opened_its_session(
    alice: User, token_pair: TokenPair, method: str, path: str
) -> None:
    editor = Caller(token_pair.access_token, address="192.0.2.7")
    await in_thread(open_session)(alice.pk, "mine")
    answer = (await editor.ask(method, path)).json()
    key = answer.get("id") or answer["session_id"]
    async with Caller(address="192.0.2.7").socket(f"/api/v1/ws/{key}") as socket:
        assert (await send_message(socket))["type"] == ANSWERED
    assert await in_thread(Session.objects.count)() == (2 if method == "POST" else 1)


async def test_a_socket_without_credentials_is_admitted_nowhere_else(
    alice: User, bob: User, token_pair: TokenPair, key: str, settings: Settings
) -> None:
    async def is_admitted(address: str = "192.0.2.7", path: str = "/ws/mine", **headers: str) -> bool:
        async with Caller(address=address).socket(path, **headers) as socket:
            await socket.send_to(text_data='{"type": "cancel"}')
            return bool((await receive(socket))["error_code"] == "nothing_to_cancel")

    def open_by_rest(secret: str, key: str = "mine") -> None:
        caller = Caller(secret, address="192.0.2.7")
        assert caller.request("POST", "/api/v1/sessions", {"session_id": key}).status_code == 200

    assert not await is_admitted()
    await in_thread(open_by_rest)(token_pair.access_token)
    assert await is_admitted()
    assert not await is_admitted(address="192.0.2.8")
    assert not await is_admitted(path="/ws/other")
    assert not await is_admitted(Origin="http://testserver"), "a page is not an editor"
    await in_thread(SessionOpening.objects.update)(opened_at=timezone.now() - timedelta(minutes=11))
    assert not await is_admitted()
    await in_thread(open_by_rest)(token_pair.access_token)
    assert await is_admitted()
    # Two users behind one address have sessions with the same key: the socket could belong to either.
    _, bobs = await in_thread(api_keys.create)(bob, name="x", scopes="api:read api:write", expires_at=None, address="")
    await in_thread(open_by_rest)(bobs)
    assert not await is_admitted()
    await in_thread(ApiKey.objects.filter(user=bob).update)(revoked_at=timezone.now())
    assert await is_admitted()
    forwarded = {"X-Forwarded-For": "192.0.2.7"}
    assert not await is_admitted(**forwarded), "all clients of an unknown proxy have its address"
    settings.CODELAB_BEHIND_PROXY = True
    assert await is_admitted(**forwarded)
    settings.CODELAB_BEHIND_PROXY = False
    settings.CODELAB_OPENED_SESSION_SECONDS = 0
    assert not await is_admitted()
    settings.CODELAB_OPENED_SESSION_SECONDS = 600
    await in_thread(TokenFamily.objects.update)(revoked_at=timezone.now())
    assert not await is_admitted()


# Sign-outs while a socket is open


async def end_of(socket: Socket) -> tuple[str, int]:
    """Return the last error's code and the close code; anything may come before them."""
    while True:
        frame = await receive(socket)
        if frame.get("error_code") == "TOKEN_EXPIRED":
            return "TOKEN_EXPIRED", (await receive(socket))["closed"]


async def test_an_open_socket_is_closed_when_its_credential_is_revoked(
    alice: User, token_pair: TokenPair, key: str, quick: Settings
) -> None:
    async with (
        Caller(token_pair.access_token).socket("/api/v1/ws/a") as by_token,
        Caller(key).socket("/ws/b") as by_key,
    ):
        assert (await send_message(by_token))["type"] == ANSWERED
        await in_thread(ApiKey.objects.update)(revoked_at=timezone.now())
        assert await end_of(by_key) == ("TOKEN_EXPIRED", 4401)
        await in_thread(token_families.revoke)(await in_thread(TokenFamily.objects.select_related("client").get)())
        assert await end_of(by_token) == ("TOKEN_EXPIRED", 4401)


async def test_an_open_socket_is_closed_when_its_token_expires(token_pair: TokenPair, settings: Settings) -> None:
    settings.CODELAB_ACCESS_TOKEN_SECONDS = 2
    token = await in_thread(lambda: tokens.issue(TokenFamily.objects.select_related("client").get()))()
    async with Caller(token).socket("/ws/a") as socket:
        assert await refused(socket) == ("TOKEN_EXPIRED", 4401)


async def test_a_browsers_socket_is_closed_when_it_signs_out(alice: User, quick: Settings) -> None:
    browser = Caller()
    await in_thread(browser.browser.force_login)(alice)
    cookie = browser.browser.cookies["sessionid"].value
    async with browser.socket("/ws/a", Cookie=f"sessionid={cookie}", Origin="http://testserver") as socket:
        await socket.send_to(text_data='{"type": "cancel"}')
        assert (await receive(socket))["error_code"] == "nothing_to_cancel"
        await in_thread(browser.browser.logout)()
        assert await end_of(socket) == ("TOKEN_EXPIRED", 4401)


async def test_a_socket_receives_nothing_after_its_revocation(alice: User, key: str, quick: Settings) -> None:
    async with Caller(key).socket("/ws/a") as socket:
        session = await in_thread(Session.objects.get)() if await settled(socket) else None
        assert session
        await in_thread(ApiKey.objects.update)(revoked_at=timezone.now())
        assert await end_of(socket) == ("TOKEN_EXPIRED", 4401)
        await in_thread(inbox.accept_message)(session.pk, "/say secret")
        assert await socket.receive_nothing(timeout=0.5)


async def settled(socket: Socket) -> bool:
    await socket.send_to(text_data='{"type": "cancel"}')
    return bool((await receive(socket))["error_code"] == "nothing_to_cancel")


async def test_a_read_only_key_follows_a_session_and_cannot_write(alice: User) -> None:
    _, secret = await in_thread(api_keys.create)(alice, name="x", scopes="api:read", expires_at=None, address="")
    async with Caller(secret).socket("/ws/a", ["codelab.v2"]) as socket:
        await socket.send_to(text_data='{"type": "hello"}')
        assert (await receive(socket))["type"] == "welcome"
        assert (await send_message(socket))["error_code"] == "insufficient_scope"
        await socket.send_to(text_data='{"type": "hello"}')
        assert (await receive(socket))["type"] == "welcome", "the socket lives on"
    _, secret = await in_thread(api_keys.create)(alice, name="x", scopes="api:write", expires_at=None, address="")
    async with Caller(secret).socket("/ws/a") as socket:
        assert await refused(socket) == ("insufficient_scope", 4403)


# Limits


def limited(settings: Settings, **limits: str) -> None:
    settings.CODELAB_LIMITS = {**settings.CODELAB_LIMITS, **limits}


async def test_a_users_sockets_are_limited(key: str, settings: Settings) -> None:
    limited(settings, connections="2/minute")
    for _ in range(2):
        async with Caller(key).socket("/ws/a") as socket:
            assert await settled(socket)
    async with Caller(key).socket("/ws/a") as socket:
        frame, end = await receive(socket), await receive(socket)
    assert (frame["error_code"], end["closed"]) == ("rate_limited", 4429)
    assert 0 < frame["retry_after"] <= 60


async def test_an_address_may_open_ten_times_as_many_sockets(settings: Settings) -> None:
    limited(settings, connections="1/minute")
    codes = []
    for _ in range(11):
        async with Caller(address="192.0.2.9").socket("/ws/a") as socket:
            codes.append((await refused(socket))[0])
    assert codes == ["not_signed_in"] * 10 + ["rate_limited"]


async def test_a_users_frames_and_requests_are_limited(key: str, settings: Settings) -> None:
    limited(settings, messages="3/minute")
    async with Caller(key).socket("/ws/a") as socket:
        for _ in range(3):
            assert await settled(socket)
        await socket.send_to(text_data='{"type": "cancel"}')
        frame = await receive(socket)
    assert frame["error_code"] == "rate_limited"
    assert frame["content"] == frame["error"]
    response = await Caller(key).ask("POST", "/api/v1/sessions")
    assert code(response) == (429, "rate_limited")
    assert int(response["Retry-After"]) == response.json()["retry_after"]
    assert (await Caller(key).ask("GET", "/api/v1/sessions")).status_code == 200


async def test_a_users_turns_are_limited(key: str, settings: Settings) -> None:
    limited(settings, turns="2/minute")
    body = {"session_id": "a", "message": "/say hello"}
    statuses = [(await Caller(key).ask("POST", "/api/v1/message", body)).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_openai_requests_count_as_turns(alice: User, key: str, settings: Settings) -> None:
    limited(settings, turns="1/minute")
    assert (await Caller(key).ask("POST", "/api/v1/message", {"session_id": "s", "message": "x"})).status_code == 200
    asked = {"model": "scripted", "messages": [{"role": "user", "content": "x"}]}
    for path, body in (("chat/completions", asked), ("embeddings", {"model": "scripted", "input": "x"})):
        response = await Caller(key).ask("POST", f"/v1/{path}", body)
        error = response.json()["error"]
        assert (response.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
        assert 0 < int(response["Retry-After"]) <= 60
    # Listing the models is not a turn.
    assert (await Caller(key).ask("GET", "/v1/models")).status_code == 200


async def test_a_users_model_tokens_are_limited(alice: User, key: str, settings: Settings) -> None:
    limited(settings, tokens="100/day")
    caller, body = Caller(key), {"session_id": "a", "message": "/say hello"}

    def call() -> None:
        session, turn = Session.objects.get(), Turn.objects.order_by("-pk")[0]
        ModelCall.objects.create(
            owner_id=session.owner_id,
            session=session,
            turn=turn,
            attempt=1,
            step=0,
            agent="coder",
            model="m",
            outcome="ok",
            input_tokens=60,
            output_tokens=39,
            started_at=timezone.now(),
            duration=timedelta(),
        )

    assert (await caller.ask("POST", "/api/v1/message", body)).status_code == 200
    await in_thread(call)()
    assert (await caller.ask("POST", "/api/v1/message", body)).status_code == 200
    await in_thread(call)()
    await in_thread(ModelCall.objects.update)(created_at=timezone.now() - timedelta(hours=23))
    # Deleting a session does not refund its tokens.
    assert (await caller.ask("DELETE", "/api/v1/sessions/a")).status_code == 200
    response = await caller.ask("POST", "/api/v1/message", body)
    assert code(response) == (429, "rate_limited")
    # One of the two calls leaves the day within the hour, and then there are tokens again.
    assert 3000 < response.json()["retry_after"] <= 3600


def test_without_redis_each_process_counts_by_itself(key: str, settings: Settings) -> None:
    limited(settings, messages="2/minute")
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    rate_limits._in_memory.cache_clear()
    try:
        started = time.monotonic()
        statuses = [Caller(key).request("POST", "/api/v1/sessions").status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        # Redis is tried once, not at every use; the margin is for a busy machine.
        assert time.monotonic() - started < 10
    finally:
        rate_limits._breaker = rate_limits._Breaker()


def test_open_access_on_one_machine_has_no_limits(alice: User, settings: Settings) -> None:
    limited(settings, messages="1/minute", turns="1/minute", tokens="1/day")
    settings.OPEN_ACCESS_USER = "alice"
    for _ in range(5):
        assert Caller().request("POST", "/api/v1/sessions").status_code == 200


# Upkeep


def test_expired_rows_are_deleted(alice: User, token_pair: TokenPair, key: str) -> None:
    Caller(key).request("POST", "/api/v1/ws-ticket", {"session_id": "a"})
    Caller(key).request("POST", "/api/v1/sessions", {"session_id": "a"})
    delete_expired()
    assert [model.objects.count() for model in (Ticket, SessionOpening, TokenFamily)] == [1, 1, 1]
    long_ago = timezone.now() - timedelta(days=400)
    RefreshToken.objects.update(expires_at=long_ago)
    delete_expired()
    assert (RefreshToken.objects.count(), TokenFamily.objects.count()) == (0, 1)
    Ticket.objects.update(expires_at=long_ago)
    SessionOpening.objects.update(opened_at=long_ago)
    TokenFamily.objects.update(expires_at=long_ago)
    AuditEntry.objects.update(created_at=long_ago)
    delete_expired()
    assert [model.objects.count() for model in (Ticket, SessionOpening, TokenFamily, AuditEntry)] == [0, 0, 0, 0]
    assert ApiKey.objects.count() == 1

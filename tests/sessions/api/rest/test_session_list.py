"""The list of sessions: search by words, pins, and a session as a file."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from sessions.api.rest import export, search
from sessions.database import in_thread
from sessions.models import Message, MessageRole, Session
from sessions.turns import inbox, retention, sessions
from sessions.turns.sessions import change_session
from tests.sessions.api.rest.conftest import Http, opened, rows
from tests.sessions.api.rest.test_sessions import _converse

pytestmark = pytest.mark.django_db(transaction=True)


async def told(user: User, key: str, text: str, *, title: str = "") -> Session:
    session = await opened(user, key)
    await in_thread(inbox.accept_message)(session.pk, text)
    if title:
        await in_thread(partial(change_session, title=title))(session.pk)
    return session


async def found(http: Http, query: str, **more: int) -> list[str]:
    answer = await http.ok("GET", f"/api/v1/sessions?query={query}" + "".join(f"&{k}={v}" for k, v in more.items()))
    return [session["id"] for session in answer["sessions"]]


async def test_a_search_finds_words_of_titles_and_messages_of_the_caller_only(
    as_alice: Http, as_bob: Http, alice: User, bob: User
) -> None:
    await told(alice, "cart", "Mend the sum in src/cart.py, don't touch Parser_v2.", title="Ящик 100%")
    await told(alice, "mail", "Отправь ПИСЬМО «завтра» to a@example.com")
    await told(bob, "bobs", "The cart of Bob. @1 owner")
    for query in ("cart", "SRC", "cart.py", "parser_v2", "sum%20mend", "don't", "ящик", "100%25", "щик%20100", "toUCh"):
        assert await found(as_alice, query) == ["cart"], query
    for query in ("письмо", "завтра", "example.com", "отпр"):
        assert await found(as_alice, query) == ["mail"], query
    for query in ("bob", "100_", "%25%25", "cart%20tomorrow", "ca", "%F0%9F%8E%89", "'%20%26%20!:*", "@1", "\\"):
        assert await found(as_alice, query) == [], query
    assert await found(as_bob, "cart") == ["bobs"]
    assert sorted(await found(as_alice, "%20")) == ["cart", "mail"]
    (shown,) = (await as_alice.ok("GET", "/api/v1/sessions?query=parser"))["sessions"]
    message = await rows(lambda: Message.objects.get(session__key="cart"))
    assert shown["found"] == {"message_id": str(message.pk), "text": message.content}
    await in_thread(Message.objects.filter(pk=message.pk).update)(withdrawn=True)
    assert await found(as_alice, "parser") == []


async def test_a_search_is_bounded(as_alice: Http, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a", "b", "c"):
        await told(alice, key, "word " * 19_000 + f"last{key}")
    page = await as_alice.ok("GET", "/api/v1/sessions?query=word&limit=2&offset=1")
    assert ([one["id"] for one in page["sessions"]], page["total"]) == (["b", "a"], 3)
    assert len(page["sessions"][0]["found"]["text"]) <= search.EXCERPT_LENGTH
    assert await found(as_alice, "lastb") == ["b"]
    assert await as_alice.refused("GET", f"/api/v1/sessions?query={'x' * 201}") == (400, "invalid_field")
    assert await as_alice.refused("GET", "/api/v1/sessions?query=%00") == (400, "invalid_text")
    monkeypatch.setattr(search, "STATEMENT_TIMEOUT", "1ms")
    slow = search._SEARCH.replace("LEFT JOIN found", "CROSS JOIN pg_sleep(5) LEFT JOIN found")
    monkeypatch.setattr(search, "_SEARCH", slow)
    assert await as_alice.refused("GET", "/api/v1/sessions?query=word") == (503, "search_timed_out")


#: 5,000 messages in 1,000 sessions of Alice, and 1,000 of others.
FILL = """
    WITH made AS (
        INSERT INTO agent_sessions_session (
            id, owner_id, key, title, current_agent, last_number, created_at, updated_at
        )
        SELECT gen_random_uuid(), CASE WHEN n <= 1000 THEN %(owner)s ELSE %(owner)s + n END, 'k' || n, 'number ' || n,
            'coder', 20, now(), now() FROM generate_series(1, 1200) AS n RETURNING id, owner_id, key
    ),
    turn AS (
        INSERT INTO agent_sessions_turn (
            id, session_id, status, position, attempt, worker, model, lost_leases, steps, input_tokens, output_tokens,
            error_code, error, created_at, finished_at, worked, folded
        )
        SELECT gen_random_uuid(), id, 'completed', 1, 1, '', '', 0, 1, 0, 0, '', '', now(), now(), '0', true FROM made
        RETURNING id, session_id
    )
    INSERT INTO agent_sessions_message (
        id, session_id, turn_id, role, content, tool_calls, tool_call_id, client_message_id, interrupted, number,
        owner_id, created_at
    )
    SELECT gen_random_uuid(), made.id, turn.id, 'user', 'common words of every message ' || made.key || ' m' || n,
        '[]', '', '', false, n, owner_id, now()
    FROM made JOIN turn ON turn.session_id = made.id CROSS JOIN generate_series(1, 5) AS n
"""


async def test_a_search_in_a_thousand_sessions_reads_the_index(as_alice: Http, alice: User) -> None:
    def fill() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(FILL, {"owner": alice.pk})
            cursor.execute("ANALYZE agent_sessions_message, agent_sessions_session")
            cursor.execute(f"EXPLAIN {search._SEARCH}", [f"'@{alice.pk}'", "k77", alice.pk, alice.pk, ["%k77%"], 1000])
            return [line for (line,) in cursor.fetchall()]

    plan = await rows(fill)
    assert [line for line in plan if "on message_words" in line], plan
    assert await found(as_alice, "every%20k77%20m1") == ["k77"]
    assert len(await found(as_alice, "common", limit=1000)) == 1000


def test_messages_of_an_earlier_version_are_found_after_the_clean_up(alice: User) -> None:
    session = sessions.open_session(alice.pk, "s")
    for number in range(3):
        inbox.accept_message(session.pk, f"word{number}")
    Message.objects.update(owner_id=None)
    assert retention.name_owners(math.inf) == 3
    assert set(Message.objects.values_list("owner_id", flat=True)) == {alice.pk}
    assert retention.name_owners(math.inf) == 0


async def test_pinned_sessions_come_first_on_all_pages(
    as_alice: Http, as_bob: Http, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "abcde":
        await told(alice, key, "x")
    for key in "ac":
        assert (await as_alice.ok("PATCH", f"/api/v1/sessions/{key}", {"pinned": True}))["pinned"] is True
    assert await as_bob.refused("PATCH", "/api/v1/sessions/b", {"pinned": True}) == (404, "session_not_found")
    for limit in (1, 2, 3, 10):
        keys = [key for offset in range(0, 6, limit) for key in await listed(as_alice, limit, offset)]
        assert keys == ["c", "a", "e", "d", "b"]
    monkeypatch.setattr(sessions, "MAX_PINNED", 2)
    assert await as_alice.refused("PATCH", "/api/v1/sessions/b", {"pinned": True}) == (409, "too_many_pinned")
    await as_alice.ok("PATCH", "/api/v1/sessions/a", {"pinned": True})
    await as_alice.ok("PATCH", "/api/v1/sessions/a", {"pinned": False})
    assert await listed(as_alice, 10, 0) == ["c", "e", "d", "b", "a"]


async def listed(http: Http, limit: int, offset: int) -> list[str]:
    page = await http.ok("GET", f"/api/v1/sessions?limit={limit}&offset={offset}")
    assert page["total"] == 5
    return [session["id"] for session in page["sessions"]]


async def exported(user: User, path: str) -> tuple[Any, str]:
    client = Client()
    await in_thread(client.force_login)(user)
    answer: Any = await in_thread(client.get)(path)
    if not answer.streaming:
        return answer, answer.content.decode()
    parts = [part async for part in answer.streaming_content]
    return answer, b"".join(parts).decode()


async def test_a_session_is_exported_whole_a_page_at_a_time(
    alice: User, bob: User, loop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(alice)
    await in_thread(_converse)(session)
    title = 'Tests: "a/b"\n— тест'
    await in_thread(partial(change_session, title=title))(session.pk)
    fence = await in_thread(Message.objects.filter(role=MessageRole.TOOL).first)()
    assert fence
    await in_thread(Message.objects.filter(pk=fence.pk).update)(content="````\n# not a heading")
    monkeypatch.setattr(export, "PAGE_MESSAGES", 2)
    answer, text = await exported(alice, "/api/v1/sessions/s/export?format=json")
    whole = json.loads(text)
    assert answer["Content-Type"] == "application/json"
    assert answer["Content-Disposition"].startswith('attachment; filename="Tests a b _ _.json"; filename*=UTF-8')
    assert whole["session"]["title"] == title
    stored = await rows(lambda: list(session.messages.order_by("number").values_list("role", "content")))
    assert [(message["role"], message["content"]) for message in whole["messages"]] == stored

    answer, text = await exported(alice, "/api/v1/sessions/s/export")
    assert answer["Content-Type"] == "text/markdown; charset=utf-8"
    assert text.startswith('# Tests: "a/b" — тест\n\nSession `s`, agent coder')
    assert re.findall(r"^\*\*Call of (\w+)\*\*$", text, re.MULTILINE)[:2] == ["read_file", "write_file"]
    assert "`````\n````\n# not a heading\n`````" in text
    for path, status in (("s/export?format=html", 400), ("none/export", 404)):
        assert (await exported(alice, f"/api/v1/sessions/{path}"))[0].status_code == status
    assert (await exported(bob, "/api/v1/sessions/s/export"))[0].status_code == 404

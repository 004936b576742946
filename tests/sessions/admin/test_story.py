"""A story tells everything that happened to a session, in order; time travel shows it as it was."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from llm.types import CallOutcome, ModelMessage, ModelRequest
from llm.wire.requests import build_pieces
from sessions.admin.story.entry import cut_arguments
from sessions.admin.story.past import read_events, session_at
from sessions.admin.story.rows import MAX_TEXT_CHARACTERS
from sessions.api.websocket.snapshot import snapshot
from sessions.events import compaction
from sessions.models import Event, EventKind, Message, ModelCall, PromptPiece, Session, Turn, Via, new_id
from sessions.results import ToolOutput
from sessions.turns import approvals, attempts, inbox, recovery, retries, tool_calls
from sessions.turns.current_agent import choose_agent
from tests.sessions.admin.test_admin import NASTY, body, conversation_path, path_of, signed_in
from tests.sessions.calls import write_call
from tests.sessions.story import begin, claim, model_call, step, stream

DIFF = "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-old\n+new\n"


@pytest.fixture(scope="module", autouse=True)
def _urls() -> None:
    """Import all URLs before the first request: transactions that lock a session, as here, have 0.7 s."""
    reverse("admin:index")


@pytest.fixture
def operator(db: None) -> Client:
    return signed_in(User.objects.create_superuser("operator", password="a long password of the operator"))


def sent_call(text: str, **fields: Any) -> Any:
    """A call of a model that was sent this."""
    request = ModelRequest(model="scripted", messages=(ModelMessage(role="user", content=text),))
    return replace(model_call(**fields), sent=build_pieces(request))


def eventful(session: Session, operator: User) -> Turn:
    """A turn with a switch, an edited call, a wait for the provider, a lost worker and a failure."""
    choose_agent(session.pk, "coder")
    held = begin(session, f"Mend it {NASTY}")
    tool_calls.request_tools(held, step("I change a file.", sent_call("one", cost=1)), [write_call("c1")])
    edit = {"path": "b.txt", "content": "new"}
    approvals.decide(session.pk, "c1", approvals.Decision(approve=True, arguments=edit, by=operator.pk, via=Via.ADMIN))
    facts = {"diff": DIFF, "sha256_before": "a" * 64, "sha256_after": "b" * 64}
    tool_calls.record_output(session.pk, "c1", ToolOutput(text='{"ok": true}', failed=False, has_run=True, facts=facts))
    limited = model_call(outcome=CallOutcome.FAILED, error_code="model_rate_limited")
    retries.put_off(claim(held.turn_id), step("", limited), error_code="model_rate_limited", seconds=60)
    Turn.objects.update(retry_at=None)
    claim(held.turn_id)
    Turn.objects.update(lease_expires_at=Turn.objects.get().created_at - timedelta(minutes=1))
    recovery.recover(held.turn_id)
    words = f"temperature does not support 0.2 {NASTY}"
    failed = replace(sent_call("two", outcome=CallOutcome.FAILED, error_code="model_refused"), detail=words)
    attempts.fail(claim(held.turn_id), code="model_refused", text="It was refused.", result=step("Half", failed))
    return Turn.objects.get()


def test_a_story_says_what_happened_in_order(operator: Client, session: Session) -> None:
    user = User.objects.get(username="operator")
    turn = eventful(session, user)
    told = [
        *("orchestrator → coder", "Mend it", "Attempt 1 began", "m answers"),
        *("Exact prompt, 1 message<", "$1", "I change a file.", "write_file needs approval", "waits for results"),
        *(
            "Approval of write_file",
            "operator",
            "admin",
            "Changed to",
            "write_file ended",
            "+new",
            "all results are in",
            "Attempt 2 began",
        ),
        *("model_rate_limited", "Waits: the provider asks for it", "Attempt 3 began", "lost", "Recovered"),
        *("Attempt 4 began", "does not support 0.2", "Half", "The turn failed", "It was refused."),
    ]
    page = body(operator, conversation_path(session))
    story = page[page.index('class="story"') :]
    place = 0
    for words in told:
        place = story.lower().find(words.lower(), place)
        assert place >= 0, words
    assert "<script>alert" not in page
    assert "\x1b" not in page

    own = body(operator, path_of("turn", f"{turn.pk}/change/"))
    for words in (*told[1:], f"modelcall/?q={turn.pk}", f"toolcall/?q={turn.pk}", f"approval/?q={turn.pk}"):
        assert words.lower() in own.lower(), words
    assert "<script>alert" not in own


def test_the_page_of_a_prompt_needs_its_permission(operator: Client, session: Session) -> None:
    text = f"My key is sk-verysecret {NASTY}"
    held = begin(session)
    attempts.complete(held, step("Yes.", sent_call("one")))
    held = begin(session)
    attempts.complete(held, step(f"No. {NASTY}", sent_call(text)))
    call = ModelCall.objects.latest("pk")
    page = body(operator, path_of("modelcall", f"{call.pk}/prompt/"))
    assert "Proven:" in page
    assert "My key is sk-verysecret &lt;script&gt;" in page
    assert "No. &lt;script&gt;" in page
    for each in ("<script>alert", "\x1b", "\u202e"):
        assert each not in page
    raw = operator.get(path_of("modelcall", f"{call.pk}/prompt/?raw"))
    assert json.loads(raw.content)["messages"] == [{"role": "user", "content": text}]

    staff = User.objects.create_user("staff", password="a long password of staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__startswith="view_").exclude(codename="view_prompts"))
    client = signed_in(staff)
    assert client.get(path_of("modelcall", f"{call.pk}/prompt/")).status_code == 403
    assert "prompt/" not in body(client, path_of("modelcall", f"{call.pk}/change/"))
    assert "sk-verysecret" not in body(client, conversation_path(session))
    staff.user_permissions.add(Permission.objects.get(codename="view_prompts"))
    assert "sk-verysecret" in body(client, path_of("modelcall", f"{call.pk}/prompt/"))

    PromptPiece.objects.filter(text__contains="verysecret").update(text='{"role":"user"}')
    assert "Not proven:" in body(operator, path_of("modelcall", f"{call.pk}/prompt/"))
    assert operator.get(path_of("modelcall", f"{call.pk}/prompt/?raw")).status_code == 404


def test_time_travel_shows_the_session_as_it_was(
    operator: Client, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "READERS_GRACE", timedelta(0))
    then: list[dict[str, Any]] = [snapshot(session.pk)]
    held = begin(session, "First")
    message_id = new_id()
    for words in ("A long ", "answer " * 20, "in pieces"):
        stream(held, message_id, words)
        then.append(snapshot(session.pk))
    attempts.complete(held, replace(step("A long " + "answer " * 20 + "in pieces"), message_id=message_id))
    then.append(snapshot(session.pk))
    waiting = begin(session, "Second")
    tool_calls.request_tools(waiting, step("Look."), [write_call("c1")])
    queued = inbox.accept_message(session.pk, "Third")
    then.append(snapshot(session.pk))
    inbox.edit_message(session.pk, queued.message_id, "Third, edited")
    edited = snapshot(session.pk)
    decision = approvals.Decision(approve=True, arguments={"path": "b"}, by=session.owner_id, via=Via.REST)
    approvals.decide(session.pk, "c1", replace(decision, arguments={"path": "b.txt", "content": "y"}))
    then += [edited, snapshot(session.pk)]
    compaction.compact(held.turn_id)

    session.refresh_from_db()
    for expected in then:
        at = expected["number"]
        state = session_at(session, at, read_events(session, at))
        seen = [{name: each[name] for name in each if name != "number"} for each in state.ordered_messages()]
        assert seen == expected["messages"], at
        assert state.open_turns() == expected["turns"], at
        assert list(state.texts.values()) == expected["texts"], at
        calls = [{name: each[name] for name in each if name != "number"} for each in state.calls.values()]
        assert calls == expected["tool_calls"], at

    number = edited["number"]
    page = body(operator, path_of("session", f"{session.pk}/past/?at={number}"))
    for words in ("Third, edited", "write_file needs approval", "waiting, attempt 1", f"?at={number - 1}"):
        assert words in page
    assert "Third, edited" not in body(operator, path_of("session", f"{session.pk}/past/?at={number - 1}"))
    assert "none open" in body(operator, path_of("session", f"{session.pk}/past/?at=0"))
    for odd in ("", "?at=x", "?at=99999999999999999999999", f"?at={session.last_number + 5}"):
        assert "Third, edited" in body(operator, path_of("session", f"{session.pk}/past/{odd}"))


def test_10_000_events_take_few_queries(
    operator: Client, session: Session, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    turns = [
        Turn(id=new_id(), session=session, position=20 * n + 2, status="completed", finished_at=session.created_at)
        for n in range(500)
    ]
    Turn.objects.bulk_create(turns)
    events, messages = [], []
    for turn in turns:
        for place in range(20):
            number, message_id = turn.position - 1 + place, new_id()
            payload = {"turn_id": str(turn.pk), "message_id": str(message_id), "role": "user", "content": "Hello"}
            kind = EventKind.MESSAGE_ADDED
            if place == 1:
                kind = EventKind.TURN_QUEUED
            elif place == 2:
                kind, payload = EventKind.TURN_STARTED, {**payload, "attempt": 1, "model": "m", "replaces": []}  # type: ignore[dict-item]
            elif place == 19:
                kind = EventKind.TURN_COMPLETED
            else:
                messages.append(
                    Message(id=message_id, session=session, turn=turn, role="user", content="Hello", number=number)
                )
            events.append(Event(session=session, turn=turn, number=number, kind=kind, payload=payload))
    Message.objects.bulk_create(messages)
    Event.objects.bulk_create(events)
    ModelCall.objects.bulk_create(
        ModelCall(
            turn=turn,
            session=session,
            attempt=1,
            step=0,
            outcome="ok",
            started_at=session.created_at,
            duration=timedelta(seconds=1),
        )
        for turn in turns
    )
    Session.objects.filter(pk=session.pk).update(last_number=10_000)
    pages = {
        "story": conversation_path(session),
        "an earlier part": conversation_path(session) + "?before=5000",
        "turn": path_of("turn", f"{turns[250].pk}/change/"),
        "time travel": path_of("session", f"{session.pk}/past/?at=9990"),
    }
    seconds = {}
    for name, path in pages.items():
        with django_assert_max_num_queries(12):
            started = time.process_time()
            page = body(operator, path)
            seconds[name] = time.process_time() - started
        assert "Hello" in page, name
    # Of processor time, which a busy machine does not change. Measured: 0.05 to 0.35.
    assert max(seconds.values()) < 2, seconds


def test_rows_of_a_newer_version_are_shown_as_they_are(operator: Client, session: Session) -> None:
    held = begin(session, "Hi")
    attempts.complete(held, step("Hello", model_call()))
    with connection.cursor() as cursor:
        # As the migrations of the next version do, before its processes start.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE agent_sessions_event DROP CONSTRAINT event_kind_known")
        cursor.execute("ALTER TABLE agent_sessions_modelcall DROP CONSTRAINT model_call_purpose_known")
    Event.objects.filter(kind=EventKind.TURN_COMPLETED).update(kind="turn_paused")
    ModelCall.objects.update(purpose="judging")
    page = body(operator, conversation_path(session))
    assert "Turn paused" in page
    assert "judging" in page
    body(operator, path_of("turn", f"{held.turn_id}/change/"))
    body(operator, f"{path_of('session', f'{session.pk}/past/')}")


def test_long_arguments_are_cut_before_they_are_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    laid_out: list[int] = []

    def lay_out(text: str) -> str:
        laid_out.append(len(text))
        return text

    monkeypatch.setattr("sessions.admin.display.show_hidden", lay_out)
    text = cut_arguments("Calls write_file", {"content": "x" * 1_000_000, "parts": [{"text": "y" * 30_000}]})
    assert sum(laid_out) < 4 * MAX_TEXT_CHARACTERS
    assert len(text.text) == MAX_TEXT_CHARACTERS
    assert text.hidden_characters > 1_000_000
    assert cut_arguments("Calls", "not an object").text == "not an object"

"""The admin shows everything, changes nothing, and needs few queries for any number of rows."""

from __future__ import annotations

import math
import re
import uuid
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote as quote_url

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from llm.types import ModelToolCall
from sessions.admin.story.rows import MAX_TEXT_CHARACTERS
from sessions.events import compaction, log
from sessions.events.log import Addition, NewEvent
from sessions.models import (
    Approval,
    Completion,
    Event,
    EventKind,
    Message,
    ModelCall,
    Session,
    ToolCall,
    Turn,
    Worker,
    new_id,
)
from sessions.models import Workspace as WorkspaceRow
from sessions.protocol.workspace import Workspace
from sessions.results import StepResult
from sessions.turns import attempts, completions, inbox, tool_calls
from sessions.turns.completions import CompletionRequest
from sessions.turns.deletion import delete_marked_sessions
from sessions.turns.sessions import open_session
from sessions.turns.workspaces import set_workspace
from tests.sessions import story
from tests.sessions.calls import write_call
from tests.sessions.story import step, stream

LISTS = ("session", "turn", "message", "toolcall", "modelcall", "event", "worker")
NASTY = "<script>alert(1)</script>\x1b[31m\u202e'\"&"


@pytest.fixture(scope="module", autouse=True)
def _urls() -> None:
    """Import all URLs before the first request: transactions that lock a session, as here, have 0.7 s."""
    reverse("admin:index")


@pytest.fixture
def operator(db: None) -> Client:
    return signed_in(User.objects.create_superuser("operator", password="a long password of the operator"))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


claim = partial(story.claim, worker=f"worker {NASTY}", model=f"model {NASTY}")


def converse(owner: User, key: str, *, turns: int = 1) -> Session:
    """Create a session; per round, a tool call with an answer, and a failure after half an answer."""
    session = open_session(owner.pk, key)
    for number in range(turns):
        accepted = inbox.accept_message(session.pk, f"question {number} {NASTY}")
        call = ModelToolCall(id=f"call{number}", name="search_in_code", arguments={"query": NASTY})
        tool_calls.request_tools(claim(accepted.turn_id), step("let me look"), [call])
        tool_calls.record_tool_result(session.pk, call.id, content=f'"result {NASTY}"', failed=False)
        attempts.complete(claim(accepted.turn_id), step(f"answer {number}"))
        failing = inbox.accept_message(session.pk, "and then?")
        attempts.fail(claim(failing.turn_id), code="model_cut", text=f"failed {NASTY}", result=step("half an answer"))
    alive = {"started_at": session.created_at, "seen_at": timezone.now()}
    Worker.objects.get_or_create(name=f"worker {NASTY}", defaults=alive)
    return session


def path_of(name: str, rest: str = "") -> str:
    return f"/admin/agent_sessions/{name}/{rest}"


def conversation_path(session: Session) -> str:
    return path_of("session", f"{session.pk}/conversation/")


def body(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return response.content.decode()


@pytest.mark.parametrize("name", LISTS)
def test_a_list_needs_no_more_queries_for_many_sessions(
    operator: Client, alice: User, name: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        converse(alice, f"session {number}", turns=4)

    with django_assert_max_num_queries(9):
        page = body(operator, path_of(name))

    assert "<script>alert" not in page
    assert "\x1b" not in page


@pytest.mark.parametrize("name", LISTS)
def test_the_page_of_a_row_is_read_only(operator: Client, alice: User, name: str) -> None:
    converse(alice, f"session {NASTY}")
    models: dict[str, Any] = dict(zip(LISTS, (Session, Turn, Message, ToolCall, ModelCall, Event, Worker), strict=True))
    for row in models[name].objects.all():
        # The admin quotes some characters of a worker's name in paths.
        pk = "".join(f"_{ord(c):02X}" if c in ':/_#?;@&=+$,"[]<>%\n\\' else c for c in str(row.pk))
        page = body(operator, path_of(name, f"{pk}/change/"))
        assert "<script>alert" not in page
        assert 'name="_save"' not in page
        assert operator.post(path_of(name, f"{pk}/change/"), {"key": "changed"}).status_code == 403
        if name != "session":
            assert operator.post(path_of(name, f"{pk}/delete/"), {"post": "yes"}).status_code == 403
    assert operator.get(path_of(name, "add/")).status_code == 403


def test_a_conversation_reads_from_top_to_bottom(operator: Client, alice: User) -> None:
    page = body(operator, conversation_path(converse(alice, "notes")))

    parts = ("question 0", "let me look", "search_in_code", "result &lt;script", "answer 0", "half an answer")
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    assert "interrupted" in page
    assert "model_cut" in page
    assert "60 in, 8 out" in page


def test_a_cancelled_turn_shows_its_partial_answer(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "cancelled")
    held = claim(inbox.accept_message(session.pk, "Hi").turn_id)
    said = {"turn_id": str(held.turn_id), "message_id": str(new_id()), "text": "half a word"}
    delta = NewEvent(kind=EventKind.TEXT_DELTA, turn_id=held.turn_id, payload=said, attempt=held.attempt)
    shown = Addition(session_id=session.pk, turn_id=held.turn_id, attempt=held.attempt, events=(delta,))
    log.append_all([shown])
    attempts.cancel(session.pk, held.turn_id)

    conversation = body(operator, conversation_path(session))
    places = [conversation.index(part) for part in ("state-cancelled", "state-interrupted", "half a word")]
    assert places == sorted(places)

    partial = body(operator, path_of("message", f"{said['message_id']}/change/"))
    assert "half a word" in partial
    assert "state-cancelled" in partial
    assert "The model failed" not in partial


def test_the_page_of_a_message_shows_the_id_its_client_gave_it(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "ids")
    accepted = inbox.accept_message(session.pk, "Hi", client_message_id=f"mine {NASTY}")

    page = body(operator, path_of("message", f"{accepted.message_id}/change/"))

    assert "client message id" in page.lower()
    assert "mine &lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "\x1b" not in page


def test_the_page_of_a_request_shows_its_images_shortened(operator: Client, alice: User) -> None:
    url = f"data:image/png;base64,{'A' * 4000}"
    row = {"role": "user", "content": "See", "images": [{"url": url, "detail": "low", "at": 0}]}
    completions.accept(alice.pk, CompletionRequest(model="scripted", messages=[row]))
    page = operator.get(reverse("admin:agent_sessions_completion_change", args=[Completion.objects.get().pk]))
    text = page.content.decode()
    assert "data:image/png" in text
    assert "low" in text
    assert url not in text


def test_a_workspace_has_a_page_and_its_session_leads_there(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "at work")
    rules = [{"path": f"AGENTS{NASTY}.md", "text": f"Use tabs.\n{NASTY}"}]
    facts = {"name": f"shop {NASTY}", "git": {"branch": NASTY, "status": NASTY}, "instructions": rules}
    set_workspace(session.pk, Workspace.model_validate(facts))
    attempts.complete(claim(inbox.accept_message(session.pk, "Hi").turn_id), step("Hello"))
    row = WorkspaceRow.objects.get()
    pages = {
        "the list": body(operator, path_of("workspace")),
        "its own page": body(operator, path_of("workspace", f"{row.pk}/change/")),
        "the session": body(operator, path_of("session", f"{session.pk}/change/")),
        "the conversation": body(operator, conversation_path(session)),
        "the message": body(operator, path_of("message", f"{session.messages.earliest('number').pk}/change/")),
    }
    for name, page in pages.items():
        assert "<script>alert" not in page, name
        assert "\x1b" not in page, name
        assert "\u202e" not in page, name
        assert ("shop &lt;script&gt;" in page) is (name != "the message"), name
    for name in ("the session", "the conversation"):
        assert path_of("workspace", f"{row.pk}/change/") in pages[name]
    for name in ("the conversation", "the message"):
        assert "&lt;workspace_now&gt;" in pages[name]
    assert "Use tabs.\n" in pages["its own page"]
    assert conversation_path(session) in pages["its own page"]
    assert operator.post(path_of("workspace", f"{row.pk}/change/"), {"hash": "x"}).status_code == 403


def test_text_of_users_and_models_is_escaped(operator: Client, alice: User) -> None:
    page = body(operator, conversation_path(converse(alice, f"notes {NASTY}")))

    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "␛[31m⟨U+202E⟩" in page


def test_a_long_conversation_has_pages_and_opens_at_its_end(
    operator: Client, alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    session = open_session(alice.pk, "long")
    now = timezone.now()
    turns = [Turn(session=session, position=n, status="completed", finished_at=now) for n in range(2, 2502)]
    Turn.objects.bulk_create(turns)
    Message.objects.bulk_create(
        Message(session=session, turn=turn, role="user", content=f"[{turn.position}]", number=turn.position)
        for turn in turns
    )
    Event.objects.bulk_create(
        Event(session=session, turn=turn, number=turn.position, kind=EventKind.MESSAGE_ADDED) for turn in turns
    )

    with django_assert_max_num_queries(8):
        newest = body(operator, conversation_path(session))

    assert "[2501]" in newest
    assert "[2302]" in newest
    assert "[2301]" not in newest
    assert "?before=2302" in newest
    assert "[2301]" in body(operator, conversation_path(session) + "?before=2302")
    oldest = body(operator, conversation_path(session) + "?after=0")
    assert "[2]" in oldest
    assert "?after=201" in oldest
    assert "[2501]" in body(operator, conversation_path(session) + "?before=99999999999999")
    assert "[2501]" in body(operator, conversation_path(session) + "?before=-1&after=x")


def test_an_event_shows_a_text_that_only_its_message_has(
    operator: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "READERS_GRACE", timedelta(0))
    session = open_session(alice.pk, "compacted")
    held, message_id, text = claim(inbox.accept_message(session.pk, "Hi").turn_id), new_id(), "a word " * 20
    stream(held, message_id, *text)
    attempts.complete(held, StepResult(message_id=message_id, text=text))
    compaction.compact(held.turn_id)
    pieces = Event.objects.get(session=session, kind=EventKind.TEXT_DELTA)
    assert "text" not in pieces.payload
    page = body(operator, path_of("event", f"{pieces.pk}/change/"))
    assert text in page
    assert "from_message" not in page


def test_a_very_long_text_is_cut_and_says_so(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "long text")
    inbox.accept_message(session.pk, "x" * (MAX_TEXT_CHARACTERS + 123))

    assert "123 more characters" in body(operator, conversation_path(session))


@pytest.mark.parametrize("name", LISTS[:-1])
def test_search_finds_by_id_key_and_owner(operator: Client, alice: User, bob: User, name: str) -> None:
    session = converse(alice, "notes of alice")
    converse(bob, "others")
    found = path_of("session", f"{session.pk}/")
    terms: list[object] = ["alice", "of ali", "ALICE"]
    if name != "toolcall":
        terms.append(session.pk)

    for term in terms:
        page = body(operator, path_of(name, f"?q={term}"))
        assert found in page, term
        assert "others" not in page, term
    assert found not in body(operator, path_of(name, "?q=nothing%20like%20it"))
    assert found not in body(operator, path_of(name, f"?q={new_id()}"))


def test_filters_narrow_a_list(operator: Client, alice: User) -> None:
    converse(alice, "notes")

    assert "model_cut" in body(operator, path_of("turn", "?error_code=model_cut&created=hour&status__exact=failed"))
    assert "0 turns" in body(operator, path_of("turn", "?error_code=other"))
    turn = Turn.objects.earliest("position")
    events = body(operator, path_of("event", f"?session={turn.session_id}&turn={turn.pk}"))
    assert f"{turn.events.count()} events" in events


def test_the_filter_by_age_goes_by_the_time_in_the_id(operator: Client, alice: User) -> None:
    session = converse(alice, "notes")
    old = uuid.UUID(int=int((timezone.now() - timedelta(hours=2)).timestamp() * 1000) << 80 | 7 << 76)
    Turn.objects.create(id=old, session=session, position=99, status="completed", finished_at=timezone.now())

    assert str(old) in body(operator, path_of("turn", "?created=day"))
    assert str(old) not in body(operator, path_of("turn", "?created=hour"))


def test_only_a_superuser_deletes_a_session_and_never_one_with_open_turns(operator: Client, alice: User) -> None:
    session = converse(alice, "notes")
    at_work = open_session(alice.pk, "at work")
    inbox.accept_message(at_work.pk, "Hi")

    confirmation = body(operator, path_of("session", f"{session.pk}/delete/"))
    assert "Events" in confirmation.title()
    operator.post(path_of("session", f"{session.pk}/delete/"), {"post": "yes", "reason": "  "})
    assert Session.objects.count() == 2
    for row in (session, at_work):
        operator.post(path_of("session", f"{row.pk}/delete/"), {"post": "yes", "reason": "asked by\0Alice"})
    entry = LogEntry.objects.get(object_id=str(session.pk))
    assert (entry.user.username, entry.change_message) == ("operator", "Deleted. Reason: asked by Alice")
    assert entry.object_repr == f"session {session.pk}", "the title is the user's words"
    assert "asked by Alice" in body(operator, reverse("admin:admin_logentry_changelist"))

    assert list(Session.objects.all()) == [at_work]
    delete_marked_sessions(math.inf)
    assert not Event.objects.filter(session_id=session.pk).exists()

    staff = User.objects.create_user("staff", password="a long password of staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(content_type__app_label="agent_sessions"))
    assert signed_in(staff).post(path_of("session", f"{at_work.pk}/delete/"), {"post": "yes"}).status_code == 403


def test_staff_see_only_what_their_permissions_allow(alice: User) -> None:
    session = converse(alice, "notes")
    staff = User.objects.create_user("staff", password="a long password of staff", is_staff=True)
    client = signed_in(staff)
    for name in LISTS:
        assert client.get(path_of(name)).status_code == 403
    staff.user_permissions.add(
        Permission.objects.get(codename="view_session", content_type__app_label="agent_sessions")
    )
    client = signed_in(staff)

    # The title of a session is the beginning of its first message.
    assert "question 0" in body(client, path_of("session"))
    assert client.get(conversation_path(session)).status_code == 403
    staff.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    assert "answer 0" in body(signed_in(staff), conversation_path(session))


def test_users_who_are_not_staff_are_sent_to_sign_in(alice: User) -> None:
    session = open_session(alice.pk, "notes")

    for client in (Client(), signed_in(alice)):
        response = client.get(conversation_path(session))
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")


def test_an_unknown_conversation_is_not_found(operator: Client) -> None:
    assert operator.get(path_of("session", f"{new_id()}/conversation/")).status_code == 404


def test_an_operator_answers_a_pending_approval_once(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "approvals")
    held = claim(inbox.accept_message(session.pk, "write").turn_id)
    tool_calls.request_tools(held, step(""), [write_call("w")])
    approval = Approval.objects.get()
    page = body(operator, reverse("admin:agent_sessions_approval_changelist"))
    assert "write_file" in page
    for status in ("approved", "approved"):
        form = {"action": "approve", "_selected_action": [str(approval.pk)]}
        answer = operator.post(reverse("admin:agent_sessions_approval_changelist"), form, follow=True)
        assert answer.status_code == 200
        approval.refresh_from_db()
        assert (approval.status, approval.via) == (status, "admin")
    assert "does not wait for a decision" in answer.content.decode()


def test_staff_with_view_permissions_only_cannot_answer_approvals(alice: User) -> None:
    session = open_session(alice.pk, "approvals")
    held = claim(inbox.accept_message(session.pk, "write").turn_id)
    tool_calls.request_tools(held, step(""), [write_call("w")])
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    browser = Client()
    browser.force_login(clerk)
    form = {"action": "approve", "_selected_action": [str(Approval.objects.get().pk)]}
    browser.post(reverse("admin:agent_sessions_approval_changelist"), form)
    assert Approval.objects.get().status == "pending"


@pytest.mark.parametrize("name", LISTS)
def test_times_are_exact_and_durations_make_sense(operator: Client, alice: User, name: str) -> None:
    converse(alice, "times")
    ToolCall.objects.update(finished_at=F("created_at") - timedelta(microseconds=400))
    models: dict[str, Any] = dict(zip(LISTS, (Session, Turn, Message, ToolCall, ModelCall, Event, Worker), strict=True))
    row = quote(str(models[name].objects.first().pk))
    for page in (body(operator, path_of(name)), body(operator, path_of(name, f"{row}/change/"))):
        assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", page)
        assert not re.search(r"[ap]\.m\.|noon|midnight", page)
        assert not re.search(r"[>\s-]0(\.0)? m?s\b", page)
        assert "-1 day" not in page


def test_search_finds_words_of_titles_and_messages(operator: Client, alice: User) -> None:
    session = converse(alice, "notes")
    converse(alice, "others", turns=1)
    found = path_of("session", f"{session.pk}/")
    for term in ("question 0", "ANSWER", "look let"):
        assert found in body(operator, path_of("session", f"?q={term}")), term
    for term in ("absent words", "zz & | !(", "a:*'"):
        assert found not in body(operator, path_of("session", f"?q={quote_url(term)}")), term

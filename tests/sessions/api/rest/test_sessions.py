"""Sessions over REST, parsed as the original's editor and benchmark client parse them; only their owner sees them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from llm.types import ModelToolCall
from sessions.api.rest.sessions import takes_over
from sessions.database import in_thread
from sessions.errors import StaleAttempt
from sessions.events import log
from sessions.events.log import LoggedEvent
from sessions.models import Approval, Event, EventKind, Message, ModelCall, Session, ToolCall, Turn
from sessions.turns import attempts, inbox, tool_calls
from sessions.turns.current_agent import choose_agent
from sessions.turns.deletion import delete_marked_sessions
from tests.clients import benchmark, editor
from tests.sessions.api.rest.conftest import Http, opened, rows
from tests.sessions.calls import read_call, write_call
from tests.sessions.story import begin, claim, request, step

pytestmark = pytest.mark.django_db(transaction=True)

ONE = "/api/v1/sessions/s"


async def test_a_session_is_made_without_a_body_and_read_back_flat(as_alice: Http) -> None:
    made = await as_alice.ok("POST", "/api/v1/sessions")
    key = benchmark.created_session(made)
    assert editor.session(made)["message_count"] == 0
    shown = editor.session(await as_alice.ok("GET", f"/api/v1/sessions/{key}"))
    assert shown["id"] == key
    assert editor.session_list(await as_alice.ok("GET", "/api/v1/sessions"))[0]["id"] == key


def test_who_waits_for_an_answer_follows_a_steered_message_and_bears_a_summary() -> None:
    queued = LoggedEvent(uuid4(), 5, EventKind.TURN_QUEUED, {"turn_id": "t", "messages": ["m"]})
    assert takes_over(queued, "m")
    assert not takes_over(queued, "n")
    assert not takes_over(replace(queued, payload={"turn_id": "t"}), "m")
    assert not takes_over(replace(queued, kind=EventKind.SUMMARY_ADDED, payload={"turn_id": "t", "messages": 4}), "m")


async def test_the_title_is_the_beginning_of_the_first_message(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    await in_thread(inbox.accept_message)(session.pk, "Почини  тесты,\nпожалуйста. " + "x" * 500)
    await in_thread(inbox.accept_message)(session.pk, "And another thing.")
    title = editor.session(await as_alice.ok("GET", ONE))["title"]
    assert title.startswith("Почини тесты, пожалуйста. xxx")
    assert len(title) == 200
    assert title.endswith("…")


async def test_a_session_gets_another_title_and_mode_and_followers_are_told(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    shown = editor.session(await as_alice.ok("PATCH", ONE, {"title": "Tests"}))
    assert (shown["title"], shown["message_count"]) == ("Tests", 0)
    assert (await as_alice.ok("PATCH", ONE, {"mode": "auto-edit", "more": 1}))["mode"] == "auto-edit"
    await as_alice.ok("PATCH", ONE, {"mode": "auto-edit", "title": None})
    events = await in_thread(log.since)(session.pk, 0)
    assert [(event.kind, event.payload) for event in events] == [
        ("session_changed", {"title": "Tests", "mode": "ask"}),
        ("session_changed", {"title": "Tests", "mode": "auto-edit"}),
    ]
    for body in ({"title": ""}, {"title": "x" * 201}, {"mode": "yolo"}, {"title": 1}):
        assert await as_alice.refused("PATCH", ONE, body) == (400, "invalid_field")
    assert await as_alice.refused("PATCH", ONE, {"title": "\x00"}) == (400, "invalid_text")


async def test_a_page_has_the_total_of_all(as_alice: Http, alice: User, bob: User) -> None:
    for key in "abcde":
        await opened(alice, key)
    await opened(bob, "bobs")
    keys: list[str] = []
    for offset in (0, 2, 4):
        page = await as_alice.ok("GET", f"/api/v1/sessions?limit=2&offset={offset}")
        assert (page["total"], page["limit"], page["offset"]) == (5, 2, offset)
        keys += [session["id"] for session in editor.session_list(page)]
    assert keys == ["e", "d", "c", "b", "a"]
    assert (await as_alice.ok("GET", "/api/v1/sessions?offset=99999999999999999999"))["sessions"] == []


@pytest.mark.parametrize(
    ("query", "limit", "offset", "count"),
    [
        ("limit=0", 1, 0, 1),
        ("limit=-7", 1, 0, 1),
        ("limit=5000", 1000, 0, 3),
        ("offset=-1", 100, 0, 3),
        ("offset=3", 100, 3, 0),
        ("limit=99999999999999999999&offset=-99999999999999999999", 1000, 0, 3),
    ],
)
async def test_a_number_outside_of_its_range_counts_as_the_nearest_one(
    as_alice: Http, alice: User, query: str, *, limit: int, offset: int, count: int
) -> None:
    for key in "abc":
        await opened(alice, key)
    page = await as_alice.ok("GET", f"/api/v1/sessions?{query}")
    assert (page["limit"], page["offset"], len(page["sessions"]), page["total"]) == (limit, offset, count, 3)
    for path in ("events/metrics/sessions", "events/metrics/session/a", "events/audit-log", "sessions/a/history"):
        await as_alice.ok("GET", f"/api/v1/{path}?{query}")


@pytest.mark.parametrize("query", ["limit=x", "limit=", "offset=1.5", "limit=NaN", "offset=1e999", "limit=a%00b"])
async def test_what_is_no_number_is_refused(as_alice: Http, query: str) -> None:
    assert await as_alice.refused("GET", f"/api/v1/sessions?{query}") == (400, "invalid_field")


@pytest.mark.parametrize("path", ["", "/history", "/pending-approvals", "/events", "/queue", "/settings"])
async def test_a_name_with_a_nul_is_refused_as_a_value(as_alice: Http, path: str) -> None:
    assert await as_alice.refused("GET", f"/api/v1/sessions/a%00b{path}") == (400, "invalid_text")


def _converse(session: Session) -> None:
    held = request(session, read_call("r", "a.txt"), write_call("w"), text="Let me look.")
    tool_calls.record_tool_result(session.pk, "r", content='{"success": true}', failed=False)
    tool_calls.record_tool_result(session.pk, "w", content="Error: User rejected: no", failed=True)
    over = ModelToolCall(id="m", name="attempt_completion", arguments={"result": "Done."})
    tool_calls.request_tools(claim(held.turn_id), step(), [over])
    choose_agent(session.pk, "coder", reason="I want code.")


async def test_history_has_tools_agents_and_who_answers(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    await in_thread(_converse)(session)
    shown = editor.history(await as_alice.ok("GET", f"{ONE}/history"))
    asked, read, wrote = shown["messages"][1:4]
    assert [(call["id"], call["name"]) for call in asked["tool_calls"]] == [("r", "read_file"), ("w", "write_file")]
    assert asked["tool_calls"][0]["arguments"] == {"path": "a.txt"}
    assert (read["role"], read["name"], read["tool_call_id"]) == ("tool", "read_file", "r")
    assert (wrote["name"], wrote["content"]) == ("write_file", "Error: User rejected: no")
    assert shown["messages"][-1]["content"] == "Done."
    assert shown["current_agent"] == "coder"
    last = shown["agent_history"][-1]
    assert (last["to"], last["reason"]) == ("coder", "I want code.")
    assert shown["agent_history"][0]["from"] == "orchestrator"


async def test_the_agent_that_answers_already_is_no_switch(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    for _ in range(2):
        await in_thread(choose_agent)(session.pk, "coder", reason="I want code.")
    await as_alice.ok("POST", "/api/v1/agents/s/switch", {"target_agent": "coder"})

    again = (await in_thread(list)(session.events.order_by("number")))[-1]
    assert (again.kind, again.payload["from_agent"], again.payload["to_agent"]) == ("agent_switched", "coder", "coder")
    current = await as_alice.ok("GET", "/api/v1/agents/s/current")
    assert current["switch_count"] == 1
    assert current["context"]["last_switch_at"] == current["agent_history"][0]["timestamp"]
    assert [each["to"] for each in editor.history(await as_alice.ok("GET", f"{ONE}/history"))["agent_history"]] == [
        "coder"
    ]
    metrics = (await as_alice.ok("GET", "/api/v1/events/metrics"))["metrics"]
    assert metrics["agent_switches"] == {"orchestrator_to_coder": 1}


async def test_deleting_a_session_stops_its_turns_and_leaves_nothing(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    await in_thread(_converse)(session)
    held = await in_thread(request)(session, write_call("open"))
    await in_thread(inbox.accept_message)(session.pk, "And then?")
    gone = await as_alice.ok("DELETE", ONE)
    assert gone == {"id": "s", "session_id": "s", "status": "deleted"}
    await in_thread(delete_marked_sessions)(math.inf)
    models: list[Any] = [Session, Turn, Message, ToolCall, Approval, Event]
    for model in models:
        assert not await rows(model.objects.exists), model
    # The figures of a deleted session stay, so that deleting it does not restore a budget.
    left = await rows(lambda: ModelCall.objects.filter(owner=alice, session=None, turn=None).count())
    counted = (await as_alice.ok("GET", "/api/v1/events/metrics"))["metrics"]["agent_processing"]
    assert left == sum(agent["count"] for agent in counted.values()) == 3
    assert await as_alice.refused("DELETE", ONE) == (404, "session_not_found")
    with pytest.raises(StaleAttempt):
        await in_thread(attempts.complete)(held, step("too late"))
    again_made = await as_alice.ok("POST", "/api/v1/sessions", {"session_id": "s"})
    assert again_made["message_count"] == 0


async def test_a_worker_at_a_deleted_session_stops_and_writes_nothing(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    held = await in_thread(begin)(session)
    await as_alice.ok("DELETE", ONE)
    for verb, arguments in ((attempts.complete, [step("x")]), (attempts.release, [])):
        with pytest.raises(StaleAttempt):
            await in_thread(verb)(held, *arguments)


@pytest.mark.parametrize(
    "request_",
    [
        ("GET", ONE, None),
        ("PATCH", ONE, {"title": "x"}),
        ("DELETE", ONE, None),
        ("GET", f"{ONE}/history", None),
        ("GET", f"{ONE}/pending-approvals", None),
        ("POST", f"{ONE}/hitl-decision", {"call_id": "w", "decision": "approve"}),
        ("POST", f"{ONE}/approvals", {"decision": "approve", "all": True}),
        ("GET", "/api/v1/agents/s/current", None),
        ("POST", "/api/v1/agents/s/switch", {"target_agent": "coder"}),
        ("GET", "/api/v1/events/metrics/session/s", None),
        ("GET", "/api/v1/events/audit-log?session_id=s", None),
        ("POST", "/api/v1/rules", {"effect": "allow", "session_id": "s"}),
    ],
)
async def test_alices_sessions_look_missing_to_bob(
    as_alice: Http, as_bob: Http, alice: User, request_: tuple[str, str, object]
) -> None:
    method, path, body = request_
    session = await opened(alice)
    await in_thread(request)(session, write_call("w"))
    foreign = await as_bob(method, path, body)
    assert (foreign[0], foreign[1]["error_code"]) == (404, "session_not_found")
    await rows(lambda: Session.objects.filter(key="s").update(key="u"))
    # The answer is the same to the letter, whether another user owns the session or it does not exist.
    assert await as_bob(method, path, body) == foreign
    await rows(lambda: Session.objects.filter(key="u").update(key="s"))
    assert await rows(lambda: Approval.objects.filter(status="pending").count()) == 1
    assert (await as_alice(method, path, body))[0] in (200, 201)


async def test_a_name_with_slashes_works_everywhere(as_alice: Http, alice: User) -> None:
    session = await opened(alice, "work/space/one")
    await in_thread(request)(session, write_call("w"))
    for path in (
        "/api/v1/sessions/work/space/one",
        "/api/v1/sessions/work/space/one/history",
        "/api/v1/sessions/work/space/one/pending-approvals",
        "/api/v1/agents/work/space/one/current",
        "/api/v1/events/metrics/session/work/space/one",
    ):
        assert "work/space/one" in str(await as_alice.ok("GET", path))

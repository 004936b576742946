"""Approvals: requested once, decided once, for exactly the call that the user saw."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from agents.approvals import digest
from agents.context import Window
from llm.types import ModelToolCall
from sessions.api.rest.history import history
from sessions.api.websocket.dialects import call_frame
from sessions.api.websocket.snapshot import snapshot
from sessions.errors import ToolCallRejected
from sessions.events import log
from sessions.models import Approval, PolicyRule, Session, ToolCall, Turn, TurnStatus, Via, new_id
from sessions.protocol.codes import Rejected
from sessions.protocol.server import encode
from sessions.results import Claim, StepResult
from sessions.turns import approvals, attempts, inbox, tool_calls
from sessions.turns.approvals import Decision
from sessions.turns.current_agent import choose_agent
from sessions.turns.sessions import open_session
from sessions.worker import prompt
from sessions.worker.conversation import EDITED
from tests.sessions import story
from tests.sessions.calls import read_call, write_call
from tests.sessions.story import begin, request


def decide(session: Session, call_id: str, *, approve: bool = True, **more: Any) -> Any:
    return approvals.decide(session.pk, call_id, Decision(approve=approve, by=session.owner_id, via=Via.REST, **more))


def refusal(session: Session, call_id: str, **more: Any) -> str:
    with pytest.raises(ToolCallRejected) as caught:
        decide(session, call_id, **more)
    return caught.value.code


def status(claim: Claim) -> str:
    return Turn.objects.get(pk=claim.turn_id).status


def results(claim: Claim) -> list[tuple[str, str]]:
    return [(m.tool_call_id, m.content) for m in story.history(claim.turn_id) if m.role == "tool"]


def test_an_approved_call_runs_and_its_result_goes_to_the_model(session: Session) -> None:
    claim = request(session, write_call("w"))
    assert status(claim) == TurnStatus.WAITING
    approval = Approval.objects.get()
    assert (approval.status, approval.call.status) == ("pending", "asked")
    change = decide(session, "w")
    assert [event.kind for event in change.events] == ["approval_decided"]
    assert change.ready is None
    approval.refresh_from_db()
    assert (approval.status, approval.call.status, approval.decided_by_id) == ("approved", "waiting", session.owner_id)
    assert tool_calls.record_tool_result(session.pk, "w", content="{}", failed=False).ready == claim.turn_id
    assert results(claim) == [("w", "{}")]


def test_a_rejected_call_never_runs_and_the_model_is_told_why(session: Session) -> None:
    claim = request(session, write_call("w"))
    assert decide(session, "w", approve=False, feedback="Not this file.").ready == claim.turn_id
    assert results(claim) == [("w", "Error: Not this file.")]
    assert ToolCall.objects.get().status == "rejected"
    with pytest.raises(ToolCallRejected):
        tool_calls.record_tool_result(session.pk, "w", content="{}", failed=False)


def test_edited_arguments_are_evaluated_and_hashed_again(session: Session) -> None:
    request(session, write_call("w"))
    before = ToolCall.objects.get().digest
    assert refusal(session, "w", arguments={"path": "../outside", "content": "x"}) == "invalid_arguments"
    assert refusal(session, "w", arguments={"path": "a.txt"}) == "invalid_arguments"
    change = decide(session, "w", arguments={"path": "b.txt", "content": "y"})
    call = ToolCall.objects.get()
    assert (call.arguments, call.status) == ({"path": "b.txt", "content": "y"}, "waiting")
    assert call.digest != before
    assert call.approval.digest == call.digest
    assert change.events[0].payload["arguments"] == call.arguments


def test_the_model_and_every_client_are_told_what_ran(session: Session) -> None:
    claim = request(session, read_call("r", "a.txt"), write_call("w"))
    tool_calls.record_tool_result(session.pk, "r", content="{}", failed=False)
    edited = {"content": "y", "path": "b.txt"}
    decide(session, "w", arguments=edited)

    (waiting,) = snapshot(session.pk)["tool_calls"]
    assert (waiting["arguments"], waiting["edited"]) == (edited, True)
    frame = json.loads(encode(call_frame(ToolCall.objects.get(call_id="w"), 1)))
    assert (frame["arguments"], frame["edited"]) == (edited, True)

    tool_calls.record_tool_result(session.pk, "w", content='{"success": true}', failed=False)
    asked, read, wrote = story.history(claim.turn_id)[-3:]
    assert [list(call.arguments.items()) for call in asked.tool_calls] == [[("path", "a.txt")], list(edited.items())]
    assert read.content == "{}"
    assert wrote.content == '{"success": true}' + EDITED
    (stored,) = (message for message in snapshot(session.pk)["messages"] if "tool_calls" in message)
    assert [call.get("edited") for call in stored["tool_calls"]] == [None, True]
    (shown,) = (message.tool_calls for message in history(session).messages if message.tool_calls)
    assert [(call["function"]["arguments"], call.get("edited")) for call in shown] == [
        ({"path": "a.txt"}, None),
        (edited, True),
    ]


def test_people_are_shown_what_will_run_and_the_exact_text_runs(session: Session) -> None:
    exact = {"command": "ls" + " " * 400 + "; rm \u202e/tmp"}
    claim = request(session, ModelToolCall(id="x", name="execute_command", arguments=exact))
    shown = {"command": "ls⟨400 spaces⟩; rm ⟨U+202E⟩/tmp"}

    events = {event.kind: event.payload for event in log.since(session.pk, 0)}
    asked, added = events["tool_call_requested"], events["message_added"]["tool_calls"][0]
    (waiting,) = snapshot(session.pk)["tool_calls"]
    (stored,) = next(message["tool_calls"] for message in snapshot(session.pk)["messages"] if "tool_calls" in message)
    for each in (asked, added, waiting, stored):
        assert (each["arguments"], each["display"]) == (exact, shown)

    decided = decide(session, "x").events[0].payload
    assert (decided["arguments"], decided["display"]) == (exact, shown)
    call = ToolCall.objects.get()
    assert (call.arguments, call.digest) == (exact, digest("execute_command", exact))
    tool_calls.record_tool_result(session.pk, "x", content="{}", failed=False)
    assert story.history(claim.turn_id)[-2].tool_calls[0].arguments == exact


def test_ordinary_arguments_need_no_other_form(session: Session) -> None:
    request(session, write_call("w"))
    events = {event.kind: event.payload for event in log.since(session.pk, 0)}
    assert "display" not in events["tool_call_requested"]
    assert "display" not in events["message_added"]["tool_calls"][0]


def test_arguments_that_are_sent_back_unchanged_are_no_edit(session: Session) -> None:
    request(session, write_call("w"))
    call = ToolCall.objects.get()
    decide(session, "w", arguments=call.arguments)
    call.refresh_from_db()
    assert (call.edited, call.approval.status) == (False, "approved")


def test_the_first_decision_wins(session: Session) -> None:
    request(session, write_call("w"))
    decide(session, "w")
    before = log.since(session.pk, 0)
    assert refusal(session, "w") == "approval_decided"
    assert refusal(session, "w", approve=False) == "approval_decided"
    assert refusal(session, "none") == "unknown_tool_call"
    assert log.since(session.pk, 0) == before


def test_a_call_that_changed_after_the_user_saw_it_does_not_run(session: Session) -> None:
    request(session, write_call("w"))
    ToolCall.objects.update(arguments={"path": "secret.txt", "content": "x"})
    assert refusal(session, "w") == "invalid_arguments"


@pytest.mark.parametrize(
    ("failed", "approval", "call"), [(False, "approved", "completed"), (True, "rejected", "rejected")]
)
def test_a_client_that_asks_its_user_itself_answers_with_the_result(
    session: Session, failed: bool, approval: str, call: str
) -> None:
    claim = request(session, write_call("w"))
    change = tool_calls.record_tool_result(session.pk, "w", content="Error: no" if failed else "{}", failed=failed)
    assert change.ready == claim.turn_id
    row = Approval.objects.get()
    assert (row.status, row.via, row.call.status) == (approval, "result", call)


def test_several_calls_are_answered_together_or_not_at_all(session: Session) -> None:
    claim = request(session, write_call("a"), write_call("b"), read_call("c"))
    yes = Decision(approve=True, by=session.owner_id, via=Via.REST)
    with pytest.raises(ToolCallRejected):
        approvals.decide_all(session.pk, ["a", "c"], yes)
    assert set(Approval.objects.values_list("status", flat=True)) == {"pending"}
    approvals.decide_all(session.pk, None, yes)
    assert set(Approval.objects.values_list("status", flat=True)) == {"approved"}
    assert status(claim) == TurnStatus.WAITING
    for call_id in "abc":
        change = tool_calls.record_tool_result(session.pk, call_id, content="{}", failed=False)
    assert change.ready == claim.turn_id


def test_an_approval_without_a_decision_expires(session: Session) -> None:
    claim = request(session, write_call("w"))
    assert approvals.expired_approvals() == []
    Approval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    (late,) = approvals.expired_approvals()
    assert approvals.expire(late).ready == claim.turn_id
    assert approvals.expire(late).events == []
    assert results(claim) == [("w", "Error: the user did not approve this call in time, so it was not run.")]


@pytest.mark.parametrize("end", ["cancel", "interrupt"])
def test_the_end_of_a_turn_closes_what_is_open(session: Session, end: str) -> None:
    request(session, write_call("w"), read_call("r"))
    if end == "cancel":
        attempts.cancel(session.pk, None)
    else:
        inbox.accept_message(session.pk, "Something else.", interrupt=True)
    assert Approval.objects.get().status == "withdrawn"
    assert dict(ToolCall.objects.values_list("call_id", "status")) == {"w": "rejected", "r": "unknown"}
    assert refusal(session, "w") == "tool_call_finished"


def test_a_forbidden_call_goes_back_to_the_model_at_once(session: Session) -> None:
    claim = begin(session)
    calls = [
        write_call("up", path="../x"),
        ModelToolCall(id="no", name="launch_rocket", arguments={}),
        ModelToolCall(id="bad", name="write_file", arguments={"path": 1}),
        ModelToolCall(id="half", name="write_file", arguments={}),
    ]
    step = StepResult(message_id=new_id(), text="Let me see.")
    change = tool_calls.request_tools(claim, step, calls, {"half": "Error: write_file was not run: it is cut."})
    assert change.ready == claim.turn_id
    assert status(claim) == TurnStatus.QUEUED
    assert not Approval.objects.exists()
    assert "tool_call_requested" not in [event.kind for event in change.events]
    answers = dict(results(claim))
    assert set(answers) == {"up", "no", "bad", "half"}
    assert all(text.startswith("Error: ") for text in answers.values())
    assert story.claim(claim.turn_id).spent.steps == 1


def test_a_refused_call_waits_with_the_others_and_is_answered_with_them(session: Session) -> None:
    claim = request(session, read_call("r"), write_call("up", path="/etc/passwd"))
    assert status(claim) == TurnStatus.WAITING
    assert tool_calls.record_tool_result(session.pk, "r", content="{}", failed=False).ready == claim.turn_id
    assert sorted(call_id for call_id, _ in results(claim)) == ["r", "up"]


def test_modes_and_rules_decide_and_the_call_names_them(session: Session, alice: User, bob: User) -> None:
    Session.objects.update(mode="auto-edit")
    request(session, write_call("free"))
    assert ToolCall.objects.get(call_id="free").rule == "mode: auto-edit"
    attempts.cancel(session.pk, None)
    PolicyRule.objects.create(owner=bob, effect="deny", tool="*")
    PolicyRule.objects.create(owner=alice, effect="deny", tool="write_file", subject="*.txt")
    request(session, write_call("denied"), read_call("r"))
    denied = ToolCall.objects.get(call_id="denied")
    assert (denied.status, denied.rule) == ("failed", "rule: deny write_file *.txt")
    other = open_session(alice.pk, "other")
    PolicyRule.objects.create(owner=alice, session=other, effect="allow", tool="write_file", subject="*.md")
    request(other, write_call("allowed", path="notes.md"), read_call("r"))
    assert ToolCall.objects.get(call_id="allowed").status == "waiting"


def test_completing_the_task_ends_the_turn(session: Session) -> None:
    claim = begin(session)
    done = ModelToolCall(id="d", name="attempt_completion", arguments={"result": "All tests pass."})
    change = tool_calls.request_tools(claim, StepResult(message_id=new_id(), text=""), [done])
    assert status(claim) == TurnStatus.COMPLETED
    assert change.events[-2].payload["content"] == "All tests pass."
    behind = begin(session)
    roles = [message.role for message in story.history(behind.turn_id)]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


def test_a_question_to_the_user_ends_the_turn_with_the_question(session: Session) -> None:
    claim = begin(session)
    arguments = {"question": "Which one?", "suggestions": ["left", "right"]}
    question = ModelToolCall(id="q", name="ask_followup_question", arguments=arguments)
    change = tool_calls.request_tools(claim, StepResult(message_id=new_id(), text=""), [question])
    assert status(claim) == TurnStatus.COMPLETED
    assert change.events[-2].payload["content"] == "Which one?\n1. left\n2. right"


def test_a_task_cannot_be_completed_while_calls_are_open(session: Session) -> None:
    done = ModelToolCall(id="d", name="attempt_completion", arguments={"result": "Done."})
    claim = request(session, read_call("r"), done)
    assert status(claim) == TurnStatus.WAITING
    assert dict(results(claim))["d"].startswith("Error: other tools")


def test_the_server_calculates_and_switches_agents_without_a_client(session: Session) -> None:
    choose_agent(session.pk, "architect")
    claim = begin(session)
    calls = [
        ModelToolCall(id="s", name="switch_mode", arguments={"mode": "coder", "reason": "It is code."}),
        read_call("r"),
    ]
    tool_calls.request_tools(claim, StepResult(message_id=new_id(), text=""), calls)
    session.refresh_from_db()
    assert session.current_agent == "coder"
    tool_calls.record_tool_result(session.pk, "r", content="{}", failed=False)
    claim = story.claim(claim.turn_id)
    assert claim.agent == "coder"
    total = ModelToolCall(id="c", name="calculator", arguments={"expr": "6 * 7"})
    assert tool_calls.request_tools(claim, StepResult(message_id=new_id(), text=""), [total]).ready == claim.turn_id
    assert dict(results(claim))["c"] == "42"


def test_an_agent_that_does_not_exist_cannot_be_chosen(session: Session) -> None:
    before = log.since(session.pk, 0)
    with pytest.raises(Rejected, match="Agent `wizard` does not exist"):
        choose_agent(session.pk, "wizard")
    with pytest.raises(Rejected, match="Agent `wizard` does not exist"):
        inbox.accept_message(session.pk, "Hi", agent="wizard")
    assert log.since(session.pk, 0) == before


@pytest.mark.django_db(transaction=True)
def test_calls_are_judged_without_the_lock_and_by_what_holds_when_they_are_stored(session: Session) -> None:
    held = begin(session)

    def store() -> None:
        try:
            tool_calls.request_tools(held, story.step(), [read_call("r", "a.txt"), write_call("w", "b.txt")])
        finally:
            connection.close()

    storing = threading.Thread(target=store)
    with transaction.atomic():
        mine = log.lock(session.pk)
        storing.start()
        # The judgement needs no lock, so it is over long before this transaction.
        time.sleep(0.5)
        mine.mode = "auto-edit"
        mine.save(update_fields=["mode"])
        PolicyRule.objects.create(owner_id=session.owner_id, effect="deny", subject="a.txt")
    storing.join(60)
    rows = ToolCall.objects.filter(turn=held.turn_id).order_by("created_at", "pk").values_list("tool", "rule")
    assert set(rows) == {("read_file", "rule: deny * a.txt"), ("write_file", "mode: auto-edit")}


def test_calls_of_an_older_prompt_are_judged_by_what_holds_when_they_are_stored(session: Session) -> None:
    held = begin(session)
    basis = prompt.build(held.turn_id, held.agent, Window(tokens=100_000)).basis
    Session.objects.filter(pk=session.pk).update(mode="auto-edit")
    PolicyRule.objects.create(owner_id=session.owner_id, effect="deny", subject="a.txt")
    calls = [read_call("r", "a.txt"), write_call("w", "b.txt")]
    tool_calls.request_tools(held, story.step(), calls, basis=basis)
    rows = ToolCall.objects.filter(turn=held.turn_id).values_list("tool", "rule")
    assert set(rows) == {("read_file", "rule: deny * a.txt"), ("write_file", "mode: auto-edit")}


def test_a_call_that_cannot_be_judged_asks_a_person(session: Session) -> None:
    # No API takes such a rule.
    PolicyRule.objects.create(owner_id=session.owner_id, effect="deny", subject="")
    call = ModelToolCall(id="c", name="no_such_tool", arguments={})
    claim = request(session, read_call("a.txt"), call)
    rows = ToolCall.objects.filter(turn=claim.turn_id).values_list("tool", "status", "rule")
    assert set(rows) == {("read_file", "asked", "not judged"), ("no_such_tool", "failed", "not judged")}


def test_a_rule_with_a_long_name_can_still_decide(session: Session) -> None:
    PolicyRule.objects.create(
        owner_id=session.owner_id, effect="deny", tool="*" * 1000, agent="*" * 999, subject="*" * 1000
    )
    claim = request(session, read_call("a.txt"))
    (row,) = ToolCall.objects.filter(turn=claim.turn_id)
    assert (row.status, len(row.rule)) == ("failed", 2200)

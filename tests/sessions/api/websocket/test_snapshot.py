"""Replay from zero must give what a fresh snapshot gives, after every kind of event."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from contextlib import suppress
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from llm.types import ModelMessage, ModelToolCall
from sessions.api.websocket.snapshot import snapshot
from sessions.events import compaction, log
from sessions.events.fold import fold
from sessions.events.log import Addition, LoggedEvent, NewEvent
from sessions.models import (
    OPEN_CALLS,
    OPEN_STATUSES,
    PIECES,
    EventKind,
    Plan,
    Session,
    SubTask,
    ToolCall,
    Turn,
    TurnStatus,
    Via,
    new_id,
)
from sessions.protocol.codes import Rejected
from sessions.protocol.workspace import Workspace
from sessions.results import Claim, StepResult
from sessions.turns import approvals, attempts, inbox, recovery, retries, summaries, tool_calls
from sessions.turns.current_agent import choose_agent
from sessions.turns.rows import current_subtask
from sessions.turns.sessions import open_session, set_client_plans
from sessions.turns.workspaces import set_workspace
from sessions.worker import conversation
from tests.closed_schemas import require_snapshot
from tests.sessions.calls import plan_call, read_call, subtask, write_call

TASKS = (subtask("a"), subtask("b", agent="architect"), subtask("c", dependencies=["a"]))
ENDS_OF_A_STEP = (
    *("complete", "fail", "tools", "plan", "exhausted"),
    *("done", "refused", "release", "put off", "lose"),
)
ENDS = {EventKind.TURN_COMPLETED, EventKind.TURN_FAILED, EventKind.TURN_CANCELLED}


def replay(events: list[LoggedEvent]) -> dict[str, Any]:
    """What the events of a session say, from the first one on."""
    state = fold(events, agent="orchestrator")
    return {
        "agent": state.agent,
        "mode": state.mode,
        "usage": state.usage,
        "messages": state.ordered_messages(),
        "turns": state.open_turns(),
        "texts": sorted(state.texts.values(), key=str),
        "tool_calls": sorted(state.calls.values(), key=str),
        "plan": state.plan,
        "workspace": state.workspace,
        "summary": state.summary,
    }


def fresh(session: Session) -> dict[str, Any]:
    state = json.loads(json.dumps(snapshot(session.pk)))
    require_snapshot(state)
    return {
        "agent": state["session"]["current_agent"],
        "mode": state["session"]["mode"],
        "usage": state["usage"],
        "messages": state["messages"],
        "turns": state["turns"],
        "texts": sorted(state["texts"], key=str),
        "tool_calls": sorted(state["tool_calls"], key=str),
        "plan": state["plan"],
        "workspace": state["workspace"],
        "summary": state["summary"],
    }


class Conversation(RuleBasedStateMachine):
    """A session to which anything may happen, in any order that the lifecycle allows."""

    owner: User

    def __init__(self) -> None:
        super().__init__()
        self.session = open_session(self.owner.pk, str(uuid.uuid4()))
        set_client_plans(self.session.pk, True)
        # Who can propose plans.
        choose_agent(self.session.pk, "architect")
        self.current_claim: Claim | None = None
        self.message_id = new_id()

    def active(self) -> Turn | None:
        open_turns = [TurnStatus.RUNNING, TurnStatus.WAITING]
        return self.session.turns.filter(status__in=open_turns).first()

    @rule(content=st.text("ab ", min_size=1, max_size=5), when=st.sampled_from(["queue", "interrupt", "steer"]))
    def say(self, content: str, when: str) -> None:
        inbox.accept_message(self.session.pk, content, interrupt=when == "interrupt", steer=when == "steer")

    @rule(place=st.integers(0, 2), content=st.none() | st.text("cd", min_size=1, max_size=3))
    def edit_or_withdraw(self, place: int, content: str | None) -> None:
        for message in inbox.waiting_messages(self.session.pk)[place : place + 1]:
            if content is None:
                inbox.withdraw_message(self.session.pk, message.pk)
            else:
                inbox.edit_message(self.session.pk, message.pk, content)

    @rule(content=st.text("ab ", min_size=1, max_size=5), interrupt=st.booleans())
    def replace(self, content: str, interrupt: bool) -> None:
        message = self.session.messages.filter(role="user", withdrawn=False).order_by("turn__position", "number").last()
        if message:
            first = message.turn.messages.filter(role="user", withdrawn=False).earliest("number")
            with suppress(Rejected):
                inbox.accept_message(self.session.pk, content, interrupt=interrupt, replaces=first.pk)

    @rule(branch=st.sampled_from(["main", "next", None]))
    def move(self, branch: str | None) -> None:
        set_workspace(self.session.pk, Workspace.model_validate({"name": "shop", "git": {"branch": branch}}))

    @rule()
    def fold(self) -> None:
        for turn_id in self.session.turns.filter(folded=False, finished_at__isnull=False).values_list("pk", flat=True):
            compaction.compact(turn_id)

    @rule()
    def end_wait(self) -> None:
        self.session.turns.filter(retry_at__isnull=False).update(retry_at=timezone.now())

    @rule()
    def claim(self) -> None:
        turn = self.session.turns.filter(status=TurnStatus.QUEUED).order_by("position").first()
        if turn and (claimed := attempts.claim(turn.pk, worker="w", model="m")):
            self.current_claim, self.message_id = claimed[0], new_id()

    @precondition(lambda self: self.current_claim is not None)
    @rule(text=st.text("xyz", min_size=1, max_size=3), kind=st.sampled_from(PIECES))
    def stream(self, text: str, kind: EventKind) -> None:
        assert self.current_claim
        payload = {"turn_id": str(self.current_claim.turn_id), "message_id": str(self.message_id), "text": text}
        turn_id, attempt = self.current_claim.turn_id, self.current_claim.attempt
        event = NewEvent(kind=kind, payload=payload, turn_id=turn_id, attempt=attempt)
        addition = Addition(session_id=self.session.pk, turn_id=turn_id, attempt=attempt, events=(event,))
        log.append_all([addition])

    @precondition(lambda self: self.current_claim is not None)
    @rule(text=st.text("mno", min_size=1, max_size=3))
    def summarize(self, text: str) -> None:
        assert self.current_claim
        turn, last = Turn.objects.get(pk=self.current_claim.turn_id), self.session.messages.latest("number")
        if turn.status == TurnStatus.RUNNING and turn.attempt == self.current_claim.attempt:
            gone = ModelMessage(role="user", content=last.content)
            earlier = summaries.newest(Session.objects.get(pk=self.session.pk), None)
            overflow = summaries.Overflow(
                messages=(gone,),
                earlier=earlier,
                subtask_id=None,
                until=last.pk,
                until_place=(turn.position, last.number, last.number),
                kept=(),
            )
            summaries.add(self.current_claim, overflow, text, ())

    def unfinished(self) -> StepResult:
        state = snapshot(self.session.pk)
        texts = [t for t in state["texts"] if t["message_id"] == str(self.message_id)] or [{"text": ""}]
        return StepResult(message_id=self.message_id, text=texts[0]["text"], reasoning=texts[0].get("reasoning", ""))

    @precondition(lambda self: self.current_claim is not None)
    @rule(how=st.sampled_from(ENDS_OF_A_STEP))
    def end(self, how: str) -> None:
        claim, self.current_claim = self.current_claim, None
        assert claim
        turn = Turn.objects.get(pk=claim.turn_id)
        if turn.status != TurnStatus.RUNNING or turn.attempt != claim.attempt:
            return
        match how:
            case "complete":
                attempts.complete(claim, self.unfinished())
            case "fail":
                attempts.fail(claim, code="model_error", text="No.", result=self.unfinished())
            case "tools":
                # One that runs without approval, one that requires approval, one that is forbidden.
                calls = [
                    read_call(str(new_id())),
                    write_call(str(new_id()), path="a.md"),
                    write_call(str(new_id()), path="../x"),
                ]
                tool_calls.request_tools(claim, self.unfinished(), calls)
            case "plan":
                tool_calls.request_tools(claim, self.unfinished(), [plan_call(str(new_id()), *TASKS)])
            case "exhausted":
                SubTask.objects.filter(plan__session=self.session, status="in_progress").update(steps=20)
                attempts.release(claim)
            case "done":
                finish = ModelToolCall(id=str(new_id()), name="attempt_completion", arguments={"result": "Done."})
                tool_calls.request_tools(claim, self.unfinished(), [finish])
            case "refused":
                tool_calls.request_tools(claim, self.unfinished(), [write_call(str(new_id()), path="../x")])
            case "release":
                attempts.release(claim)
            case "put off":
                retries.put_off(claim, StepResult(message_id=new_id(), text=""), error_code="model_error", seconds=60)
            case "lose":
                Turn.objects.filter(pk=claim.turn_id).update(lease_expires_at=timezone.now() - attempts.LEASE_DURATION)
                recovery.recover(claim.turn_id)

    @rule(failed=st.booleans())
    def answer_a_tool(self, failed: bool) -> None:
        calls = ToolCall.objects.filter(turn__session=self.session, status__in=OPEN_CALLS)
        call = calls.exclude(tool="create_plan").order_by("pk").first()
        if call:
            tool_calls.record_tool_result(self.session.pk, call.call_id, content="r", failed=failed)

    @rule(approve=st.booleans(), edited=st.booleans())
    def decide(self, approve: bool, edited: bool) -> None:
        approval = approvals.pending(self.session.pk).first()
        if approval:
            other = (
                plan_call("", subtask("only")) if approval.call.tool == "create_plan" else write_call("", path="b.md")
            )
            arguments = other.arguments if approve and edited else None
            answer = approvals.Decision(approve=approve, arguments=arguments, by=self.owner.pk, via=Via.REST)
            approvals.decide(self.session.pk, approval.call.call_id, answer)

    @rule()
    def cancel(self) -> None:
        if self.session.turns.filter(status__in=["queued", "running", "waiting"]).exists():
            attempts.cancel(self.session.pk, None)

    @invariant()
    def a_plan_that_runs_has_one_sub_task_at_work(self) -> None:
        running = Plan.objects.filter(session=self.session, status="in_progress")
        at_work = SubTask.objects.filter(plan__session=self.session, status="in_progress")
        assert [plan.pk for plan in running] == [each.plan_id for each in at_work]

    @invariant()
    def replay_is_the_same_as_a_snapshot(self) -> None:
        events = log.since(self.session.pk, 0, limit=10_000)
        assert replay(events) == fresh(self.session)

    @invariant()
    def a_steered_message_is_read_once_or_waits(self) -> None:
        events = log.since(self.session.pk, 0, limit=10_000)
        read = [message for event in events for message in event.payload.get("reads", ())]
        assert len(read) == len(set(read))
        steered = self.session.messages.filter(steered=True, withdrawn=False)
        assert {str(message.pk) for message in steered if message.read_number} <= set(read)
        waiting = steered.filter(read_number=None, turn__status__in=OPEN_STATUSES).values_list("turn", flat=True)
        counts = {turn.pk: turn.unread for turn in self.session.turns.all() if turn.unread}
        assert Counter(waiting) == counts
        assert not self.session.turns.exclude(status__in=OPEN_STATUSES).filter(pk__in=counts).exists()

    @invariant()
    def no_message_comes_between_a_call_and_its_results(self) -> None:
        if self.current_claim is None:
            return
        turn = Turn.objects.get(pk=self.current_claim.turn_id)
        allowed = set[str]()
        for message in conversation.messages(turn, current_subtask(self.session)):
            if message.role == "tool":
                assert message.tool_call_id in allowed
            else:
                allowed = {call.id for call in message.tool_calls}

    @invariant()
    def numbers_have_no_gaps_and_turns_end_once(self) -> None:
        events = log.since(self.session.pk, 0, limit=10_000)
        last = 0
        for event in events:
            assert (event.first or event.number) == last + 1
            last = event.number
        assert last == Session.objects.get(pk=self.session.pk).last_number
        ended = [event.payload["turn_id"] for event in events if event.kind in ENDS]
        assert len(ended) == len(set(ended))


def test_a_snapshot_has_the_newest_messages_within_its_limits(alice: User) -> None:
    session = open_session(alice.pk, "long")
    for i in range(10):
        inbox.accept_message(session.pk, f"{i}" + "ж" * 50_000)
    state = snapshot(session.pk)
    assert [message["content"][0] for message in state["messages"]] == list("456789")
    assert state["older_messages"]
    inbox.accept_message(session.pk, "one more")
    assert snapshot(session.pk)["messages"][-1]["content"] == "one more"


def test_replay_from_zero_is_a_fresh_snapshot_whatever_happens(alice: User) -> None:
    machine = type("AlicesConversation", (Conversation,), {"owner": alice})
    run_state_machine_as_test(machine, settings=settings(max_examples=30, stateful_step_count=30))

"""Plans: proposed, decided once, carried out one sub-task after the other by the right agent, and always ended."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from agents.context import Window
from llm.types import ModelToolCall
from sessions.api.shown_text import ShownText
from sessions.api.websocket.dialects import Dialect, frames_of
from sessions.api.websocket.snapshot import snapshot
from sessions.errors import NothingToCancel, ToolCallRejected
from sessions.events import log
from sessions.models import (
    Approval,
    Message,
    Plan,
    PlanStatus,
    PolicyRule,
    Session,
    SubTask,
    ToolCall,
    Turn,
    TurnStatus,
    Via,
    new_id,
)
from sessions.protocol.codes import Rejected
from sessions.results import Change, Claim
from sessions.turns import approvals, attempts, inbox, plans, recovery, tool_calls
from sessions.turns.approvals import Decision
from sessions.turns.current_agent import choose_agent
from sessions.turns.sessions import open_session, set_client_plans
from sessions.worker import prompt
from tests.sessions import story
from tests.sessions.calls import plan_call, read_call, subtask
from tests.sessions.story import begin, step

WINDOW = Window(tokens=1_000_000)
TWO = (subtask("write", "Write the parser."), subtask("check", "Check it.", agent="debug", dependencies=["write"]))


@pytest.fixture
def session(session: Session) -> Session:
    set_client_plans(session.pk, True)
    choose_agent(session.pk, "architect")
    return session


def ask(claim: Claim, *calls: ModelToolCall, text: str = "") -> Change:
    return tool_calls.request_tools(claim, step(text), calls)


def propose(session: Session, *subtasks: dict[str, Any]) -> Claim:
    claim = begin(session)
    ask(claim, plan_call("p", *(subtasks or TWO)))
    return claim


def decide(session: Session, decision: str = "approve", *, plan: Plan | None = None, **more: Any) -> Change:
    plan = plan or Plan.objects.order_by("created_at").last()
    assert plan
    answer = Decision(approve=decision != "reject", by=session.owner_id, via=Via.SOCKET, **more)
    return approvals.decide_plan(session.pk, str(plan.pk), answer)


def start_plan(session: Session, *subtasks: dict[str, Any]) -> Claim:
    """Approve a plan; return the claim of its first sub-task."""
    claim = propose(session, *subtasks)
    assert decide(session).ready == claim.turn_id
    return story.claim(claim.turn_id)


def complete_task(claim: Claim, report: str = "Done.") -> Change:
    return ask(claim, ModelToolCall(id=str(new_id()), name="attempt_completion", arguments={"result": report}))


def use_up_steps(session: Session) -> None:
    """Let the current sub-task use up its steps."""
    SubTask.objects.filter(plan__session=session, status="in_progress").update(steps=plans.STEP_LIMIT)


def refusal(session: Session, **more: Any) -> str:
    with pytest.raises(ToolCallRejected) as caught:
        decide(session, **more)
    return caught.value.code


def kinds(change: Change) -> list[str]:
    return [event.kind for event in change.events]


def statuses(session: Session) -> dict[str, str]:
    return dict(SubTask.objects.filter(plan__session=session).order_by("position").values_list("key", "status"))


def model_messages(claim: Claim) -> list[tuple[str, str]]:
    """What the model gets after its instructions."""
    messages, _ = prompt.model_input(claim.turn_id, claim.agent, WINDOW)
    return [(message.role, message.content) for message in messages[1:]]


def offered(claim: Claim) -> list[str]:
    return [tool.name for tool in prompt.model_input(claim.turn_id, claim.agent, WINDOW)[1]]


def payloads(session: Session, kind: str) -> list[dict[str, Any]]:
    return [event.payload for event in log.since(session.pk, 0, limit=1000) if event.kind == kind]


# Proposed and decided


def test_a_plan_is_proposed_and_waits_for_a_person(session: Session) -> None:
    claim = begin(session)
    change = ask(claim, plan_call("p", *TWO), text="This is larger.")
    kinds_of = kinds(change)
    assert kinds_of == ["message_added", "tool_call_requested", "plan_proposed", "turn_waiting"]
    plan = Plan.objects.get()
    assert (plan.status, plan.agent, plan.goal, plan.call.status) == ("draft", "architect", "A parser", "asked")
    assert Approval.objects.get().call == plan.call
    payload = payloads(session, "plan_proposed")[0]
    assert payload == snapshot(session.pk)["plan"]
    assert [each["id"] for each in payload["subtasks"]] == ["write", "check"]
    assert payload["subtasks"][1]["dependencies"] == ["write"]


def test_only_a_client_that_can_answer_gets_plans_offered(session: Session) -> None:
    claim = begin(session)
    assert "create_plan" in offered(claim)
    set_client_plans(session.pk, False)
    assert "create_plan" not in offered(claim)
    assert ask(claim, plan_call("p", *TWO)).ready == claim.turn_id
    assert not Plan.objects.exists()


@pytest.mark.parametrize(
    ("subtasks", "said"),
    [
        ([subtask("a", agent="wizard")], "wizard"),
        ([subtask("a", dependencies=["b"]), subtask("b", dependencies=["a"])], "wait for each other"),
        ([subtask("a"), subtask("a")], "several sub-tasks"),
        ([], "subtasks"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_goes_back_to_the_model(
    session: Session, subtasks: list[dict[str, Any]], said: str
) -> None:
    claim = begin(session)
    assert ask(claim, plan_call("p", *subtasks)).ready == claim.turn_id
    role, content = model_messages(story.claim(claim.turn_id))[-1]
    assert role == "tool"
    assert said in content
    assert not Plan.objects.exists()
    assert not Approval.objects.exists()


def test_a_rule_that_allows_everything_does_not_approve_plans(session: Session, alice: User) -> None:
    PolicyRule.objects.create(owner=alice, effect="allow", tool="*", subject="**")
    PolicyRule.objects.create(owner=alice, effect="allow", tool="*", subject="*")
    propose(session)
    assert Plan.objects.get().status == "draft"


def test_a_plan_is_proposed_alone(session: Session) -> None:
    claim = begin(session)
    ask(claim, plan_call("p", *TWO), read_call("r"))
    assert not Plan.objects.exists()
    assert ToolCall.objects.get(call_id="p").result.startswith("Error: other tools")
    tool_calls.record_tool_result(session.pk, "r", content="{}", failed=False)
    ask(story.claim(claim.turn_id), plan_call("p2", *TWO), plan_call("p3", *TWO))
    assert Plan.objects.get().call.call_id == "p3"


def test_an_approved_plan_starts_in_the_same_transaction(session: Session) -> None:
    claim = propose(session)
    change = decide(session)
    assert change.ready == claim.turn_id
    assert kinds(change) == [
        *("approval_decided", "tool_call_finished", "message_added", "turn_queued"),
        *("plan_decided", "plan_updated", "agent_switched"),
    ]
    assert statuses(session) == {"write": "in_progress", "check": "pending"}
    assert payloads(session, "plan_updated")[0] == {
        "plan_id": str(Plan.objects.get().pk),
        "subtask_id": "write",
        "status": "in_progress",
        "agent": "coder",
        "result": "",
    }
    assert payloads(session, "agent_switched")[-1]["to_agent"] == "coder"
    assert story.claim(claim.turn_id).agent == "coder"


@pytest.mark.parametrize("door", ["plan_decision", "hitl_decision", "all"])
def test_every_api_for_approvals_decides_plans(session: Session, door: str) -> None:
    claim = propose(session)
    yes = Decision(approve=True, by=session.owner_id, via=Via.REST)
    match door:
        case "plan_decision":
            change = decide(session)
        case "hitl_decision":
            change = approvals.decide(session.pk, "p", yes)
        case _:
            change = approvals.decide_all(session.pk, None, yes)
    assert change.ready == claim.turn_id
    assert statuses(session)["write"] == "in_progress"


def test_a_rejected_plan_is_cancelled_and_the_model_is_told_why(session: Session) -> None:
    claim = propose(session)
    change = decide(session, "reject", feedback="Too many steps.")
    assert kinds(change)[-2:] == ["plan_decided", "plan_finished"]
    assert payloads(session, "plan_decided")[0]["feedback"] == "Too many steps."
    assert Plan.objects.get().status == "cancelled"
    assert snapshot(session.pk)["plan"] is None
    again = story.claim(claim.turn_id)
    assert again.agent == "architect"
    assert model_messages(again)[-1] == ("tool", "Error: Too many steps.")
    ask(again, plan_call("p2", TWO[0]))
    assert Plan.objects.filter(status="draft").count() == 1


def test_an_edited_plan_is_evaluated_and_carried_out_as_edited(session: Session) -> None:
    propose(session)
    before = ToolCall.objects.get().digest
    circle = [subtask("a", dependencies=["b"]), subtask("b", dependencies=["a"])]
    assert refusal(session, arguments={"subtasks": circle}) == "invalid_arguments"
    assert refusal(session, arguments={"subtasks": []}) == "invalid_arguments"
    assert refusal(session, arguments={"subtasks": [subtask("a", agent="wizard")]}) == "invalid_arguments"
    assert Plan.objects.get().status == "draft"
    change = decide(session, arguments={"subtasks": [subtask("only", "Say hello.", agent="ask")]})
    assert statuses(session) == {"only": "in_progress"}
    decided = payloads(session, "plan_decided")[0]
    assert (decided["decision"], decided["subtasks"][0]["description"]) == ("edit", "Say hello.")
    call = ToolCall.objects.get()
    assert call.digest != before
    assert call.approval.digest == call.digest
    assert change.ready
    assert Plan.objects.get().goal == "A parser"
    assert story.claim(change.ready).agent == "ask"


def test_a_plan_is_decided_once(session: Session) -> None:
    propose(session)
    decide(session)
    before = log.since(session.pk, 0)
    assert refusal(session) == "approval_decided"
    assert refusal(session, decision="reject") == "approval_decided"
    for unknown in (str(new_id()), "nonsense"):
        with pytest.raises(ToolCallRejected) as caught:
            approvals.decide_plan(session.pk, unknown, Decision(approve=True, by=1, via=Via.SOCKET))
        assert caught.value.code == "unknown_plan"
    assert log.since(session.pk, 0) == before


def test_a_plan_of_another_session_is_unknown(session: Session, bob: User) -> None:
    propose(session)
    other = open_session(bob.pk, "plans")
    with pytest.raises(ToolCallRejected) as caught:
        decide(other)
    assert caught.value.code == "unknown_plan"


def test_a_client_cannot_answer_a_plan_with_a_tool_result(session: Session) -> None:
    propose(session)
    with pytest.raises(ToolCallRejected) as caught:
        tool_calls.record_tool_result(session.pk, "p", content="Error: unknown tool", failed=True)
    assert "plan_decision" in str(caught.value)
    assert Plan.objects.get().status == "draft"


@pytest.mark.django_db(transaction=True)
def test_of_two_concurrent_decisions_one_wins(session: Session) -> None:
    propose(session)
    together = threading.Barrier(2)

    def answer(decision: str) -> str:
        together.wait()
        try:
            decide(session, decision)
        except ToolCallRejected as refused:
            return str(refused.code)
        finally:
            connection.close()
        return decision

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(answer, ["approve", "reject"]))
    assert sum(code == "approval_decided" for code in outcomes) == 1
    (won,) = (outcome for outcome in outcomes if outcome != "approval_decided")
    assert Plan.objects.get().status == ("in_progress" if won == "approve" else "cancelled")
    assert len(payloads(session, "plan_decided")) == 1


def test_a_plan_without_a_decision_expires(session: Session) -> None:
    claim = propose(session)
    Approval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    (late,) = approvals.expired_approvals()
    assert approvals.expire(late).ready == claim.turn_id
    assert Plan.objects.get().status == "cancelled"
    assert payloads(session, "plan_finished")[0]["status"] == "cancelled"
    assert "in time" in model_messages(story.claim(claim.turn_id))[-1][1]


def test_a_failed_turn_cancels_its_undecided_plan(session: Session) -> None:
    propose(session)
    Turn.objects.update(waiting_since=timezone.now() - recovery.TOOL_TIMEOUT - timedelta(seconds=1))
    (turn_id,) = recovery.expired_turns()
    recovery.recover(turn_id)
    assert Plan.objects.get().status == "cancelled"
    assert refusal(session) == "approval_decided"


def test_a_new_plan_replaces_an_active_one(session: Session) -> None:
    first = propose(session)
    plan = Plan.objects.get()
    call = ToolCall.objects.create(turn_id=first.turn_id, call_id="p2", tool="create_plan", agent="architect")
    call.arguments, call.status = plan_call("p2", TWO[0]).arguments, "asked"
    with transaction.atomic():
        events = plans.propose(log.lock(session.pk), [call])
    assert [event.kind for event in events] == ["plan_finished", "plan_proposed"]
    plan.refresh_from_db()
    assert plan.status == "cancelled"
    assert Plan.objects.get(status="draft").call == call


# Carried out


def test_a_plan_runs_sub_task_by_sub_task_and_ends_with_the_last_answer(session: Session) -> None:
    claim = start_plan(session)
    change = complete_task(claim, "Wrote parser.py.")
    assert change.ready == claim.turn_id
    assert kinds(change)[-4:] == ["plan_updated", "plan_updated", "agent_switched", "turn_queued"]
    assert statuses(session) == {"write": "completed", "check": "in_progress"}
    second = story.claim(claim.turn_id)
    assert second.agent == "debug"
    change = attempts.complete(second, step("It parses."))
    assert change.ready is None
    assert kinds(change) == [*("message_added", "plan_updated", "agent_switched", "plan_finished", "turn_completed")]
    plan = Plan.objects.get()
    assert plan.status == "completed"
    assert payloads(session, "plan_finished")[0] == {
        "plan_id": str(plan.pk),
        "turn_id": str(claim.turn_id),
        "status": "completed",
        "total": 2,
        "completed": 2,
        "failed": 0,
    }
    assert Turn.objects.get().status == TurnStatus.COMPLETED
    session.refresh_from_db()
    assert (session.current_agent, session.pinned) == ("architect", True), "as its user had chosen"
    results = SubTask.objects.order_by("position").values_list("result", flat=True)
    assert list(results) == ["Wrote parser.py.", "It parses."]
    behind = begin(session, "Thanks. Where is it?")
    said = model_messages(behind)
    assert [role for role, _ in said] == ["user", "assistant", "tool", "assistant", "user"]
    assert "Wrote parser.py." in said[2][1], "the proposer knows what became of its plan"
    assert said[3] == ("assistant", "It parses.")


def test_the_agent_of_a_sub_task_gets_the_sub_task_the_plan_and_nothing_else(session: Session) -> None:
    inbox.accept_message(session.pk, "Hello")
    attempts.complete(story.claim(Turn.objects.get().pk), step("Hi"))
    claim = start_plan(session)
    messages, tools = prompt.model_input(claim.turn_id, claim.agent, WINDOW)
    assert [(m.role, m.content) for m in messages[1:]] == [("user", "Write the parser.")]
    assert "You are CodeLab Coder" in messages[0].content
    assert "[>] write (coder)" in messages[0].content
    assert "Goal: A parser" in messages[0].content
    assert not {"switch_mode", "create_plan"} & {tool.name for tool in tools}
    ask(claim, read_call("r"), text="Let me look.")
    tool_calls.record_tool_result(session.pk, "r", content="{}", failed=False)
    claim = story.claim(claim.turn_id)
    said = [("user", "Write the parser."), ("assistant", "Let me look."), ("tool", "{}")]
    assert model_messages(claim) == said
    complete_task(claim, "Wrote it.")
    claim = story.claim(claim.turn_id)
    instructions = prompt.model_input(claim.turn_id, claim.agent, WINDOW)[0][0].content
    assert "[x] write (coder)" in instructions
    assert "Wrote it." not in instructions, "a report has no rank of an instruction"
    (_, reports), task = model_messages(claim)
    assert task == ("user", "Check it.")
    assert "<reports>\nwrite: Wrote it.\n</reports>" in reports


@pytest.mark.parametrize(
    "call",
    [ModelToolCall(id="s", name="switch_mode", arguments={"mode": "ask"}), plan_call("s", TWO[0])],
    ids=["switch_mode", "create_plan"],
)
def test_a_sub_task_cannot_switch_agents_or_propose_plans(session: Session, call: ModelToolCall) -> None:
    claim = start_plan(session)
    assert ask(claim, call).ready == claim.turn_id
    again = story.claim(claim.turn_id)
    assert "the plan decides" in model_messages(again)[-1][1]
    assert again.agent == "coder"


def test_independent_sub_tasks_continue_and_those_that_wait_for_a_failed_one_do_not(session: Session) -> None:
    three = (subtask("a"), subtask("b", dependencies=["a"]), subtask("c", dependencies=["b"]), subtask("d"))
    claim = start_plan(session, *three)
    ask(claim, read_call("r"))
    tool_calls.record_tool_result(session.pk, "r", content="{}", failed=False)
    use_up_steps(session)
    claim = story.claim(claim.turn_id)
    assert statuses(session) == {"a": "failed", "b": "pending", "c": "pending", "d": "in_progress"}
    assert claim.spent.steps == 0
    assert model_messages(claim)[-1] == ("user", "Do d.")
    change = complete_task(claim)
    # Something failed, so the proposer has the word, in the same turn.
    assert change.ready == claim.turn_id
    assert Plan.objects.get().status == "failed"
    finished = payloads(session, "plan_finished")[0]
    assert (finished["status"], finished["total"], finished["completed"], finished["failed"]) == ("failed", 4, 1, 1)
    claim = story.claim(claim.turn_id)
    assert claim.agent == "architect"
    role, text = model_messages(claim)[-1]
    assert role == "tool"
    assert "[!] a" in text
    assert "Not finished after 20 model calls." in text
    assert "create_plan" in offered(claim)
    ask(claim, plan_call("again", TWO[0]))
    assert Plan.objects.get(status="draft").call.call_id == "again"


def test_the_failure_of_the_last_sub_task_ends_the_plan(session: Session) -> None:
    claim = start_plan(session, TWO[0])
    ask(claim, read_call("r"))
    tool_calls.record_tool_result(session.pk, "r", content="{}", failed=False)
    use_up_steps(session)
    claim = story.claim(claim.turn_id)
    assert claim.agent == "architect"
    assert Plan.objects.get().status == "failed"
    assert attempts.complete(claim, step("I am sorry.")).events[-1].kind == "turn_completed"


def test_a_sub_task_has_twenty_steps_and_the_turn_counts_none_of_them(session: Session) -> None:
    claim = start_plan(session, TWO[0])
    for number in range(plans.STEP_LIMIT):
        assert claim.agent == "coder"
        assert claim.spent.steps == number
        ask(claim, read_call(f"r{number}", f"{number}.txt"))
        tool_calls.record_tool_result(session.pk, f"r{number}", content="{}", failed=False)
        claim = story.claim(claim.turn_id)
    assert statuses(session) == {"write": "failed"}
    assert (claim.agent, claim.spent.steps, claim.is_first_step) == ("architect", 1, False)


def test_each_sub_task_has_its_own_time(session: Session) -> None:
    claim = start_plan(session)
    Turn.objects.update(claimed_at=timezone.now() - timedelta(seconds=100))
    complete_task(claim)
    assert story.claim(claim.turn_id).spent.seconds < 50


def test_a_question_ends_the_turn_and_the_answer_continues_the_sub_task(session: Session) -> None:
    claim = start_plan(session)
    question = ModelToolCall(id="q", name="ask_followup_question", arguments={"question": "Which grammar?"})
    change = ask(claim, question)
    assert change.events[-1].kind == "turn_completed"
    assert statuses(session) == {"write": "in_progress", "check": "pending"}
    answer = begin(session, "LL(1)")
    assert (answer.agent, answer.is_first_step) == ("coder", False), "the agent is not chosen again"
    assert [role for role, _ in model_messages(answer)] == ["user", "assistant", "tool", "user"]
    assert model_messages(answer)[-1] == ("user", "LL(1)")
    complete_task(answer)
    complete_task(story.claim(answer.turn_id), "Checked.")
    assert Plan.objects.get().status == "completed"
    behind = begin(session, "Good.")
    texts = [content for role, content in model_messages(behind) if role in ("user", "assistant") and content]
    assert texts == ["Do it.", "Which grammar?", "LL(1)", "Checked.", "Good."]


def test_after_a_failed_turn_the_next_message_continues_the_plan(session: Session) -> None:
    claim = start_plan(session)
    waiting = inbox.accept_message(session.pk, "And hurry.")
    change = attempts.fail(claim, code="model_error", text="No.", result=step("Half a"))
    assert change.ready == waiting.turn_id
    assert Plan.objects.get().status == "in_progress"
    claim = story.claim(waiting.turn_id)
    assert claim.agent == "coder"
    assert model_messages(claim) == [("user", "Write the parser."), ("assistant", "Half a"), ("user", "And hurry.")]


@pytest.mark.parametrize("how", ["cancel", "interrupt"])
@pytest.mark.parametrize("when", ["draft", "running"])
def test_cancelling_a_turn_cancels_its_plan(session: Session, how: str, when: str) -> None:
    propose(session) if when == "draft" else start_plan(session)
    if how == "cancel":
        attempts.cancel(session.pk, None)
    else:
        inbox.accept_message(session.pk, "Something else.", interrupt=True)
    assert Plan.objects.get().status == "cancelled"
    assert len(payloads(session, "plan_finished")) == 1
    assert statuses(session) == {"write": "pending" if when == "draft" else "skipped", "check": "pending"}
    session.refresh_from_db()
    assert session.current_agent == "architect"
    assert refusal(session) == "approval_decided"
    turn = session.turns.filter(status="queued").first()
    if turn:
        assert model_messages(story.claim(turn.pk))[-1] == ("user", "Something else.")


def test_a_message_that_waits_behind_a_plan_is_cancelled_without_the_plan(session: Session) -> None:
    start_plan(session)
    waiting = inbox.accept_message(session.pk, "Later.")
    attempts.cancel(session.pk, waiting.turn_id)
    assert Plan.objects.get().status == "in_progress"


def test_a_plan_that_waits_for_a_message_can_be_cancelled(session: Session) -> None:
    claim = start_plan(session)
    attempts.fail(claim, code="model_error", text="No.")
    change = attempts.cancel(session.pk, None)
    assert kinds(change) == ["plan_updated", "agent_switched", "plan_finished"]
    with pytest.raises(NothingToCancel):
        attempts.cancel(session.pk, None)


def test_a_plan_decides_which_agent_works(session: Session) -> None:
    claim = start_plan(session)
    with pytest.raises(Rejected) as caught:
        choose_agent(session.pk, "ask")
    assert caught.value.code == "plan_in_progress"
    attempts.fail(claim, code="model_error", text="No.")
    wished = inbox.accept_message(session.pk, "Go on.", agent="ask")
    assert story.claim(wished.turn_id).agent == "coder"


def test_a_lost_worker_is_replaced_in_the_middle_of_a_sub_task(session: Session) -> None:
    claim = start_plan(session)
    ask(claim, read_call("r"))
    tool_calls.record_tool_result(session.pk, "r", content="{}", failed=False)
    claim = story.claim(claim.turn_id)
    Turn.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    recovery.recover(claim.turn_id)
    again = story.claim(claim.turn_id)
    assert (again.agent, again.attempt) == ("coder", claim.attempt + 1)
    assert [role for role, _ in model_messages(again)] == ["user", "assistant", "tool"]
    complete_task(again)
    assert statuses(session) == {"write": "completed", "check": "in_progress"}
    assert story.claim(claim.turn_id).agent == "debug"


def test_a_long_report_is_shortened_and_its_message_is_not(session: Session) -> None:
    claim = start_plan(session, TWO[0])
    attempts.complete(claim, step("x" * 10_000))
    assert len(SubTask.objects.get().result) < 5000
    assert len(Message.objects.get(role="assistant", content__startswith="x").content) == 10_000


def test_the_database_rejects_impossible_plans(session: Session) -> None:
    claim = start_plan(session)
    plan = Plan.objects.get()
    call = ToolCall.objects.create(turn_id=claim.turn_id, call_id="other", tool="create_plan")
    for broken in (
        lambda: Plan.objects.create(session=session, call=call, agent="coder"),
        lambda: Plan.objects.update(status="lost"),
        lambda: Plan.objects.update(status=PlanStatus.COMPLETED),
        lambda: plan.subtasks.update(status="in_progress"),
        lambda: plan.subtasks.update(key="same"),
        lambda: plan.subtasks.update(status="lost"),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            broken()


def test_a_session_is_deleted_with_its_plans(session: Session) -> None:
    ask(start_plan(session), read_call("r"))
    assert Message.objects.filter(subtask__isnull=False).exists()
    session.delete()
    assert not Plan.objects.exists()
    assert not SubTask.objects.exists()


# What clients of the original's protocol are told


def frames(session: Session, **dialect: bool) -> list[dict[str, Any]]:
    wanted = Dialect(**{"tokens": False, "agents": False, "plans": True, **dialect})
    events = log.since(session.pk, 0, limit=1000)
    shown = ShownText()
    return [json.loads(frame) for event in events for frame in frames_of(event, wanted, shown)]


def test_a_client_that_asks_for_plans_gets_the_original_frames(session: Session) -> None:
    claim = start_plan(session)
    attempts.complete(claim, step("Wrote parser.py."))
    attempts.complete(story.claim(claim.turn_id), step("It parses."))
    plan_frames = [frame for frame in frames(session) if frame["type"] != "agent_switched"]
    plan_id = str(Plan.objects.get().pk)
    assert [frame["type"] for frame in plan_frames] == [
        "plan_notification",
        *("subtask_started", "plan_progress"),
        "assistant_message",
        *("subtask_completed", "plan_progress"),
        *("subtask_started", "plan_progress"),
        "assistant_message",
        *("subtask_completed", "plan_progress"),
        "plan_completed",
    ]
    notification = plan_frames[0]
    assert notification["is_final"] is True
    assert notification["metadata"] == {
        "plan_id": plan_id,
        "subtask_count": 2,
        "subtasks": [
            {"id": "write", "description": "Write the parser.", "agent": "coder", "dependencies": []},
            {"id": "check", "description": "Check it.", "agent": "debug", "dependencies": ["write"]},
        ],
        "requires_approval": True,
    }
    assert plan_frames[1]["metadata"] == {"subtask_id": "write", "subtask_status": "in_progress", "agent": "coder"}
    assert plan_frames[2]["plan_id"] == plan_id
    assert (plan_frames[2]["step_id"], plan_frames[2]["status"]) == ("write", "in_progress")
    assert [plan_frames[i]["is_final"] for i in (3, 8)] == [False, True], "the turn ends once"
    assert plan_frames[4]["metadata"]["completion_reason"] == "Wrote parser.py."
    assert plan_frames[-1]["metadata"] == {
        "plan_id": plan_id,
        "plan_status": "complete",
        "total_subtasks": 2,
        "completed": 2,
        "failed": 0,
    }
    assert plan_frames[-1]["is_final"] is True


def test_a_client_that_does_not_ask_for_plans_gets_only_messages(session: Session) -> None:
    claim = start_plan(session)
    attempts.complete(claim, step("Wrote parser.py."))
    attempts.complete(story.claim(claim.turn_id), step("It parses."))
    shown = [(frame["content"], frame["is_final"]) for frame in frames(session, plans=False)[1:]]
    assert shown == [("Wrote parser.py.", False), ("It parses.", True)]


def test_a_failed_plan_is_announced_and_ends_no_turn(session: Session) -> None:
    claim = start_plan(session, TWO[0])
    use_up_steps(session)
    Turn.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    recovery.recover(claim.turn_id)
    story.claim(claim.turn_id)
    *_, progress, completed = (frame for frame in frames(session) if frame["type"] != "agent_switched")
    assert (progress["status"], progress["error"]) == ("failed", plans.USED_UP)
    assert (completed["metadata"]["plan_status"], completed["is_final"]) == ("failed", False)

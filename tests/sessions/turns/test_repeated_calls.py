"""A model that asks for the same call again and again is stopped, whichever workers its steps run on."""

from __future__ import annotations

import pytest

from agents.loop import LimitReached
from llm.types import ModelToolCall
from sessions.models import Session, ToolCall, TurnStatus, Via
from sessions.results import Claim
from sessions.turns import approvals, attempts, tool_calls
from sessions.turns.approvals import Decision
from tests.sessions import story
from tests.sessions.calls import read_call, write_call
from tests.sessions.story import begin, step

pytestmark = pytest.mark.django_db


def ask(held: Claim, *calls: ModelToolCall) -> Claim:
    """Have the model request these calls, answer those that may run, and claim the next step on another worker."""
    tool_calls.request_tools(held, step(), calls)
    for call in ToolCall.objects.filter(turn=held.turn_id, status="waiting"):
        tool_calls.record_tool_result(held.session_id, call.call_id, content="{}", failed=False)
    released = story.claim(held.turn_id, worker="w1")
    attempts.release(released, step())
    return story.claim(held.turn_id, worker="w2")


def test_the_fifth_equal_call_in_a_row_is_not_run(session: Session) -> None:
    held = begin(session)
    for number in range(4):
        # The policy makes both the same path.
        held = ask(held, read_call(f"r{number}", "a.txt" if number % 2 else "./a.txt"))
    with pytest.raises(LimitReached):
        tool_calls.request_tools(held, step(), [read_call("r4", "a.txt")])
    assert ToolCall.objects.count() == 4


def test_a_forbidden_call_counts_too(session: Session) -> None:
    held = begin(session)
    for number in range(4):
        tool_calls.request_tools(held, step(), [read_call(f"r{number}", "../../etc/passwd")])
        held = story.claim(held.turn_id)
    with pytest.raises(LimitReached):
        tool_calls.request_tools(held, step(), [read_call("r4", "../../etc/passwd")])


def test_another_call_between_equal_ones_is_progress(session: Session) -> None:
    held = begin(session)
    for number in range(8):
        path = "a.txt" if number % 4 else f"{number}.txt"
        held = ask(held, read_call(f"r{number}", path))
    assert ToolCall.objects.count() == 8


def test_a_call_that_its_user_edits_each_time_is_not_the_same(session: Session) -> None:
    held = begin(session)
    for number in range(5):
        tool_calls.request_tools(held, step(), [write_call(f"w{number}")])
        edited = {"path": f"{number}.txt", "content": "x"}
        decision = Decision(approve=True, arguments=edited, by=session.owner_id, via=Via.REST)
        approvals.decide(session.pk, f"w{number}", decision)
        tool_calls.record_tool_result(session.pk, f"w{number}", content="{}", failed=False)
        held = story.claim(held.turn_id)


def test_equal_calls_of_several_turns_are_no_row(session: Session) -> None:
    for number in range(6):
        held = ask(begin(session), read_call(f"r{number}", "a.txt"))
        attempts.complete(held, step("Done."))
    assert set(session.turns.values_list("status", flat=True)) == {TurnStatus.COMPLETED}

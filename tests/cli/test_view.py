"""What of a session is shown: everything once, over restarts of the client and repeated attempts of the server."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from codelab_cli.items import Item, Note, Question, Shown, SpeechEnded, UserMessage
from codelab_cli.markdown import split_complete
from codelab_cli.view import View

type Step = tuple[str, dict[str, Any]]


def play(view: View, steps: Iterable[Step], *, first: int = 1) -> str:
    """Apply events as a screen does that prints text as it comes; return what was printed."""
    printed = ""
    for number, (kind, payload) in enumerate(steps, first):
        for item in view.take(number, kind, payload):
            printed += shown(item)
        if view.speech and view.speech.pending:
            printed += view.speech.pending
            view.speech.shown = view.speech.text
    return printed


def shown(item: Item) -> str:
    match item:
        case SpeechEnded(speech):
            text, speech.shown = speech.pending, speech.text
            return text
        case Note(text):
            return f"[{text}]"
        case UserMessage(text):
            return f"<{text}>"
        case Question(key):
            return f"?{key}"
    return ""


def delta(text: str, message: str = "m1") -> Step:
    return "text_delta", {"turn_id": "t1", "message_id": message, "text": text}


def said(text: str, message: str = "m1", **more: Any) -> Step:
    return "message_added", {"turn_id": "t1", "message_id": message, "role": "assistant", "content": text, **more}


def asked(call_id: str = "c1", **more: Any) -> Step:
    call = {"turn_id": "t1", "call_id": call_id, "tool": "write_file", "arguments": {"path": "a"}}
    return "tool_call_requested", {**call, "requires_approval": True, **more}


QUESTION: Step = ("message_added", {"turn_id": "t1", "message_id": "m0", "role": "user", "content": "Hi"})
STARTED: Step = ("turn_started", {"turn_id": "t1", "attempt": 1, "replaces": []})
COMPLETED: Step = ("turn_completed", {"turn_id": "t1", "input_tokens": 3, "output_tokens": 2})


def test_text_is_shown_as_it_comes_and_once() -> None:
    assert play(View(), [QUESTION, STARTED, delta("Hel"), delta("lo"), said("Hello"), COMPLETED]) == "<Hi>Hello"


def test_an_attempt_that_repeats_what_was_shown_goes_on_behind_it() -> None:
    again: Step = ("turn_started", {"turn_id": "t1", "attempt": 2, "replaces": ["m1"]})
    steps = [
        STARTED,
        delta("One two"),
        again,
        delta("One ", "m2"),
        delta("two three", "m2"),
        said("One two three", "m2"),
    ]
    assert play(View(), steps) == "One two three"


def test_an_attempt_that_says_something_else_is_shown_whole_after_a_note() -> None:
    again: Step = ("turn_started", {"turn_id": "t1", "attempt": 2, "replaces": ["m1"]})
    printed = play(View(), [STARTED, delta("One two"), again, delta("Two", "m2"), said("Two", "m2")])
    assert printed == "One two[The answer was begun again, in other words:]Two"


STEPS = [QUESTION, STARTED, *(delta(f"t{number} ") for number in range(8)), said("t0 t1 t2 t3 t4 t5 t6 t7 "), COMPLETED]


@given(st.integers(0, len(STEPS)), st.lists(st.integers(2, 9), max_size=2))
def test_a_client_that_starts_again_shows_the_rest(cut: int, joined: list[int]) -> None:
    whole = play(View(), STEPS)
    first = View()
    begun = play(first, STEPS[:cut])
    # All events come again, some as one that stands for several.
    again = View(before=first.shown)
    assert begun + play(again, compacted(STEPS, joined)) == whole
    assert again.turns == {}


def compacted(steps: list[Step], cuts: list[int]) -> list[Step]:
    """Return the steps with the pieces of text joined, in parts. Numbers stay those of the last piece."""
    bounds = [2, *sorted(cuts), 10]
    joined: list[Step] = []
    for start, end in pairwise(bounds):
        text = "".join(payload["text"] for _, payload in steps[start:end])
        joined += [("nothing", {})] * max(0, end - start - 1) + ([delta(text)] if end > start else [])
    return [*steps[:2], *joined, *steps[10:]]


def test_questions_of_before_a_restart_wait_and_are_not_announced_again() -> None:
    first = View()
    play(first, [STARTED, asked()])
    again = View(before=first.shown)
    assert play(again, [STARTED, asked()]) == ""
    assert list(again.questions) == ["c1"]


def test_a_question_ends_with_its_decision_or_its_turn() -> None:
    view = View()
    play(view, [STARTED, asked("c1"), asked("c2")])
    decided = {"turn_id": "t1", "call_id": "c1", "tool": "write_file", "status": "approved", "arguments": {"path": "a"}}
    assert play(view, [("approval_decided", decided)], first=4) == "[Approved: write_file a]"
    assert list(view.questions) == ["c2"]
    play(view, [("turn_cancelled", {"turn_id": "t1"})], first=5)
    assert not view.questions
    assert view.ended == {"t1": "cancelled"}


def test_a_failed_turn_says_why() -> None:
    printed = play(
        View(), [STARTED, delta("Half"), ("turn_failed", {"turn_id": "t1", "error_code": "x", "error": "No."})]
    )
    assert printed == "Half[No. (x)]"


def test_a_plan_is_a_question_then_progress() -> None:
    plan = {
        "plan_id": "p1",
        "turn_id": "t1",
        "call_id": "c1",
        "goal": "G",
        "status": "draft",
        "subtasks": [{"id": "a", "description": "Write it.", "agent": "coder", "status": "pending"}],
    }
    update = {"plan_id": "p1", "subtask_id": "a", "status": "in_progress", "agent": "coder"}
    end = {"plan_id": "p1", "turn_id": "t1", "status": "completed", "total": 1, "completed": 1, "failed": 0}
    view = View()
    printed = play(
        view,
        [
            STARTED,
            ("plan_proposed", plan),
            ("plan_decided", {"plan_id": "p1", "turn_id": "t1", "call_id": "c1", "decision": "approve"}),
            ("plan_updated", update),
            ("plan_finished", end),
        ],
    )
    assert printed == "?p1[The plan was approved.][◐ coder: Write it.][The plan is completed: 1 of 1 sub-tasks done.]"


def test_a_snapshot_shows_what_is_behind_the_last_message_shown() -> None:
    messages = [
        {"message_id": f"m{number}", "turn_id": "t", "role": "assistant", "content": f"text{number}"}
        for number in range(4)
    ]
    snapshot = {
        "session": {"current_agent": "coder", "mode": "ask", "title": ""},
        "messages": messages,
        "turns": [{"turn_id": "t1", "status": "running"}],
        "texts": [{"turn_id": "t1", "message_id": "m9", "text": "half"}],
        "tool_calls": [],
        "plan": None,
    }
    view = View(before=Shown(50, "m2", "te"))
    assert play(view, [("snapshot", snapshot)], first=9000) == "xt2text3half"
    assert view.agent == "coder"
    assert view.open_turn == "t1"


def test_the_question_at_the_end_of_a_turn_is_found() -> None:
    call = {"id": "c", "name": "ask_followup_question", "arguments": {}}
    view = View()
    play(view, [STARTED, said("", tool_calls=[call]), said("Which?", "m2"), COMPLETED])
    assert view.asks == {"t1"}
    assert view.answers == {"t1": "Which?"}
    assert view.tokens == {"t1": (3, 2)}


@given(st.text(alphabet="a \n`~#-1.", max_size=60))
def test_a_markdown_text_is_cut_without_a_loss(text: str) -> None:
    complete, rest = split_complete(text)
    assert complete + rest == text


def test_markdown_is_cut_between_blocks_and_never_in_a_fence() -> None:
    assert split_complete("One.\n\nTwo") == ("One.\n\n", "Two")
    assert split_complete("One.\n\n") == ("", "One.\n\n")
    assert split_complete("```\na\n\nb") == ("", "```\na\n\nb")
    assert split_complete("````\n```\n\n````\n\nB") == ("````\n```\n\n````\n\n", "B")
    assert split_complete("- a\n\n  b\n\nC") == ("- a\n\n  b\n\n", "C")

"""The checker follows steered messages: read once, by the step that names them, or moved to a turn that reads them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from tests.chaos.checker import check
from tests.chaos.dump import Dump
from tests.chaos.history import Record
from tests.live.provider import turn_token

SESSION = "session-1"
WISHES = {"m0": "turn=7 tokens=2 tools=1", "ms": "turn=8 tokens=2 tools=0", "mt": "turn=9 tokens=1 tools=0"}

type Story = list[tuple[str, str, int, Record]]


def said(turn: str, attempt: int, message_id: str, number: int, count: int) -> Story:
    """A message of the provider, in pieces and as a whole."""
    texts = [turn_token(number, i) for i in range(count)]
    whole = {"message_id": message_id, "role": "assistant", "content": "".join(texts)}
    pieces: Story = [(turn, "text_delta", attempt, {"message_id": message_id, "text": text}) for text in texts]
    return [*pieces, (turn, "message_added", attempt, whole)]


def asked(turn: str, message_id: str, **more: bool) -> Story:
    payload = {"message_id": message_id, "role": "user", "content": WISHES[message_id], **more}
    return [(turn, "message_added", 0, payload)]


@pytest.fixture
def dump() -> Dump:
    """Turn A calls a tool, reads `ms`, and ends before it has read `mt`, which turn B reads."""
    story: Story = [
        *asked("A", "m0"),
        ("A", "turn_queued", 0, {}),
        ("A", "turn_started", 1, {"attempt": 1, "replaces": []}),
        *said("A", 1, "m1", 7, 2),
        ("A", "turn_waiting", 1, {}),
        *asked("A", "ms", steer=True),
        ("A", "turn_queued", 0, {}),
        ("A", "turn_started", 2, {"attempt": 2, "replaces": [], "reads": ["ms"]}),
        *asked("A", "mt", steer=True),
        *said("A", 2, "m2", 8, 2),
        ("B", "turn_queued", 0, {"messages": ["mt"]}),
        ("A", "turn_completed", 2, {}),
        ("B", "turn_started", 1, {"attempt": 1, "replaces": [], "reads": ["mt"]}),
        *said("B", 1, "m3", 9, 1),
        ("B", "turn_completed", 1, {}),
    ]
    events: list[Record] = [
        {"session": SESSION, "turn": turn, "number": number, "kind": kind, "attempt": attempt, "payload": payload}
        for number, (turn, kind, attempt, payload) in enumerate(story, 1)
    ]
    messages: list[Record] = [
        {
            "id": event["payload"]["message_id"],
            "session": SESSION,
            "turn": "B" if event["payload"]["message_id"] == "mt" else event["turn"],
            "role": event["payload"]["role"],
            "content": event["payload"]["content"],
            "client_message_id": f"s-{event['payload']['message_id']}" if event["payload"]["role"] == "user" else "",
            "steered": event["payload"].get("steer", False),
        }
        for event in events
        if event["kind"] == "message_added"
    ]
    turn = {"session": SESSION, "status": "completed", "attempt": 1, "error_code": ""}
    return Dump(
        turns=[{**turn, "id": "A"}, {**turn, "id": "B"}],
        messages=messages,
        events=events,
        replays={SESSION: copy.deepcopy(events)},
        histories={SESSION: copy.deepcopy(messages)},
    )


def kinds(dump: Dump, *, acked: str = "A") -> set[str]:
    records: list[Record] = []
    for message_id, text in WISHES.items():
        names = {"session": SESSION, "id": f"s-{message_id}"}
        records.append({"t": 0.1, "what": "sent", **names, "text": text})
        records.append({"t": 0.2, "what": "acked", **names, "turn": acked, "message": message_id})
    requests = [{"turn": turn, "step": 0} for turn in (7, 8, 9)]
    return {violation.kind for violation in check(records, dump, (), requests)}


def event(dump: Dump, kind: str, nth: int) -> Record:
    return [each for each in dump.events if each["kind"] == kind][nth]


def forget_to_read(dump: Dump) -> None:
    del event(dump, "turn_started", 1)["payload"]["reads"]


def read_twice(dump: Dump) -> None:
    event(dump, "turn_started", 2)["payload"]["reads"].append("ms")


def leave_it_behind(dump: Dump) -> None:
    dump.events = [each for each in dump.events if each["turn"] != "B"]
    dump.turns.pop()
    dump.messages = [each for each in dump.messages if each["id"] != "m3"]
    next(each for each in dump.messages if each["id"] == "mt")["turn"] = "A"


def answer_what_was_not_read(dump: Dump) -> None:
    event(dump, "turn_started", 1)["payload"]["reads"] = ["m0"]


def test_a_correct_run_has_no_violations(dump: Dump) -> None:
    assert kinds(dump) == set()


def test_a_message_accepted_for_another_turn_is_found(dump: Dump) -> None:
    assert "doubled" in kinds(dump, acked="C")


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [(forget_to_read, "lost"), (read_twice, "doubled"), (leave_it_behind, "lost"), (answer_what_was_not_read, "text")],
)
def test_each_violation_is_found(dump: Dump, spoil: Callable[[Dump], None], kind: str) -> None:
    spoil(dump)
    assert kind in kinds(dump)

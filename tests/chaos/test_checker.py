"""A checker that never complains proves nothing: each kind of violation, made by hand in a correct run."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from tests.chaos.checker import check, expected
from tests.chaos.dump import Dump
from tests.chaos.figures import measure, percentile
from tests.chaos.history import Record
from tests.chaos.violations import KINDS
from tests.live.provider import turn_token

SESSION = "session-1"


@dataclass
class Run:
    """A run of one turn with one tool call, whose first attempt ends after two tokens."""

    records: list[Record] = field(default_factory=list)
    dump: Dump = field(default_factory=Dump)
    tools: list[Record] = field(default_factory=list)
    requests: list[Record] = field(default_factory=list)

    def kinds(self) -> set[str]:
        found = check(self.records, self.dump, self.tools, self.requests)
        assert all(str(violation) for violation in found)
        return {violation.kind for violation in found}

    def received(self, socket: str = "a") -> list[Record]:
        return [r for r in self.records if r["what"] == "received" and r["socket"] == socket]

    def event(self, kind: str, nth: int = 0) -> Record:
        return [event for event in self.dump.events if event["kind"] == kind][nth]


def told(socket: str, event: Record) -> Record:
    facts = {"number": event["number"], "kind": event["kind"], "payload": copy.deepcopy(event["payload"])}
    first = {"first": event["first"]} if "first" in event else {}
    return {"t": event["number"] / 10, "what": "received", "socket": socket, "session": SESSION, **facts, **first}


def events_of_a_turn() -> list[Record]:
    said = [turn_token(7, i) for i in range(6)]
    pieces: list[Record] = [{"message_id": f"m{2 + i // 3}", "text": text} for i, text in enumerate(said)]
    step = [{"message_id": name, "role": "assistant"} for name in ("m2", "m3")]
    story: list[tuple[str, int, Record]] = [
        ("message_added", 0, {"message_id": "m0", "role": "user", "content": "turn=7 tokens=3 tools=1"}),
        ("turn_queued", 0, {}),
        ("turn_started", 1, {"attempt": 1, "replaces": []}),
        ("text_delta", 1, {"message_id": "m1", "text": said[0]}),
        ("text_delta", 1, {"message_id": "m1", "text": said[1]}),
        ("turn_queued", 0, {}),
        ("turn_started", 2, {"attempt": 2, "replaces": ["m1"]}),
        *(("text_delta", 2, piece) for piece in pieces[:3]),
        ("message_added", 0, {**step[0], "content": "".join(said[:3])}),
        ("tool_call_requested", 2, {"call_id": "c1", "arguments": {"path": "7/0"}}),
        ("turn_waiting", 2, {}),
        ("tool_call_finished", 0, {"call_id": "c1", "status": "completed"}),
        ("turn_queued", 0, {}),
        ("turn_started", 3, {"attempt": 3, "replaces": []}),
        *(("text_delta", 3, piece) for piece in pieces[3:]),
        ("message_added", 0, {**step[1], "content": "".join(said[3:])}),
        ("turn_completed", 3, {}),
    ]
    return [
        {
            "session": SESSION,
            "turn": "turn-7",
            "number": number,
            "kind": kind,
            "attempt": attempt,
            "payload": {"turn_id": "turn-7", **payload},
        }
        for number, (kind, attempt, payload) in enumerate(story, 1)
    ]


@pytest.fixture
def run() -> Run:
    events = events_of_a_turn()
    whole = expected("turn=7 tokens=3 tools=1")
    assert whole == "".join(turn_token(7, i) for i in range(6))
    half = len(whole) // 2
    messages: list[Record] = [
        {"id": "m0", "role": "user", "content": "turn=7 tokens=3 tools=1", "client_message_id": "s-1"},
        {"id": "m2", "role": "assistant", "content": whole[:half], "client_message_id": ""},
        {"id": "m3", "role": "assistant", "content": whole[half:], "client_message_id": ""},
    ]
    for number, message in enumerate(messages):
        message |= {"session": SESSION, "turn": "turn-7", "number": number}
    opened = {"t": 0.0, "what": "opened", "session": SESSION, "after": 0, "web": 0}
    sent = {"t": 0.1, "what": "sent", "session": SESSION, "id": "s-1", "text": messages[0]["content"]}
    records: list[Record] = [
        {**opened, "socket": "a", "kind": "v2", "follower": "f1"},
        {**opened, "socket": "b", "kind": "sse", "follower": "f2"},
        {**opened, "socket": "old", "kind": "v1", "follower": "f3"},
        sent,
        {"t": 0.2, "what": "acked", "session": SESSION, "id": "s-1", "turn": "turn-7", "message": "m0"},
    ]
    records += [told("a", event) for event in events]
    # This socket was cut and reconnected.
    records += [told("b", event) for event in events[:9]]
    records.append({**opened, "socket": "b2", "kind": "sse", "follower": "f2", "after": 9})
    records += [told("b2", event) for event in events[9:]]
    records += [
        {**told("old", event), "kind": "assistant_message"} for event in events if event["kind"] == "text_delta"
    ]
    dump = Dump(
        turns=[{"id": "turn-7", "session": SESSION, "status": "completed", "attempt": 3, "error_code": ""}],
        messages=messages,
        events=events,
        replays={SESSION: copy.deepcopy(events)},
        histories={SESSION: copy.deepcopy(messages)},
    )
    tools = [{"session": SESSION, "turn_number": 7, "step": 0, "call": "c1"}]
    return Run(records, dump, tools, [{"turn": 7, "step": step} for step in (0, 0, 1)])


def test_a_correct_run_has_no_violations(run: Run) -> None:
    assert run.kinds() == set()


def lose_the_message(run: Run) -> None:
    run.dump.messages.pop(0)


def store_the_message_twice(run: Run) -> None:
    run.dump.messages.append({**run.dump.messages[0], "id": "m9", "client_message_id": "s-2"})


def accept_it_as_another_one(run: Run) -> None:
    next(record for record in run.records if record["what"] == "acked")["turn"] = "turn-8"


def leave_the_turn_open(run: Run) -> None:
    run.dump.turns[0]["status"] = "running"


def end_the_turn_twice(run: Run) -> None:
    run.dump.events.append({**run.dump.events[-1], "number": len(run.dump.events) + 1, "kind": "turn_failed"})


def end_the_turn_otherwise_than_told(run: Run) -> None:
    run.dump.turns[0]["status"] = "cancelled"


def crash_the_turn(run: Run) -> None:
    run.dump.turns[0]["error_code"] = "internal_error"


def lose_an_event_at_a_client(run: Run) -> None:
    run.records.remove(run.received()[4])


def lose_the_end_at_a_client(run: Run) -> None:
    run.records.append({"t": 9, "what": "behind", "session": SESSION, "has": 3, "lacks": 4})


def leave_a_hole_in_the_log(run: Run) -> None:
    for event in run.dump.events[8:]:
        event["number"] += 1


def tell_an_event_twice(run: Run) -> None:
    run.records.append(copy.deepcopy(run.received()[4]))


def tell_an_old_client_twice(run: Run) -> None:
    run.records.append(copy.deepcopy(run.received("old")[1]))


def mix_up_two_events(run: Run) -> None:
    one, other = (run.records.index(record) for record in run.received("b2")[3:5])
    run.records[one], run.records[other] = run.records[other], run.records[one]


def tell_again_after_coming_back(run: Run) -> None:
    run.records.insert(-10, {**run.received("b")[8], "socket": "b2"})


def tell_two_clients_different_things(run: Run) -> None:
    run.received("b2")[0]["payload"]["text"] = "t7.9 "


def tell_what_is_not_stored(run: Run) -> None:
    event = {**run.dump.events[-1], "number": len(run.dump.events) + 1}
    run.records.append(told("a", event))


def replay_something_else(run: Run) -> None:
    run.dump.replays[SESSION].pop()


def change_the_history(run: Run) -> None:
    run.dump.histories[SESSION].pop()


def everywhere(run: Run, number: int, text: str) -> None:
    """Change a piece of text in all clients and all tables."""
    for event in [*run.dump.events, *run.dump.replays[SESSION], *run.records]:
        if event.get("number") == number:
            event["payload"]["text"] = text


def say_a_token_twice(run: Run) -> None:
    everywhere(run, 10, turn_token(7, 2) * 2)
    for events in (run.dump.events, run.dump.replays[SESSION]):
        events[10]["payload"]["content"] += turn_token(7, 2)


def complete_half_an_answer(run: Run) -> None:
    run.event("message_added")["payload"]["content"] = "turn=7 tokens=4 tools=1"


def store_another_text(run: Run) -> None:
    run.dump.messages[2]["content"] += "more"


def store_what_was_withdrawn(run: Run) -> None:
    run.dump.messages.append({**run.dump.messages[1], "id": "m1", "number": 5})


def run_a_tool_twice(run: Run) -> None:
    run.tools.append({**run.tools[0], "call": "c2"})


def forget_the_tool(run: Run) -> None:
    run.tools[0]["step"] = 5


def write_after_a_takeover(run: Run) -> None:
    run.event("text_delta", 3)["attempt"] = 1


def write_to_a_withdrawn_message(run: Run) -> None:
    run.event("text_delta", 2)["payload"]["message_id"] = "m1"


def write_after_the_end(run: Run) -> None:
    run.dump.events.append({**run.event("text_delta", 7), "number": len(run.dump.events) + 1})


def ask_the_model_again(run: Run) -> None:
    run.requests.append({"turn": 7, "step": 1})


def go_on_before_the_providers_time(run: Run) -> None:
    put_off, started = run.event("turn_queued", 1), run.event("turn_started", 1)
    put_off |= {"kind": "retry_scheduled", "payload": {**put_off["payload"], "retry_at": "2026-11-28T12:00:01Z"}}
    started["created_at"] = datetime(2026, 11, 28, 12, tzinfo=UTC)


HARM: dict[Callable[[Run], None], str] = {
    lose_the_message: "lost",
    go_on_before_the_providers_time: "early",
    store_the_message_twice: "doubled",
    accept_it_as_another_one: "doubled",
    leave_the_turn_open: "open",
    end_the_turn_twice: "ends",
    end_the_turn_otherwise_than_told: "ends",
    crash_the_turn: "crashed",
    lose_an_event_at_a_client: "gap",
    lose_the_end_at_a_client: "gap",
    leave_a_hole_in_the_log: "gap",
    tell_an_event_twice: "repeated",
    tell_an_old_client_twice: "repeated",
    tell_again_after_coming_back: "repeated",
    mix_up_two_events: "reordered",
    tell_two_clients_different_things: "different",
    tell_what_is_not_stored: "different",
    replay_something_else: "different",
    change_the_history: "different",
    say_a_token_twice: "text",
    complete_half_an_answer: "text",
    store_another_text: "stored",
    store_what_was_withdrawn: "stored",
    run_a_tool_twice: "tool",
    forget_the_tool: "tool",
    write_after_a_takeover: "stale",
    write_to_a_withdrawn_message: "stale",
    write_after_the_end: "after_end",
    ask_the_model_again: "retried",
}


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_the_checker_complains(run: Run, harm: Callable[[Run], None]) -> None:
    harm(run)
    assert HARM[harm] in run.kinds()


def test_every_kind_of_violation_is_provoked() -> None:
    assert set(HARM.values()) == set(KINDS)


def folded(events: list[Record]) -> list[Record]:
    """Return the log after the pieces of the last message are compacted into one."""
    pieces = [event for event in events if event["payload"].get("message_id") == "m3" and event["kind"] == "text_delta"]
    text = "".join(piece["payload"]["text"] for piece in pieces)
    whole = {**pieces[-1], "first": pieces[0]["number"], "payload": {**pieces[-1]["payload"], "text": text}}
    return [whole if event is pieces[-1] else event for event in events if event not in pieces[:-1]]


def test_a_compacted_log_still_matches_what_clients_received(run: Run) -> None:
    run.dump.events = folded(run.dump.events)
    run.dump.replays[SESSION] = copy.deepcopy(run.dump.events)
    run.records.append({**run.records[0], "socket": "late"})
    run.records += [told("late", event) for event in run.dump.events]
    assert run.kinds() == set()
    run.received("a")[-4]["payload"]["text"] = "t7.9 "
    assert run.kinds() == {"different"}


def test_a_compacted_event_that_reaches_back_is_a_repetition(run: Run) -> None:
    run.dump.events = folded(run.dump.events)
    run.dump.replays[SESSION] = copy.deepcopy(run.dump.events)
    run.records.append({**run.records[0], "socket": "late", "after": 17})
    run.records += [told("late", event) for event in run.dump.events if event["number"] > 17]
    assert run.kinds() == {"repeated"}


def test_a_cancelled_turn_may_end_early_but_not_with_another_text(run: Run) -> None:
    events = run.dump.events[:9]
    end = {**events[-1], "number": 10, "kind": "turn_cancelled", "payload": {"turn_id": "turn-7"}}
    text = turn_token(7, 0) + turn_token(7, 1)
    kept = {"turn_id": "turn-7", "message_id": "m2", "role": "assistant", "content": text}
    events += [{**end, "kind": "message_added", "payload": kept}, {**end, "number": 11}]
    run.dump.turns[0]["status"] = "cancelled"
    run.dump.events, run.dump.replays[SESSION] = events, copy.deepcopy(events)
    run.dump.messages[1]["content"] = text
    run.dump.messages.pop()
    run.dump.histories[SESSION] = copy.deepcopy(run.dump.messages)
    run.records = [r for r in run.records if r.get("number", 0) < 10 and r.get("after", 0) < 9]
    run.requests.pop()
    assert run.kinds() == set()


def test_recovery_time_runs_from_the_death_to_the_next_attempt(run: Run) -> None:
    run.records.append({"t": 0.5, "what": "died", "process": "worker-1", "pid": 1, "turns": {"turn-7": 1}})
    (sample,) = measure(run.records).worker
    assert (round(sample.seconds, 3), sample.alone) == (0.2, True)
    run.records.append({"t": 0.55, "what": "began", "fault": 1, "kind": "crash_postgres"})
    run.records.append({"t": 0.56, "what": "ended", "fault": 1, "kind": "crash_postgres"})
    (sample,) = measure(run.records).worker
    assert not sample.alone
    assert percentile([sample], 0.95) == sample.seconds


def test_a_gap_in_a_stream_counts_unless_a_kill_or_an_outage_explains_it(run: Run) -> None:
    piece = {**run.received()[3], "kind": "text_delta"}
    piece["payload"] = {"turn_id": "turn-7", "message_id": "m9", "text": "x"}
    run.records += [{**piece, "t": 100.0}, {**piece, "t": 102.5}]
    assert max(sample.seconds for sample in measure(run.records).gaps) == 2.5
    odd = [{"t": 100.5, "what": what, "fault": 1, "kind": "odd_messages"} for what in ("began", "ended")]
    assert max(sample.seconds for sample in measure(run.records + odd).gaps) == 2.5
    away = [{"t": 100.5, "what": what, "fault": 1, "kind": "kill_redis"} for what in ("began", "ended")]
    assert max(sample.seconds for sample in measure(run.records + away).gaps) < 2
    died = {"t": 99.0, "what": "died", "process": "worker-1", "pid": 1, "turns": {}}
    assert max(sample.seconds for sample in measure([*run.records, died]).gaps) < 2


def test_the_order_of_records_from_different_clients_does_not_matter(run: Run) -> None:
    first, rest = run.records[:5], run.records[5:]
    opened = [record for record in rest if record["what"] == "opened"]
    streams = [run.received(name) for name in ("a", "b", "b2", "old")]
    dice, mixed = random.Random(3), []
    while any(streams):
        mixed.append(dice.choice([stream for stream in streams if stream]).pop(0))
    run.records = first + opened + mixed
    assert run.kinds() == set()

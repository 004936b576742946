"""What a turn and a tool step ask of PostgreSQL: so many messages and statements, and no more.

Each is a round trip, and took about as much processor time as the work itself. A verb that needs one more changes
these numbers on purpose, or finds its rows with those that it reads already (`sessions.turns.rows`).
"""

from __future__ import annotations

import tempfile
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from agents.context import Window
from agents.events import StepFinished
from llm.types import CallOutcome, CallRecord, ModelToolCall, TokenUsage
from llm.wire.pieces import BodyPieces
from sessions.errors import StaleAttempt
from sessions.events import log
from sessions.events.log import Addition, NewEvent
from sessions.models import EventKind, Message, Session, Turn, TurnStatus, new_id
from sessions.results import Claim, StepResult, ToolOutput
from sessions.statements import atomic, prepared
from sessions.turns import attempts, call_offers, completions, inbox, tool_calls
from sessions.turns.completions import CompletionRequest
from sessions.turns.sessions import open_session
from sessions.turns.transitions import transition
from sessions.worker import prompt

pytestmark = pytest.mark.django_db(transaction=True)

WINDOW = Window(tokens=128_000, answer=4_000, is_certain=True)
PROCESS = new_id()
#: Round trips of each part, and the statements in them, BEGIN and COMMIT among these.
TURN = {"accept": (2, 5), "claim": (2, 5), "prompt": (1, 1), "complete": (2, 5)}
#: A longer answer commits its pieces before its end on their own.
LONG = {"piece": (3, 5)}
#: The third one reads the request, which may have megabytes.
COMPLETION = {"claim": (2, 5), "finish": (3, 6)}
STEP = {"request": (2, 5), "offer": (1, 1), "result": (2, 5), "claim again": (2, 5), "prompt again": (1, 1)}


class Trips:
    """Counts the messages to PostgreSQL of each part of a story, and the statements in them: one is one round trip."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self.statements: Counter[str] = Counter()

    def count[R](self, part: str, verb: Callable[..., R], *arguments: Any, **options: Any) -> R:
        """Run a verb, and count its round trips for the part."""
        connection.ensure_connection()
        libpq = connection.connection.pgconn
        with tempfile.TemporaryFile("w+") as trace:
            libpq.trace(trace.fileno())
            try:
                result = verb(*arguments, **options)
            finally:
                libpq.untrace()
            trace.seek(0)
            messages = [line.strip().split("\t")[1:4:2] for line in trace if "\t" in line]
        self.of[part] += sum(side == "F" and kind in ("Query", "Sync") for side, kind in messages)
        self.statements[part] += sum(side == "B" and kind == "CommandComplete" for side, kind in messages)
        return result

    def __getitem__(self, part: str) -> tuple[int, int]:
        return self.of[part], self.statements[part]


def run_turn(trips: Trips, session: Session, tools: int, *, is_long: bool = False) -> None:
    sent: dict[str, Any] = {"client_message_id": str(new_id())}
    accepted = trips.count("accept", inbox.accept_message, session.pk, "Read the files, please.", **sent)
    for step in range(tools + 1):
        again = " again" if step else ""
        claim, _, turn = trips.count(f"claim{again}", claimed, accepted.turn_id)
        read = trips.count(f"prompt{again}", prompt.build_for, turn, claim.agent, WINDOW)
        if step == tools:
            break
        call_id = f"call_{accepted.turn_id}_{step}"
        call = ModelToolCall(id=call_id, name="read_file", arguments={"path": f"{step}.txt"})
        trips.count("request", tool_calls.request_tools, claim, result_of(claim), [call], basis=read.basis)
        offer: dict[str, Any] = {"new_approvals": set(), "takes_over": False}
        trips.count("offer", call_offers.offer, session.pk, "editor", PROCESS, **offer)
        output = ToolOutput(text="the file", failed=False, has_run=True)
        trips.count("result", tool_calls.record_output, session.pk, call_id, output)
    if is_long:
        trips.count("piece", log.append_all, [piece_of(claim)])
    result = replace(result_of(claim, "Done."), pieces=piece_of(claim).events)
    trips.count("complete", attempts.complete, claim, result)


def claimed(turn_id: uuid.UUID) -> tuple[Claim, Any, Turn]:
    found = attempts.claim_with_turn(turn_id, worker="w", model="fake", task="t")
    assert found
    return found


def result_of(claim: Claim, text: str = "") -> StepResult:
    sent = BodyPieces('{"model":"fake","messages":[', (f'"{claim.turn_id} {claim.attempt}"',), "]}")
    record = CallRecord(
        model="fake",
        attempt=1,
        outcome=CallOutcome.COMPLETED,
        error_code="",
        detail="",
        usage=TokenUsage(input_tokens=10, output_tokens=2),
        cost=Decimal("0.001"),
        own_endpoint=False,
        started_at=datetime.now(UTC),
        duration=0.01,
        time_to_first_token=0.01,
        sent=sent,
    )
    return StepResult(message_id=new_id(), text=text, calls=(record,))


def piece_of(claim: Claim) -> Addition:
    payload = {"turn_id": str(claim.turn_id), "message_id": str(new_id()), "text": "Done."}
    event = NewEvent(kind=EventKind.TEXT_DELTA, turn_id=claim.turn_id, attempt=claim.attempt, payload=payload)
    return Addition(session_id=claim.session_id, turn_id=claim.turn_id, attempt=claim.attempt, events=(event,))


def test_a_turn_and_a_step_make_no_more_round_trips(alice: User) -> None:
    session = open_session(alice.pk, "notes")
    call_offers.beat(PROCESS, [])
    # Each statement is planned once for a connection. That takes a message, too. A long conversation has one more.
    run_turn(Trips(), session, tools=9)
    run_turn(Trips(), session, tools=0, is_long=True)
    turn, steps = Trips(), Trips()
    run_turn(turn, session, tools=0)
    assert {part: turn[part] for part in turn.of} == TURN
    # From its fifth step on a turn is stopped when it repeats itself.
    run_turn(steps, session, tools=6, is_long=True)
    assert {part: steps[part] for part in TURN | LONG} == TURN | LONG
    assert {part: steps[part] for part in STEP} == {
        part: (6 * trips, 6 * count) for part, (trips, count) in STEP.items()
    }


def test_the_end_of_a_completion_makes_no_more_round_trips(alice: User) -> None:
    request = CompletionRequest(model="fake", messages=[{"role": "user", "content": "Hello"}])
    for trips in (Trips(), Trips()):
        accepted = completions.accept(alice.pk, request)
        claim, _, _ = trips.count("claim", claimed, accepted.turn_id)
        trips.count(
            "finish", completions.finish, claim, result_of(claim, "Hi."), StepFinished(text="Hi.", tool_calls=())
        )
    assert {part: trips[part] for part in trips.of} == COMPLETION


def test_what_a_verb_writes_is_seen_by_what_it_reads_afterwards(alice: User) -> None:
    session = open_session(alice.pk, "notes")
    with atomic():
        inbox.accept_message(session.pk, "Hello")
        assert Message.objects.get(session=session).content == "Hello"
    assert Turn.objects.get(session=session).status == TurnStatus.QUEUED


def test_a_verb_that_finds_its_turn_changed_writes_nothing(alice: User) -> None:
    session = open_session(alice.pk, "notes")
    accepted = inbox.accept_message(session.pk, "Hello")
    turn = Turn.objects.get(pk=accepted.turn_id)
    Turn.objects.filter(pk=turn.pk).update(attempt=7)
    with pytest.raises(StaleAttempt), atomic():
        locked = log.lock(session.pk)
        transition(turn, TurnStatus.CANCELLED)
        ended = NewEvent(kind=EventKind.TURN_CANCELLED, turn_id=turn.pk, payload={"turn_id": str(turn.pk)})
        log.append(locked, [ended])
    session.refresh_from_db()
    assert session.last_number == accepted.number


@pytest.mark.parametrize(
    "text", ["it's", 'a "quote"', "back\\slash", "\\'; SELECT 1; --", "{1,2}", "NULL", "emoji 🙂", "$1 %s", ""]
)
def test_texts_are_stored_as_they_are(alice: User, text: str) -> None:
    session = open_session(alice.pk, "notes")
    accepted = inbox.accept_message(session.pk, text)
    assert Message.objects.get(pk=accepted.message_id).content == text
    (event,) = (event for event in log.since(session.pk, 0) if event.kind == EventKind.MESSAGE_ADDED)
    assert event.payload["content"] == text


def test_a_connection_keeps_a_limited_number_of_statements(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codelab.postgresql.prepared.MAX_STATEMENTS", 3)
    connection.close()
    session = open_session(alice.pk, "notes")
    for _ in range(2):
        run_turn(Trips(), session, tools=1)
    assert prepared("SELECT count(*) FROM pg_prepared_statements") == [(3,)]


def test_a_statement_has_one_plan_whatever_its_values_are(alice: User) -> None:
    """PostgreSQL would plan some of them anew each time, once it knows more of the tables."""
    connection.close()
    session = open_session(alice.pk, "notes")
    for _ in range(3):
        run_turn(Trips(), session, tools=1)
    counted = "SELECT sum(generic_plans) > 0, sum(custom_plans) FROM pg_prepared_statements"
    assert prepared(counted) == [(True, 0)]


def test_a_plan_reads_no_table_that_was_small_when_it_was_made(alice: User) -> None:
    """It stays until the next ANALYZE, a minute later. Turns became three times as dear in 1,000 turns."""
    session = open_session(alice.pk, "notes")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    run_turn(Trips(), session, tools=1, is_long=True)
    tables: set[str] = set()
    planned = prepared("SELECT name, cardinality(parameter_types) FROM pg_prepared_statements WHERE NOT from_sql")
    with connection.cursor() as cursor:
        for name, count in planned:
            values = f"({', '.join(['NULL'] * count)})" if count else ""
            cursor.execute(f"EXPLAIN EXECUTE {name}{values}")
            scans = (line.partition("Seq Scan on ")[2].split() for (line,) in cursor.fetchall())
            tables |= {scan[0] for scan in scans if scan}
    assert len(planned) > len(TURN)
    assert tables == set()

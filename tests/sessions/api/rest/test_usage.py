"""Usage: a row for each model call, and the figures that the original's benchmark client reads."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from sessions.database import in_thread
from sessions.errors import StaleAttempt
from sessions.models import ModelCall, Session, Turn, Via, new_id
from sessions.results import StepResult
from sessions.turns import approvals, attempts, completions, recovery, tool_calls
from sessions.turns.approvals import Decision
from sessions.turns.completions import CompletionRequest
from sessions.turns.sessions import open_session
from tests.clients import benchmark
from tests.sessions.api.rest.conftest import Http, opened
from tests.sessions.calls import read_call, write_call
from tests.sessions.story import begin, claim, model_call, request, step

pytestmark = pytest.mark.django_db(transaction=True)

METRICS = "/api/v1/events/metrics"


def _work(session: Session) -> None:
    """Run a turn with a call that needs approval and one that does not, then a turn that fails."""
    held = request(session, write_call("w"), read_call("r"))
    yes = Decision(approve=True, by=session.owner_id, via=Via.REST)
    approvals.decide(session.pk, "w", yes)
    tool_calls.record_tool_result(session.pk, "w", content="{}", failed=False)
    tool_calls.record_tool_result(session.pk, "r", content="Error: no", failed=True)
    attempts.complete(claim(held.turn_id), step("Done.", model_call(tokens=(50, 6), cost=Decimal("0.0025"))))
    attempts.fail(begin(session), code="model_stalled", text="It fell silent.", result=step("Half"))


async def test_each_model_call_is_counted_as_the_benchmark_client_reads_it(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    await in_thread(_work)(session)
    answer = await as_alice.ok("GET", f"{METRICS}/session/s")
    shown = benchmark.session_metrics(answer)
    assert [(r["success"], r["prompt_tokens"], r["completion_tokens"]) for r in shown["requests"]] == [
        (True, 30, 4),
        (True, 50, 6),
        (False, 30, 4),
    ]
    assert shown["total_tokens"] == 124
    assert (answer["total_requests"], answer["successful_requests"], answer["failed_requests"]) == (3, 2, 1)
    assert answer["requests_with_tools"] == 1
    assert [r["has_tool_calls"] for r in answer["requests"]] == [True, False, False]
    assert [r["error"] for r in answer["requests"]] == [None, None, "model_stalled"]
    assert answer["total_duration_ms"] == pytest.approx(sum(r["duration_ms"] for r in answer["requests"]), abs=0.01)
    assert [r["cost"] for r in answer["requests"]] == [None, 0.0025, None]
    assert (answer["total_cost"], answer["requests_without_price"]) == (0.0025, 2)
    assert [r["agent"] for r in answer["requests"]] == ["universal"] * 3
    last = await as_alice.ok("GET", f"{METRICS}/session/s?limit=1")
    assert (len(last["requests"]), last["total_requests"]) == (1, 3)
    assert last["requests"][0]["error"] == "model_stalled"


async def test_a_session_without_calls_has_zeros(as_alice: Http, alice: User) -> None:
    await opened(alice)
    shown = benchmark.session_metrics(await as_alice.ok("GET", f"{METRICS}/session/s"))
    assert shown == {"requests": [], "total_tokens": 0, "total_duration_ms": 0.0}
    assert (await as_alice.ok("GET", f"{METRICS}/sessions")) == {"sessions": [], "count": 0}
    status, answer = await as_alice("GET", f"{METRICS}/session/none")
    assert (status, answer["error"]) == (404, "No metrics found for session none")


async def test_the_counters_of_the_original_are_no_longer_stuck_at_zero(
    as_alice: Http, as_bob: Http, alice: User
) -> None:
    session = await opened(alice)
    await in_thread(_work)(session)
    answer = await as_alice.ok("GET", METRICS)
    counted = answer["metrics"]
    assert counted["agent_switches"] == {"orchestrator_to_universal": 1}
    assert counted["tool_executions"] == {
        "read_file": {"requested": 1, "completed": 0, "failed": 1, "requires_approval": 0},
        "write_file": {"requested": 1, "completed": 1, "failed": 0, "requires_approval": 1},
    }
    assert counted["hitl_decisions"] == {"approved": 1}
    assert counted["errors"] == {"model_stalled": 1}
    universal = counted["agent_processing"]["universal"]
    assert (universal["count"], universal["success_count"], universal["failure_count"]) == (3, 2, 1)
    assert answer["computed"]["write_file_success_rate"] == 1.0
    assert answer["computed"]["universal_avg_duration_ms"] == universal["total_duration_ms"] / 3
    assert (await as_alice.ok("GET", f"{METRICS}/sessions")) == {"sessions": ["s"], "count": 1}
    nothing = await as_bob.ok("GET", METRICS)
    assert not any(nothing["metrics"].values())
    assert (await as_bob.ok("GET", f"{METRICS}/sessions"))["count"] == 0


async def test_calls_are_counted_by_the_clients_own_session(as_alice: Http, as_bob: Http, alice: User) -> None:
    def work() -> None:
        for session, agent, price in (
            ("one", "", 1),
            ("one", "helper", 2),
            ("one", "", 3),
            ("two", "", 4),
            ("", "", 5),
        ):
            asked = CompletionRequest(
                model="m", messages=[{"role": "user", "content": "x"}], client_session=session, client_agent=agent
            )
            result = step("", model_call(tokens=(10, 1), cost=price))
            attempts.fail(
                claim(completions.accept(alice.pk, asked).turn_id), code="model_error", text="x", result=result
            )

    await in_thread(work)()
    clients = (await as_alice.ok("GET", "/api/v1/usage"))["clients"]
    names = ("client_session", "client_agent", "requests", "prompt_tokens", "total_cost")
    assert [tuple(row[name] for name in names) for row in clients] == [
        ("two", "", 1, 10, 4.0),
        ("one", "", 2, 20, 4.0),
        ("one", "helper", 1, 10, 2.0),
    ]
    helper = await as_alice.ok("GET", "/api/v1/usage?client_session=one&client_agent=helper")
    assert helper == {"clients": clients[2:], "total": 1}
    assert (await as_bob.ok("GET", "/api/v1/usage"))["total"] == 0


async def test_the_audit_log_is_the_event_log_without_texts(as_alice: Http, as_bob: Http, alice: User) -> None:
    session = await opened(alice)
    await in_thread(_work)(session)
    answer = await as_alice.ok("GET", "/api/v1/events/audit-log")
    kinds = [entry["event_type"] for entry in answer["audit_log"]]
    assert kinds[0] == "turn_failed"
    assert kinds[-1] == "agent_switched"
    assert answer["count"] == len(kinds)
    assert answer["filters"] == {"session_id": None, "event_type": None, "limit": 100}
    assert "Done." not in str(answer)
    path = "/api/v1/events/audit-log?session_id=s&limit=1&event_type=approval_decided"
    (decided,) = (await as_alice.ok("GET", path))["audit_log"]
    assert decided["data"]["status"] == "approved"
    assert decided["correlation_id"] == decided["data"]["turn_id"]
    assert await as_alice.refused("GET", "/api/v1/events/audit-log?event_type=x") == (400, "invalid_field")
    assert (await as_bob.ok("GET", "/api/v1/events/audit-log"))["audit_log"] == []
    stats = await as_alice.ok("GET", "/api/v1/events/stats")
    assert stats["total_published"] == stats["successful_handlers"] == len(kinds)
    assert (await as_bob.ok("GET", "/api/v1/events/stats"))["last_event_time"] is None


def outcomes() -> list[tuple[str, int, int]]:
    return list(ModelCall.objects.order_by("pk").values_list("outcome", "attempt", "step"))


def test_calls_with_an_unknown_outcome_are_in_the_ledger(alice: User) -> None:
    session = open_session(alice.pk, "s")
    held = begin(session)
    attempts.release(held)
    held = claim(held.turn_id)
    Turn.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    recovery.recover(held.turn_id)
    claim(held.turn_id)
    attempts.cancel(session.pk, None)
    assert outcomes() == [("lost", 1, 0), ("lost", 2, 0), ("cancelled", 3, 0)]


def test_a_turn_that_is_stopped_while_it_waits_has_no_model_call(alice: User) -> None:
    session = open_session(alice.pk, "s")
    request(session, write_call("w"))
    attempts.cancel(session.pk, None)
    assert outcomes() == [("ok", 1, 0)]


def test_a_step_without_a_model_call_leaves_no_row(alice: User) -> None:
    session = open_session(alice.pk, "s")
    attempts.fail(
        begin(session), code="too_many_steps", text="Enough.", result=StepResult(message_id=new_id(), text="")
    )
    assert outcomes() == []


def test_a_write_that_is_refused_leaves_no_row(alice: User) -> None:
    session = open_session(alice.pk, "s")
    old = begin(session)
    attempts.release(old)
    claim(old.turn_id)
    with pytest.raises(StaleAttempt):
        attempts.complete(old, step("Done."))
    assert outcomes() == [("lost", 1, 0)]

"""The ledger of model calls: a row for each, written in the transaction that stores what came of it.

So what was asked, for how long and at what price is right after every restart, and a call that nobody knows the end of
is there, too: as lost or cancelled, with the tokens that were counted, which is none.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from agents.roles import UNASSIGNED
from llm.calls import CallRecord, Outcome
from llm.errors import ModelTimedOut
from sessions.changes import Used
from sessions.models import ModelCall, ModelCallOutcome, ModelCallPurpose, Session, Turn


def used(call: CallRecord, purpose: ModelCallPurpose) -> Used:
    """Return what the ledger keeps of a call."""
    first = call.time_to_first_token
    return Used(
        purpose=purpose,
        model=call.model,
        started_at=call.started_at,
        first_token_at=None if first is None else call.started_at + timedelta(seconds=first),
        ended_at=call.started_at + timedelta(seconds=call.duration),
        input_tokens=call.usage.input_tokens,
        output_tokens=call.usage.output_tokens,
        cost=call.cost,
        # Who gave up waiting has cancelled it.
        error_code=call.error_code or (ModelTimedOut.code if call.outcome is Outcome.CANCELLED else ""),
    )


def record(
    session: Session, turn: Turn, used: Used, *, agent: str, error_code: str = "", has_tool_calls: bool = False
) -> None:
    """Write down a model call that its worker saw the end of, failed when it has an error code or one is given.

    The caller has locked the session and has not moved the turn yet. Without `started_at` no model was asked, and there
    is no row. The same call again is the same row.
    """
    error_code = error_code or used.error_code
    outcome = ModelCallOutcome.FAILED if error_code else ModelCallOutcome.OK
    more = {"outcome": outcome, "error_code": error_code, "has_tool_calls": has_tool_calls}
    _write(session, turn, used, agent=agent, **more)


def record_cut_off(session: Session, turn: Turn, outcome: ModelCallOutcome) -> None:
    """Write down the model call of a running turn whose worker went away or was stopped; the same conditions.

    Nobody can ask the worker, so the time is that of the attempt. While no agent has been chosen, the call is the one
    that chooses.
    """
    purpose = ModelCallPurpose.ROUTING if session.current_agent == UNASSIGNED else ModelCallPurpose.STEP
    used = Used(purpose=purpose, started_at=turn.claimed_at)
    _write(session, turn, used, agent=session.current_agent, outcome=outcome)


def _write(session: Session, turn: Turn, used: Used, **fields: Any) -> None:
    if used.started_at is None:
        return
    row = ModelCall(
        id=used.call_id,
        owner_id=session.owner_id,
        session=session,
        turn=turn,
        purpose=used.purpose,
        attempt=turn.attempt,
        step=turn.steps,
        model=used.model or turn.model,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cost=used.cost,
        started_at=used.started_at,
        duration=(used.ended_at or timezone.now()) - used.started_at,
        first_token_after=used.first_token_at - used.started_at if used.first_token_at else None,
        **fields,
    )
    ModelCall.objects.bulk_create([row], ignore_conflicts=True)

"""The ledger of model calls: a row for each, written in the transaction that ends its step.

So what was asked, for how long and at what price is right after every restart, and a call that nobody knows the end of
is there, too: as lost or cancelled, with the tokens that were counted, which is none.
"""

from __future__ import annotations

from django.utils import timezone

from sessions.changes import Step
from sessions.models import ModelCall, ModelCallOutcome, Turn


def record(
    turn: Turn,
    outcome: ModelCallOutcome,
    agent: str,
    step: Step | None = None,
    *,
    error_code: str = "",
    has_tool_calls: bool = False,
) -> None:
    """Write down how a model call of a turn ended; the caller has locked the session and has not moved the turn yet.

    Without a step its worker went away or was stopped, and the time is that of the attempt. A step whose model was not
    asked leaves no row.
    """
    started_at = step.started_at if step else turn.claimed_at
    if started_at is None:
        return
    known = step or Step(message_id=turn.pk, text="")
    ModelCall.objects.create(
        session_id=turn.session_id,
        turn=turn,
        attempt=turn.attempt,
        step=turn.steps,
        agent=agent,
        model=turn.model,
        outcome=outcome,
        error_code=error_code,
        has_tool_calls=has_tool_calls,
        input_tokens=known.input_tokens,
        output_tokens=known.output_tokens,
        cost=known.cost,
        started_at=started_at,
        duration=timezone.now() - started_at,
        first_token_after=known.first_token_at - started_at if known.first_token_at else None,
    )

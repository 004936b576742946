"""What happens to a session, told in short: a worker claims a turn, a model is called, a step ends."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from django.utils import timezone

from llm.types import CallOutcome, CallRecord, ModelMessage, ModelToolCall, TokenUsage
from sessions.events import log
from sessions.events.log import Addition, NewEvent
from sessions.models import EventKind, Session, new_id
from sessions.results import Claim, StepResult
from sessions.turns import attempts, inbox, tool_calls
from sessions.worker import conversation, prompt


def claim(turn_id: uuid.UUID, *, worker: str = "w", model: str = "m") -> Claim:
    """Claim a turn that is due."""
    claimed = attempts.claim(turn_id, worker=worker, model=model)
    assert claimed is not None, "the turn is not due"
    return claimed[0]


def begin(session: Session, text: str = "Do it.", *, model: str = "m", **options: Any) -> Claim:
    """Send a message and claim its turn."""
    return claim(inbox.accept_message(session.pk, text, **options).turn_id, model=model)


def stream(claim: Claim, message_id: uuid.UUID, *texts: str, kind: EventKind = EventKind.TEXT_DELTA) -> None:
    """Write pieces of a message, one event each."""
    for text in texts:
        payload = {"turn_id": str(claim.turn_id), "message_id": str(message_id), "text": text}
        event = NewEvent(kind=kind, turn_id=claim.turn_id, attempt=claim.attempt, payload=payload)
        addition = Addition(session_id=claim.session_id, turn_id=claim.turn_id, attempt=claim.attempt, events=(event,))
        log.append_all([addition])


def request(session: Session, *calls: ModelToolCall, text: str = "") -> Claim:
    """Begin a turn and have its model request these calls."""
    held = begin(session)
    tool_calls.request_tools(held, step(text), calls)
    return held


def model_call(
    *,
    model: str = "m",
    tokens: tuple[int, int] = (30, 4),
    cost: Decimal | int | None = None,
    attempt: int = 1,
    outcome: CallOutcome = CallOutcome.COMPLETED,
    error_code: str = "",
    own_endpoint: bool = False,
) -> CallRecord:
    """A call of a model that has just ended."""
    return CallRecord(
        model=model,
        attempt=attempt,
        outcome=outcome,
        error_code=error_code,
        detail="",
        usage=TokenUsage(input_tokens=tokens[0], output_tokens=tokens[1]),
        cost=None if cost is None else Decimal(cost),
        own_endpoint=own_endpoint,
        started_at=timezone.now(),
        duration=0.1,
        time_to_first_token=0.05,
    )


def step(text: str = "", *calls: CallRecord, **fields: Any) -> StepResult:
    """A step that said this, with one model call where none is given."""
    return StepResult(message_id=new_id(), text=text, calls=calls or (model_call(),), **fields)


def history(turn_id: uuid.UUID) -> tuple[ModelMessage, ...]:
    """The conversation with the user up to a claimed turn, as the model sees it."""
    return conversation.messages(prompt.claimed_turn(turn_id), None)

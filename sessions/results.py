"""What the verbs of `sessions.turns.attempts` take and return: plain values, and the reasons for which they refuse."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from sessions.events.log import Attempt, LoggedEvent
from sessions.models import ModelCallOutcome, ModelCallPurpose, new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a verb has committed: events to publish, and the turn that is ready to run, if any."""

    events: list[LoggedEvent] = field(default_factory=list)
    ready: uuid.UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Change):
    """An accepted message: from here on it cannot be lost."""

    session_id: uuid.UUID
    message_id: uuid.UUID
    turn_id: uuid.UUID
    #: Number of the event that queued the turn.
    number: int
    #: The message had been taken before, under the same id of the client's.
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed(Change):
    """A turn that this attempt now holds."""

    session_id: uuid.UUID
    turn_id: uuid.UUID
    attempt: int
    agent: str
    #: Model calls that finished and count: those of the sub-task that is at work, or those of no sub-task.
    steps: int
    #: Nothing has been said yet, and no plan has chosen who answers.
    first: bool
    #: What earlier attempts and steps of the turn, or of its sub-task, took, without waiting for tools.
    worked: timedelta
    #: An earlier attempt has shown text of this step, which is said again from its beginning.
    again: bool
    owner_id: int
    #: Those that its model calls count against.
    budgets: tuple[uuid.UUID, ...] = ()
    #: Providers that its user has a key for.
    own_keys: frozenset[str] = frozenset()
    #: US dollars that the turn has cost so far; 0 where nobody asks.
    dollars: float = 0.0
    #: What the model is shown came with a request (`sessions.turns.completions`); no conversation goes on behind it.
    stateless: bool = False

    @property
    def key(self) -> Attempt:
        """What tells this attempt from others at the same turn."""
        return self.turn_id, self.attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What one call of a model took, as the worker saw it that made it; goes into the ledger."""

    purpose: ModelCallPurpose = ModelCallPurpose.STEP
    #: Another one than the turn's; empty: the turn's.
    model: str = ""
    #: When the model was asked; None when it was not.
    started_at: datetime | None = None
    first_token_at: datetime | None = None
    #: None: now, when it is written down.
    ended_at: datetime | None = None
    #: All that was read and said; of it, what the provider had cached, and what was thought.
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    #: The provider told no count, so that these are guessed.
    estimated: bool = False
    #: US dollars; None where no price is known.
    cost: Decimal | None = None
    #: With a key of its user's.
    own_key: bool = False
    #: Which call of its request it was, from 1.
    number: int = 1
    outcome: ModelCallOutcome = ModelCallOutcome.OK
    #: Why it failed; empty: it did not.
    error_code: str = ""
    #: Its row in the ledger, so that a write that is tried again is recognised.
    call_id: uuid.UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Used):
    """What a finished or interrupted model call said, to be stored with the turn's next state.

    What it took is what the last call of its request took.
    """

    message_id: uuid.UUID
    text: str
    reasoning: str = ""
    #: The calls before the last one: they failed before they had said anything.
    failed: tuple[Used, ...] = ()

    @property
    def calls(self) -> tuple[Used, ...]:
        """All calls that were made, in their order; none where no model was asked."""
        return (*self.failed, self) if self.started_at else ()

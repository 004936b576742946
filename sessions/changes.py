"""What the verbs of `sessions.lifecycle` take and return: plain values, and the reasons for which they refuse."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from sessions.log import Attempt, LoggedEvent
from sessions.models import ModelCallPurpose, new_id
from sessions.protocol import ErrorCode


class StaleAttempt(Exception):
    """The turn is no longer held by this attempt; whoever gets this stops and writes nothing more."""


class TooLate(Exception):
    """The caller has given up waiting and told the client so; the transaction is rolled back."""


class NothingToCancel(Exception):
    """There is no such turn, or it has ended already."""


class MessageRefused(Exception):
    """A message that cannot be changed any more. `code` and the text are for the client."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class UnknownAgent(Exception):
    """There is no such agent to choose. `code` and the text are for the client."""

    code = ErrorCode.UNKNOWN_AGENT


class ToolCallRefused(Exception):
    """A tool result that belongs to no open call. `code` and the text are for the client."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


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
    #: What the model is shown came with a request (`sessions.completions`), and no conversation goes on behind it.
    stateless: bool = False

    @property
    def key(self) -> Attempt:
        """What tells this attempt from others at the same turn."""
        return self.turn_id, self.attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a request to a model took, as the worker saw it that made it; goes into the ledger."""

    purpose: ModelCallPurpose = ModelCallPurpose.STEP
    #: Another one than the turn's; empty: the turn's.
    model: str = ""
    #: When the model was asked; None when it was not.
    started_at: datetime | None = None
    first_token_at: datetime | None = None
    #: None: now, when it is written down.
    ended_at: datetime | None = None
    #: As the provider counted; 0 where it did not.
    input_tokens: int = 0
    output_tokens: int = 0
    #: US dollars; None where no price is known.
    cost: Decimal | None = None
    #: Why it failed; empty: it did not.
    error_code: str = ""
    #: Its row in the ledger, so that a write that is tried again is recognised.
    call_id: uuid.UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Used):
    """What a finished or interrupted model call said, to be stored with the turn's next state."""

    message_id: uuid.UUID
    text: str
    reasoning: str = ""

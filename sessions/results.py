"""Values that the verbs of turns take and return. This module must never read or write the database."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agents.loop import TurnUsage
from agents.routing import Route
from llm.types import CallRecord, TokenUsage
from sessions.events.log import Attempt, LoggedEvent, NewEvent
from sessions.models import ModelCallPurpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Events that a verb has committed, to be published, and the turn that is ready to run, if any."""

    events: list[LoggedEvent] = field(default_factory=list)
    ready: uuid.UUID | None = None


class TurnFailed(Exception):
    """The turn of a task has failed. Only Celery is told so: everything else reads the turn."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(code, sentence)
        self.code, self.sentence = code, sentence

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedMessage(Change):
    """An accepted message. It is committed and cannot be lost any more."""

    session_id: uuid.UUID
    message_id: uuid.UUID
    turn_id: uuid.UUID
    #: Number of the event that queued the turn; of a message that went into an open turn, the one that announced it.
    number: int
    #: The message was accepted before, with the same `client_message_id`.
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A turn that an attempt holds, with what its next step depends on."""

    session_id: uuid.UUID
    turn_id: uuid.UUID
    attempt: int
    owner_id: int
    agent: str
    #: What earlier steps of the turn used. In a plan: what the sub-task used, except for the cost.
    spent: TurnUsage
    #: No step has finished, and no plan has chosen the agent.
    is_first_step: bool
    #: Clients have seen text of this step from an earlier attempt.
    is_repeat: bool
    #: Seconds that the model's provider has made the turn wait so far (`sessions.turns.retries`).
    retry_wait: float = 0.0
    #: The turn answers a request of the OpenAI-compatible API (`sessions.turns.completions`).
    is_completion: bool = False
    #: The session has no title but the beginning of its first message.
    awaits_title: bool = False
    #: Budgets that pay for its model calls, in the order of their ids.
    budgets: tuple[uuid.UUID, ...] = ()
    #: Providers for which the user has stored a key.
    own_keys: frozenset[str] = frozenset()
    #: Id of the Celery task that brought the turn to its worker; empty when none did.
    task: str = ""

    @property
    def key(self) -> Attempt:
        """The key of this attempt among all attempts at turns."""
        return self.turn_id, self.attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentChoice:
    """The agent that answers, and the model call that chose it."""

    #: None: the session keeps its agent.
    route: Route | None = None
    #: Empty: no model was called.
    calls: tuple[CallRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutput:
    """What a client says of a call that it had to run."""

    #: The whole result. The model gets the middle of a long one left out.
    text: str
    failed: bool
    #: The tool ran, if only to fail.
    has_run: bool
    #: Ids of images of the session.
    images: Sequence[uuid.UUID] = ()
    #: For people (`agents.results.facts_of`).
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """The text and the model calls of a step. A verb stores it together with the turn's next state."""

    message_id: uuid.UUID
    text: str
    reasoning: str = ""
    #: Pieces of the text that no client has seen yet. Their events come before the message's.
    pieces: tuple[NewEvent, ...] = ()
    #: What the provider wants back within the turn (`sessions.turns.provider_fields`).
    extra: Mapping[str, Any] = field(default_factory=dict)
    #: In the order in which they were made. Only the last one can have succeeded.
    calls: tuple[CallRecord, ...] = ()
    purpose: ModelCallPurpose = ModelCallPurpose.STEP
    #: Tokens that fit the model's window, where the worker knows it.
    window: int = 0

    @property
    def usage(self) -> TokenUsage:
        """Tokens of the last call. The calls before it failed and count in the ledger only."""
        return self.calls[-1].usage if self.calls else TokenUsage()

    @property
    def first_token_at(self) -> datetime | None:
        """Time of the last call's first token."""
        return self.calls[-1].first_token_at if self.calls else None

"""What a step has so far: its text, which clients see, and its model calls. Nothing of it is stored here."""

import uuid
from dataclasses import dataclass, field, replace
from decimal import Decimal

import structlog

from llm.errors import short_reason
from llm.types import CallRecord
from sessions import metrics
from sessions.events.log import NewEvent
from sessions.models import EventKind, ModelCallPurpose, new_id
from sessions.results import Claim, StepResult
from sessions.turns.tool_policy import Basis
from sessions.worker.writer import Writer

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Draft:
    """The text of a step so far, which its clients see, and its model calls that have ended."""

    writer: Writer
    message_id: uuid.UUID = field(default_factory=new_id)
    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    purpose: ModelCallPurpose = ModelCallPurpose.STEP
    calls: list[CallRecord] = field(default_factory=list)
    #: The last of its text, which the verb that ends the step commits.
    pieces: tuple[NewEvent, ...] = ()
    #: Tokens that fit the model's window.
    window: int = 0
    #: What tool calls are judged by.
    basis: Basis | None = None

    def result(self) -> StepResult:
        """Return what a verb stores."""
        return StepResult(
            message_id=self.message_id,
            text="".join(self.texts),
            reasoning="".join(self.reasoning),
            pieces=self.pieces,
            calls=tuple(self.calls),
            purpose=self.purpose,
            window=self.window,
        )

    async def end(self, claim: Claim) -> StepResult:
        """Return what the verb that ends the step stores, with the text that no transaction has committed yet.

        A step may need a second verb, when the first one has stored nothing.
        """
        self.pieces += await self.writer.take(claim)
        return self.result()

    @property
    def cost(self) -> Decimal:
        """Return what its model calls have cost."""
        return sum((call.cost or Decimal() for call in self.calls), Decimal())

    def write(self, claim: Claim, text: str) -> None:
        """Add a piece of the answer."""
        self.writer.write(claim, EventKind.TEXT_DELTA, self.message_id, text)
        self.texts.append(text)

    def write_reasoning(self, claim: Claim, text: str) -> None:
        """Add a piece of the model's reasoning."""
        self.writer.write(claim, EventKind.REASONING_DELTA, self.message_id, text)
        self.reasoning.append(text)

    def add_call(self, call: CallRecord) -> None:
        """Add a model call that has ended, count its tokens, and log why it failed."""
        # A step may ask its model more than once.
        call = replace(call, attempt=len(self.calls) + 1)
        self.calls.append(call)
        metrics.count_tokens(call.model, call.usage)
        if call.error_code:
            logger.warning(
                "model_call_failed",
                model=call.model,
                call=call.attempt,
                outcome=str(call.outcome),
                error_code=call.error_code,
                reason=short_reason(call.detail),
            )

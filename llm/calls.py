"""How a model is called: the only door that `agents` and `sessions` use.

One request may take several calls. Before the first output a call may be repeated, and other models asked in its place;
after it never, because a person has seen it. Each call that is begun is told to the caller exactly once, with what it
used, however it ends.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum

from llm import catalog, errors, prices, scripted
from llm.deadlines import with_deadlines
from llm.errors import ModelError
from llm.types import (
    CallOutcome,
    CallRecord,
    Chunk,
    EndChunk,
    ModelRequest,
    Observer,
    ReasoningChunk,
    TextChunk,
    ToolCallChunk,
    Usage,
)

#: Seconds before the second call of a model, about; twice that before the third.
PAUSE = 0.4

#: Who asks to be left alone for longer than this, in seconds, is left alone: the next model is asked.
LONGEST_PAUSE = 10.0


class Then(Enum):
    """What follows a failure before the first output."""

    AGAIN = "the same model, and after `tries` calls the next one"
    NEXT = "the next model"
    END = "nothing: another model would fail as well, or it is the message that has to change"


#: The whole of retry and fallback. A kind that is missing here comes after the first output only.
AFTER: dict[type[ModelError], Then] = {
    errors.ModelUnavailable: Then.AGAIN,
    errors.ModelRateLimited: Then.AGAIN,
    errors.ModelTruncated: Then.AGAIN,
    # It has taken a minute already.
    errors.ModelTimedOut: Then.NEXT,
    errors.ModelNotAuthorized: Then.NEXT,
    errors.ModelNotFound: Then.NEXT,
    errors.ModelRefused: Then.END,
    errors.ModelContextTooLong: Then.END,
    errors.ModelAddressRefused: Then.END,
}

#: Failures of a provider that may have worked on the request, and so may have to be paid.
UNTOLD = (errors.ModelTruncated, errors.ModelTimedOut, errors.ModelStalled, errors.ModelTookTooLong)


#: Is asked before each call, with the model that is to be called as the request's; returns what may be sent. What it
#: raises ends the request, and is raised to its caller.
type Permission = Callable[[ModelRequest], Awaitable[ModelRequest]]


@dataclass(slots=True)
class _Call:
    """A call while it runs."""

    request: ModelRequest
    attempt: int
    observe: Observer
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.monotonic)
    first_at: float | None = None
    said: int = 0
    has_ended: bool = False

    def hear(self, chunk: Chunk) -> Chunk:
        """Note a chunk; complete the end marker with an estimate where the provider told no count."""
        match chunk:
            case TextChunk(text) | ReasoningChunk(text):
                self.said += len(text.encode(errors="replace"))
            case ToolCallChunk():
                self.said += len(chunk.name) + len(chunk.arguments.encode(errors="replace"))
            case EndChunk():
                chunk = replace(chunk, usage=chunk.usage or self.estimate())
                self.end(CallOutcome.COMPLETED, usage=chunk.usage)
                return chunk
        if self.first_at is None:
            self.first_at = time.monotonic()
        return chunk

    def fail(self, error: ModelError) -> None:
        """Note that the call has failed."""
        if self.first_at is not None:
            self.end(CallOutcome.TRUNCATED, error=error, usage=self.estimate())
        else:
            self.end(CallOutcome.FAILED, error=error, usage=self.estimate() if isinstance(error, UNTOLD) else None)

    def end(self, outcome: CallOutcome, *, error: ModelError | None = None, usage: Usage | None = None) -> None:
        """Report the call to its observer, once."""
        if self.has_ended:
            return
        self.has_ended = True
        usage = usage or Usage()
        self.observe(
            CallRecord(
                model=self.request.model,
                attempt=self.attempt,
                outcome=outcome,
                error_code=error.code if error else "",
                detail=error.detail if error else "",
                usage=usage,
                cost=prices.cost(self.request.model, usage, own=self.request.endpoint is not None),
                own_endpoint=self.request.endpoint is not None,
                started_at=self.started_at,
                duration=time.monotonic() - self.began,
                time_to_first_token=None if self.first_at is None else self.first_at - self.began,
            )
        )

    def estimate(self) -> Usage:
        """Estimate what was used so far."""
        return replace(prices.estimate(self.request), output_tokens=-(-self.said // 4))


def preload(*models: str) -> None:
    """Load what models and their fallbacks need before the first request; LiteLLM takes seconds."""
    for name in {each for model in models for each in (model, *catalog.find(model).fallbacks)}:
        if catalog.is_scripted(name):
            continue
        if catalog.provider_of(name):
            from llm import direct

            direct.preload()
        else:
            from llm import gateway

            gateway.preload()


async def close() -> None:
    """Close the connections that this event loop keeps for further calls."""
    from llm import direct

    await direct.close()


def _ignore(record: CallRecord) -> None:
    pass


async def _permit_all(request: ModelRequest) -> ModelRequest:
    return request


async def stream(
    request: ModelRequest, *, observe: Observer = _ignore, permit: Permission = _permit_all
) -> AsyncGenerator[Chunk]:
    """Call a model, or those that stand in for it, and yield the chunks of the answer, the last one an EndChunk.

    Closing the iterator ends the call. Raises the `ModelError` of the first model where all have failed, and what
    `permit` raises.
    """
    attempt = 0
    failure: ModelError | None = None
    for model in prices.models_of(request):
        # The built-in model would only fail in the same way again.
        tries = 1 if catalog.is_scripted(model) else request.tries
        for remaining in reversed(range(tries)):
            attempt += 1
            call = _Call(await permit(replace(request, model=model, fallbacks=())), attempt, observe)
            try:
                async with aclosing(_chunks(call.request)) as chunks:
                    async for chunk in chunks:
                        yield call.hear(chunk)
                if call.has_ended:
                    return
                failed: ModelError = errors.ModelTruncated("the stream ended without an end marker")
            except ModelError as error:
                failed = error
            except Exception:
                call.end(CallOutcome.FAILED)
                raise
            except BaseException:
                # Cancelled, or closed: the provider may go on for a while, and wants to be paid for what it read.
                call.end(CallOutcome.CANCELLED, usage=call.estimate())
                raise
            call.fail(failed)
            then = AFTER.get(type(failed), Then.END)
            if call.first_at is not None:
                raise failed
            if then is Then.END:
                raise failure or failed
            pause = _pause(failed, tried=tries - remaining)
            if then is Then.NEXT or not remaining or pause > LONGEST_PAUSE:
                break
            await asyncio.sleep(pause)
        failure = failure or failed
    raise failure or errors.ModelNotFound("no model was named")


def _chunks(request: ModelRequest) -> AsyncGenerator[Chunk]:
    # Only workers come here; the web process must never load LiteLLM (160 MB and seconds of import).
    if catalog.is_scripted(request.model):
        chunks = scripted.stream(request)
    elif provider := catalog.provider_of(request.model):
        from llm import direct

        chunks = direct.stream(request, provider)
    else:
        from llm import gateway

        chunks = gateway.stream(request)
    return with_deadlines(
        chunks, first=request.first_token_timeout, idle=request.idle_timeout, whole=request.call_timeout
    )


def _pause(error: ModelError, *, tried: int) -> float:
    """Return how many seconds to wait before the next call of the same model."""
    usual = PAUSE * float(2 ** (tried - 1)) * random.uniform(0.5, 1.5)
    return max(usual, error.retry_after or 0)

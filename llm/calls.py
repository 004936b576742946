"""Calls models, with retry and fallback. `agents` and `sessions` call them only through this module.

One request may take several calls. Before the first output a call may be repeated, or another model called; never after
it, because the user has seen it. The observer receives each call exactly once, with its usage, however it ends.
"""

import asyncio
import importlib
import random
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum

from llm import catalog, errors, prices, remembered, scripted
from llm.deadlines import with_deadlines
from llm.errors import ModelError
from llm.origins import origin_of
from llm.pacing import Pacer
from llm.sizes import AnswerSize
from llm.types import CallOutcome, CallRecord, Chunk, EndChunk, ModelRequest, Observer, TokenUsage
from llm.wire.pieces import BodyPieces, SendObserver
from llm.wire.requests import build_pieces

#: Before the second call of a model, about; it doubles before each further one.
RETRY_DELAY_SECONDS = 0.4

#: The module that imports the HTTP client, aiohttp.
DIRECT = "llm.direct"


#: Of one request. Each field that a provider refuses takes one more.
MAX_CALLS = 64


class Recovery(Enum):
    """What follows a failure before the first output."""

    RETRY = "the same model, and after `tries` calls the next one"
    FALLBACK = "the next model"
    GIVE_UP = "nothing: another model would fail as well, or it is the message that has to change"


#: The whole of retry and fallback. A kind of error that is missing here is treated as its base class. After a refusal
#: that `remembered` can work around, the same call is repeated at once, and it does not count.
RECOVERIES: dict[type[ModelError], Recovery] = {
    errors.ModelUnavailable: Recovery.RETRY,
    errors.ModelRateLimited: Recovery.RETRY,
    # Seconds do not renew it.
    errors.ModelQuotaReached: Recovery.FALLBACK,
    errors.ModelOutOfCredit: Recovery.FALLBACK,
    errors.ModelTruncated: Recovery.RETRY,
    # It has taken a minute already.
    errors.ModelTimedOut: Recovery.FALLBACK,
    errors.ModelNotAuthorized: Recovery.FALLBACK,
    errors.ModelNotFound: Recovery.FALLBACK,
    errors.ModelRefused: Recovery.GIVE_UP,
    errors.ModelContextTooLong: Recovery.GIVE_UP,
    errors.ModelAddressRefused: Recovery.GIVE_UP,
    errors.ModelAnswerTooLong: Recovery.GIVE_UP,
}

#: After these failures the provider may have worked on the request, and so may charge for it.
BILLABLE_ERRORS = (
    errors.ModelTruncated,
    errors.ModelTimedOut,
    errors.ModelStalled,
    errors.ModelTookTooLong,
    errors.ModelAnswerTooLong,
)


#: Awaited before each call, with a request that names the model of this call; returns the request to send. An exception
#: from it ends the whole request.
type Permission = Callable[[ModelRequest], Awaitable[ModelRequest]]


@dataclass(slots=True)
class _RunningCall:
    """A call while it runs. Times without a date are of the monotonic clock."""

    request: ModelRequest
    attempt: int
    observe: Observer
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    start: float = field(default_factory=time.monotonic)
    first_chunk_at: float | None = None
    size: AnswerSize = field(default_factory=AnswerSize)
    sent: BodyPieces | None = None
    has_ended: bool = False

    def keep_sent(self, body: BodyPieces) -> None:
        """Keep what is sent, for the record of the call."""
        self.sent = body

    def receive(self, chunk: Chunk) -> Chunk:
        """Count a chunk and return it, the end marker with an estimate if the provider reported no usage.

        Raises ModelAnswerTooLong.
        """
        if isinstance(chunk, EndChunk):
            chunk = replace(chunk, usage=chunk.usage or self.estimate())
            self.end(CallOutcome.COMPLETED, usage=chunk.usage)
            return chunk
        self.size.add(chunk)
        if self.first_chunk_at is None:
            self.first_chunk_at = time.monotonic()
        return chunk

    def fail(self, error: ModelError) -> None:
        """Report the call as failed."""
        if self.first_chunk_at is not None:
            self.end(CallOutcome.TRUNCATED, error=error, usage=self.estimate())
        else:
            usage = self.estimate() if isinstance(error, BILLABLE_ERRORS) else None
            self.end(CallOutcome.FAILED, error=error, usage=usage)

    def end(self, outcome: CallOutcome, *, error: ModelError | None = None, usage: TokenUsage | None = None) -> None:
        """Report the call to its observer, once."""
        if self.has_ended:
            return
        self.has_ended = True
        usage = usage or TokenUsage()
        self.observe(
            CallRecord(
                model=self.request.model,
                attempt=self.attempt,
                outcome=outcome,
                error_code=error.code if error else "",
                detail=error.detail if error else "",
                usage=usage,
                cost=prices.cost(self.request.model, usage, own=prices.is_own(self.request.endpoint)),
                own_endpoint=prices.is_own(self.request.endpoint),
                origin=origin_of(self.request.model, self.request.endpoint),
                sent=self.sent,
                started_at=self.started_at,
                duration=time.monotonic() - self.start,
                time_to_first_token=None if self.first_chunk_at is None else self.first_chunk_at - self.start,
            )
        )

    def estimate(self) -> TokenUsage:
        """Estimate the usage so far."""
        return replace(prices.estimate(self.request), output_tokens=-(-self.size.bytes // 4))


def preload(*models: str) -> None:
    """Load what models and their fallbacks need, so that the first request does not wait: LiteLLM takes seconds."""
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
    # Without a call nothing is open, and the import would hold up the event loop.
    if direct := sys.modules.get(DIRECT):
        await direct.close()


async def load_client(model: str) -> None:
    """Import the HTTP client if a model needs it. The import takes a third of a second of processor time."""
    if DIRECT not in sys.modules and catalog.provider_of(model):
        await asyncio.to_thread(importlib.import_module, DIRECT)


def _ignore(record: CallRecord) -> None:
    pass


async def _permit_all(request: ModelRequest) -> ModelRequest:
    return request


async def stream(
    request: ModelRequest, *, observe: Observer = _ignore, permit: Permission = _permit_all
) -> AsyncGenerator[Chunk]:
    """Call a model, or its fallbacks, and yield the chunks of the answer, the last one an EndChunk.

    Closing the iterator ends the call. Raises the `ModelError` of the first model if all have failed, and what `permit`
    raises.
    """
    attempt, pacer = 0, Pacer()
    first_error: ModelError | None = None
    for model in prices.models_of(request):
        # The built-in model would only fail in the same way again.
        tries = remaining = 1 if catalog.is_scripted(model) else request.tries
        while remaining:
            attempt += 1
            asked = remembered.adapt(replace(request, model=model, fallbacks=()))
            call = _RunningCall(await permit(asked), attempt, observe)
            try:
                await load_client(model)
                async with aclosing(_chunks(call.request, call.keep_sent)) as chunks:
                    async for chunk in chunks:
                        yield call.receive(chunk)
                        await pacer.pause()
                if call.has_ended:
                    return
                error: ModelError = errors.ModelTruncated("the stream ended without an end marker")
            except ModelError as raised:
                error = raised
            except Exception:
                call.end(CallOutcome.FAILED)
                raise
            except BaseException:
                # Cancelled or closed: the provider may continue for a while, and charges for what it read.
                call.end(CallOutcome.CANCELLED, usage=call.estimate())
                raise
            call.fail(error)
            if call.first_chunk_at is not None:
                raise error
            if remembered.learn(request, call.request, error) and attempt < MAX_CALLS:
                continue
            if isinstance(error, errors.ModelContextTooLong):
                remembered.complete(call.request, error)
            remaining -= 1
            recovery = _recovery(error)
            if recovery is Recovery.GIVE_UP:
                raise first_error or error
            is_too_long = (error.retry_after or 0) > request.max_retry_delay
            if recovery is Recovery.FALLBACK or not remaining or is_too_long:
                break
            await asyncio.sleep(_retry_delay(error, attempt=tries - remaining))
        first_error = first_error or error
    raise first_error or errors.ModelNotFound("no model was named")


def _recovery(error: ModelError) -> Recovery:
    kinds = (kind for kind in type(error).__mro__ if kind in RECOVERIES)
    return next((RECOVERIES[kind] for kind in kinds), Recovery.GIVE_UP)


def _chunks(request: ModelRequest, on_send: SendObserver) -> AsyncGenerator[Chunk]:
    # Only workers come here; the web process must never load LiteLLM (160 MB and seconds of import).
    if catalog.is_scripted(request.model):
        on_send(build_pieces(request))
        chunks = scripted.stream(request)
    elif provider := catalog.provider_of(request.model):
        from llm import direct

        chunks = direct.stream(request, provider, on_send)
    else:
        from llm import gateway

        chunks = gateway.stream(request, on_send)
    return with_deadlines(
        chunks, first=request.first_token_timeout, idle=request.idle_timeout, whole=request.call_timeout
    )


def _retry_delay(error: ModelError, *, attempt: int) -> float:
    """Return how many seconds to wait before the next call of the same model."""
    usual = RETRY_DELAY_SECONDS * float(2 ** (attempt - 1)) * random.uniform(0.5, 1.5)
    return max(usual, error.retry_after or 0)

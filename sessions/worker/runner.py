"""Runs one step of a turn in a worker: claim it, call the model, stream what it says, store the outcome.

Decides nothing that `lifecycle` or `agents` decide. It may be cancelled, and its process may be killed, at any point:
what counts is in the database, and another attempt goes on from there.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import structlog
from django.conf import settings
from django.db import Error as DatabaseError

from agents import loop
from agents.context import Window
from agents.events import ReasoningDelta, StepFinished, TextDelta
from agents.loop import Limit, Limits, Spent
from agents.roles import role_of
from llm import catalog
from llm.calls import CallRecord
from llm.errors import ModelError
from llm.types import EmbeddingRequest, ModelRequest
from sessions import metrics
from sessions.billing import ledger
from sessions.database import in_thread
from sessions.errors import CallRefused, StaleAttempt
from sessions.events.log import Attempt
from sessions.models import EventKind, ModelCallPurpose, Session, new_id
from sessions.protocol import ErrorCode
from sessions.results import Change, Claimed, Step, Used
from sessions.turns import attempts, completions, tool_calls
from sessions.turns.current_agent import is_single_agent
from sessions.worker import agent_choice, model_access, prompt
from sessions.worker.writer import Writer

logger = structlog.get_logger(__name__)

#: Seconds a step's outcome waits for a database that is away; another attempt has the turn before they are over.
PATIENCE = 60.0


@dataclass(slots=True, eq=False)
class Lease:
    """A turn that this process holds, with the task that runs it."""

    held: Claimed
    task: asyncio.Task[None]
    #: Somebody else has the turn now: stop and write nothing.
    lost: bool = False


@dataclass(slots=True)
class _Said:
    """What the model has said so far in this step."""

    message_id: uuid.UUID = field(default_factory=new_id)
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    #: What the model calls are for, and those that have ended.
    purpose: ModelCallPurpose = ModelCallPurpose.STEP
    calls: list[CallRecord] = field(default_factory=list)

    def step(self) -> Step:
        used = [ledger.fields_of(call, self.purpose) for call in self.calls]
        return Step(
            message_id=self.message_id,
            text="".join(self.texts),
            reasoning="".join(self.thoughts),
            failed=tuple(Used(**fields) for fields in used[:-1]),
            **(used[-1] if used else {}),
        )

    def note(self, call: CallRecord) -> None:
        """Take note of a model call that has ended."""
        self.calls.append(call)
        _note_call(call)


async def advance(turn_id: uuid.UUID, *, worker: str, writer: Writer, leases: dict[Attempt, Lease]) -> uuid.UUID | None:
    """Run the turn's next step, if it is due, and return the turn that became ready by it, if any.

    `leases` shows what is held as long as it is held.
    """
    held = await in_thread(attempts.claim)(turn_id, worker=worker, model=settings.CODELAB_MODEL)
    task = asyncio.current_task()
    if held is None or task is None:
        return None
    with structlog.contextvars.bound_contextvars(
        session_id=str(held.session_id), turn_id=str(turn_id), attempt=held.attempt
    ):
        logger.info("turn_started", steps=held.steps)
        writer.publish(held.events)
        leases[held.key] = lease = Lease(held, task)
        said = _Said()
        try:
            change = await _outcome(lease, writer, said)
        except StaleAttempt as error:
            logger.info("turn_lost", reason=str(error))
            await _mend(held, said)
            return None
        finally:
            del leases[held.key]
            writer.forget(held, said.message_id)
        writer.publish(change.events)
        return change.ready


async def _outcome(lease: Lease, writer: Writer, said: _Said) -> Change:
    """Run the step and store how it ended, or give it back when its task is cancelled. Raises StaleAttempt."""
    try:
        return await _ended(lease.held, writer, said)
    except asyncio.CancelledError:
        # Wherever it came: also while the end was being stored.
        if lease.lost:
            raise StaleAttempt("the lease was lost") from None
        # The process is going away. What was said is shown already; the step starts again somewhere else.
        logger.info("turn_parked")
        return await in_thread(attempts.release)(lease.held, said.step())


async def _ended(held: Claimed, writer: Writer, said: _Said) -> Change:
    """Run the step and store how it ended, whatever happens. Raises StaleAttempt."""
    limits = Limits(seconds=settings.CODELAB_TURN_TIMEOUT, dollars=settings.CODELAB_TURN_DOLLARS)
    spent = Spent(steps=held.steps, seconds=held.worked.total_seconds(), dollars=held.dollars)
    try:
        if limit := limits.reached(spent):
            return await _fail(held, writer, said, limit, limit.sentence)
        async with asyncio.timeout(settings.CODELAB_TURN_TIMEOUT - spent.seconds):
            held, finished = await _received(held, writer, said)
            if finished is None:
                request = await _request(held)
                if isinstance(request, EmbeddingRequest):
                    return await _embed(held, said, request)
                finished = await _model_call(held, writer, said, request)
        return await _finish(held, writer, said, finished)
    except StaleAttempt:
        raise
    except ModelError as error:
        logger.warning("model_failed", error_code=error.code, detail=error.detail[:500])
        seconds = None if error.retry_after is None else math.ceil(error.retry_after)
        return await _fail(held, writer, said, error.code, str(error), retry_after=seconds)
    except CallRefused as refusal:
        return await _fail(held, writer, said, refusal.code, str(refusal), retry_after=refusal.retry_after)
    except TimeoutError:
        return await _fail(held, writer, said, Limit.TIME, Limit.TIME.sentence)
    except Exception:
        error_id = new_id()
        logger.exception("turn_crashed", error_id=str(error_id))
        text = f"Something went wrong on the server. Tell its operator this number: {error_id}."
        return await _fail(held, writer, said, ErrorCode.INTERNAL_ERROR, text)


async def _stored[**P, R](verb: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Use the database, again and again while it is away: an answer must not be lost because it could not be stored.

    If a COMMIT got through and only its answer was lost, the next try finds the turn moved on and raises StaleAttempt.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await in_thread(verb)(*args, **kwargs)
        except DatabaseError as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("not_stored_yet", error=type(error).__name__)
            await asyncio.sleep(0.5)


async def _received(held: Claimed, writer: Writer, said: _Said) -> tuple[Claimed, StepFinished | None]:
    """Choose who answers, in a turn's first step; return the attempt as it goes on, and the reply if it is there."""
    if not held.first or is_single_agent():
        return held, None
    asked = await _stored(agent_choice.question, held.turn_id)
    if reply := agent_choice.own_reply(asked):
        writer.write(held, EventKind.TEXT_DELTA, said.message_id, reply)
        said.texts.append(reply)
        return held, StepFinished(text=reply, tool_calls=())
    if not agent_choice.is_open(asked):
        return held, None
    said.purpose = ModelCallPurpose.ROUTING
    choice = await agent_choice.choose(asked, held, said.note)
    held, change = await _stored(attempts.assign, held, choice)
    said.purpose, said.calls = ModelCallPurpose.STEP, []
    writer.publish(change.events)
    if route := choice.route:
        logger.info("agent_chosen", agent=route.agent, confidence=str(route.confidence))
    return held, None


async def _request(held: Claimed) -> ModelRequest | EmbeddingRequest:
    if held.stateless:
        return await _stored(completions.model_request, held.turn_id, held.agent, _window)
    preferred, fallbacks = role_of(held.agent).models_with(settings.CODELAB_MODEL)
    messages, tools = await _stored(prompt.model_input, held.turn_id, held.agent, _window(preferred))
    return ModelRequest(
        model=preferred,
        fallbacks=fallbacks,
        messages=messages,
        tools=tools,
    )


async def _embed(held: Claimed, said: _Said, request: EmbeddingRequest) -> Change:
    found = await model_access.embed(held, request, tell=said.note)
    return await _stored(completions.finish_embeddings, held, said.step(), found.packed())


async def _model_call(held: Claimed, writer: Writer, said: _Said, request: ModelRequest) -> StepFinished:
    request = replace(
        request,
        tries=settings.CODELAB_MODEL_TRIES,
        first_token_timeout=settings.CODELAB_FIRST_TOKEN_TIMEOUT,
        idle_timeout=settings.CODELAB_IDLE_TOKEN_TIMEOUT,
        call_timeout=settings.CODELAB_MODEL_CALL_TIMEOUT,
    )
    started, silent = time.monotonic(), True
    async with aclosing(loop.step(model_access.stream(held, request, tell=said.note))) as events:
        async for event in events:
            match event:
                case TextDelta(text):
                    writer.write(held, EventKind.TEXT_DELTA, said.message_id, text)
                    said.texts.append(text)
                case ReasoningDelta(text):
                    writer.write(held, EventKind.REASONING_DELTA, said.message_id, text)
                    said.thoughts.append(text)
                case StepFinished():
                    return event
            if silent:
                silent = False
                metrics.first_token_time.observe(time.monotonic() - started)
            if writer.is_stale(held):
                raise StaleAttempt("a write was refused")
    raise AssertionError("a step ends with StepFinished or an error")


def _window(model: str) -> Window:
    known = catalog.find(model)
    # Models that think a lot may say as much as they read; no answer needs more than a quarter of the window here.
    return Window(tokens=known.window, answer=min(known.max_output, known.window // 4))


def _note_call(call: CallRecord) -> None:
    """Count the tokens of a model call, and say why it failed: another one may have stood in for it."""
    metrics.model_tokens.labels(model=call.model, direction="input").inc(call.usage.input_tokens)
    metrics.model_tokens.labels(model=call.model, direction="output").inc(call.usage.output_tokens)
    if call.error_code:
        logger.warning(
            "model_call_failed",
            model=call.model,
            call=call.attempt,
            outcome=str(call.outcome),
            error_code=call.error_code,
            detail=call.detail[:500],
        )


async def _finish(held: Claimed, writer: Writer, said: _Said, finished: StepFinished) -> Change:
    await writer.flushed()
    step = said.step()
    if held.stateless:
        change = await _stored(completions.finish, held, step, finished)
        logger.info("completion_step_finished", tool_calls=len(finished.tool_calls), goes_on=bool(change.ready))
    elif asked := finished.tool_calls:
        change = await _stored(tool_calls.request_tools, held, step, asked, finished.broken)
        logger.info("tools_requested", tool_calls=len(asked), goes_on=bool(change.ready))
    else:
        change = await _stored(attempts.complete, held, step)
        logger.info("turn_completed", output_tokens=step.output_tokens)
    return change


async def _fail(
    held: Claimed, writer: Writer, said: _Said, code: str, text: str, *, retry_after: int | None = None
) -> Change:
    await writer.flushed()
    change = await _stored(attempts.fail, held, code=code, text=text, step=said.step(), retry_after=retry_after)
    logger.info("turn_failed", error_code=str(code))
    return change


async def _mend(held: Claimed, said: _Said) -> None:
    """Say in the ledger what calls there were after all. The turn went on without it: nobody waits for this."""
    try:
        await in_thread(ledger.mend)(held, said.step())
    except (DatabaseError, Session.DoesNotExist) as error:
        logger.warning("ledger_not_mended", error=type(error).__name__)

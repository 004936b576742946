"""Runs one step of a turn: choose the agent, query the model, store the reply.

A step may be cancelled, and its process may be killed, at any point: another attempt goes on from the database. So this
module never writes turns; the verbs in `sessions.turns` decide what a step leads to.
"""

import asyncio
import math
import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.db import Error as DatabaseError

from agents.events import StepFinished
from agents.loop import Limit, LimitReached
from llm.errors import ModelContextTooLong, ModelError, ModelRateLimited, ModelUnavailable, short_reason
from llm.types import Vectors
from sessions import metrics
from sessions.billing import ledger
from sessions.database import describe, in_thread, is_statement_timeout, is_temporary
from sessions.errors import InternalError, ModelCallDenied, StaleAttempt
from sessions.events.log import Attempt
from sessions.models import ModelCallPurpose, Session, new_id
from sessions.results import Change, Claim
from sessions.turns import attempts, completions, retries, tool_calls
from sessions.turns.current_agent import is_routed
from sessions.worker import agent_choice, title
from sessions.worker.draft import Draft
from sessions.worker.lease import Lease
from sessions.worker.prompt import Prompt
from sessions.worker.query import MAX_HELD_SECONDS, Query, claim_and_read
from sessions.worker.retries import with_retries
from sessions.worker.writer import Writer, WriteRefused

logger = structlog.get_logger(__name__)

#: After these a provider may say when to come again.
RETRYABLE = (ModelRateLimited, ModelUnavailable)


async def advance(
    turn_id: uuid.UUID, *, worker: str, writer: Writer, leases: dict[Attempt, Lease], task: str = ""
) -> Change:
    """Run the turn's next step, if it is due, and return what it led to. Its events are published.

    `leases` has an entry while this process holds the turn, and `task` is the id of Celery's task.
    """
    claimed = await in_thread(claim_and_read)(turn_id, worker=worker, model=settings.CODELAB_MODEL, task=task)
    running = asyncio.current_task()
    if claimed is None or running is None:
        return Change()
    claim, change, ahead = claimed
    with structlog.contextvars.bound_contextvars(
        session_id=str(claim.session_id), turn_id=str(turn_id), attempt=claim.attempt
    ):
        # In the loop's next pass, when the request to the model is on its way.
        running.get_loop().call_soon(partial(logger.info, "turn_started", steps=claim.spent.steps))
        writer.publish(change.events)
        leases[claim.key] = lease = Lease(running)
        step = StepRun(claim, writer, lease, ahead)
        try:
            change = await step.run_or_release()
        except StaleAttempt as error:
            logger.info("turn_lost", reason=str(error))
            # Nothing may cancel the record of its costs.
            del leases[claim.key]
            await step.correct_ledger()
            return Change()
        finally:
            leases.pop(claim.key, None)
            writer.forget(claim, step.draft.message_id)
        metrics.events_written.inc(len(step.draft.pieces))
        writer.publish(change.events)
        # The writer sends them now: clients do not wait for our log, nor for Celery's bookkeeping.
        await asyncio.sleep(0)
        step.log_end()
        title.begin(step.claim, step.draft, writer)
        return change


class StepRun:
    """One step of one attempt at a turn."""

    def __init__(self, claim: Claim, writer: Writer, lease: Lease, ahead: Prompt | None = None) -> None:
        self.claim, self.writer, self.lease = claim, writer, lease
        #: The prompt, where it was read with the claim.
        self.ahead = ahead
        self.draft = Draft(writer)
        #: The line of the log that says what the step led to.
        self._end: tuple[str, dict[str, Any]] | None = None

    def log_end(self) -> None:
        """Log what the step led to."""
        if self._end:
            event, fields = self._end
            logger.info(event, **fields)

    async def run_or_release(self) -> Change:
        """Run the step, or release the turn when the task is cancelled. Raises StaleAttempt."""
        try:
            return await self.run()
        except asyncio.CancelledError:
            if self.lease.is_lost:
                raise StaleAttempt("the lease was lost") from None
            # The process is shutting down. Clients have seen the text; another worker repeats the step.
            logger.info("turn_parked")
            return await in_thread(attempts.release)(self.claim, self.draft.result())

    async def run(self) -> Change:
        """Take the step and store its reply or its failure. Raises StaleAttempt."""
        if limit := attempts.turn_limits().check(self.claim.spent):
            return await self.fail(limit, limit.sentence)
        try:
            async with asyncio.timeout(settings.CODELAB_TURN_TIMEOUT - self.claim.spent.seconds) as timeout:
                self.writer.end_with(self.claim, timeout)
                reply = await self.choose_agent() or await Query(self.claim, self.draft, self.ahead).run()
            return await self.store(reply)
        except StaleAttempt:
            raise
        except ModelError as error:
            logger.warning("model_failed", error_code=error.code, reason=short_reason(error.detail))
            return await self.wait_or_fail(error)
        except LimitReached as error:
            return await self.fail(error.limit, str(error))
        except ModelCallDenied as error:
            return await self.fail(error.code, str(error), retry_after=error.retry_after)
        except TimeoutError:
            return await self.time_out()
        except Exception as error:
            return await self.crash(error)

    async def time_out(self) -> Change:
        """End a step whose time is over, or whose text cannot be stored any more. Raises StaleAttempt."""
        try:
            self.writer.check(self.claim)
        except WriteRefused as error:
            return await self.crash(error)
        return await self.fail(Limit.TIME, Limit.TIME.sentence)

    async def crash(self, error: Exception) -> Change:
        """End the turn because of a fault of ours. Raises StaleAttempt."""
        crash = InternalError(new_id())
        logger.error("turn_crashed", error_id=str(crash.error_id), **describe(error))
        return await self.fail(crash.code, str(crash))

    async def choose_agent(self) -> StepFinished | None:
        """In a turn's first step, choose the agent; return the orchestrator's own reply when it needs no model."""
        if not self.claim.is_first_step or not is_routed(self.claim.agent):
            return None
        question = await with_retries(agent_choice.read_question, self.claim.turn_id)
        if reply := agent_choice.own_reply(question):
            self.draft.write(self.claim, reply)
            return StepFinished(text=reply, tool_calls=())
        if not agent_choice.needs_choice(question):
            return None
        self.draft.purpose = ModelCallPurpose.ROUTING
        choice = await agent_choice.choose(question, self.claim, self.draft.add_call)
        self.claim, change = await with_retries(attempts.assign_agent, self.claim, choice)
        self.draft.purpose, self.draft.calls = ModelCallPurpose.STEP, []
        self.writer.publish(change.events)
        if route := choice.route:
            logger.info("agent_chosen", agent=route.agent, confidence=str(route.confidence))
        return None

    async def store(self, reply: StepFinished | Vectors) -> Change:
        """Store the reply: end the turn, or request the tools that the model asks for. Raises StaleAttempt."""
        self.lease.is_ending = True
        claim, result = self.claim, await self.draft.end(self.claim)
        self.writer.check(claim)
        if isinstance(reply, Vectors):
            packed = await asyncio.to_thread(reply.pack)
            change = await with_retries(completions.finish_embeddings, claim, result, packed)
        elif claim.is_completion:
            result = replace(result, extra=reply.extra)
            change = await with_retries(completions.finish, claim, result, reply)
            self._end = "completion_step_finished", {"tool_calls": len(reply.tool_calls), "goes_on": bool(change.ready)}
        elif reply.tool_calls:
            result = replace(result, extra=reply.extra)
            asked = reply.tool_calls, reply.broken, self.draft.basis
            change = await with_retries(tool_calls.request_tools, claim, result, *asked)
            self._end = "tools_requested", {"tool_calls": len(reply.tool_calls), "goes_on": bool(change.ready)}
        else:
            change = await with_retries(attempts.complete, claim, result)
            self._end = "turn_completed", {"output_tokens": result.usage.output_tokens}
        return change

    async def wait_or_fail(self, error: ModelError) -> Change:
        """Put the turn off where its provider asks for that and it may wait; otherwise end it. Raises StaleAttempt.

        An answer of which clients have seen a part is kept as it is, and never asked for again.
        """
        seconds = None if error.retry_after is None else math.ceil(error.retry_after)
        # A shorter wait was spent in the worker, with all tries.
        is_long = (error.retry_after or 0) > MAX_HELD_SECONDS
        can_wait = is_long and isinstance(error, RETRYABLE) and not (self.draft.texts or self.draft.reasoning)
        if seconds is None or not can_wait or not retries.may_wait(self.claim, seconds):
            context = error.context if isinstance(error, ModelContextTooLong) else None
            return await self.fail(error.code, str(error), retry_after=seconds, context=context)
        self.lease.is_ending = True
        put_off = partial(retries.put_off, self.claim, error_code=error.code, seconds=seconds)
        change = await with_retries(put_off, result=self.draft.result())
        self._end = "retry_scheduled", {"error_code": error.code, "seconds": seconds}
        return change

    async def fail(
        self, code: str, text: str, *, retry_after: int | None = None, context: Mapping[str, int] | None = None
    ) -> Change:
        """End the turn as failed, with a sentence for the user. Raises StaleAttempt."""
        self.lease.is_ending = True
        result = await self.draft.end(self.claim)
        end = partial(attempts.fail, self.claim, code=code, text=text, retry_after=retry_after, context=context)
        try:
            change = await with_retries(end, result=result)
        except DatabaseError as error:
            if is_temporary(error) and not is_statement_timeout(error):
                raise
            # The turn has to end, even if its text cannot be stored.
            logger.warning("text_not_stored", **describe(error))
            change = await with_retries(end, result=replace(result, text="", reasoning="", pieces=()))
        self._end = "turn_failed", {"error_code": str(code)}
        return change

    async def correct_ledger(self) -> None:
        """Record the model calls of an attempt that has lost its turn."""
        try:
            await in_thread(ledger.correct)(self.claim, self.draft.result())
        except (DatabaseError, Session.DoesNotExist) as error:
            logger.warning("ledger_not_mended", error=type(error).__name__)

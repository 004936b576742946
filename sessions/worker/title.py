"""Has a model write a title for a session, after the first answer and beside all turns.

A title is a help: no turn waits for it, none fails with it, and a worker that stops drops it. Without one the session
keeps the beginning of its first message.
"""

import asyncio
from contextlib import aclosing

import structlog
from django.conf import settings
from django.db import Error as DatabaseError

from agents import loop
from agents.events import StepFinished
from agents.roles import role_of
from agents.titles import clean_title, title_request
from llm import catalog
from llm.errors import ModelError, ModelSaidNothing
from llm.types import CallOutcome, CallRecord, ModelRequest
from sessions import metrics
from sessions.errors import ModelCallDenied
from sessions.results import Claim
from sessions.turns import titles
from sessions.turns.titles import Untitled
from sessions.worker import model_access
from sessions.worker.draft import Draft
from sessions.worker.retries import with_retries
from sessions.worker.writer import Writer

logger = structlog.get_logger(__name__)

#: The setting's value for no titles.
OFF = "off"
CALL_TIMEOUT_SECONDS = 60.0
#: Room for models that think first.
MAX_OUTPUT_TOKENS = 1024

#: Titles that are being written; the event loop itself keeps no task alive.
_tasks: set[asyncio.Task[None]] = set()


def begin(claim: Claim, draft: Draft, writer: Writer) -> None:
    """Start to write a title if the session needs one and the step's model has answered. Returns at once."""
    if not claim.awaits_title or settings.CODELAB_TITLE_MODEL == OFF:
        return
    model = settings.CODELAB_TITLE_MODEL or role_of(claim.agent).choose_models(settings.CODELAB_MODEL)[0]
    has_answered = any(call.outcome is CallOutcome.COMPLETED for call in draft.calls)
    if not has_answered or catalog.is_scripted(model):
        return
    task = asyncio.create_task(_write(claim, model, writer))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _write(claim: Claim, model: str, writer: Writer) -> None:
    try:
        untitled = await with_retries(titles.take, claim)
        if untitled is not None:
            await _title(claim, untitled, model, writer)
    except DatabaseError as error:
        logger.warning("title_not_stored", error=type(error).__name__)
    except Exception:
        logger.exception("title_crashed")


async def _title(claim: Claim, untitled: Untitled, model: str, writer: Writer) -> None:
    request = ModelRequest(
        model=model,
        messages=title_request(untitled.question, untitled.answer),
        fallbacks=(),
        tries=1,
        max_output_tokens=MAX_OUTPUT_TOKENS,
        first_token_timeout=settings.CODELAB_FIRST_TOKEN_TIMEOUT,
        idle_timeout=settings.CODELAB_IDLE_TOKEN_TIMEOUT,
        call_timeout=min(CALL_TIMEOUT_SECONDS, settings.CODELAB_MODEL_CALL_TIMEOUT),
    )
    calls: list[CallRecord] = []
    title, error_code = "", ""
    try:
        request, paid = await model_access.pay_ahead(claim, request)
    except ModelCallDenied as error:
        logger.info("title_not_asked_for", error_code=str(error.code))
        return
    try:
        title = clean_title(await _ask(request, calls))
        error_code = "" if title else ModelSaidNothing.code
    except ModelError as error:
        error_code = error.code
    change = await with_retries(titles.store, claim, untitled, title, calls, paid=paid, error_code=error_code)
    writer.publish(change.events)
    logger.info("title_written" if change.events else "title_failed", error_code=error_code)


async def _ask(request: ModelRequest, calls: list[CallRecord]) -> str:
    def observe(call: CallRecord) -> None:
        calls.append(call)
        metrics.count_tokens(call.model, call.usage)

    chunks = model_access.stream_paid(request, observe=observe)
    async with aclosing(chunks), aclosing(loop.step(chunks)) as events:
        async for event in events:
            if isinstance(event, StepFinished):
                return event.text
    raise AssertionError("a step ends with StepFinished or an error")

"""Has a model summarize what no longer fits the window, before a step asks its own question.

A summary is a help, and must never cost a turn its answer: when it fails, the step goes on with a note that older
messages were left out, and the turn tries none again. A step makes one at most.
"""

from contextlib import aclosing
from decimal import Decimal

import structlog
from django.conf import settings

from agents import loop
from agents.context import Window, summary_request
from agents.events import StepFinished
from agents.tokens import count_message, estimate
from llm.errors import ModelAnswerTooLong, ModelContextTooLong, ModelError, ModelSaidNothing
from llm.types import ModelRequest
from sessions.errors import ModelCallDenied
from sessions.models import ModelCallPurpose
from sessions.results import Claim
from sessions.turns import summaries
from sessions.turns.summaries import Overflow
from sessions.worker import model_access
from sessions.worker.draft import Draft
from sessions.worker.retries import with_retries

logger = structlog.get_logger(__name__)

#: The setting's value for no summaries.
OFF = "off"
CALL_TIMEOUT_SECONDS = 120.0
#: Room for models that think first.
MAX_OUTPUT_TOKENS = 4096
#: Of the conversation, in a request; less where the window is small.
MAX_CHARACTERS, MIN_CHARACTERS = 60_000, 1_000
MAX_WORDS = 300
#: A longer summary would leave too little of the window: its characters, and its share of the room.
MAX_SUMMARY_CHARACTERS, MAX_SUMMARY_SHARE = 10_000, 0.25


async def summarize(claim: Claim, draft: Draft, overflow: Overflow, model: str, room: int) -> bool:
    """Store a summary of messages that do not fit into the `room` of a model that answers; return whether it did.

    Raises StaleAttempt.
    """
    if await with_retries(summaries.has_failed, claim.turn_id):
        return False
    step_calls, spent, draft.calls, draft.purpose = draft.calls, draft.cost, [], ModelCallPurpose.SUMMARY
    text, error_code = "", ""
    try:
        request = await with_retries(_build_request, claim, overflow, settings.CODELAB_SUMMARY_MODEL or model, room)
        text = await _ask(claim, draft, request, spent)
        error_code = _problem(text, room)
    except (ModelError, ModelCallDenied) as error:
        error_code = error.code
    if error_code:
        await with_retries(summaries.record_failure, claim, draft.calls, error_code)
        logger.warning("summary_failed", error_code=str(error_code))
    else:
        change = await with_retries(summaries.add, claim, overflow, text, draft.calls)
        draft.writer.publish(change.events)
        logger.info("summary_added", messages=len(overflow.messages))
    draft.calls, draft.purpose = step_calls, ModelCallPurpose.STEP
    return not error_code


def _problem(text: str, room: int) -> str:
    """Return why a summary cannot be used, or nothing."""
    if not text:
        return ModelSaidNothing.code
    is_too_long = len(text) > MAX_SUMMARY_CHARACTERS or estimate(text) > room * MAX_SUMMARY_SHARE
    return ModelAnswerTooLong.code if is_too_long else ""


def _build_request(claim: Claim, overflow: Overflow, model: str, room: int) -> ModelRequest:
    """Return the request, shortened to the window of the model that summarizes. Raises ModelContextTooLong."""
    window: Window = model_access.window(claim, model)
    characters, words = MAX_CHARACTERS, min(MAX_WORDS, max(50, room // 16))
    earlier = overflow.earlier.text if overflow.earlier else ""
    while True:
        messages = summary_request(overflow.messages, words=words, characters=characters, earlier=earlier)
        if sum(map(count_message, messages)) <= window.room:
            break
        characters //= 2
        if characters < MIN_CHARACTERS:
            raise ModelContextTooLong("a summary's request does not fit")
    return ModelRequest(
        model=model,
        messages=messages,
        # The note about what was left out is better than a second model.
        fallbacks=(),
        tries=1,
        max_output_tokens=min(MAX_OUTPUT_TOKENS, window.answer),
        first_token_timeout=settings.CODELAB_FIRST_TOKEN_TIMEOUT,
        idle_timeout=settings.CODELAB_IDLE_TOKEN_TIMEOUT,
        call_timeout=min(CALL_TIMEOUT_SECONDS, settings.CODELAB_MODEL_CALL_TIMEOUT),
    )


async def _ask(claim: Claim, draft: Draft, request: ModelRequest, spent: Decimal) -> str:
    chunks = model_access.stream(claim, request, observe=draft.add_call, spent=spent)
    async with aclosing(chunks), aclosing(loop.step(chunks)) as events:
        async for event in events:
            draft.writer.check(claim)
            if isinstance(event, StepFinished):
                return event.text.strip()
    raise AssertionError("a step ends with StepFinished or an error")

"""Asks the model of a step: builds the request, calls the model, and passes its text on as it arrives.

After two failures the model is asked once more, each of them once in a step: a conversation that is longer than its
window, which is shortened to what the provider has said, and an answer without a word. This module stores nothing.
"""

import time
import uuid
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from agents import loop
from agents.events import ReasoningDelta, StepFinished, TextDelta
from agents.roles import role_of
from llm import prices
from llm.errors import ModelContextTooLong, ModelRefused, ModelSaidNothing
from llm.types import EmbeddingRequest, ModelRequest, Vectors
from sessions import metrics
from sessions.results import Change, Claim
from sessions.turns import attempts, completions, retries
from sessions.turns.current_agent import is_routed
from sessions.worker import model_access, prompt, summary
from sessions.worker.draft import Draft
from sessions.worker.retries import with_retries

logger = structlog.get_logger(__name__)

#: A turn that has to wait longer for a provider gives its worker back: it takes about as long to be found again.
MAX_HELD_SECONDS = 0.5


def claim_and_read(
    turn_id: uuid.UUID, *, worker: str, model: str, task: str = ""
) -> tuple[Claim, Change, prompt.Prompt | None] | None:
    """Claim a turn, and read the prompt of its step in the same thread. Return None when it cannot be claimed.

    The prompt is None when the step does not begin with it, or when reading it fails: the step reads it again then, and
    tells the error.
    """
    claimed = attempts.claim_with_turn(turn_id, worker=worker, model=model, task=task)
    if claimed is None:
        return None
    claim, change, turn = claimed
    may_change_agent = claim.is_first_step and is_routed(claim.agent)
    if claim.is_completion or may_change_agent or attempts.turn_limits().check(claim.spent):
        return claim, change, None
    try:
        own_model, _ = role_of(claim.agent).choose_models(model)
        return claim, change, prompt.build_for(turn, claim.agent, model_access.window(claim, own_model))
    except Exception as error:
        logger.info("prompt_not_read_ahead", error=type(error).__name__)
        if isinstance(error, DatabaseError):
            connection.close()
        return claim, change, None


class Query:
    """The question of one step to its model."""

    def __init__(self, claim: Claim, draft: Draft, ahead: prompt.Prompt | None = None) -> None:
        self.claim, self.draft = claim, draft
        #: The prompt that was read with the claim (`claim_and_read`), until it is used.
        self._ahead = ahead
        #: A caller of the OpenAI-compatible API gets what a model says as it is, blanks too.
        self.is_plain = claim.is_completion and not claim.agent
        self._can_summarize = settings.CODELAB_SUMMARY_MODEL != summary.OFF

    async def run(self) -> StepFinished | Vectors:
        """Return the model's reply, whose text is written. Raises ModelError, ModelCallDenied and StaleAttempt."""
        request = await self._build_request()
        if isinstance(request, EmbeddingRequest):
            return await model_access.embed(self.claim, request, observe=self.draft.add_call)
        repeated: set[str] = set()
        while True:
            try:
                return await self._ask(request)
            except (ModelContextTooLong, ModelSaidNothing) as error:
                if error.code in repeated:
                    raise
                repeated.add(error.code)
                again = await self._build_request()
                assert isinstance(again, ModelRequest)
                if isinstance(error, ModelContextTooLong) and not _is_shorter(again, request):
                    raise
                logger.info("model_asked_again", error_code=error.code)
                request = again

    async def _build_request(self) -> ModelRequest | EmbeddingRequest:
        """Return the request: the agent's prompt, conversation and tools, or what the caller of a completion sent."""
        claim, window_of = self.claim, partial(model_access.window, self.claim)
        if claim.is_completion:
            request = await with_retries(completions.model_request, claim.turn_id, claim.agent, window_of)
            if isinstance(request, EmbeddingRequest):
                return request
        else:
            model, fallbacks = role_of(claim.agent).choose_models(settings.CODELAB_MODEL)
            built = await self._build_prompt(model)
            request = ModelRequest(model=model, fallbacks=fallbacks, messages=built.messages, tools=built.tools)
        return replace(
            request,
            tries=settings.CODELAB_MODEL_TRIES,
            max_retry_delay=MAX_HELD_SECONDS if retries.may_wait(claim, 0) else request.max_retry_delay,
            first_token_timeout=settings.CODELAB_FIRST_TOKEN_TIMEOUT,
            idle_timeout=settings.CODELAB_IDLE_TOKEN_TIMEOUT,
            call_timeout=settings.CODELAB_MODEL_CALL_TIMEOUT,
        )

    async def _build_prompt(self, model: str) -> prompt.Prompt:
        """Return what an agent's model reads. What no longer fits is summarized first, once in a step."""
        claim = self.claim

        def read() -> prompt.Prompt:
            return prompt.build(claim.turn_id, claim.agent, model_access.window(claim, model))

        built, self._ahead = self._ahead, None
        if built is None:
            built = await with_retries(read)
        self.draft.window, self.draft.basis = built.window, built.basis
        if built.overflow and self._can_summarize:
            self._can_summarize = False
            if await summary.summarize(claim, self.draft, built.overflow, model, built.room):
                built = await with_retries(read)
        return built

    async def _ask(self, request: ModelRequest) -> StepFinished:
        """Call the model once. Blanks before the first word wait for it, because there may be none."""
        claim, draft = self.claim, self.draft
        started, is_silent, blanks = time.monotonic(), True, list[str]()
        has_words = self.is_plain
        chunks = model_access.stream(claim, request, observe=draft.add_call, spent=draft.cost)
        # Both: a step that is closed does not close its chunks, and the call is reported when they are.
        async with aclosing(chunks), aclosing(loop.step(chunks)) as events:
            async for event in events:
                match event:
                    case TextDelta(text) if has_words or text.strip():
                        draft.write(claim, "".join((*blanks, text)))
                        has_words = True
                        blanks.clear()
                    case TextDelta(text):
                        blanks.append(text)
                    case ReasoningDelta(text):
                        draft.write_reasoning(claim, text)
                    case StepFinished():
                        self._check(event)
                        if blanks:
                            draft.write(claim, "".join(blanks))
                        return event
                if is_silent:
                    is_silent = False
                    metrics.first_token_time.observe(time.monotonic() - started)
                draft.writer.check(claim)
                await draft.writer.make_room(claim)
        raise AssertionError("a step ends with StepFinished or an error")

    def _check(self, reply: StepFinished) -> None:
        """Raise ModelRefused or ModelSaidNothing for a reply without a word or a call."""
        if reply.is_withheld:
            if not self.claim.is_completion:
                raise ModelRefused("the provider's filter left nothing of the answer")
        elif not (self.is_plain or reply.text.strip() or reply.tool_calls):
            raise ModelSaidNothing(f"a blank answer: {reply.reason[:40]}")


def _is_shorter(request: ModelRequest, refused: ModelRequest) -> bool:
    return prices.estimate(request).input_tokens < prices.estimate(refused).input_tokens

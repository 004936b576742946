"""Asks the model of a step: builds the request, calls the model, and passes its text on as it arrives.

After two failures the model is asked once more, each of them once in a step: a conversation that is longer than its
window, which is shortened to what the provider has said, and an answer without a word. This module stores nothing.
"""

import time
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import structlog
from django.conf import settings

from agents import loop
from agents.events import ReasoningDelta, StepFinished, TextDelta
from agents.roles import role_of
from llm import prices
from llm.errors import ModelContextTooLong, ModelRefused, ModelSaidNothing
from llm.types import EmbeddingRequest, ModelRequest, Vectors
from sessions import metrics
from sessions.results import Claim
from sessions.turns import completions, retries
from sessions.worker import model_access, prompt, summary
from sessions.worker.draft import Draft
from sessions.worker.retries import with_retries

logger = structlog.get_logger(__name__)

#: A turn that has to wait longer for a provider gives its worker back: it takes about as long to be found again.
MAX_HELD_SECONDS = 0.5


class Query:
    """The question of one step to its model."""

    def __init__(self, claim: Claim, draft: Draft) -> None:
        self.claim, self.draft = claim, draft
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
            window = model_access.window(claim, model)
            self.draft.window = window.tokens
            return prompt.build(claim.turn_id, claim.agent, window)

        built = await with_retries(read)
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

"""Requests that bring their whole conversation: each is one turn in a hidden session of its own.

So leases, cancelling, the log and the ledger are the same as for everything else. What the model is shown is what the
caller sent, and calls of tools go back to the caller, with whom the policy is: no tool is run or judged here. One
transaction for each verb, like those of `sessions.turns.attempts`.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import transaction

from agents.context import Window, fit
from agents.events import CUT_REASONS, StepFinished
from agents.roles import UNASSIGNED, UNIVERSAL, role_of
from agents.tools import TOOLS
from llm.errors import ModelBrokenToolCall
from llm.types import EmbeddingRequest, ModelImage, ModelMessage, ModelRequest, ModelToolCall, Tool
from sessions import metrics
from sessions.billing import ledger
from sessions.database import atomic_until
from sessions.errors import StaleAttempt
from sessions.events import log
from sessions.events.log import NewEvent
from sessions.models import (
    Completion,
    CompletionKind,
    EventKind,
    MessageRole,
    Session,
    Turn,
    TurnStatus,
    new_id,
)
from sessions.models import Message as StoredMessage
from sessions.protocol import MAX_MESSAGE_LENGTH
from sessions.results import Accepted, Change, Claim, StepResult
from sessions.turns.current_agent import is_single_agent
from sessions.turns.transcript import give_title, message_event, store_message, store_result, store_step
from sessions.turns.transitions import count_step, finish_or_continue, lock_claim, transition, turn_event

#: What an agent gets as the result of a call that nobody can run.
NO_SUCH_TOOL = "Error: there is no tool `{}` here. There are: {}."
#: How the key of a hidden session begins.
KEY_PREFIX = "completion-"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A request, checked and free of what cannot be stored; the fields are those of the row."""

    kind: CompletionKind = CompletionKind.CHAT
    model: str
    #: Empty: the model itself is asked.
    agent: str = ""
    messages: list[Any] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """How a turn ended, or what it has used so far."""

    finish_reason: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    result: Any = None


def accept(
    owner_id: int, asked: CompletionRequest, *, api_key: uuid.UUID | None = None, deadline: float = math.inf
) -> Accepted:
    """Store a request and queue its turn, which the budgets of `api_key` count for.

    Raises TooLate; then nothing is stored.
    """
    agent = UNIVERSAL.name if asked.agent == UNASSIGNED and is_single_agent() else asked.agent
    session_id, message_id, turn_id = new_id(), new_id(), new_id()
    said = _last_words(asked)[:MAX_MESSAGE_LENGTH]
    with atomic_until(deadline):
        # Nobody else can see it before the commit, so nobody locks it.
        session = Session.objects.create(
            id=session_id,
            owner_id=owner_id,
            key=f"{KEY_PREFIX}{session_id}",
            hidden=True,
            current_agent=agent,
            # Only the orchestrator has somebody else chosen.
            pinned=agent != UNASSIGNED,
        )
        new = [
            message_event(message_id, turn_id, MessageRole.USER, said),
            NewEvent(kind=EventKind.TURN_QUEUED, turn_id=turn_id, payload={"turn_id": str(turn_id)}),
        ]
        events = log.append(session, new)
        number = events[-1].number
        model = "" if asked.agent else asked.model
        turn = Turn.objects.create(id=turn_id, session=session, position=number, model=model, api_key=api_key)
        store_message(
            StoredMessage(id=message_id, session=session, turn=turn, role=MessageRole.USER, content=said), events[0]
        )
        Completion.objects.create(
            turn=turn,
            kind=asked.kind,
            model=asked.model,
            agent=asked.agent,
            messages=asked.messages,
            tools=asked.tools,
            options=asked.options,
        )
        give_title(session, said)
    return Accepted(
        events=events, ready=turn_id, session_id=session_id, message_id=message_id, turn_id=turn_id, number=number
    )


def _last_words(asked: CompletionRequest) -> str:
    """Return what people see of a request: the newest of its user's texts."""
    if asked.kind == CompletionKind.EMBEDDINGS:
        return next((text for text in asked.messages if isinstance(text, str)), "")
    return next((str(each["content"]) for each in reversed(asked.messages) if each["role"] == MessageRole.USER), "")


def claimed_completion(turn_id: uuid.UUID) -> Completion:
    """Return the request of a turn that a worker holds. Raises StaleAttempt when it was deleted."""
    completion = Completion.objects.filter(turn=turn_id).first()
    if completion is None:
        raise StaleAttempt("the session was deleted")
    return completion


def model_request(
    turn_id: uuid.UUID, agent: str, window_of: Callable[[str], Window]
) -> ModelRequest | EmbeddingRequest:
    """Return what a turn asks of which model. Raises StaleAttempt, and ModelContextTooLong for an agent."""
    completion = claimed_completion(turn_id)
    if completion.kind == CompletionKind.EMBEDDINGS:
        inputs = tuple(completion.messages)
        return EmbeddingRequest(model=completion.model, inputs=inputs, **completion.options)
    messages = tuple(map(_message, completion.messages))
    tools = tuple(Tool(**tool) for tool in completion.tools)
    options = dict(completion.options)
    limit = options.pop("max_tokens", None)
    if not completion.agent:
        return ModelRequest(
            model=completion.model, messages=messages, tools=tools, options=options, max_output_tokens=limit
        )
    role = role_of(agent)
    model, fallbacks = role.models_with(settings.CODELAB_MODEL)
    prompt = role.instructions(tools=[tool.name for tool in tools if tool.name in TOOLS])
    instructions = [message.content for message in messages if message.role == "system"]
    if instructions:
        prompt += "\n\n# Instructions of the caller\n\n" + "\n\n".join(instructions)
    said = [message for message in messages if message.role != "system"]
    said += _own_steps(turn_id)
    return ModelRequest(
        model=model,
        fallbacks=fallbacks,
        messages=fit(prompt, said, window=window_of(model), tools=tools).messages,
        tools=tools,
        options=options,
        max_output_tokens=limit,
    )


def _message(row: dict[str, Any]) -> ModelMessage:
    return ModelMessage(
        role=row["role"],
        content=row["content"],
        tool_calls=tuple(ModelToolCall(**call) for call in row.get("tool_calls", ())),
        tool_call_id=row.get("tool_call_id", ""),
        images=tuple(ModelImage(**image) for image in row.get("images", ())),
        name=row.get("name", ""),
    )


def _own_steps(turn_id: uuid.UUID) -> list[ModelMessage]:
    """Return what an agent has said and asked for in this turn already, without what an attempt left unfinished."""
    rows = StoredMessage.objects.filter(turn=turn_id, interrupted=False).exclude(role=MessageRole.USER)
    return [
        ModelMessage(
            role="tool" if row.role == MessageRole.TOOL else "assistant",
            content=row.content,
            tool_calls=tuple(ModelToolCall(**call) for call in row.tool_calls),
            tool_call_id=row.tool_call_id,
        )
        for row in rows.order_by("number")
    ]


def finish(claim: Claim, result: StepResult, finished: StepFinished) -> Change:
    """Store what the model said, and end the turn: also when it asks for tools, which are the caller's to run.

    Where all that an agent asks for are tools that the caller has not, the turn goes on with errors as their results.
    Raises StaleAttempt, and ModelBrokenToolCall where a model's own words would have to be mended.
    """
    with transaction.atomic():
        session, turn = lock_claim(claim)
        completion = turn.completion
        calls, refused = _sorted(completion, finished)
        shown = calls or [call for call, _ in refused]
        wire = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in shown]
        events = store_step(session, turn, result, tool_calls=wire)
        ledger.record(claim, session, turn, result.calls, has_tool_calls=bool(finished.tool_calls))
        completion.cached_tokens += finished.usage.cached_tokens
        completion.reasoning_tokens += finished.usage.reasoning_tokens
        fields = count_step(turn, result)
        if refused and not calls:
            for call, why in refused:
                events += store_result(session, turn.pk, call.id, why)
            transition(turn, TurnStatus.QUEUED, **fields)
            queued = turn_event(EventKind.TURN_QUEUED, turn.pk, {"turn_id": str(turn.pk)}, turn.attempt)
            events += log.append(session, [queued])
            ready: uuid.UUID | None = turn.pk
        else:
            completion.finish_reason = _reason(finished.reason, bool(calls))
            moved, ready = finish_or_continue(session, turn, fields, None)
            events += moved
        completion.save(update_fields=["finish_reason", "cached_tokens", "reasoning_tokens"])
    if ready != turn.pk:
        metrics.turn_ended(turn, TurnStatus.COMPLETED)
    return Change(events=events, ready=ready)


def finish_embeddings(claim: Claim, result: StepResult, vectors: list[str]) -> Change:
    """Store embeddings, each packed, and end the turn. Raises StaleAttempt."""
    with transaction.atomic():
        session, turn = lock_claim(claim)
        ledger.record(claim, session, turn, result.calls)
        Completion.objects.filter(turn=turn).update(result=vectors, finish_reason="stop")
        events, ready = finish_or_continue(session, turn, count_step(turn, result), None)
    metrics.turn_ended(turn, TurnStatus.COMPLETED)
    return Change(events=events, ready=ready)


def _sorted(
    completion: Completion, finished: StepFinished
) -> tuple[list[ModelToolCall], list[tuple[ModelToolCall, str]]]:
    """Return the calls that go to the caller, and those that go back to the agent, each with the reason."""
    if finished.reason in CUT_REASONS:
        # The last one may be half a call, and nobody knows what was still to come.
        return [], []
    seen = {call["id"] for each in completion.messages for call in each.get("tool_calls", ())}
    known = [str(tool["name"]) for tool in completion.tools]
    good: list[ModelToolCall] = []
    refused: list[tuple[ModelToolCall, str]] = []
    for asked in finished.tool_calls:
        # Some providers count from zero in each answer.
        call_id = f"call_{new_id().hex}" if asked.id in seen else asked.id
        call = ModelToolCall(id=call_id, name=asked.name, arguments=asked.arguments)
        if not completion.agent:
            if problem := finished.broken.get(asked.id):
                raise ModelBrokenToolCall(problem)
            good.append(call)
        elif problem := finished.broken.get(asked.id):
            refused.append((call, f"Error: {problem}"))
        elif asked.name not in known:
            refused.append((call, NO_SUCH_TOOL.format(asked.name[:128], ", ".join(known) or "none")))
        else:
            good.append(call)
    return good, refused


def _reason(told: str, calls: bool) -> str:
    """Return a provider's end marker in OpenAI's words."""
    if calls:
        return "tool_calls"
    if told in CUT_REASONS:
        return "content_filter" if told == "content_filter" else "length"
    return "stop"


def turn_result(turn_id: uuid.UUID) -> TurnResult:
    """Return how a turn of any session ended, and what it used. Raises Turn.DoesNotExist."""
    turn = Turn.objects.select_related("completion").get(pk=turn_id)
    completion: Completion | None = getattr(turn, "completion", None)
    return TurnResult(
        finish_reason=(completion and completion.finish_reason) or "stop",
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        cached_tokens=completion.cached_tokens if completion else 0,
        reasoning_tokens=completion.reasoning_tokens if completion else 0,
        result=completion.result if completion else None,
    )

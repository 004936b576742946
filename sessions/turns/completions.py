"""Completions: requests of the APIs for completions, each one turn in a session of its own that lists omit.

So leases, cancelling, the log and the ledger are the same as for all turns. The model gets the conversation in the
request. Tool calls go back to the caller, who decides about them: this module never runs a tool or applies the policy.
One transaction for each verb, like those of `sessions.turns.attempts`.
"""

import dataclasses
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings

from agents.approvals import digest
from agents.context import Window, fit
from agents.events import CUT_REASONS, StepFinished
from agents.roles import UNASSIGNED, UNIVERSAL, role_of
from llm.origins import origin_of
from llm.types import EmbeddingRequest, ModelMessage, ModelRequest, ModelToolCall
from sessions import metrics
from sessions.billing import ledger
from sessions.database import atomic_until
from sessions.errors import StaleAttempt
from sessions.models import Completion, CompletionApi, CompletionKind, MessageRole, Session, Turn, TurnStatus, new_id
from sessions.models import Message as StoredMessage
from sessions.protocol.codes import MAX_MESSAGE_LENGTH
from sessions.results import AcceptedMessage, Change, Claim, StepResult
from sessions.statements import atomic, save
from sessions.turns import provider_fields
from sessions.turns.completion_messages import agents_prompt, given_names, request_of
from sessions.turns.current_agent import is_single_agent
from sessions.turns.transcript import newest_calls, require_progress, store_result, store_step
from sessions.turns.transitions import count_step, finish_or_continue, lock_claim, queue_message, requeue

#: What an agent gets as the result of a call of a tool that the caller did not offer.
NO_SUCH_TOOL = "Error: the tool `{}` does not exist. Available: {}."
#: What a step changes in the row of its request.
RESULT_FIELDS = ("finish_reason", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "answer_fields")
#: How the key of a completion's session begins.
KEY_PREFIX = "completion-"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A checked request that can be stored. The fields are those of `Completion`."""

    kind: CompletionKind = CompletionKind.CHAT
    #: The API whose words the request is in.
    api: CompletionApi = CompletionApi.CHAT
    model: str
    #: Empty: the model itself answers.
    agent: str = ""
    messages: list[Any] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    #: What the API itself needs later, for its answer or the next request.
    details: dict[str, Any] = field(default_factory=dict)
    #: How the client names its own session, and the agent in it.
    client_session: str = ""
    client_agent: str = ""
    #: The turn goes on when the client leaves.
    is_background: bool = False
    #: The client may ask for the answer later.
    is_stored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """How a turn ended, or its usage so far."""

    finish_reason: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    result: Any = None
    #: What only the provider `origin` understands of the answer, with the fields of its calls by their ids (`CALLS`).
    extra: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    #: The stop text of the request that ended the answer, where the provider says so.
    stop: str = ""


def accept(
    owner_id: int, request: CompletionRequest, *, api_key: uuid.UUID | None = None, deadline: float = math.inf
) -> AcceptedMessage:
    """Store a request and queue its turn, for which the budgets of `api_key` count. On TooLate nothing is stored."""
    with atomic_until(deadline):
        return store(owner_id, request, api_key)


def store(owner_id: int, request: CompletionRequest, api_key: uuid.UUID | None, **fields: Any) -> AcceptedMessage:
    """Store a request, with these fields of its row besides, and queue its turn. The caller commits."""
    agent = UNIVERSAL.name if request.agent == UNASSIGNED and is_single_agent() else request.agent
    session_id = new_id()
    # No other transaction sees the session before the commit, so it needs no lock.
    session = Session.objects.create(
        id=session_id,
        owner_id=owner_id,
        key=f"{KEY_PREFIX}{session_id}",
        hidden=True,
        current_agent=agent,
        # Only the orchestrator may choose another agent.
        pinned=agent != UNASSIGNED,
    )
    model = "" if request.agent else request.model
    content = _title_text(request)[:MAX_MESSAGE_LENGTH]
    accepted = queue_message(session, content, model=model, api_key=api_key)
    fields |= {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}
    Completion.objects.create(turn_id=accepted.turn_id, **fields)
    return accepted


def _title_text(request: CompletionRequest) -> str:
    """Return the text that the admin shows of a request: the first input, or the newest message of the user."""
    if request.kind == CompletionKind.EMBEDDINGS:
        return next((text for text in request.messages if isinstance(text, str)), "")
    texts = (str(row["content"]) for row in reversed(request.messages) if row["role"] == MessageRole.USER)
    return next(texts, "")


def claimed_completion(turn_id: uuid.UUID) -> Completion:
    """Return the request of a claimed turn. Raises StaleAttempt when it was deleted."""
    completion = Completion.objects.filter(turn=turn_id).first()
    if completion is None:
        raise StaleAttempt("the session was deleted")
    return completion


def model_request(
    turn_id: uuid.UUID, agent: str, window_of: Callable[[str], Window]
) -> ModelRequest | EmbeddingRequest:
    """Return the request to a model for a turn. Raises StaleAttempt, and ModelContextTooLong for an agent."""
    completion = claimed_completion(turn_id)
    if completion.kind == CompletionKind.EMBEDDINGS:
        inputs = tuple(completion.messages)
        return EmbeddingRequest(model=completion.model, inputs=inputs, **completion.options)
    request = request_of(completion)
    if not completion.agent:
        return replace(request, written_for=request.model)
    role = role_of(agent)
    model, fallbacks = role.choose_models(settings.CODELAB_MODEL)
    prompt, conversation = agents_prompt(agent, request.messages, request.tools, is_translated=request.is_translated)
    if not request.is_translated:
        # The caller got thoughts and the signatures of calls from this agent's model, and returns them.
        conversation = [replace(each, origin=origin_of(model)) for each in conversation]
    conversation += _own_steps(turn_id)
    messages = fit(prompt, conversation, window=window_of(model), tools=request.tools).messages
    return replace(request, model=model, fallbacks=fallbacks, messages=messages)


def _own_steps(turn_id: uuid.UUID) -> list[ModelMessage]:
    """Return the finished steps of the turn's agent and their results."""
    rows = StoredMessage.objects.filter(turn=turn_id, interrupted=False).exclude(role=MessageRole.USER)
    return [
        provider_fields.message_of(
            row.provider_fields,
            tuple(ModelToolCall(**call) for call in row.tool_calls),
            role=MessageRole(row.role).value,
            content=row.content,
            tool_call_id=row.tool_call_id,
        )
        for row in rows.order_by("number")
    ]


def finish(claim: Claim, result: StepResult, finished: StepFinished) -> Change:
    """Store the reply and complete the turn, even with tool calls, which the caller runs.

    When an agent requested only calls that cannot go to the caller, the turn is queued again with errors as their
    results. Raises StaleAttempt, and LimitReached for an agent that repeats itself.
    """
    with atomic():
        session, turn = lock_claim(claim)
        completion = turn.completion
        calls, refused = _split_calls(completion, finished)
        if refused and not calls:
            require_progress(turn, [digest(call.name, call.arguments) for call, _ in refused], newest_calls(turn))
        stored_calls = calls or [call for call, _ in refused]
        wire = [_wire_call(call, completion) for call in stored_calls]
        extras = {call.id: call.extra for call in stored_calls}
        fields_of_provider = ""
        if refused and not calls:
            # The agent goes on; a caller gets its own calls with their fields.
            fields_of_provider = provider_fields.pack(result, extras)
        events = store_step(session, turn, result, tool_calls=wire, provider_fields=fields_of_provider)
        called = bool(finished.tool_calls)
        ledger.record(claim, session, turn, result.calls, has_tool_calls=called, answer=result.message_id)
        completion.cached_tokens += finished.usage.cached_tokens
        completion.cache_write_tokens += finished.usage.cache_write_tokens
        completion.reasoning_tokens += finished.usage.reasoning_tokens
        fields = count_step(turn, result)
        if refused and not calls:
            for call, error in refused:
                events += store_result(session, turn.pk, call.id, error)
            events += requeue(session, turn, turn.attempt, **fields)
            ready: uuid.UUID | None = turn.pk
        else:
            completion.finish_reason = _finish_reason(finished.reason, bool(calls))
            if completion.api != CompletionApi.CHAT:
                completion.answer_fields = provider_fields.pack_answer(result, extras, _stop(completion, finished))
            last_events, ready = finish_or_continue(session, turn, fields)
            events += last_events
        save(completion, *RESULT_FIELDS)
    if ready != turn.pk:
        metrics.turn_ended(turn, TurnStatus.COMPLETED)
    return Change(events=events, ready=ready)


def _wire_call(call: ModelToolCall, completion: Completion) -> dict[str, Any]:
    """Return a call as it is stored. A plain model's broken arguments go to the caller as the text that they are."""
    arguments = call.raw_arguments if call.raw_arguments and not completion.agent else call.arguments
    row = {"id": call.id, "name": call.name, "arguments": arguments}
    # The other APIs have no place for it in a call: it comes with the answer.
    return {**row, "extra": dict(call.extra)} if call.extra and completion.api == CompletionApi.CHAT else row


def finish_embeddings(claim: Claim, result: StepResult, vectors: list[str]) -> Change:
    """Store packed embeddings and complete the turn. Raises StaleAttempt."""
    with atomic():
        session, turn = lock_claim(claim)
        ledger.record(claim, session, turn, result.calls)
        Completion.objects.filter(turn=turn).update(result=vectors, finish_reason="stop")
        events, ready = finish_or_continue(session, turn, count_step(turn, result))
    metrics.turn_ended(turn, TurnStatus.COMPLETED)
    return Change(events=events, ready=ready)


def _split_calls(
    completion: Completion, finished: StepFinished
) -> tuple[list[ModelToolCall], list[tuple[ModelToolCall, str]]]:
    """Return the calls for the caller, and those that go back to the agent, each with an error."""
    if finished.reason in CUT_REASONS:
        # The last call may be incomplete, and more calls may be missing.
        return [], []
    names = given_names(completion)
    earlier_ids = {call["id"] for message in completion.messages for call in message.get("tool_calls", ())}
    tools = [str(tool["name"]) for tool in completion.tools]
    valid: list[ModelToolCall] = []
    refused: list[tuple[ModelToolCall, str]] = []
    for requested in finished.tool_calls:
        # The caller of a plain model mends broken calls in its own way.
        problem = finished.broken.get(requested.id) if completion.agent else None
        # Some providers count from zero in each answer.
        call_id = f"call_{new_id().hex}" if requested.id in earlier_ids else requested.id
        call = replace(requested, id=call_id, name=names.get(requested.name, requested.name))
        if problem:
            refused.append((call, f"Error: {problem}"))
        elif completion.agent and call.name not in tools:
            refused.append((call, NO_SUCH_TOOL.format(call.name[:128], ", ".join(tools) or "none")))
        else:
            valid.append(call)
    return valid, refused


def _finish_reason(reason: str, has_calls: bool) -> str:
    """Return why a completion ended: for its calls whenever it has some, and never for calls that it does not have."""
    if has_calls:
        return "tool_calls"
    return reason if reason in CUT_REASONS else "stop"


def _stop(completion: Completion, finished: StepFinished) -> str:
    """Return the stop text of the request that ended an answer, empty for none."""
    stops = completion.options.get("stop") or []
    return finished.stop if finished.stop in ([stops] if isinstance(stops, str) else stops) else ""


def turn_result(turn_id: uuid.UUID) -> TurnResult:
    """Return how a turn of any session ended, and its usage. Raises Turn.DoesNotExist."""
    turn = Turn.objects.select_related("completion").get(pk=turn_id)
    return result_of(turn, getattr(turn, "completion", None) or Completion())


def result_of(turn: Turn, completion: Completion) -> TurnResult:
    """Return how a turn ended, and its usage."""
    origin, extra, stop = provider_fields.unpack_answer(completion.answer_fields)
    return TurnResult(
        finish_reason=completion.finish_reason or "stop",
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        cached_tokens=completion.cached_tokens,
        cache_write_tokens=completion.cache_write_tokens,
        reasoning_tokens=completion.reasoning_tokens,
        result=completion.result,
        extra=extra,
        origin=origin,
        stop=stop,
    )

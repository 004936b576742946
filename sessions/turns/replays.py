"""Replays: the prompt of a model call, sent to another model by staff, to compare answers, tokens and cost.

A replay is a row; its task only brings the id to a worker. It is sent at most once: where its worker dies, it
fails, and staff asks again. Its call is in the ledger as the one of the person who asked, not of the session's owner.
Nothing in the session changes, and no tool runs.
"""

import json
import uuid
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from agents.events import StepFinished
from agents.loop import make_storable
from llm import prices
from llm.types import CallRecord, ModelImage, ModelMessage, ModelRequest, ModelToolCall, TokenUsage, Tool
from sessions.billing import ledger, prompts
from sessions.billing.prompts import SentPrompt
from sessions.models import ModelCall, Replay, ReplayStatus, Worker

#: Of an answer: as many tokens as a comparison needs.
MAX_OUTPUT_TOKENS = 4096
#: What an error may take.
MAX_ERROR_CHARACTERS = 2000
#: A replay without an answer for so long may be lost, with its worker or its task: staff may ask again.
ASK_AGAIN_AFTER = timedelta(minutes=1)
#: A worker without a heartbeat for so long is dead: one comes every three seconds.
DEAD_AFTER = timedelta(seconds=30)
#: A replay whose task was lost, or whose worker ran a version that did not name itself.
LOST_AFTER = timedelta(days=1)
LOST = "The worker was lost before the answer was complete. The provider may have answered, and cost. Replay it again."


def request_of(sent: SentPrompt, model: str) -> ModelRequest:
    """Return the request that sends a prompt to another model. Fields of the first provider alone are left out."""
    body = json.loads(sent.body.join())
    return ModelRequest(
        model=model,
        messages=tuple(map(_message, body["messages"])),
        tools=tuple(_tool(each["function"]) for each in body.get("tools", ())),
        max_output_tokens=MAX_OUTPUT_TOKENS,
        fallbacks=(),
        tries=1,
    )


def _message(wire: dict[str, Any]) -> ModelMessage:
    content = wire.get("content") or ""
    parts: list[dict[str, Any]] = content if isinstance(content, list) else [{"type": "text", "text": content}]
    calls = wire.get("tool_calls", ())
    return ModelMessage(
        role=wire["role"],
        content="\n".join(part["text"] for part in parts if part.get("type") == "text"),
        images=tuple(ModelImage(part["image_url"]["url"]) for part in parts if part.get("type") == "image_url"),
        tool_calls=tuple(_call(call["id"], call["function"]) for call in calls),
        tool_call_id=wire.get("tool_call_id", ""),
        name=wire.get("name", ""),
    )


def _call(call_id: str, function: dict[str, Any]) -> ModelToolCall:
    return ModelToolCall(id=call_id, name=function["name"], arguments=json.loads(function["arguments"]))


def _tool(function: dict[str, Any]) -> Tool:
    return Tool(name=function["name"], description=function["description"], parameters=function["parameters"])


def estimate(sent: SentPrompt, call: ModelCall, model: str) -> tuple[Decimal | None, Decimal | None]:
    """Return what a replay costs about, with an answer as long as the first one, and at most. None: unknown."""
    request = request_of(sent, model)
    read = call.input_tokens or prices.estimate(request).input_tokens
    usage = TokenUsage(input_tokens=read, output_tokens=call.output_tokens)
    return prices.cost(model, usage, own=False), prices.max_cost(request)


def is_under_way(call: ModelCall, model: str) -> bool:
    """Return whether a prompt was ordered for a model lately and has no answer yet: a second one would cost again."""
    under_way = Replay.objects.filter(call=call, model=model, status__in=(ReplayStatus.QUEUED, ReplayStatus.RUNNING))
    return under_way.filter(created_at__gt=timezone.now() - ASK_AGAIN_AFTER).exists()


def order(call: ModelCall, model: str, *, by: int, max_cost: Decimal | None) -> Replay:
    """Store a replay. The caller sends its task after the commit."""
    assert call.session_id
    return Replay.objects.create(
        session_id=call.session_id, call=call, model=model, requested_by_id=by, max_cost=max_cost
    )


def start(replay_id: uuid.UUID, worker: str) -> tuple[Replay, ModelRequest] | None:
    """Take a replay and return what to send, or None when it was taken before or its session is gone."""
    taken = Replay.objects.filter(pk=replay_id, status=ReplayStatus.QUEUED, session__deleted_at=None)
    if not taken.update(status=ReplayStatus.RUNNING, worker=worker):
        return None
    replay = Replay.objects.select_related("call").get(pk=replay_id)
    sent = prompts.read(replay.call)
    if sent is None or not sent.is_proven:
        finish(replay, (), error="The prompt is not complete any more.")
        return None
    return replay, request_of(sent, replay.model)


def finish(replay: Replay, calls: Sequence[CallRecord], *, reply: StepFinished | None = None, error: str = "") -> None:
    """Store how a replay ended, with its call in the ledger, in one transaction."""
    with transaction.atomic():
        rows = [ledger.row_of_replay(replay, call) for call in calls]
        ModelCall.objects.bulk_create(rows)
        Replay.objects.filter(pk=replay.pk, status=ReplayStatus.RUNNING).update(
            status=ReplayStatus.COMPLETED if reply else ReplayStatus.FAILED,
            answer=reply.text if reply else "",
            tool_calls=[{"name": call.name, "arguments": call.arguments} for call in reply.tool_calls] if reply else [],
            error=make_storable(error[:MAX_ERROR_CHARACTERS]),
            result=rows[-1].pk if rows else None,
            finished_at=timezone.now(),
        )


def fail_lost(_deadline: float) -> int:
    """End the replays whose worker or task is gone as failed; return how many."""
    now = timezone.now()
    alive = Worker.objects.filter(name=OuterRef("worker"), seen_at__gt=now - DEAD_AFTER)
    is_orphaned = Q(status=ReplayStatus.RUNNING) & ~Q(worker="") & ~Exists(alive)
    is_forgotten = Q(status__in=(ReplayStatus.QUEUED, ReplayStatus.RUNNING), worker="", created_at__lt=now - LOST_AFTER)
    lost = Replay.objects.filter(is_orphaned | is_forgotten)
    return lost.update(status=ReplayStatus.FAILED, error=LOST, finished_at=now)


def replays_of(call: ModelCall) -> list[Replay]:
    """Return the replays of a call's prompt, the newest first."""
    return list(Replay.objects.filter(call=call).select_related("result", "requested_by").order_by("-pk")[:20])

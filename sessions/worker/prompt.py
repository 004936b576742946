"""Reads: what a model is shown of a session, and what a client may ask about it. Nothing here writes."""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from agents.context import Window, fit
from agents.plans import format_progress
from agents.roles import role_of, routed_roles
from agents.tools import CREATE_PLAN, offer
from llm.types import ModelImage, ModelMessage, ModelRole, ModelToolCall, Tool
from sessions.database import rows
from sessions.errors import StaleAttempt
from sessions.models import (
    Image,
    MessageRole,
    Plan,
    Session,
    SubTask,
    Turn,
)
from sessions.turns import plans
from sessions.turns.tool_policy import agents_for, offered_tools
from sessions.turns.transcript import current_subtask

# Every step needs them; to put the join together takes the ORM longer than to run both.
_TURN = "SELECT * FROM agent_sessions_turn WHERE id = %s"
_SESSION = "SELECT * FROM agent_sessions_session WHERE id = %s"

# Most messages have neither calls nor images. A thousand rows take the ORM 7.6 ms of a core, this one 1.7.
_CONVERSATION = """
    SELECT role, content, nullif(tool_calls::text, '[]'), tool_call_id, images::text
    FROM agent_sessions_message AS message JOIN agent_sessions_turn AS turn ON turn.id = message.turn_id
    WHERE message.session_id = %s AND turn.position <= %s AND NOT withdrawn
    AND (subtask_id IS NOT DISTINCT FROM %s OR (%s::uuid IS NULL AND role = 'user'))
    ORDER BY turn.position, message.number
"""

NO_RESULT = "Error: this tool was never answered."


def model_input(turn_id: uuid.UUID, agent: str, window: Window) -> tuple[tuple[ModelMessage, ...], tuple[Tool, ...]]:
    """Return what the model is given: the agent's instructions, as much of the conversation as it can read, its tools.

    Raises ModelContextTooLong.
    """
    turn = claimed_turn(turn_id)
    session = turn.session
    role = role_of(agent)
    subtask = current_subtask(session)
    names = offered_tools(session, role, subtask)
    prompt = role.instructions(
        tools=names,
        agents=routed_roles(),
        mode=session.mode,
        plan=format_progress(plans.value_of(subtask.plan)) if subtask else "",
        subtask=subtask.description if subtask else "",
    )
    tools = tuple(tool for name in names for tool in offer([name], agents=agents_for(name, role)))
    return fit(prompt, _conversation(turn, subtask), window=window, tools=tools).messages, tools


def claimed_turn(turn_id: uuid.UUID) -> Turn:
    """Return a turn that a worker holds, with its session. Raises StaleAttempt when the session was deleted."""
    for turn in Turn.objects.raw(_TURN, [turn_id]):
        (turn.session,) = Session.objects.raw(_SESSION, [turn.session_id])
        return turn
    raise StaleAttempt("the session was deleted")


def history(turn_id: uuid.UUID, subtask: SubTask | None = None) -> tuple[ModelMessage, ...]:
    """Return the conversation up to a turn as the model is to see it: that with the user, or that of a sub-task.

    Whoever does a sub-task sees its description and what belongs to it. To the others the work on a plan is the result
    of the call that proposed it; what the user has said meanwhile, and was asked, is a part of both.

    In the order of turns, not of arrival: a message that was sent during an earlier turn comes after its answer, and
    messages of later turns are not there yet.
    """
    return _conversation(claimed_turn(turn_id), subtask)


def _conversation(turn: Turn, subtask: SubTask | None) -> tuple[ModelMessage, ...]:
    part = subtask and subtask.pk
    found = [
        (role, content, json.loads(calls) if calls else [], answers, json.loads(images) if images else [])
        for role, content, calls, answers, images in rows(_CONVERSATION, turn.session_id, turn.position, part, part)
    ]
    messages = [ModelMessage(role="user", content=subtask.description)] if subtask else []
    unanswered: list[str] = []
    proposed = any(call["name"] == CREATE_PLAN for _, _, asked, *_ in found for call in asked)
    reports = _reports(turn.session_id) if proposed and not subtask else {}
    shown = [images for *_, images in found if images]
    pictures = iter(load_images(shown) if shown else ())
    for role, content, asked, answers, images in found:
        if role == MessageRole.TOOL:
            unanswered.remove(answers)
        elif unanswered:
            messages += _missing_results(unanswered)
        if role == MessageRole.ASSISTANT and not (content or asked):
            # Only thoughts, and then it was stopped: providers refuse a message without content.
            continue
        calls = tuple(ModelToolCall(**call) for call in asked)
        unanswered += [call.id for call in calls]
        message = ModelMessage(
            role=cast(ModelRole, role),
            content=reports.get(answers) or content,
            tool_calls=calls,
            tool_call_id=answers,
        )
        messages.append(_with_images(message, next(pictures), of=len(images)) if images else message)
    return tuple(messages + _missing_results(unanswered))


def _with_images(message: ModelMessage, images: tuple[ModelImage, ...], *, of: int) -> ModelMessage:
    content = message.content
    if left_out := of - len(images):
        content += f"\n\n[{left_out} of {of} images left out: they come again below, or there are newer ones.]"
    return replace(message, content=content, images=images)


def _reports(session_id: uuid.UUID) -> dict[str, str]:
    """Return what became of the plans that were approved, by the call that had proposed each."""
    approved = Plan.objects.filter(session=session_id, approved_at__isnull=False).select_related("call")
    return {plan.call.call_id: plans.report(plan) for plan in approved}


def _missing_results(unanswered: list[str]) -> list[ModelMessage]:
    """Answer calls whose turn ended without a result: providers refuse a history with an unanswered call."""
    missing = [ModelMessage(role="tool", content=NO_RESULT, tool_call_id=call_id) for call_id in unanswered]
    unanswered.clear()
    return missing


#: Pictures, and bytes of them, that a model is shown at most, the newest first: what providers of all kinds take.
MAX_IMAGES_SHOWN, MAX_IMAGE_BYTES_SHOWN = 20, 12 * 1024 * 1024


def load_images(shown: Sequence[Sequence[dict[str, Any]]]) -> list[tuple[ModelImage, ...]]:
    """Return what a model is shown of the pictures of messages, which are named oldest first, message by message.

    Each picture once, in the newest message that shows it, and of all of them the newest.
    """
    places: dict[str, int] = {}
    room = MAX_IMAGE_BYTES_SHOWN
    for place, image in _newest_first(shown):
        if image["image_id"] in places:
            continue
        room -= image["bytes"]
        if room < 0 or len(places) == MAX_IMAGES_SHOWN:
            break
        places[image["image_id"]] = place
    rows = Image.objects.filter(pk__in=places).values_list("pk", "media_type", "data")
    data = {str(pk): ModelImage(f"data:{kind};base64,{b64encode(data).decode()}") for pk, kind, data in rows}
    return [
        tuple(data[name] for each in images if places.get(name := each["image_id"]) == place and name in data)
        for place, images in enumerate(shown)
    ]


def _newest_first(shown: Sequence[Sequence[dict[str, Any]]]) -> Iterator[tuple[int, dict[str, Any]]]:
    for place in reversed(range(len(shown))):
        for image in reversed(shown[place]):
            yield place, image

"""Builds a model's input from a session: instructions, conversation, images and tools. This module never writes."""

import json
import uuid
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from agents.context import Window
from agents.plans import format_progress, format_reports
from agents.roles import role_of, routed_roles
from agents.tools import CREATE_PLAN, offer
from agents.workspace import current_facts, steady_facts, surroundings
from llm.key_order import arrange
from llm.types import ModelImage, ModelMessage, ModelRole, ModelToolCall, Tool
from sessions.errors import StaleAttempt
from sessions.models import Image, MessageRole, Plan, SubTask, Summary, Turn
from sessions.statements import prepared
from sessions.turns import plans, summaries, workspaces
from sessions.turns.definitions import definitions_of
from sessions.turns.provider_fields import message_of
from sessions.turns.rows import turn_with_session
from sessions.turns.summaries import Overflow
from sessions.turns.tool_policy import Basis, agents_for, offered_tools
from sessions.worker.fitting import Entry, Fitting, overflow_of, pinned_facts

#: The messages up to a turn, of a sub-task or outside all of them. Most have neither calls nor images. A thousand rows
#: take 1.7 ms of a core; with the ORM they take 7.6.
_CONVERSATION = """
    SELECT message.id, turn.position, coalesce(read_number, message.number), message.number,
        role, content, nullif(tool_calls::text, '[]'), key_order, edited_calls::text, tool_call_id,
        CASE WHEN turn.id = %s THEN provider_fields END, nullif(images::text, '[]'), surroundings
    FROM agent_sessions_message AS message JOIN agent_sessions_turn AS turn ON turn.id = message.turn_id
    WHERE message.session_id = %s AND turn.position <= %s AND NOT withdrawn
    AND (subtask_id IS NOT DISTINCT FROM %s OR (%s::uuid IS NULL AND role = 'user'))
    AND NOT (steered AND read_number IS NULL AND turn.id = %s)
    AND (
        (turn.position, coalesce(read_number, message.number), message.number) > (%s, %s, %s)
        OR message.id = ANY(%s::uuid[])
    )
    ORDER BY turn.position, coalesce(read_number, message.number), message.number
"""

#: Follows the result of a call that the user has edited. The conversation has the arguments that ran.
EDITED = "\n\n[The user changed the arguments of this call before it ran. The call above is the changed one.]"
#: Images, and bytes of them, in one request to a model: as many as providers of all kinds accept.
MAX_IMAGES_SHOWN, MAX_IMAGE_BYTES_SHOWN = 20, 12 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model reads in a step."""

    messages: tuple[ModelMessage, ...]
    tools: tuple[Tool, ...]
    #: Tokens that a request may take.
    room: int
    #: Tokens that fit the model's window.
    window: int
    #: What the calls of its answer are judged by.
    basis: Basis
    #: Messages that were left out and that no summary stands for.
    overflow: Overflow | None = None


def model_input(turn_id: uuid.UUID, agent: str, window: Window) -> tuple[tuple[ModelMessage, ...], tuple[Tool, ...]]:
    """Return the messages and tools of `build`."""
    prompt = build(turn_id, agent, window)
    return prompt.messages, prompt.tools


def build(turn_id: uuid.UUID, agent: str, window: Window) -> Prompt:
    """Return the agent's instructions with as much of the conversation as the window takes, and the agent's tools.

    Raises ModelContextTooLong and StaleAttempt.
    """
    return build_for(claimed_turn(turn_id), agent, window)


def build_for(turn: Turn, agent: str, window: Window) -> Prompt:
    """Return the prompt of `build` for a turn that was just read or claimed."""
    session = turn.session
    role = role_of(agent)
    subtask = turn.subtask
    defined = definitions_of(session)
    names = offered_tools(session, role, subtask, defined)
    # As it was when the turn began: the prompt stays the same over all steps of the turn.
    facts = workspaces.data_of(turn.workspace_id)
    prompt = role.instructions(
        tools=names,
        agents=routed_roles(),
        mode=session.mode,
        workspace=None if facts is None else steady_facts(facts, _max_rules(window)),
        # Their reports would gain the rank of instructions here.
        plan=format_progress(plans.value_of(subtask.plan), reports=False) if subtask else "",
        subtask=subtask.description if subtask else "",
    )
    tools = tuple(
        tool
        for name in names
        for tool in ([defined[name].for_model] if name in defined else offer([name], agents=agents_for(name, role)))
    )
    around = surroundings(current_facts(facts)) if subtask and facts else ""
    earlier = summaries.newest(session, subtask)
    entries = read_entries(turn, subtask, around, earlier)
    current = next((i for i, entry in enumerate(entries) if entry.position == turn.position), None)
    fitting = Fitting(prompt, tuple(entry.message for entry in entries), window, tools, earlier, current)
    fitted = fitting.fit(pinned_facts(session) if earlier and not subtask else [])
    if fitted.dropped and not earlier and not subtask and (pinned := pinned_facts(session)):
        fitted = fitting.fit(pinned)
    overflow = overflow_of(entries, fitted.dropped, earlier, subtask)
    basis = Basis(session.mode, tuple(names), subtask and subtask.pk, turn.rules, defined)
    return Prompt(
        messages=fitted.messages, tools=tools, room=window.room, window=window.tokens, basis=basis, overflow=overflow
    )


def _max_rules(window: Window) -> int:
    """Return how many characters the project's rules may take: a quarter of the window, three to a token."""
    return max(0, window.room // 4 * 3)


def claimed_turn(turn_id: uuid.UUID) -> Turn:
    """Return a turn that a worker holds, with its session. Raises StaleAttempt when the session was deleted."""
    if turn := turn_with_session(turn_id):
        return turn
    raise StaleAttempt("the session was deleted")


def conversation(turn: Turn, subtask: SubTask | None, around: str = "") -> tuple[ModelMessage, ...]:
    """Return the whole conversation up to a turn, also what a summary stands for (`read_entries`)."""
    return tuple(entry.message for entry in read_entries(turn, subtask, around, None))


def read_entries(turn: Turn, subtask: SubTask | None, around: str, earlier: Summary | None) -> list[Entry]:
    """Return the conversation up to a turn as the model sees it: that with the user, or that of a sub-task.

    What the summary `earlier` stands for is left out.

    The agent of a sub-task sees its description and its messages; beside the description are the facts `around` it. All
    other agents see a plan as the result of the call that proposed it. Both see what the user wrote and was asked
    meanwhile.

    Messages are in the order of turns, not of arrival: a message that was sent during an earlier turn follows that
    turn's answer, and one that was sent into a turn follows what came before the step that reads it. A call may have no
    result; `llm.wire.history` gives it one.
    """
    part = subtask and subtask.pk
    behind = (*earlier.until_place, earlier.kept) if earlier else (0, 0, 0, [])
    records = [
        (
            row,
            role,
            content,
            _calls(calls, order) if calls else [],
            edited,
            call_id,
            fields,
            json.loads(images) if images else [],
            beside,
        )
        for *row, role, content, calls, order, edited, call_id, fields, images, beside in prepared(
            _CONVERSATION, turn.pk, turn.session_id, turn.position, part, part, turn.pk, *behind
        )
    ]
    entries = [Entry(message) for message in _assignment(subtask, around)] if subtask else []
    has_plans = any(call["name"] == CREATE_PLAN for _, _, _, calls, *_ in records for call in calls)
    reports = _reports(turn.session_id) if has_plans and not subtask else {}
    loaded = iter(load_images([images for *_, images, _ in records if images]))
    edited_ids: set[str] = set()
    for row, role, content, calls, edited, call_id, fields, images, beside in records:
        if role == MessageRole.ASSISTANT and not (content or calls):
            # Providers refuse a message without content, as a turn leaves it that was stopped while the model reasoned.
            continue
        edited_ids.update(json.loads(edited) if edited else ())
        message = message_of(
            fields,
            tuple(ModelToolCall(**call) for call in calls),
            role=cast(ModelRole, role),
            content=(reports.get(call_id) or content) + (EDITED if call_id in edited_ids else ""),
            tool_call_id=call_id,
            surroundings=beside,
        )
        entries.append(Entry(_with_images(message, next(loaded), of=len(images)) if images else message, *row))
    return entries


def _assignment(subtask: SubTask, around: str) -> list[ModelMessage]:
    """Return the messages that begin a sub-task: what the agents before have reported, and what to do."""
    reports = format_reports(plans.value_of(subtask.plan))
    task = ModelMessage(role="user", content=subtask.description, surroundings=around)
    return [ModelMessage(role="user", content=reports), task] if reports else [task]


def _calls(stored: str, order: str | None) -> list[dict[str, Any]]:
    """Return stored tool calls with the keys of their arguments in the model's order."""
    calls: list[dict[str, Any]] = json.loads(stored)
    return arrange(calls, json.loads(order).get("tool_calls")) if order else calls


def _with_images(message: ModelMessage, images: tuple[ModelImage, ...], *, of: int) -> ModelMessage:
    content = message.content
    if left_out := of - len(images):
        content += f"\n\n[{left_out} of {of} images left out: they come again below, or there are newer ones.]"
    return replace(message, content=content, images=images)


def _reports(session_id: uuid.UUID) -> dict[str, str]:
    """Return the reports on approved plans, by the id of the call that proposed each."""
    rows = Plan.objects.filter(session=session_id, approved_at__isnull=False).select_related("call")
    return {plan.call.call_id: plans.report(plan) for plan in rows}


def load_images(messages: Sequence[Sequence[dict[str, Any]]]) -> list[tuple[ModelImage, ...]]:
    """Return the images that a model is shown of each message; messages and their images are named oldest first.

    Each image is shown once, in the newest message that has it. Over the limits, the oldest images are left out.
    """
    if not messages:
        return []
    positions: dict[str, int] = {}
    free_bytes = MAX_IMAGE_BYTES_SHOWN
    for position, image in _newest_first(messages):
        if image["image_id"] in positions:
            continue
        free_bytes -= image["bytes"]
        if free_bytes < 0 or len(positions) == MAX_IMAGES_SHOWN:
            break
        positions[image["image_id"]] = position
    rows = Image.objects.filter(pk__in=positions).values_list("pk", "media_type", "data")
    data = {
        str(pk): ModelImage(f"data:{kind};base64,{b64encode(data).decode()}", id=str(pk)) for pk, kind, data in rows
    }
    return [
        tuple(data[name] for each in images if positions.get(name := each["image_id"]) == position and name in data)
        for position, images in enumerate(messages)
    ]


def _newest_first(messages: Sequence[Sequence[dict[str, Any]]]) -> Iterator[tuple[int, dict[str, Any]]]:
    for position in reversed(range(len(messages))):
        for image in reversed(messages[position]):
            yield position, image

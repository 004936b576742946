"""Reads a conversation as its model sees it: all of it, or what a turn's next step does not know yet.

This module never writes.
"""

import json
import uuid
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, LiteralString, NamedTuple, cast

from agents.plans import format_reports
from agents.tokens import count_message
from agents.tools import CREATE_PLAN
from llm.key_order import arrange
from llm.types import ModelImage, ModelMessage, ModelRole, ModelToolCall
from sessions.models import Image, MessageRole, Plan, SubTask, Summary, Turn
from sessions.statements import prepared
from sessions.turns import plans
from sessions.turns.provider_fields import message_of
from sessions.worker import histories
from sessions.worker.fitting import Entry

#: Messages of a sub-task or outside all of them. Most have neither calls nor images. A thousand rows take 1.7 ms of a
#: core; with the ORM they take 7.6.
_MESSAGES = """
    SELECT message.id, turn.position, coalesce(read_number, message.number), message.number,
        role, content, nullif(tool_calls::text, '[]'), key_order, edited_calls::text, tool_call_id,
        CASE WHEN turn.id = %s THEN provider_fields END, nullif(images::text, '[]'), surroundings
    FROM agent_sessions_message AS message JOIN agent_sessions_turn AS turn ON turn.id = message.turn_id
    WHERE NOT withdrawn AND (subtask_id IS NOT DISTINCT FROM %s OR (%s::uuid IS NULL AND role = 'user'))
    AND NOT (steered AND read_number IS NULL AND turn.id = %s)
"""
_IN_ORDER = "ORDER BY turn.position, coalesce(read_number, message.number), message.number"
#: The messages up to a turn, without those that a summary stands for.
_CONVERSATION = f"""
    {_MESSAGES} AND message.session_id = %s AND turn.position <= %s
    AND (
        (turn.position, coalesce(read_number, message.number), message.number) > (%s, %s, %s)
        OR message.id = ANY(%s::uuid[])
    ) {_IN_ORDER}
"""
#: The messages up to a turn from a known one on. The positions limit what is looked at: messages that are new may have
#: waited, and so have smaller numbers.
_NEWEST = f"""
    {_MESSAGES} AND turn.session_id = %s AND turn.position >= %s AND turn.position <= %s
    AND (turn.position, coalesce(read_number, message.number), message.number) >= (%s, %s, %s) {_IN_ORDER}
"""

#: Follows the result of a call that the user has edited. The conversation has the arguments that ran.
EDITED = "\n\n[The user changed the arguments of this call before it ran. The call above is the changed one.]"
#: Images, and bytes of them, in one request to a model: as many as providers of all kinds accept.
MAX_IMAGES_SHOWN, MAX_IMAGE_BYTES_SHOWN = 20, 12 * 1024 * 1024


def messages(turn: Turn, subtask: SubTask | None, around: str = "") -> tuple[ModelMessage, ...]:
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
    entries = [_entry(message) for message in _assignment(subtask, around)] if subtask else []
    return [*entries, *_entries(turn, subtask, _read_all(turn, subtask, earlier))]


def known_entries(turn: Turn, earlier: Summary | None) -> list[Entry]:
    """Return what `read_entries` returns outside of sub-tasks. What this worker knows of it is not read again.

    Nothing is kept of a conversation with plans or images, because newer messages change what a model is shown of them.
    """
    summary = earlier.pk if earlier else None
    known = histories.take(turn.session_id, summary)
    # The last message that is known proves that the others still stand before it.
    records = _read_newest(turn, known[-1]) if known else []
    if records and records[0].row[0] == known[-1].id and not any(record.varies for record in records):
        entries = [*(_without_fields(entry, turn) for entry in known), *_entries(turn, None, records[1:])]
    else:
        records = _read_all(turn, None, earlier)
        entries = _entries(turn, None, records)
    if not any(record.varies for record in records):
        histories.keep(turn.session_id, summary, entries)
    return entries


def _without_fields(entry: Entry, turn: Turn) -> Entry:
    """Return a message of an earlier turn without what only its provider understood."""
    message = entry.message
    if not message.origin or entry.position == turn.position:
        return entry
    calls = tuple(replace(call, extra={}) for call in message.tool_calls)
    message = replace(message, tool_calls=calls, extra={}, origin="")
    return replace(entry, message=message, tokens=count_message(message))


class _Record(NamedTuple):
    """A stored message."""

    #: The fields of an `Entry`.
    row: tuple[Any, ...]
    role: str
    content: str
    calls: list[dict[str, Any]]
    #: Ids of its calls that the user has edited, as JSON.
    edited: str | None
    call_id: str
    provider_fields: str | None
    images: list[dict[str, Any]]
    surroundings: str

    @property
    def varies(self) -> bool:
        """Whether a later message may change what a model is shown of it, or of the result of its call."""
        return bool(self.images) or any(call["name"] == CREATE_PLAN for call in self.calls)


def _read_all(turn: Turn, subtask: SubTask | None, earlier: Summary | None) -> list[_Record]:
    behind = (*earlier.until_place, earlier.kept) if earlier else (0, 0, 0, [])
    return _read(_CONVERSATION, turn, subtask, turn.session_id, turn.position, *behind)


def _read_newest(turn: Turn, last: Entry) -> list[_Record]:
    place = last.position, last.order, last.number
    return _read(_NEWEST, turn, None, turn.session_id, last.position, turn.position, *place)


def _read(statement: LiteralString, turn: Turn, subtask: SubTask | None, *parameters: Any) -> list[_Record]:
    part = subtask and subtask.pk
    return [
        _Record(
            (message_id, position, order, number),
            role,
            content,
            _calls(calls, key_order) if calls else [],
            edited,
            call_id,
            fields,
            json.loads(images) if images else [],
            surroundings,
        )
        for (
            *(message_id, position, order, number, role, content, calls, key_order, edited, call_id, fields, images),
            surroundings,
        ) in prepared(statement, turn.pk, part, part, turn.pk, *parameters)
    ]


def _entries(turn: Turn, subtask: SubTask | None, records: Sequence[_Record]) -> list[Entry]:
    has_plans = any(call["name"] == CREATE_PLAN for record in records for call in record.calls)
    reports = _reports(turn.session_id) if has_plans and not subtask else {}
    loaded = iter(load_images([record.images for record in records if record.images]))
    edited_ids: set[str] = set()
    entries = []
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
        entries.append(_entry(_with_images(message, next(loaded), of=len(images)) if images else message, *row))
    return entries


def _entry(message: ModelMessage, *row: Any) -> Entry:
    return Entry(message, count_message(message), *row)


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

"""Thoughts and signatures that a provider wants back while its model calls tools, as they are stored with a message.

Some providers refuse the next request of a tool loop without them. They are of no use after the turn, when compaction
deletes them, and for no other provider. Clients never see them.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llm.types import ModelMessage, ModelToolCall
from sessions.results import StepResult

#: Characters of what is stored for one message. More than that is dropped: then the model works without it.
MAX_CHARACTERS = 1024 * 1024
#: What is stored without any.
NOTHING: dict[str, Any] = {"origin": "", "message": {}, "calls": {}}
#: The name under which the `extra` of an answer has the fields of its calls, by their ids: some APIs have no place for
#: them in the calls.
CALLS = "calls"


def pack(result: StepResult, calls: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what is stored of a step, empty if its provider wants nothing back. `calls` are fields by call id."""
    of_calls = {call_id: fields for call_id, fields in calls.items() if fields}
    origin = result.calls[-1].origin if result.calls else ""
    if not origin or not (result.extra or of_calls):
        return ""
    # In ASCII, because texts of PostgreSQL have neither NUL nor halves of surrogate pairs. `jsonb` would sort the keys.
    stored = json.dumps({"origin": origin, "message": dict(result.extra), "calls": of_calls})
    return stored if len(stored) <= MAX_CHARACTERS else ""


def pack_answer(result: StepResult, calls: Mapping[str, Mapping[str, Any]], stop: str) -> str | None:
    """Return what is stored of an answer for the caller of an API, who sends it back; `stop` is the text that ended it.

    None: there is nothing.
    """
    packed = pack(result, calls)
    if not stop:
        return packed or None
    return json.dumps({**(json.loads(packed) if packed else NOTHING), "stop": stop})


def unpack_answer(stored: str | None) -> tuple[str, dict[str, Any], str]:
    """Return the origin of an answer, its fields with those of its calls, and the text that ended it."""
    if not stored:
        return "", {}, ""
    packed = json.loads(stored)
    extra = {**packed["message"], CALLS: packed["calls"]} if packed["calls"] else packed["message"]
    return packed["origin"], extra, packed.get("stop", "")


def message_of(stored: str | None, calls: tuple[ModelToolCall, ...], **fields: Any) -> ModelMessage:
    """Return a message with its calls and what its provider wants back."""
    if not stored:
        return ModelMessage(tool_calls=calls, **fields)
    packed = json.loads(stored)
    extras = packed["calls"]
    calls = tuple(replace(call, extra=extras.get(call.id, {})) for call in calls)
    return ModelMessage(tool_calls=calls, extra=packed["message"], origin=packed["origin"], **fields)

"""The closed schemas of events and snapshots, as published in docs/protocol."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from sessions.models import (
    MODES,
    PIECES,
    ApprovalStatus,
    EventKind,
    MessageRole,
    PlanStatus,
    SubTaskStatus,
    ToolCallStatus,
    Via,
)
from sessions.protocol.server import COMPACTED
from tests.closed_schemas import require_event

NAMES = ("client-frame", "server-frame", "event", "tool-results", "snapshot")
TURN = {"turn_id": "t"}
MESSAGE = {**TURN, "message_id": "m", "role": "user", "content": "Hi"}


def published(name: str) -> dict[str, Any]:
    return dict(json.loads(Path(f"docs/protocol/{name}.json").read_text()))


@pytest.mark.parametrize("name", NAMES)
def test_a_published_schema_is_valid_and_has_a_name(name: str) -> None:
    schema = published(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:codelab:protocol:{name}"
    assert schema["title"]


@pytest.mark.parametrize("name", [*NAMES, "asyncapi"])
def test_every_reference_of_a_document_leads_to_something(name: str) -> None:
    document = published(name)
    references = set(re.findall(r"'(#/[^']+)'", str(document)))
    assert references
    for reference in references:
        place: Any = document
        for step in reference.split("/")[1:]:
            place = place[step]


@pytest.mark.parametrize("name", ["server-frame", "event", "snapshot"])
def test_what_the_server_sends_is_closed_and_never_null_by_accident(name: str) -> None:
    schema = published(name)
    objects = [*schema["$defs"].items(), ("", schema)]
    opened = {
        title for title, each in objects if "properties" in each and each.get("additionalProperties") is not False
    }
    assert not opened
    # What people rely on: `plan` of a snapshot is there, and null without a plan. So are `workspace` and `summary`,
    # and the `summary` of a `turn_replaced` that has one.
    assert str(schema).count("'type': 'null'") <= 4


@pytest.mark.parametrize(
    ("kind", "payload", "is_valid"),
    [
        ("message_added", MESSAGE, True),
        ("message_added", {**MESSAGE, "reasoning": None}, False),
        ("message_added", {**MESSAGE, "made_up": 1}, False),
        ("message_added", TURN, False),
        ("turn_queued", TURN, True),
        ("turn_queued", {"turn_id": 1}, False),
        ("turn_completed", {**TURN, "input_tokens": 1, "output_tokens": 2}, True),
        ("turn_completed", {**TURN, "input_tokens": True, "output_tokens": 2}, False),
        ("made_up", TURN, False),
    ],
)
def test_the_published_schema_and_the_types_accept_the_same(kind: str, payload: dict[str, Any], is_valid: bool) -> None:
    frame = {"type": "event", "number": 3, "kind": kind, "payload": payload}
    assert Draft202012Validator(published("event")).is_valid(frame) is is_valid
    assert Draft202012Validator(published("server-frame")).is_valid(frame) is is_valid
    try:
        require_event(kind, payload)
    except (KeyError, ValidationError):
        assert not is_valid
    else:
        assert is_valid


def test_values_of_fields_are_those_of_the_models() -> None:
    definitions = {**published("event")["$defs"], **published("snapshot")["$defs"]}

    def values(name: str, field: str) -> set[str]:
        return set(definitions[name]["properties"][field]["enum"])

    assert values("MessageAddedPayload", "role") == set(MessageRole.values)
    assert values("ApprovalDecidedPayload", "via") == set(Via.values)
    assert values("ApprovalDecidedPayload", "status") == {*ApprovalStatus.values} - {"pending", "withdrawn"}
    assert values("ToolCallFinishedPayload", "status") == {*ToolCallStatus.values} - {"asked", "waiting"}
    assert values("PlanProposedPayload", "status") == set(PlanStatus.values)
    assert values("PlanSubtask", "status") == set(SubTaskStatus.values)
    assert values("SessionChangedPayload", "mode") == values("SessionState", "mode") == {mode for mode, _ in MODES}
    assert set(COMPACTED) == set(map(str, PIECES))
    assert set(published("event")["discriminator"]["mapping"]) == set(EventKind.values)

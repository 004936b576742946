"""The types of our clients come from the schemas, and are current."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from jsonschema import Draft202012Validator
from pydantic import ConfigDict, TypeAdapter, ValidationError

from codelab_client import types
from sessions.protocol import client_types
from sessions.protocol.asyncapi import json_schemas
from sessions.protocol.events import PAYLOADS

EVENT_SCHEMA = Draft202012Validator(json_schemas()["event"])
PIECE = {
    "type": "event",
    "number": 3,
    "kind": "text_delta",
    "payload": {"turn_id": "t", "message_id": "m", "text": "Hi"},
}


def text_of(frame: types.EventFrame) -> str:
    """Type checkers tell events apart by their kind."""
    if frame["kind"] == "text_delta":
        return frame["payload"]["text"]
    if frame["kind"] == "turn_failed":
        return frame["payload"]["error"]
    return frame["kind"]


def test_the_generated_files_are_current(tmp_path: Path) -> None:
    call_command("export_protocol", "--check")
    with pytest.raises(SystemExit):
        call_command("export_protocol", "--check", "--clients", str(tmp_path))
    call_command("export_protocol", "--clients", str(tmp_path), "--folder", str(tmp_path))
    for name in client_types.FILES:
        assert (tmp_path / name).read_bytes() == (Path("clients") / name).read_bytes()


@pytest.mark.parametrize(
    "frame",
    [
        PIECE,
        {**PIECE, "first": 1},
        {**PIECE, "number": "3"},
        {**PIECE, "payload": {"turn_id": "t"}},
        {
            "type": "event",
            "number": 4,
            "kind": "turn_failed",
            "payload": {"turn_id": "t", "error_code": "x", "error": "No."},
        },
        {"type": "event", "number": 4, "kind": "made_up", "payload": {}},
    ],
)
def test_the_types_in_python_accept_what_the_schema_does(frame: dict[str, Any]) -> None:
    is_valid = EVENT_SCHEMA.is_valid(frame)
    adapter: TypeAdapter[types.EventFrame] = TypeAdapter(types.EventFrame, config=ConfigDict(strict=True))
    try:
        text_of(adapter.validate_python(frame))
    except ValidationError:
        assert not is_valid
    else:
        assert is_valid


def test_the_types_in_typescript_are_complete() -> None:
    text = client_types.typescript()
    declared = set(re.findall(r"^export (?:interface|type) (\w+)", text, re.MULTILINE))
    code = re.sub(r'/\*\*.*?\*/|"[^"]*"', "", text)
    assert set(re.findall(r"\b[A-Z]\w+\b", code)) - {"Array", "Record"} == declared
    assert {payload.__name__ for payload in PAYLOADS.values()} <= declared
    assert "  agent_switched: AgentSwitchedPayload;" in text
    assert "  plan: PlanProposedPayload | null;" in text
    assert "  reasoning?: string;" in text

"""What the server writes and sends, against the closed schemas of the protocol."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from sessions.protocol.events import PAYLOADS
from sessions.protocol.snapshot import Snapshot


@cache
def _adapter(payload: type) -> TypeAdapter[Any]:
    return TypeAdapter(payload)


def require_event(kind: str, payload: object) -> None:
    """Raise ValidationError, or KeyError for a kind without a schema, unless clients can rely on this event."""
    # As it is stored and sent: choices of models are plain texts there.
    _adapter(PAYLOADS[str(kind)]).validate_json(json.dumps(payload), strict=True)


def require_snapshot(snapshot: object) -> None:
    """Raise ValidationError for a snapshot that clients cannot rely on."""
    _adapter(Snapshot).validate_json(json.dumps(snapshot), strict=True)


def require_frame(frame: dict[str, Any]) -> None:
    """Check the event or the snapshot in a frame of the server; other frames have none."""
    if frame.get("type") == "event":
        require_event(frame["kind"], frame["payload"])
    elif frame.get("type") == "welcome" and frame.get("snapshot") is not None:
        require_snapshot(frame["snapshot"])

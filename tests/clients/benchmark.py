"""REST answers as the original's benchmark client reads them."""

from __future__ import annotations

from typing import Any

from tests.clients.casts import boolean, integer, listed, number, parsed, text


def created_session(data: Any) -> str:
    """Its runner reads `id`, its connection test `session_id`."""
    ids = parsed(data, required={"id": text, "session_id": text})
    assert ids["id"] == ids["session_id"]
    return str(ids["id"])


def _request(data: Any) -> dict[str, Any]:
    return parsed(
        data,
        required={
            "success": boolean,
            "prompt_tokens": integer,
            "completion_tokens": integer,
            "model": text,
            "duration_ms": number,
        },
    )


def session_metrics(data: Any) -> dict[str, Any]:
    return parsed(data, required={"requests": listed(_request), "total_tokens": integer, "total_duration_ms": number})

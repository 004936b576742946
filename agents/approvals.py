"""What a person approved is what runs: a call's tool and arguments as one hash.

The hash is taken of what was shown, kept with the answer, and compared before the call is sent. Edited arguments are
another call: they are judged again (`agents.policy.decide`) and have another hash.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

#: Names the way of hashing, so that another one can be told apart later.
SCHEME = "v1"


def digest(tool: str, arguments: dict[str, Any]) -> str:
    """Return the hash of a call; equal for equal JSON, whatever the order of keys. Raises ValueError for NaN."""
    text = json.dumps(
        {"tool": tool, "arguments": _canonical(arguments)},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )
    return f"{SCHEME}:{hashlib.sha256(text.encode()).hexdigest()}"


def is_same(approved: str, tool: str, arguments: dict[str, Any]) -> bool:
    """Say whether a hash that was approved is that of this call."""
    return hmac.compare_digest(approved, digest(tool, arguments))


def _canonical(value: Any) -> Any:
    """Make numbers equal that a database may write in another way: 1e2 comes back as 100."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _canonical(each) for key, each in value.items()}
        case list() | tuple():
            return [_canonical(each) for each in value]
    return value

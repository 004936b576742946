"""Binds an approval to exactly the call that the user saw, by a hash of its tool and arguments.

Of a tool that a client defines, its definition is part of what the user saw.

The hash is stored with the decision and compared before the call is sent. Edited arguments make another call: the
policy judges it again (`agents.policy.decide`), and it has another hash.
"""

import hashlib
import hmac
import json
from typing import Any

#: Names the hash scheme, so that a later one can be distinguished.
SCHEME = "v1"


def digest(tool: str, arguments: dict[str, Any], definition: str = "") -> str:
    """Return the hash of a call, which does not depend on the order of keys. Raises ValueError for NaN.

    `definition` is the hash of a definition that the user saw, of a tool that the client defines.
    """
    text = json.dumps(
        {"tool": tool, "arguments": _canonical(arguments), **({"definition": definition} if definition else {})},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )
    return f"{SCHEME}:{hashlib.sha256(text.encode()).hexdigest()}"


def is_same(approved: str, tool: str, arguments: dict[str, Any], definition: str = "") -> bool:
    """Return whether the approved hash is that of this call."""
    return hmac.compare_digest(approved, digest(tool, arguments, definition))


def _canonical(value: Any) -> Any:
    """Give equal numbers one form: the database may return 1e2 as 100."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _canonical(each) for key, each in value.items()}
        case list() | tuple():
            return [_canonical(each) for each in value]
    return value

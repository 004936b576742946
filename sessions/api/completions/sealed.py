"""Seals what only a model's provider understands of its answer into one text, which clients send back with the answer.

The Responses API has the text in `reasoning.encrypted_content`, the Messages API in `signature` and in the `data` of
`redacted_thinking`. It is encrypted: thoughts that a provider hides stay hidden, clients cannot change them, and do not
learn where the operator's servers are. A text that was sealed elsewhere is left out, and no error.
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from llm.origins import ANTHROPIC
from llm.sizes import find_json_problem
from llm.wire.requests import KNOWN_FIELDS
from llm.wire.thoughts import PART_FIELDS, SEALED_FIELDS, TEXT_FIELDS
from sessions.billing import encryption
from sessions.turns.provider_fields import CALLS

#: Begins every sealed text. Providers' own signatures have other beginnings.
PREFIX = "codelab1-"
#: Of a sealed text, and of what is in it. A longer one is left out: then the model works without its thoughts.
MAX_SEALED_CHARACTERS, MAX_BYTES = 1024 * 1024, 1_500_000
#: How much longer what is in a text may be. One text can stand in a request ten thousand times, so what a request may
#: unfold to is bounded by the size of its body.
MAX_RATIO, FREE_BYTES = 4, 4096
_PLACE = "thoughts of a model"
_MESSAGE_FIELDS = frozenset({*TEXT_FIELDS, *PART_FIELDS, *SEALED_FIELDS})


def seal(origin: str, extra: Mapping[str, Any]) -> str:
    """Return a text for the `extra` of an answer (`End.extra`), empty where there is nothing to seal."""
    if not origin or not extra:
        return ""
    data = json.dumps({"origin": origin, "extra": dict(extra)}, separators=(",", ":")).encode()
    if len(data) > MAX_BYTES:
        return ""
    packed = zlib.compress(data)
    if len(data) > _most_bytes(packed):
        packed = zlib.compress(data, level=0)
    sealed = PREFIX + encryption.encrypt_bytes(packed, _PLACE)
    return sealed if len(sealed) <= MAX_SEALED_CHARACTERS else ""


def _most_bytes(packed: bytes) -> int:
    return min(MAX_RATIO * len(packed) + FREE_BYTES, MAX_BYTES)


def is_sealed(text: str) -> bool:
    """Return whether a text looks as if `seal` had made it, even if it cannot be read any more."""
    return text.startswith(PREFIX)


def unseal(text: str) -> tuple[str, dict[str, Any]] | None:
    """Return the origin and the `extra` of an answer for its row, or None for a text that was not sealed here."""
    if not is_sealed(text) or len(text) > MAX_SEALED_CHARACTERS:
        return None
    with suppress(encryption.Unreadable, zlib.error, ValueError, TypeError, KeyError, RecursionError, AttributeError):
        packed = encryption.decrypt_bytes(text.removeprefix(PREFIX), _PLACE)
        content = json.loads(zlib.decompressobj().decompress(packed, _most_bytes(packed)))
        origin, extra = content["origin"], {k: v for k, v in content["extra"].items() if k in _MESSAGE_FIELDS}
        if calls := content["extra"].get(CALLS):
            extra[CALLS] = {
                str(call_id): {name: value for name, value in fields.items() if name not in KNOWN_FIELDS}
                for call_id, fields in calls.items()
            }
        if isinstance(origin, str) and not find_json_problem(extra):
            return origin, extra
    return None


def signature_of(origin: str, extra: Mapping[str, Any], shown: str) -> str:
    """Return the signature of a thinking block of the Messages API whose text is `shown`.

    Anthropic's own stays as it is where it belongs to this text, so that the conversation can go on elsewhere.
    """
    blocks = extra.get("thinking_blocks")
    if origin == ANTHROPIC and CALLS not in extra:
        match blocks:
            case [{"thinking": thinking, "signature": str(signature)}] if signature and thinking == shown:
                return signature
    return seal(origin, extra)


def thoughts_of(blocks: Iterable[Mapping[str, Any]]) -> tuple[str, dict[str, Any]] | None:
    """Return the origin and the `extra` for the row of an answer from its thinking blocks in the Messages API.

    Blocks with Anthropic's own signatures go back to Anthropic alone. What cannot be read any more is left out.
    """
    own: list[dict[str, Any]] = []
    for block in blocks:
        kind = block.get("type")
        text = block.get("data") if kind == "redacted_thinking" else block.get("signature")
        if not isinstance(text, str) or not text:
            continue
        if is_sealed(text):
            if found := unseal(text):
                return found
        elif kind == "redacted_thinking":
            own.append({"type": kind, "data": text})
        elif kind == "thinking" and isinstance(thinking := block.get("thinking"), str):
            own.append({"type": kind, "thinking": thinking, "signature": text})
    return (ANTHROPIC, {"thinking_blocks": own}) if own else None

"""Reads the thoughts of a model: for people, and in the provider's own form, because some want them back unchanged.

Both come in many shapes: a text, a list of parts, a list of details with signatures; and in two of them at once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm.errors import ModelAnswerTooLong
from llm.sizes import MAX_ANSWER_BYTES

#: Texts, or lists of parts. The first one that is there is shown; servers that send two send the same.
TEXT_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thought")
#: Lists of parts: OpenRouter's, and Anthropic's by the name that LiteLLM gives it.
PART_FIELDS = ("reasoning_details", "thinking_blocks")
#: Whatever these contain, only the provider understands it.
SEALED_FIELDS = ("extra_content", "provider_specific_fields", "reasoning_opaque", "reasoning_signature", "signature")

#: The fields of a part that hold a piece of its text.
PIECE_FIELDS = ("text", "thinking", "summary")
#: The deepest list of parts within parts.
MAX_DEPTH = 4


def plain_text(value: Any, depth: int = 0) -> str:
    """Return the text in a text, a part or a list of parts."""
    if isinstance(value, str):
        return value
    if depth == MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return "".join(plain_text(each, depth + 1) for each in value)
    if isinstance(value, dict):
        names = ("text", "thinking", "reasoning", "summary", "content", "value")
        return next((text for name in names if (text := plain_text(value.get(name), depth + 1))), "")
    return ""


def split_content(content: Any) -> tuple[str, str]:
    """Return the thoughts and the text in content that is not a plain text. Unknown parts are skipped."""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        is_number = isinstance(content, int | float) and not isinstance(content, bool)
        return "", str(content) if is_number else ""
    thoughts: list[str] = []
    texts: list[str] = []
    for part in content:
        kind = str(part.get("type") or "text") if isinstance(part, dict) else "text"
        if "thinking" in kind or "reasoning" in kind or "thought" in kind:
            thoughts.append(plain_text(part))
        elif kind.endswith("text") or kind == "refusal":
            texts.append(plain_text(part) or plain_text(part.get("refusal") if isinstance(part, dict) else ""))
    return "".join(thoughts), "".join(texts)


@dataclass(slots=True)
class _Part:
    """A part of which several pieces may arrive."""

    fields: dict[str, Any]
    piece_field: str
    pieces: list[str] = field(default_factory=list)

    def whole(self) -> dict[str, Any]:
        return {**self.fields, self.piece_field: "".join(self.pieces)} if self.piece_field else self.fields


class Thoughts:
    """The thoughts of one answer."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._parts: dict[str, list[_Part]] = {}
        self._sealed: dict[str, Any] = {}
        self._bytes = 0

    def receive(self, delta: Mapping[str, Any]) -> str:
        """Keep what a delta contains and return the text for people. Raises ModelAnswerTooLong."""
        shown = ""
        for name in TEXT_FIELDS:
            if text := plain_text(delta.get(name)):
                self._texts.setdefault(name, []).append(text)
                shown = text
                break
        for name in PART_FIELDS:
            parts = delta.get(name)
            if isinstance(parts, list):
                for part in parts:
                    if isinstance(part, dict):
                        self._keep(self._parts.setdefault(name, []), part)
                shown = shown or plain_text(parts)
        for name in SEALED_FIELDS:
            if value := delta.get(name):
                self._count(value)
                old = self._sealed.get(name)
                if isinstance(old, dict) and isinstance(value, dict):
                    old.update(value)
                else:
                    self._sealed[name] = dict(value) if isinstance(value, dict) else value
        return shown

    def fields(self) -> dict[str, Any]:
        """Return the fields of the message that its provider wants back."""
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        parts = {name: [part.whole() for part in parts] for name, parts in self._parts.items()}
        return {**texts, **parts, **self._sealed}

    def _keep(self, parts: list[_Part], received: dict[str, Any]) -> None:
        self._count(received)
        named = {name: value for name, value in received.items() if value is not None}
        piece_field = next((name for name in PIECE_FIELDS if isinstance(named.get(name), str)), "")
        piece = str(named.pop(piece_field, ""))
        last = parts[-1] if parts else None
        # A signature ends its part.
        if last and last.piece_field and _is_same_part(last.fields, named) and (piece_field or "signature" in named):
            last.pieces.append(piece)
            last.fields.update(named)
        else:
            parts.append(_Part(named, piece_field, [piece]))

    def _count(self, value: Any) -> None:
        self._bytes += len(json.dumps(value))
        if self._bytes > 4 * MAX_ANSWER_BYTES:
            raise ModelAnswerTooLong("too many signatures and details of thoughts")


def _is_same_part(fields: dict[str, Any], received: dict[str, Any]) -> bool:
    return not fields.get("signature") and all(
        fields.get(name) == received.get(name, fields.get(name)) for name in ("type", "index", "id")
    )

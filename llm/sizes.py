"""How much a model's server may send. Every user may bring one, and a worker keeps its answer in memory.

The limits are far above what the longest answers need. A call that reaches one ends with `ModelAnswerTooLong`.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from llm.errors import ModelAnswerTooLong
from llm.types import Chunk, ReasoningChunk, TextChunk, ToolCallChunk

#: Text, reasoning and tool calls of one answer in UTF-8. The longest answers of any model have 128,000 tokens.
MAX_ANSWER_BYTES = 2_000_000
#: Names, ids and arguments of the tool calls in it.
MAX_CALL_BYTES, MAX_CALLS = 1_000_000, 128
#: What a piece takes in memory beside its text: an answer may come in pieces of one character.
PIECE_BYTES = 4
#: One event of a stream. JSON makes a text longer.
MAX_EVENT_BYTES = 2 * 1024 * 1024
#: Values in a larger event than this: each takes some hundred bytes while it is parsed.
MIN_COUNTED_EVENT_BYTES, MAX_EVENT_VALUES = 64 * 1024, 10_000
#: All bytes of a response. An event has some hundred bytes besides its token.
MAX_RESPONSE_BYTES = 128 * 1024 * 1024
#: Bytes of one number in a body of embeddings, and of all besides the numbers of a text.
MAX_NUMBER_BYTES, MAX_VECTOR_OVERHEAD_BYTES = 32, 1024
MAX_EMBEDDINGS_BYTES = 24 * 1024 * 1024
#: Numbers of a vector whose length the request leaves to the model.
MAX_DIMENSIONS = 8_192

#: Of JSON that models and callers send: levels, values, characters.
MAX_JSON_DEPTH, MAX_JSON_VALUES, MAX_JSON_CHARACTERS = 64, 50_000, 2_000_000
#: PostgreSQL, providers and JavaScript read larger integers differently.
MAX_INTEGER = 2**63 - 1

_TEXT_PATTERN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)


class AnswerSize:
    """Counts one answer while it arrives."""

    def __init__(self) -> None:
        self.bytes = 0
        self._counted = self._call_bytes = 0
        self._calls: set[int] = set()

    def add(self, chunk: Chunk) -> None:
        """Count a chunk. Raises ModelAnswerTooLong."""
        match chunk:
            case TextChunk(text) | ReasoningChunk(text):
                size = len(text.encode(errors="replace"))
            case ToolCallChunk():
                size = sum(len(each.encode(errors="replace")) for each in (chunk.id, chunk.name, chunk.arguments))
                size += len(json.dumps(chunk.extra)) if chunk.extra else 0
                self._call_bytes += size + PIECE_BYTES
                self._calls.add(chunk.index)
            case _:
                return
        self.bytes += size
        self._counted += size + PIECE_BYTES
        if len(self._calls) > MAX_CALLS:
            raise ModelAnswerTooLong(f"more than {MAX_CALLS} tool calls")
        if self._call_bytes > MAX_CALL_BYTES:
            raise ModelAnswerTooLong(f"more than {MAX_CALL_BYTES:,} bytes of tool calls")
        if self._counted > MAX_ANSWER_BYTES:
            raise ModelAnswerTooLong(f"more than {MAX_ANSWER_BYTES:,} bytes")


def require_few_values(event: bytes) -> None:
    """Raise ModelAnswerTooLong for a large event that is made of many small values."""
    if len(event) <= MIN_COUNTED_EVENT_BYTES:
        return
    rest = _TEXT_PATTERN.sub(b"", event)
    if sum(map(rest.count, (b",", b"[", b"{"))) > MAX_EVENT_VALUES:
        raise ModelAnswerTooLong(f"an event with more than {MAX_EVENT_VALUES:,} values")


def max_embeddings_bytes(texts: int, dimensions: int | None) -> int:
    """Return how long the body with the embeddings of some texts may be."""
    vector = (dimensions or MAX_DIMENSIONS) * MAX_NUMBER_BYTES + MAX_VECTOR_OVERHEAD_BYTES
    return min(MAX_VECTOR_OVERHEAD_BYTES + texts * vector, MAX_EMBEDDINGS_BYTES)


def find_json_problem(value: Any) -> str:
    """Return why decoded JSON cannot be taken, as the rest of a sentence about it, or an empty text."""
    pending: list[tuple[Any, int]] = [(value, 0)]
    values, characters = 1, 0
    # Not recursive: the value may be deeper than Python's stack.
    while pending:
        item, depth = pending.pop()
        children: list[Any] = []
        if isinstance(item, str):
            characters += len(item)
        elif isinstance(item, Mapping):
            characters += sum(map(len, item))
            children = list(item.values())
        elif isinstance(item, list | tuple):
            children = list(item)
        elif isinstance(item, float) and not math.isfinite(item):
            return "has a number that is not JSON: NaN, Infinity, or one that is too large"
        elif isinstance(item, int) and abs(item) > MAX_INTEGER:
            return "has an integer of more than 64 bits"
        if children and depth == MAX_JSON_DEPTH:
            return f"is nested more than {MAX_JSON_DEPTH} levels deep"
        values += len(children)
        if values > MAX_JSON_VALUES or characters > MAX_JSON_CHARACTERS:
            return f"has more than {MAX_JSON_VALUES:,} values or {MAX_JSON_CHARACTERS:,} characters"
        pending += [(child, depth + 1) for child in children]
    return ""


def reject_constant(constant: str) -> Any:
    """Raise ValueError: for `json.loads`, which takes NaN and Infinity."""
    raise ValueError(f"{constant} is not JSON")

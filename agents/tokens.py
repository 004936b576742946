"""Estimates the tokens of a text without any model's tokenizer, well enough to fit a conversation into a window.

The estimate leans upwards. Measured on code, prose, JSON, logs, tables, base64 and eight scripts against three
tokenizers (OpenAI's cl100k and o200k, Anthropic's published one; tests/agents/test_tokens.py): 0.8 to 1.5 times the
largest of the three, for code and English 0.95 to 1.15 times. Every `TokenCounter` parameter accepts a model's own
counter instead.
"""

import json
import re
from collections.abc import Callable, Iterable
from math import ceil

from llm.types import ModelMessage, Tool

#: Counts the tokens of a text.
type TokenCounter = Callable[[str], int]

#: Providers add about this many around a message, a call and a tool, and count this many for an image.
TOKENS_PER_MESSAGE = 4
TOKENS_PER_CALL = 8
TOKENS_PER_TOOL = 10
TOKENS_PER_IMAGE = 1000

#: Only samples of texts longer than all samples together are read.
SAMPLE_COUNT, SAMPLE_CHARACTERS = 16, 1024

#: Estimates by the hash of the text, some 20 MB in all. A collision only makes one less exact.
MAX_CACHED_ESTIMATES = 200_000
_cache: dict[int, int] = {}

#: Tokenizers cut a text into parts of names, numbers, signs, spaces, and words of other scripts.
PIECE_PATTERN = re.compile(
    r"(?P<blob>[A-Za-z0-9+/=]{40,}+)"
    r"|(?P<latin>[A-Z]?[a-z]+|[A-Z]+(?![a-z]))|(?P<digits>[0-9]+)|(?P<signs>[!-/:-@\[-`{-~]+)|(?P<space>\s+)"
    r"|(?P<accented>[A-Za-z\u00c0-\u024f]+)|(?P<cyrillic>[\u0370-\u052f]+)|(?P<other>[\u0530-\uffff]+)|(?P<rest>[^\u0000-\uffff]+|.)",
    re.DOTALL,
)


def estimate(text: str) -> int:
    """Estimate the tokens of a text (0.5 µs a character; of a long text, by samples).

    Cached, because each step of a turn counts the whole conversation again.
    """
    key = hash(text)
    tokens = _cache.get(key)
    if tokens is None:
        if len(_cache) >= MAX_CACHED_ESTIMATES:
            _cache.clear()
        tokens = _cache[key] = _estimate(text)
    return tokens


def _estimate(text: str) -> int:
    if len(text) <= SAMPLE_COUNT * SAMPLE_CHARACTERS:
        return ceil(_sum_pieces(text))
    last = len(text) - SAMPLE_CHARACTERS
    samples = [text[start : start + SAMPLE_CHARACTERS] for start in range(0, last, last // (SAMPLE_COUNT - 1))]
    return ceil(sum(map(_sum_pieces, samples)) / (len(samples) * SAMPLE_CHARACTERS) * len(text))


def _sum_pieces(text: str) -> float:
    return sum(_piece_tokens(match.lastgroup, match.end() - match.start()) for match in PIECE_PATTERN.finditer(text))


def _piece_tokens(kind: str | None, length: int) -> float:
    match kind:
        case "blob":
            return length / 1.4
        case "latin":
            return 0.4 + length / 6.5 if length > 3 else 1.0
        case "digits":
            return ceil(length / 3) + 0.2
        case "signs":
            return 0.4 + length * 0.45
        case "space":
            return 0.05 if length == 1 else 1.0 + length / 60
        case "accented":
            return 1.0 + length / 2.5
        case "cyrillic":
            return 0.6 + length / 2.6
        case "other":
            return 0.5 + length
    return length * 2.5


def count_message(message: ModelMessage, count: TokenCounter = estimate) -> int:
    """Count the tokens that a message takes in a request."""
    tokens = TOKENS_PER_MESSAGE + count(message.content) + TOKENS_PER_IMAGE * len(message.images)
    for call in message.tool_calls:
        tokens += TOKENS_PER_CALL + count(call.name) + count(json.dumps(call.arguments, ensure_ascii=False))
        if call.extra:
            tokens += count(json.dumps(call.extra))
    if message.surroundings:
        tokens += count(message.surroundings)
    if message.extra:
        tokens += count(json.dumps(message.extra))
    return tokens


def count_tools(tools: Iterable[Tool], count: TokenCounter = estimate) -> int:
    """Count the tokens that tool descriptions take in a request."""
    return sum(
        TOKENS_PER_TOOL + count(f"{tool.name} {tool.description} {json.dumps(tool.parameters)}") for tool in tools
    )

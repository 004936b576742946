"""How many tokens a text has, well enough to fit a conversation into a window, without any model's tokenizer.

The estimate leans upwards. Measured on code, prose, JSON, logs, tables, base64 and eight scripts against three
tokenizers (OpenAI's cl100k and o200k, Anthropic's published one; tests/agents/test_tokens.py): 0.8 to 1.5 times the
largest of the three, for code and English 0.95 to 1.15 times. A count of the model's own may be given wherever a
`TokenCounter` is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from math import ceil

from llm.types import ModelMessage, Tool

#: Counts the tokens of a text.
type TokenCounter = Callable[[str], int]

#: Tokens that providers put around a message, a call and a tool; and what an image takes, about.
PER_MESSAGE = 4
PER_CALL = 8
PER_TOOL = 10
PER_IMAGE = 1000

#: Texts longer than so many samples of so many characters are not read whole.
SAMPLES, SAMPLE = 16, 1024

#: Texts whose estimate is remembered, by their hash (some 20 MB in all); two with one hash only make it less exact.
REMEMBERED = 200_000
_KNOWN: dict[int, int] = {}

#: What tokenizers cut a text into: parts of names, numbers, signs, spaces, and words of other scripts.
PIECES = re.compile(
    r"(?P<blob>[A-Za-z0-9+/=]{40,}+)"
    r"|(?P<latin>[A-Z]?[a-z]+|[A-Z]+(?![a-z]))|(?P<digits>[0-9]+)|(?P<signs>[!-/:-@\[-`{-~]+)|(?P<space>\s+)"
    r"|(?P<accented>[A-Za-z\u00c0-\u024f]+)|(?P<cyrillic>[\u0370-\u052f]+)|(?P<other>[\u0530-\uffff]+)|(?P<rest>[^\u0000-\uffff]+|.)",
    re.DOTALL,
)


def estimate(text: str) -> int:
    """Estimate the tokens of a text (0.5 µs a character; of a long one by samples).

    Remembered, because each step of a turn counts the whole conversation again.
    """
    key = hash(text)
    known = _KNOWN.get(key)
    if known is None:
        if len(_KNOWN) >= REMEMBERED:
            _KNOWN.clear()
        known = _KNOWN[key] = _estimate(text)
    return known


def _estimate(text: str) -> int:
    if len(text) <= SAMPLES * SAMPLE:
        return ceil(_sum(text))
    starts = range(0, len(text) - SAMPLE, (len(text) - SAMPLE) // (SAMPLES - 1))
    sampled = [text[start : start + SAMPLE] for start in starts]
    return ceil(sum(map(_sum, sampled)) / (len(sampled) * SAMPLE) * len(text))


def _sum(text: str) -> float:
    return sum(_cost(match.lastgroup, match.end() - match.start()) for match in PIECES.finditer(text))


def _cost(kind: str | None, length: int) -> float:
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
    tokens = PER_MESSAGE + count(message.content) + PER_IMAGE * len(message.images)
    for call in message.tool_calls:
        tokens += PER_CALL + count(call.name) + count(json.dumps(call.arguments, ensure_ascii=False))
    return tokens


def count_tools(tools: Iterable[Tool], count: TokenCounter = estimate) -> int:
    """Count the tokens that descriptions of tools take in a request."""
    return sum(PER_TOOL + count(f"{tool.name} {tool.description} {json.dumps(tool.parameters)}") for tool in tools)

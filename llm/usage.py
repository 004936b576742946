"""Reads what providers report of the tokens of a call: in OpenAI's form, with the additions of some of them."""

import math
from collections.abc import Mapping
from typing import Any

from llm.types import TokenUsage

#: More than the largest window of any model.
MAX_REPORTED_TOKENS = 20_000_000

#: OpenAI's two names, and Ollama's own.
INPUT_NAMES = ("prompt_tokens", "input_tokens", "prompt_eval_count")
OUTPUT_NAMES = ("completion_tokens", "output_tokens", "eval_count")
INPUT_DETAILS, OUTPUT_DETAILS = (
    ("prompt_tokens_details", "input_tokens_details"),
    ("completion_tokens_details", "output_tokens_details"),
)


def parse_usage(report: Any) -> TokenUsage | None:
    """Parse a usage report, also LiteLLM's object for it. Returns None for one that is empty or cannot be true."""
    if hasattr(report, "model_dump"):
        report = report.model_dump()
    if not isinstance(report, Mapping):
        return None
    read, written, total = (_first(report, *names) for names in (INPUT_NAMES, OUTPUT_NAMES, ("total_tokens",)))
    inputs, outputs = _details(report, INPUT_DETAILS), _details(report, OUTPUT_DETAILS)
    # OpenRouter and LiteLLM have names of their own for cache writes, DeepSeek for cached tokens.
    cached = _first(inputs, "cached_tokens") or _first(report, "prompt_cache_hit_tokens")
    cache_write = _first(inputs, "cache_write_tokens", "cache_creation_tokens")
    cache_write = cache_write or _first(report, "cache_creation_input_tokens")
    reasoning = _first(outputs, "reasoning_tokens")
    missing = max(total - read - written, 0)
    if missing and missing == cached + cache_write:
        # Some providers leave the cached part out of the input.
        read += missing
    else:
        # Others count reasoning only in the total.
        written += min(missing, reasoning) if _has_count(outputs, "reasoning_tokens") else missing
    if not read and not written:
        return None
    if not all(0 <= count <= MAX_REPORTED_TOKENS for count in (read, written, cached, cache_write, reasoning)):
        # An estimate is better. The ledger could not hold these.
        return None
    return TokenUsage(
        input_tokens=read,
        output_tokens=written,
        cached_tokens=cached,
        cache_write_tokens=cache_write,
        reasoning_tokens=reasoning,
    )


def _details(report: Mapping[str, Any], names: tuple[str, str]) -> Mapping[str, Any]:
    return next((value for name in names if isinstance(value := report.get(name), Mapping)), {})


def _has_count(fields: Mapping[str, Any], name: str) -> bool:
    return _count(fields.get(name)) is not None


def _first(fields: Mapping[str, Any], *names: str) -> int:
    """Return the first of some counts that is there, or 0."""
    return next((count for name in names if (count := _count(fields.get(name)))), 0)


def _count(value: Any) -> int | None:
    """Return a count. Some servers send it as a text, or as a number with a fraction."""
    if isinstance(value, str):
        try:
            value = float(value[:40])
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value)

"""Reads what providers report of the tokens of a call: in OpenAI's form, with the additions of some of them."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from llm.types import TokenUsage

#: More than the largest window of any model.
MAX_REPORTED_TOKENS = 20_000_000


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _InputDetails(_Report):
    cached_tokens: int | None = None
    #: OpenRouter's name, and LiteLLM's.
    cache_write_tokens: int | None = None
    cache_creation_tokens: int | None = None


class _OutputDetails(_Report):
    reasoning_tokens: int | None = None


class Usage(_Report):
    """A usage report."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    #: DeepSeek's name for the cached part of the input.
    prompt_cache_hit_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


def parse_usage(usage: Any) -> TokenUsage | None:
    """Parse a usage report in OpenAI's form, also LiteLLM's object for it; None for an empty one."""
    read, written = usage.prompt_tokens or 0, usage.completion_tokens or 0
    inputs, outputs = (getattr(usage, name, None) for name in ("prompt_tokens_details", "completion_tokens_details"))
    cached = _first(inputs, "cached_tokens") or _first(usage, "prompt_cache_hit_tokens")
    cache_write = _first(inputs, "cache_write_tokens", "cache_creation_tokens")
    cache_write = cache_write or _first(usage, "cache_creation_input_tokens")
    reasoning = getattr(outputs, "reasoning_tokens", None)
    missing = max((getattr(usage, "total_tokens", 0) or 0) - read - written, 0)
    if missing and missing == cached + cache_write:
        # Some providers leave the cached part out of the input.
        read += missing
    else:
        # Others count reasoning only in the total.
        written += missing if reasoning is None else min(missing, reasoning)
    if not read and not written:
        return None
    if not all(0 <= count <= MAX_REPORTED_TOKENS for count in (read, written, cached, cache_write, reasoning or 0)):
        # An estimate is better. The ledger could not hold these.
        return None
    return TokenUsage(
        input_tokens=read,
        output_tokens=written,
        cached_tokens=cached,
        cache_write_tokens=cache_write,
        reasoning_tokens=reasoning or 0,
    )


def _first(fields: Any, *names: str) -> int:
    """Return the first of some counts that is there, or 0."""
    return next((count for name in names if (count := getattr(fields, name, None))), 0)

"""Marks the ends of prefixes that Anthropic's models shall keep in their cache: they keep nothing else.

What is written to the cache costs a quarter more than other input, and what is read from it a tenth (`llm.catalog`).
"""

from fnmatch import fnmatchcase
from typing import Any

from llm import catalog

#: LiteLLM's names for Anthropic's models, which keep in their cache only what is marked.
MARKED_MODELS = ("anthropic/*", "bedrock/*claude*", "vertex_ai/claude*", "azure_ai/claude*", "databricks/*claude*")
CACHE_MARK = {"type": "ephemeral"}


def mark_prefix(wire: list[dict[str, Any]], *, within_results: bool = False) -> None:
    """Mark the ends of the prefixes that later requests share: the instructions, the last request, and this one.

    Anthropic takes four marks. It looks for an earlier end only at marks and twenty parts before each. A result is
    marked as a whole, or `within_results` at its text, as OpenRouter wants it.
    """
    ends = [place for place, message in enumerate(wire) if message["role"] in ("user", "tool")]
    # The last request ended before the newest answer.
    answer = max((place for place, message in enumerate(wire) if message["role"] == "assistant"), default=0)
    places = {0, *ends[-1:], *[place for place in ends if place < answer][-1:]}
    for place in places:
        message = wire[place]
        if message["role"] == "tool" and not within_results:
            message["cache_control"] = CACHE_MARK
            continue
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
        if message["content"]:
            message["content"][-1]["cache_control"] = CACHE_MARK


def takes_cache_marks(model: str) -> bool:
    """Return whether a model keeps in its cache only what is marked in the request."""
    if provider := catalog.provider_of(model):
        return any(fnmatchcase(model.partition("/")[2], pattern) for pattern in provider.cache_marks)
    return any(fnmatchcase(model, pattern) for pattern in MARKED_MODELS)

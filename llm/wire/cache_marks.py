"""Marks the ends of prefixes that Anthropic's models shall keep in their cache: they keep nothing else.

What is written to the cache costs a quarter more than other input, and what is read from it a tenth (`llm.catalog`).
"""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from llm import catalog
from llm.types import ModelMessage, Tool

#: LiteLLM's names for Anthropic's models, which keep in their cache only what is marked.
MARKED_MODELS = ("anthropic/*", "bedrock/*claude*", "vertex_ai/claude*", "azure_ai/claude*", "databricks/*claude*")
CACHE_MARK = {"type": "ephemeral"}
#: The most that Anthropic takes in one request.
MAX_MARKS = 4


def mark_wanted(
    wire: list[dict[str, Any]], messages: Sequence[ModelMessage], *, marks: int, within_results: bool
) -> None:
    """Mark the last messages at whose ends a caller wants it, at most so many."""
    places = [place for place, message in enumerate(messages) if message.cached]
    for place in places[-marks:] if marks > 0 else ():
        _mark(wire[place], within_results=within_results)


def mark_tools(tools: list[dict[str, Any]], wanted: Sequence[Tool]) -> None:
    """Mark the last tool at whose end a caller wants it."""
    places = [place for place, tool in enumerate(wanted) if tool.cached]
    for place in places[-1:]:
        tools[place]["cache_control"] = CACHE_MARK


def mark_prefix(wire: list[dict[str, Any]], *, within_results: bool = False) -> None:
    """Mark the ends of the prefixes that later requests share: the instructions, the last request, and this one.

    Anthropic takes four marks. It looks for an earlier end only at marks and twenty parts before each. A result is
    marked as a whole, or `within_results` at its text, as OpenRouter wants it.
    """
    for place in {0, *_ends_of_requests([message["role"] for message in wire])}:
        _mark(wire[place], within_results=within_results)


def want_marks(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """Return the messages of a caller whose API has no marks, with the same ones as those of a session."""
    roles = [message.role for message in messages]
    instructions = next((place for place, role in enumerate(roles) if role != "system"), len(roles)) - 1
    places = {instructions, *_ends_of_requests(roles)}
    return [replace(message, cached=place in places) for place, message in enumerate(messages)]


def _ends_of_requests(roles: Sequence[str]) -> list[int]:
    """Return the places of the last messages of this request and of the one before."""
    ends = [place for place, role in enumerate(roles) if role in ("user", "tool")]
    # The last request ended before the newest answer.
    answer = max((place for place, role in enumerate(roles) if role == "assistant"), default=0)
    return ends[-1:] + [place for place in ends if place < answer][-1:]


def _mark(message: dict[str, Any], *, within_results: bool) -> None:
    if message["role"] == "tool" and not within_results:
        message["cache_control"] = CACHE_MARK
        return
    content = message["content"]
    if isinstance(content, str):
        # Anthropic refuses a mark on a blank text.
        content = [{"type": "text", "text": content}] if content.strip() else []
    if content:
        message["content"] = content
        content[-1]["cache_control"] = CACHE_MARK


def speaks_anthropic(model: str) -> bool:
    """Return whether a model is Anthropic's, and LiteLLM calls it in Anthropic's own words."""
    return catalog.provider_of(model) is None and any(fnmatchcase(model, pattern) for pattern in MARKED_MODELS)


def takes_cache_marks(model: str) -> bool:
    """Return whether a model keeps in its cache only what is marked in the request."""
    if provider := catalog.provider_of(model):
        return any(fnmatchcase(model.partition("/")[2], pattern) for pattern in provider.cache_marks)
    return speaks_anthropic(model)

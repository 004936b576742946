"""Counts the tokens of a request's input before a model is asked.

An estimate, as all counts before a call (`agents.tokens`): usually within a tenth of what the provider counts.
"""

import asyncio
import json

from agents.tokens import count_message, count_tools, estimate
from llm.types import ModelMessage
from sessions.turns.completion_messages import agents_prompt, request_of
from sessions.turns.completions import CompletionRequest

#: Texts and characters that are counted where the request arrives: in a thread they would take longer.
MAX_TEXTS, MAX_CHARACTERS = 100, 20_000
#: What rows have beside their texts that may be long.
BESIDE_TEXT = frozenset({"tool_calls", "extra"})


async def count_input(wanted: CompletionRequest) -> int:
    """Return how many tokens a model reads for a request, an agent's own instructions included."""
    return _count(wanted) if _is_short(wanted) else await asyncio.to_thread(_count, wanted)


def _is_short(wanted: CompletionRequest) -> bool:
    """Return whether a request has only texts, and few: how long calls, thoughts and schemas are is not known yet."""
    has_more = wanted.tools or "response_format" in wanted.options
    if has_more or len(wanted.messages) > MAX_TEXTS or any(not BESIDE_TEXT.isdisjoint(row) for row in wanted.messages):
        return False
    return sum(len(row["content"]) for row in wanted.messages) <= MAX_CHARACTERS


def _count(wanted: CompletionRequest) -> int:
    request = request_of(wanted)
    messages = list(request.messages)
    if wanted.agent:
        prompt, messages = agents_prompt(wanted.agent, messages, request.tools, is_translated=request.is_translated)
        messages.insert(0, ModelMessage(role="system", content=prompt))
    tokens = sum(map(count_message, messages)) + count_tools(request.tools)
    if schema := request.options.get("response_format"):
        tokens += estimate(json.dumps(schema))
    return tokens

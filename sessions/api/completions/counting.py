"""Counts the tokens of a request's input before a model is asked.

An estimate, as all counts before a call (`agents.tokens`): usually within a tenth of what the provider counts.
"""

import asyncio
import json

from agents.tokens import count_message, count_tools, estimate
from llm.types import ModelMessage
from sessions.turns.completion_messages import agents_prompt, request_of
from sessions.turns.completions import CompletionRequest

#: Characters that are counted where the request arrives: in a thread they would take longer.
MAX_CHARACTERS = 20_000


async def count_input(wanted: CompletionRequest) -> int:
    """Return how many tokens a model reads for a request, an agent's own instructions included."""
    characters = sum(len(row["content"]) for row in wanted.messages) + 1_000 * len(wanted.tools)
    return _count(wanted) if characters <= MAX_CHARACTERS else await asyncio.to_thread(_count, wanted)


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

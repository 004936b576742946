"""What model calls cost: bounds and estimates before a call, its price after it. Pure."""

import json
from collections.abc import Iterable
from decimal import Decimal

from llm import catalog
from llm.types import Endpoint, ModelMessage, ModelRequest, TokenUsage

#: The estimate for an image, and its bound: most providers count some hundreds to some thousands.
IMAGE_TOKENS, MAX_IMAGE_TOKENS = 1000, 5000
#: The most that a provider adds to a message or a tool, and to a request with tools.
MAX_OVERHEAD_TOKENS, MAX_TOOLS_OVERHEAD_TOKENS = 20, 1000


def models_of(request: ModelRequest) -> Iterable[str]:
    """Return the models that a request may call, in their order."""
    fallbacks = request.fallbacks
    if fallbacks is None:
        # Callers with their own key have not agreed to other models, and this server must not pay for those.
        fallbacks = () if request.endpoint else catalog.find(request.model).fallbacks
    return dict.fromkeys((request.model, *fallbacks))


def estimate(request: ModelRequest) -> TokenUsage:
    """Estimate what a model reads for a request: four bytes are a token, and an image is IMAGE_TOKENS."""
    size = 0
    for message in request.messages:
        size += _text_bytes(message) + 4 * IMAGE_TOKENS * len(message.images)
        for call in message.tool_calls:
            size += len(call.name) + len(json.dumps(call.arguments))
        if message.extra or message.tool_calls:
            size += _extra_bytes(message)
    size += sum(len(json.dumps(tool.parameters)) + len(tool.description) for tool in request.tools)
    return TokenUsage(input_tokens=-(-size // 4), estimated=True)


def max_input_tokens(request: ModelRequest) -> int:
    """Return how many tokens a model reads at most: no tokenizer makes more tokens of a text than it has bytes."""
    tokens = MAX_TOOLS_OVERHEAD_TOKENS if request.tools else 0
    # The options may include a schema of the answer.
    tokens += _bytes(request.options) if request.options else 0
    for message in request.messages:
        tokens += MAX_OVERHEAD_TOKENS + _text_bytes(message) + MAX_IMAGE_TOKENS * len(message.images)
        tokens += sum(MAX_OVERHEAD_TOKENS + _bytes(call.name) + _bytes(call.arguments) for call in message.tool_calls)
        tokens += _extra_bytes(message)
    for tool in request.tools:
        tokens += MAX_OVERHEAD_TOKENS + _bytes(tool.name) + _bytes(tool.description) + _bytes(tool.parameters)
    return tokens


def _bytes(value: object) -> int:
    """Return the bytes of a text, or of a value as JSON."""
    return len((value if isinstance(value, str) else json.dumps(value, default=dict)).encode(errors="replace"))


def _text_bytes(message: ModelMessage) -> int:
    text = message.content
    # Without a copy of the text: each step measures its whole conversation.
    size = len(text) if text.isascii() else _bytes(text)
    return size + _bytes(message.surroundings) if message.surroundings else size


def _extra_bytes(message: ModelMessage) -> int:
    """Return the bytes of thoughts and signatures that go back with a message."""
    extras = (message.extra, *(call.extra for call in message.tool_calls))
    return sum(_bytes(extra) for extra in extras if extra)


def is_own(endpoint: Endpoint | None) -> bool:
    """Return whether the caller pays for calls at an endpoint, and not this server."""
    return endpoint is not None and endpoint.is_callers_expense


def max_cost(request: ModelRequest) -> Decimal | None:
    """Return what a call of the request's model may cost at most, in US dollars, or None for an unknown price.

    Assumes the longest answer that the request allows, or else the model.
    """
    output_tokens = request.max_output_tokens or catalog.find(request.model).max_output
    tokens = max_input_tokens(request)
    usages = [
        TokenUsage(input_tokens=tokens, output_tokens=output_tokens, cache_write_tokens=written)
        for written in (0, tokens)
    ]
    costs = [cost(request.model, usage, own=is_own(request.endpoint)) for usage in usages]
    return max((cost for cost in costs if cost is not None), default=None)


def input_cost(request: ModelRequest) -> Decimal | None:
    """Return what a request costs once its model has read it, in US dollars, or None for an unknown price."""
    return cost(request.model, estimate(request), own=is_own(request.endpoint))


def cost(model: str, usage: TokenUsage, *, own: bool) -> Decimal | None:
    """Return what this server owes for a call, in US dollars, or None for an unknown price.

    A call at a caller's `own` endpoint costs it nothing.
    """
    return Decimal() if own or catalog.is_scripted(model) else catalog.find(model).cost(usage)

"""What calls of models cost: before, as far as it can be known, and after. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal

from llm import catalog
from llm.types import ModelRequest, Usage

#: What an image is taken for where nobody counts, and what it may take at most: providers take some hundreds to some
#: thousands, few of them more.
IMAGE_TOKENS, MOST_IMAGE_TOKENS = 1000, 5000
#: Tokens that a provider puts around a message or a tool at most, and before all of them where there are tools.
AROUND, ABOUT_TOOLS = 20, 1000


def models_of(request: ModelRequest) -> Iterable[str]:
    """Return the models that a request may call, in their order."""
    fallbacks = request.fallbacks
    if fallbacks is None:
        # Who brings a key of their own has not agreed to other models, nor has this server to pay for them.
        fallbacks = () if request.endpoint else catalog.find(request.model).fallbacks
    return dict.fromkeys((request.model, *fallbacks))


def estimate(request: ModelRequest) -> Usage:
    """Estimate what a model reads for a request, roughly: four bytes are a token, and an image is IMAGE_TOKENS."""
    read = 0
    for message in request.messages:
        read += len(message.content.encode(errors="replace")) + 4 * IMAGE_TOKENS * len(message.images)
        read += sum(len(call.name) + len(json.dumps(call.arguments)) for call in message.tool_calls)
    read += sum(len(json.dumps(tool.parameters)) + len(tool.description) for tool in request.tools)
    return Usage(input_tokens=-(-read // 4), estimated=True)


def most_read(request: ModelRequest) -> int:
    """Return how many tokens a model reads of a request at most: no tokenizer makes more of a text than its bytes."""
    most = ABOUT_TOOLS if request.tools else 0
    # A schema of the answer is among them.
    most += _bytes(request.options) if request.options else 0
    for message in request.messages:
        most += AROUND + _bytes(message.content) + MOST_IMAGE_TOKENS * len(message.images)
        most += sum(AROUND + _bytes(call.name) + _bytes(call.arguments) for call in message.tool_calls)
    for tool in request.tools:
        most += AROUND + _bytes(tool.name) + _bytes(tool.description) + _bytes(tool.parameters)
    return most


def _bytes(value: object) -> int:
    """Return the bytes of a text, or of a value as JSON."""
    return len((value if isinstance(value, str) else json.dumps(value, default=dict)).encode(errors="replace"))


def highest_cost(request: ModelRequest) -> Decimal | None:
    """Return what a call of the request's model may cost at most, to be reserved before; None: no price is known.

    In US dollars, for the longest answer that the request allows, or else the model.
    """
    said = request.max_output_tokens or catalog.find(request.model).max_output
    usage = Usage(input_tokens=most_read(request), output_tokens=said)
    return cost(request.model, usage, own=request.endpoint is not None)


def input_cost(request: ModelRequest) -> Decimal | None:
    """Return what a request costs as soon as its model has read it, in US dollars; None where the price is unknown."""
    return cost(request.model, estimate(request), own=request.endpoint is not None)


def cost(model: str, usage: Usage, *, own: bool) -> Decimal | None:
    """Return what this server owes for a call, in US dollars: nothing where its caller's `own` account pays.

    None where the price is unknown.
    """
    return Decimal() if own or catalog.is_scripted(model) else catalog.find(model).cost(usage)

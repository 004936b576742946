"""How much a request may ask for. Everything that a caller can size has a limit here, or in the types of the request.

What a request holds is copied, measured and encoded on the event loops of the web process and of a worker, so its
depth and its size are judged before anything else reads it.
"""

import math
from typing import Any

from sessions.api.openai.errors import invalid

MAX_MESSAGES, MAX_PARTS, MAX_TOOLS, MAX_CALLS = 10_000, 10_000, 512, 128
#: Levels of lists and objects. Python's own limit and PostgreSQL's are far higher, and end in errors of the server.
MAX_DEPTH = 64
#: Values in the tools of a request, in its options, or in the arguments of one call; and their characters.
MAX_VALUES, MAX_CHARACTERS = 50_000, 2_000_000
#: PostgreSQL, providers and JavaScript read larger integers differently.
MAX_INTEGER = 2**63 - 1
MAX_OUTPUT_TOKENS = 10_000_000
MAX_STOPS, MAX_STOP_CHARACTERS = 16, 1_000
#: Of one request for embeddings.
MAX_INPUTS, MAX_INPUT_TOKENS, MAX_DIMENSIONS = 256, 300_000, 8_192


def require_bounded(value: Any, param: str) -> None:
    """Raise OpenAIError for JSON that is too deep or too large, or that has a number that is not JSON."""
    pending: list[tuple[Any, int]] = [(value, 0)]
    values, characters = 1, 0
    # Not recursive: the value may be deeper than Python's stack.
    while pending:
        item, depth = pending.pop()
        children: list[Any] = []
        if isinstance(item, str):
            characters += len(item)
        elif isinstance(item, dict):
            characters += sum(map(len, item))
            children = list(item.values())
        elif isinstance(item, list):
            children = item
        elif isinstance(item, float) and not math.isfinite(item):
            raise invalid(param, f"`{param}` has a number that is not JSON: NaN, Infinity, or one that is too large.")
        elif isinstance(item, int) and abs(item) > MAX_INTEGER:
            raise invalid(param, f"`{param}` has an integer of more than 64 bits.")
        if children and depth == MAX_DEPTH:
            raise invalid(param, f"`{param}` is nested more than {MAX_DEPTH} levels deep.")
        values += len(children)
        if values > MAX_VALUES or characters > MAX_CHARACTERS:
            text = f"`{param}` is too large: at most {MAX_VALUES:,} values and {MAX_CHARACTERS:,} characters."
            raise invalid(param, text)
        pending += [(child, depth + 1) for child in children]


def require_stops(stop: Any) -> None:
    """Raise OpenAIError for stop texts that no provider takes."""
    stops = stop if isinstance(stop, list) else [stop]
    is_valid = len(stops) <= MAX_STOPS and all(
        isinstance(each, str) and len(each) <= MAX_STOP_CHARACTERS for each in stops
    )
    if not is_valid:
        raise invalid("stop", f"`stop` is a text, or up to {MAX_STOPS} texts, of {MAX_STOP_CHARACTERS:,} characters.")


def check_inputs(inputs: Any) -> Any:
    """Return the inputs of embeddings as they are. Raises ValueError for too many.

    The type has several forms, and each of them would collect an error for every item.
    """
    if not isinstance(inputs, list):
        return inputs
    lists = [each for each in inputs if isinstance(each, list)]
    tokens = sum(map(len, lists)) if lists else len(inputs) * isinstance(next(iter(inputs), None), int)
    if tokens > MAX_INPUT_TOKENS:
        raise ValueError(f"at most {MAX_INPUT_TOKENS:,} tokens at once")
    if not tokens and len(inputs) > MAX_INPUTS:
        raise ValueError(f"at most {MAX_INPUTS} texts at once")
    return inputs


def check_parts(messages: Any) -> Any:
    """Return messages as they are. Raises ValueError for too many parts in all of them."""
    if isinstance(messages, list):
        contents = (each.get("content") for each in messages if isinstance(each, dict))
        if sum(len(content) for content in contents if isinstance(content, list)) > MAX_PARTS:
            raise ValueError(f"at most {MAX_PARTS:,} parts in all messages")
    return messages

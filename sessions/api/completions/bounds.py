"""How much a request may ask for. Everything that a caller can size has a limit here, or in the types of the request.

What a request holds is copied, measured and encoded on the event loops of the web process and of a worker, so its
depth and its size are judged before anything else reads it.
"""

from typing import Any

from llm.sizes import find_json_problem
from sessions.api.completions.errors import invalid

MAX_MESSAGES, MAX_PARTS, MAX_TOOLS = 10_000, 10_000, 512
MAX_OUTPUT_TOKENS = 10_000_000
MAX_STOPS, MAX_STOP_CHARACTERS = 16, 1_000
#: Of one request for embeddings.
MAX_INPUTS, MAX_INPUT_TOKENS, MAX_NUMBERS = 256, 300_000, 1_000_000


def require_bounded(value: Any, param: str) -> None:
    """Raise CompletionError for JSON that is too deep or too large, or that has a number that is not JSON."""
    if problem := find_json_problem(value):
        raise invalid(param, f"`{param}` {problem}.")


def require_stops(stop: Any) -> None:
    """Raise CompletionError for stop texts that no provider takes."""
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


def storable(value: Any) -> Any:
    """Return JSON without what neither PostgreSQL nor UTF-8 can hold: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [storable(each) for each in value]
    if isinstance(value, dict):
        return {storable(name): storable(each) for name, each in value.items()}
    return value

"""How the types of events are registered, for `sessions.protocol.events`, which says how to add one."""

import re
from typing import Literal, NotRequired, TypedDict

from pydantic import ConfigDict, with_config

#: The payload of each kind of event.
PAYLOADS: dict[str, type] = {}

#: What runs without approval, the most careful one first.
Mode = Literal["ask", "auto-read", "auto-edit", "full"]

#: Fields that no type lists are errors. Clients nevertheless ignore fields that they do not know.
closed = with_config(ConfigDict(extra="forbid"))


def event[T: type](payload: T) -> T:
    """Register a closed type as the payload of the kind with its name in snake case."""
    PAYLOADS[re.sub(r"(?<!^)(?=[A-Z])", "_", payload.__name__).lower()] = payload
    # Its name in schemas, because a frame of older clients may have the name of a kind.
    payload.__name__ = payload.__qualname__ = f"{payload.__name__}Payload"
    return closed(payload)


@closed
class ContextUse(TypedDict):
    """How much of a model's window a step has used, in tokens."""

    used: int
    window: int


@closed
class TurnUse(TypedDict):
    """What a turn used that ended without an answer."""

    #: Of its finished steps.
    input_tokens: NotRequired[int]
    output_tokens: NotRequired[int]
    #: Part of the input tokens.
    cached_tokens: NotRequired[int]
    #: US dollars of all model calls, as a decimal number. Not there when a price is unknown, or a model was stopped.
    cost: NotRequired[str]

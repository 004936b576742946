"""How the types of events are registered, for `sessions.protocol.events`, which says how to add one."""

import re
from typing import Literal

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

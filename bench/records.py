"""What the load client records."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Turn:
    """A client's record of one turn. Times are seconds of the clock that all processes share."""

    wish_id: str
    sent: float
    accepted: float = 0.0
    ended: float = 0.0
    error: str = ""
    #: When the client sent `cancel`.
    cancelled: float = 0.0
    #: For each frame with text: when it arrived, and the text.
    texts: list[tuple[float, str]] = field(default_factory=list)
    #: When the client sent the result of each tool call.
    results: list[float] = field(default_factory=list)

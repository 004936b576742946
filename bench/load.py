"""The size of each measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The size of each measurement."""

    tokens: int = 200
    rate: int = 50
    runs: int = 3
    first_turns: int = 30
    sockets: int = 1000
    idle_seconds: float = 30
    #: Turns of the long session, with about 200 events each.
    long_turns: int = 50
    attaches: int = 5
    histories: Sequence[int] = (10, 100, 1000)
    set_ups: int = 9
    stops: int = 24
    #: Sessions whose turns follow one another, and for how long.
    loops: Sequence[int] = (1, 16, 64)
    loop_seconds: float = 10

    @property
    def ideal(self) -> float:
        """Seconds that the provider alone needs for an answer."""
        return (self.tokens - 1) / self.rate

    def patience(self, tokens: int) -> float:
        """Return after how many seconds an answer is missing."""
        return 30 + 6 * tokens / self.rate


#: A check that everything works.
QUICK = Load(
    tokens=50, runs=1, first_turns=5, sockets=50, idle_seconds=3, long_turns=5, attaches=2, histories=(10,), set_ups=3,
    stops=4, loops=(1, 16), loop_seconds=3,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """A load that can be profiled: what so many sessions do at once."""

    kind: Literal["streams", "turns", "steps", "idle"]
    count: int
    #: Messages of each session before.
    messages: int = 0

    @property
    def file(self) -> str:
        """The name of its profile's file."""
        return f"profile-{self.title.replace(', ', '-').replace(' ', '-')}.txt"

    @property
    def title(self) -> str:
        """The load as words."""
        return f"{self.count} {self.kind}" + (f", {self.messages} messages" if self.messages else "")

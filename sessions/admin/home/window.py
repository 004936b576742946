"""The span of time that the home looks at, and its parts, which are the columns of its plots.

Rows are chosen by their ids, which begin with the time and have an index.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from urllib.parse import urlencode

from django.urls import reverse


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time in equal slots that begin at full hours or days."""

    name: str
    start: datetime
    slot: timedelta
    count: int

    @classmethod
    def ending(cls, now: datetime, name: str) -> Self:
        """Return the window with this name, or that of a day, whose last slot contains `now`."""
        name = name if name in SPANS else DEFAULT
        slot, count = SPANS[name]
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        last = midnight + (now - midnight) // slot * slot
        return cls(name, last - slot * (count - 1), slot, count)

    @property
    def end(self) -> datetime:
        """The end of its last slot, which is not over yet."""
        return self.start + self.slot * self.count

    def slots(self) -> Iterator[tuple[datetime, datetime]]:
        """Yield the beginning and the end of each slot."""
        for number in range(self.count):
            yield self.start + self.slot * number, self.start + self.slot * (number + 1)

    def days(self) -> Iterator[tuple[datetime, datetime]]:
        """Yield the beginning and the end of each day that it touches, the newest first."""
        day = (self.end - timedelta(microseconds=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        while day + timedelta(days=1) > self.start:
            yield max(day, self.start), min(day + timedelta(days=1), self.end)
            day -= timedelta(days=1)


DEFAULT = "day"
#: Names of windows, each with the length and the number of its slots.
SPANS = {
    "hour": (timedelta(minutes=5), 12),
    "day": (timedelta(hours=1), 24),
    "week": (timedelta(hours=6), 28),
    "month": (timedelta(days=1), 30),
}


def first_id(moment: datetime) -> uuid.UUID:
    """Return the smallest id that a row of this moment, or of a later one, can have."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)


def rows_url(table: str, start: datetime, end: datetime, /, **filters: object) -> str:
    """Return the address of the list of a table's rows from `start` until before `end`."""
    period = {"from": f"{start:%Y-%m-%dT%H:%M:%SZ}", "until": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
    return f"{reverse(f'admin:agent_sessions_{table}_changelist')}?{urlencode({**filters, **period})}"

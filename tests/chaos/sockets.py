"""Checks what each connection of a client received, by the numbers and against the log. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from tests.chaos.history import Record
from tests.chaos.violations import Violation

#: Clients that follow every event and can resume.
RESUMING = {"v2", "sse"}


class Log:
    """A session's stored events, some of them compacted into one with a range of numbers."""

    def __init__(self, session: str, events: Sequence[Record]) -> None:
        self.session, self.events = session, events
        self._numbers = [event["number"] for event in events]

    def covering(self, number: int) -> Record | None:
        """Return the event with this number in its range."""
        at = bisect.bisect_left(self._numbers, number)
        found = self.events[at] if at < len(self.events) else None
        return found if found and first_of(found) <= number else None

    def contiguous(self) -> Iterator[Violation]:
        before = 0
        for event in self.events:
            if first_of(event) != before + 1:
                yield Violation("gap", self.session, f"the log has {event['number']} after {before}")
            before = event["number"]

    def equals(self, replay: Sequence[Record] | None) -> Iterator[Violation]:
        if [_facts(event) for event in replay or ()] != [_facts(event) for event in self.events]:
            yield Violation("different", self.session, "what is read from zero is not what is stored")


def _facts(event: Record) -> tuple[object, ...]:
    return first_of(event), event["number"], event["kind"], event["payload"]


def first_of(event: Record) -> int:
    """Return the first number of an event; only a compacted one has several."""
    return int(event.get("first") or event["number"])


def received(records: Sequence[Record], logs: dict[str, Log]) -> Iterator[Violation]:
    """Check what each socket received, by the numbers and against the log."""
    sockets: dict[str, Socket] = {}
    for record in records:
        if record["what"] == "opened":
            sockets[record["socket"]] = Socket(record, logs.get(record["session"]))
        elif record["what"] == "received":
            yield from sockets[record["socket"]].receive(record)
        elif record["what"] == "behind":
            yield Violation("gap", record["session"], f"a follower has {record['has']} and lacks {record['lacks']}")


class Socket:
    """One connection of a client."""

    def __init__(self, opened: Record, log: Log | None) -> None:
        self.name, self.session, self.resumes = opened["socket"], opened["session"], opened["kind"] in RESUMING
        self.log = log
        self.after = self._had = opened["after"]
        self._seen: set[int] = set()
        self._folding, self._pieces = 0, ""

    def receive(self, event: Record) -> Iterator[Violation]:
        number = event["number"]
        where = f"{self.name} got {event['kind']} {number} after {self.after} at {event['t']}"
        if number in self._seen or number <= self._had:
            yield Violation("repeated", self.session, where)
        elif number <= self.after:
            yield Violation("reordered", self.session, where)
        elif self.resumes and first_of(event) > self.after + 1:
            yield Violation("gap", self.session, where)
        elif self.resumes and first_of(event) <= self.after:
            yield Violation("repeated", self.session, where)
        yield from self._compare(event, where)
        self._seen.add(number)
        self.after = max(self.after, number)

    def _compare(self, event: Record, where: str) -> Iterator[Violation]:
        stored = self.log.covering(event["number"]) if self.log else None
        if stored is None:
            yield Violation("different", self.session, f"{where}, which is not stored")
        elif event["kind"] in ("text_delta", "assistant_message"):
            text, whole = event["payload"]["text"], stored["payload"].get("text", stored["payload"].get("content"))
            if (first_of(event), event["number"]) == (first_of(stored), stored["number"]):
                # A message that another worker has repeated ends with the piece that this client had not seen.
                is_rest = stored["kind"] == "message_added" and bool(text) and whole.endswith(text)
                same = text == whole or is_rest
            else:
                # The log now has one event for these pieces. If this socket saw all of them, they must add up to it.
                began = first_of(event) == first_of(stored)
                self._pieces = text if began or self._folding != stored["number"] else self._pieces + text
                self._folding = stored["number"]
                same = self._pieces in whole and (event["number"] != stored["number"] or whole.endswith(self._pieces))
            if not same:
                yield Violation("different", self.session, f"{where}: {text!r} is not in the log")
        elif self.resumes and (event["kind"], event["payload"]) != (stored["kind"], stored["payload"]):
            yield Violation("different", self.session, f"{where}: the log has something else")

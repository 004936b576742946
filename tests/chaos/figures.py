"""Times that a run has taken: how long until a turn went on after a fault, and until a stop was there. Pure."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.checker import ENDS
from tests.chaos.history import Record

POSTGRES = frozenset({"restart_postgres", "crash_postgres", "swallow_postgres", "slow_postgres", "cut_postgres"})
REDIS = frozenset({"kill_redis", "freeze_redis", "swallow_redis", "cut_redis", "flush_redis"})
#: Seconds after a fault in which what it did is still felt.
AFTERMATH = 3.0

type Span = tuple[float, float]


@dataclass
class Sample:
    """Seconds that something took, and whether another fault fell into them."""

    seconds: float
    alone: bool = True
    what: str = ""


@dataclass
class Figures:
    """All samples of a run."""

    worker: list[Sample] = field(default_factory=list)
    redis: list[Sample] = field(default_factory=list)
    postgres: list[Sample] = field(default_factory=list)
    cancel: list[Sample] = field(default_factory=list)


def percentile(samples: Sequence[Sample], share: float) -> float:
    """Return the smallest value that so many of the samples do not exceed."""
    ordered = sorted(sample.seconds for sample in samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def measure(records: Iterable[Record]) -> Figures:
    """Return all samples."""
    run = _Run(sorted(records, key=lambda record: record["t"]))
    figures = Figures()
    figures.worker += run.workers()
    figures.redis += run.servers("kill_redis", REDIS)
    for kind in ("restart_postgres", "crash_postgres"):
        figures.postgres += run.servers(kind, POSTGRES)
    figures.cancel += run.cancels()
    return figures


class _Run:
    """The history, looked up by turns and sessions."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        #: When a client of the session first saw each event.
        self.events: dict[str, list[tuple[float, str, str]]] = defaultdict(list)
        self.sessions: dict[str, str] = {}
        self.open: dict[str, Span] = {}
        self.faults: list[tuple[str, Span, Record]] = []
        self._first_seen()
        self._spans()
        self.held_up = dict(self._held_up())

    def _first_seen(self) -> None:
        seen: dict[str, int] = defaultdict(int)
        for record in self.records:
            if record["what"] == "received" and record["number"] > seen[record["session"]]:
                seen[record["session"]] = record["number"]
                turn = record["payload"].get("turn_id", "")
                self.events[record["session"]].append((record["t"], record["kind"], turn))
                if record["kind"] in ENDS and turn in self.open:
                    self.open[turn] = (self.open[turn][0], record["t"])
            elif record["what"] == "acked":
                self.sessions.setdefault(record["turn"], record["session"])
                self.open.setdefault(record["turn"], (record["t"], float("inf")))

    def _spans(self) -> None:
        began: dict[int, Record] = {}
        for record in self.records:
            if record["what"] == "began":
                began[record["fault"]] = record
            elif record["what"] == "ended":
                start = began[record["fault"]]
                self.faults.append((record["kind"], (start["t"], record["t"]), start | record))

    def next(self, session: str, moment: float, *kinds: str, turn: str = "") -> tuple[float, str] | None:
        """Return when the session's clients next saw something, and its kind; of some kinds or of a turn if asked."""
        events = self.events[session]
        for at in range(bisect.bisect_right(events, (moment, "~", "~")), len(events)):
            time, kind, of = events[at]
            if (not kinds or kind in kinds) and (not turn or of == turn):
                return time, kind
        return None

    def _held_up(self) -> Iterator[tuple[str, list[Span]]]:
        """For each session, the times in which its turn's worker was dead or frozen."""
        spans: dict[str, list[Span]] = defaultdict(list)
        frozen = [(span[0], record) for kind, span, record in self.faults if kind == "freeze_worker"]
        died = [(record["t"], record) for record in self.records if record["what"] == "died"]
        for moment, record in (*frozen, *died):
            for turn in record.get("turns", ()):
                if session := self.sessions.get(turn):
                    end = self.next(session, moment, "turn_started", *ENDS, turn=turn)
                    spans[session].append((moment, end[0] if end else float("inf")))
        yield from spans.items()

    def _hit(self, kinds: Iterable[str], span: Span, besides: Span | None = None) -> bool:
        """Say whether a fault of these kinds was felt within a span."""
        return any(
            kind in kinds and other != besides and other[0] < span[1] and other[1] + AFTERMATH > span[0]
            for kind, other, _ in self.faults
        )

    def workers(self) -> Iterator[Sample]:
        """From the death of a worker until the next attempt at each of its turns is seen."""
        for record in self.records:
            if record["what"] != "died":
                continue
            for turn in record["turns"]:
                session = self.sessions.get(turn)
                end = self.next(session, record["t"], "turn_started", *ENDS, turn=turn) if session else None
                # A turn that its user has stopped meanwhile did not need another attempt.
                if session and end and end[1] != "turn_cancelled":
                    span = (record["t"], end[0])
                    spans = self.held_up[session]
                    alone = not self._hit(POSTGRES | REDIS, span) and not any(
                        other[0] > span[0] and other[0] < span[1] for other in spans
                    )
                    yield Sample(span[1] - span[0], alone, f"{turn} of {record['process']} at {record['t']}")

    def servers(self, kind: str, same: frozenset[str]) -> Iterator[Sample]:
        """From a server's first answer until each session with an open turn, whose worker lives, goes on."""
        for fault, span, _ in self.faults:
            if fault != kind:
                continue
            back = span[1]
            for session in {self.sessions[turn] for turn, (t, end) in self.open.items() if t < back < end}:
                event = self.next(session, back)
                if event is None or any(t < event[0] and until > back for t, until in self.held_up.get(session, ())):
                    continue
                alone = not self._hit(POSTGRES | REDIS, (back, event[0]), span)
                yield Sample(event[0] - back, alone, f"{session} after {kind} at {back}")

    def cancels(self) -> Iterator[Sample]:
        """From asking for a stop until the same socket tells of it."""
        waiting: dict[tuple[str, str], float] = {}
        webs: dict[str, int] = {}
        for record in self.records:
            match record["what"]:
                case "opened":
                    webs[record["socket"]] = record["web"]
                case "cancel":
                    waiting.setdefault((record["socket"], record["turn"]), record["t"])
                case "received" if record["kind"] == "turn_cancelled":
                    key = (record["socket"], record["payload"]["turn_id"])
                    if key in waiting:
                        span = (waiting.pop(key), record["t"])
                        web = f"web-{webs[key[0]] + 1}"
                        frozen = any(
                            kind == "freeze_web" and it["process"] == web and other[0] < span[1] and other[1] > span[0]
                            for kind, other, it in self.faults
                        )
                        alone = not frozen and not self._hit(POSTGRES, span)
                        yield Sample(span[1] - span[0], alone, f"{key[1]} on {key[0]} at {span[0]}")

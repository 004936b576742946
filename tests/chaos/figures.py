"""Times of a run: how long until a turn continued after a fault, and until a stop took effect. Pure."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.checker import ENDS
from tests.chaos.history import Record

POSTGRES = frozenset({"restart_postgres", "crash_postgres", "swallow_postgres", "slow_postgres", "cut_postgres"})
#: Faults from which PostgreSQL needs time to recover. Redis does not matter when a worker has died.
POSTGRES_AWAY = frozenset({"restart_postgres", "crash_postgres", "swallow_postgres"})
REDIS = frozenset({"kill_redis", "freeze_redis", "swallow_redis", "cut_redis", "flush_redis"})
#: Faults that stop a stream, because what carries it is away.
STREAM_AWAY = (POSTGRES - {"slow_postgres"}) | REDIS | {"cut_provider", "swallow_provider", "freeze_web"}
#: Seconds for which a fault still has effects.
AFTERMATH = 3.0
#: Seconds from the death of a worker until its successor runs turns.
WORKER_START = 5.0

type Span = tuple[float, float]


@dataclass
class Sample:
    """A duration in seconds, and whether another fault fell into it."""

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
    #: Turns that a healthy service ends itself: the text of one cannot be stored, that of another has no end.
    hopeless: list[Sample] = field(default_factory=list)
    #: Only those that no kill and no outage explains.
    gaps: list[Sample] = field(default_factory=list)


def percentile(samples: Sequence[Sample], share: float) -> float:
    """Return the smallest value that this share of the samples does not exceed."""
    ordered = sorted(sample.seconds for sample in samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def measure(records: Iterable[Record]) -> Figures:
    """Return all samples."""
    run = _Run(sorted(records, key=lambda record: record["t"]))
    figures = Figures()
    figures.worker += run.workers()
    figures.redis += run.servers("kill_redis")
    for kind in ("restart_postgres", "crash_postgres"):
        figures.postgres += run.servers(kind)
    figures.cancel += run.cancels()
    figures.gaps += run.gaps()
    figures.hopeless += run.hopeless()
    return figures


class _Run:
    """The history, indexed by turn and session."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        #: When a client of the session first saw each event.
        self.events: dict[str, list[tuple[float, str, str, int]]] = defaultdict(list)
        self.sessions: dict[str, str] = {}
        self.open: dict[str, Span] = {}
        self.faults: list[tuple[str, Span, Record]] = []
        self._first_seen()
        self._spans()
        self.held_up = self._held_up()

    def _first_seen(self) -> None:
        seen: dict[str, int] = defaultdict(int)
        for record in self.records:
            if record["what"] == "received" and record["number"] > seen[record["session"]]:
                seen[record["session"]] = record["number"]
                turn, attempt = record["payload"].get("turn_id", ""), record["payload"].get("attempt", 0)
                self.events[record["session"]].append((record["t"], record["kind"], turn, attempt))
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

    def _after(self, session: str, moment: float) -> Iterator[tuple[float, str, str, int]]:
        events = self.events[session]
        yield from events[bisect.bisect_right(events, (moment, "~")) :]

    def taken(self, turn: str, attempt: int, moment: float) -> tuple[float, str]:
        """Return when, and by which record, a client saw a turn continue after an attempt lost its worker."""
        for time, kind, of, number in self._after(self.sessions.get(turn, ""), moment):
            if of == turn and (kind in ENDS or (kind == "turn_started" and number > attempt)):
                return time, kind
        return float("inf"), ""

    def _held_up(self) -> dict[str, list[Span]]:
        """Return for each session the times in which its turn's worker was dead or frozen."""
        spans: dict[str, list[Span]] = defaultdict(list)
        frozen = [(span[0], record) for kind, span, record in self.faults if kind == "freeze_worker"]
        died = [(record["t"], record) for record in self.records if record["what"] == "died"]
        for moment, record in (*frozen, *died):
            for turn, attempt in record.get("turns", {}).items():
                spans[self.sessions.get(turn, "")].append((moment, self.taken(turn, attempt, moment)[0]))
        return spans

    def _hit(self, kinds: Iterable[str], span: Span, besides: Span | None = None) -> bool:
        """Return whether a fault of these kinds had effects within a span."""
        return any(
            kind in kinds and other != besides and other[0] < span[1] and other[1] + AFTERMATH > span[0]
            for kind, other, _ in self.faults
        )

    def workers(self) -> Iterator[Sample]:
        """Measure from the death of a worker until a client sees the next attempt at each of its turns."""
        for record in self.records:
            for turn, attempt in record["turns"].items() if record["what"] == "died" else ():
                end, kind = self.taken(turn, attempt, record["t"])
                # A turn that its user stopped meanwhile does not need another attempt.
                if kind in ("", "turn_cancelled"):
                    continue
                span = (record["t"], end)
                alone = not self._hit(POSTGRES, span) and not self._lacks_other_worker(record["process"], span)
                yield Sample(end - record["t"], alone, f"{turn} of {record['process']} at {record['t']}")

    def _lacks_other_worker(self, process: str, span: Span) -> bool:
        """Return whether another worker was frozen, or had died so lately that it was still starting."""
        frozen = any(
            kind == "freeze_worker" and record["process"] != process and other[0] < span[1] and other[1] > span[0]
            for kind, other, record in self.faults
        )
        return frozen or any(
            record["what"] == "died"
            and record["process"].startswith("worker")
            and record["process"] != process
            and span[0] - WORKER_START < record["t"] < span[1]
            for record in self.records
        )

    def servers(self, kind: str) -> Iterator[Sample]:
        """Measure from a server's first answer until each session with an open turn and a live worker continues."""
        for fault, span, _ in self.faults:
            back = span[1]
            if fault != kind:
                continue
            for session in sorted({self.sessions[turn] for turn, (t, end) in self.open.items() if t < back < end}):
                time = next((event[0] for event in self._after(session, back)), None)
                if time is None or any(t < time and until > back for t, until in self.held_up.get(session, ())):
                    continue
                alone = not self._hit(POSTGRES | REDIS, (back, time), span)
                yield Sample(time - back, alone, f"{session} after {kind} at {back}")

    def cancels(self) -> Iterator[Sample]:
        """Measure from the request for a stop until the same socket receives the event."""
        waiting: dict[tuple[str, str], float] = {}
        webs: dict[str, str] = {}
        for record in self.records:
            match record["what"]:
                case "opened":
                    webs[record["socket"]] = f"web-{record['web'] + 1}"
                case "cancel":
                    waiting.setdefault((record["socket"], record["turn"]), record["t"])
                case "received" if record["kind"] == "turn_cancelled":
                    socket, turn = record["socket"], record["payload"]["turn_id"]
                    if (socket, turn) in waiting:
                        span = (waiting.pop((socket, turn)), record["t"])
                        if self._hit(POSTGRES_AWAY, span) or self._frozen(webs[socket], span):
                            # What has to store or to tell the stop is away.
                            continue
                        alone = not any(other[0] < span[1] and other[1] > span[0] for _, other, _ in self.faults)
                        yield Sample(span[1] - span[0], alone, f"{turn} on {socket} at {span[0]}")

    def hopeless(self) -> Iterator[Sample]:
        """Measure from the fault until its turn has ended."""
        for kind, (start, end), record in self.faults:
            if kind in ("poison_turn", "endless_answer") and record.get("turn"):
                yield Sample(end - start, True, f"{kind} at {start}")

    def gaps(self) -> Iterator[Sample]:
        """Measure between two pieces of a message at the same socket, outside of kills and outages.

        What is left has its reason in another user's trouble, or in a slow server.
        """
        deaths = sorted(record["t"] for record in self.records if record["what"] == "died")
        last: dict[tuple[str, str], float] = {}
        for record in self.records:
            if record["what"] != "received" or record["kind"] != "text_delta":
                continue
            stream = record["socket"], record["payload"].get("message_id", "")
            end: float = record["t"]
            start = last.get(stream, end)
            last[stream] = end
            if bisect.bisect_right(deaths, end) > bisect.bisect_left(deaths, start - AFTERMATH):
                continue
            held_up = self.held_up.get(record["session"], ())
            if not self._hit(STREAM_AWAY, (start, end)) and not any(t < end and back > start for t, back in held_up):
                yield Sample(end - start, True, f"{record['session']} on {stream[0]} at {start}")

    def _frozen(self, web: str, span: Span) -> bool:
        return any(
            kind == "freeze_web" and record["process"] == web and other[0] < span[1] and other[1] > span[0]
            for kind, other, record in self.faults
        )

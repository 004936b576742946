"""Turns a client's records into the figures of a row. Pure; seconds come in, milliseconds go out."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.cycles import Cycle
    from bench.start import Start


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that this share of all values does not exceed; nan without values."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else math.nan


def median(values: Iterable[float]) -> float:
    """Return the median; nan without values."""
    numbers = list(values)
    return statistics.median(numbers) if numbers else math.nan


@dataclass(frozen=True, slots=True)
class Stream:
    """One answer as the client received it."""

    #: What is wrong; empty when every token arrived once and in order, followed by the end.
    fault: str
    #: For each token, milliseconds from the provider to the client.
    added: list[float]
    #: Frames with text.
    frames: int
    #: Milliseconds from the message to the end.
    taken: float
    #: The longest time between two frames with text, in milliseconds.
    gap: float


def parse_turn(turn: Mapping[str, Any], tokens: int) -> Stream:
    """Parse a client's record of a turn (bench.client.Turn as JSON)."""
    added: list[float] = []
    numbers: list[int] = []
    times = [float(time) for time, _ in turn["texts"]]
    for time, text in turn["texts"]:
        for token in text.split():
            number, _, made = token.partition("@")
            numbers.append(int(number))
            added.append((time - float(made)) * 1000)
    fault = str(turn["error"])
    if not fault and not turn["ended"]:
        fault = "it did not end in time"
    if not fault and numbers != list(range(tokens)):
        fault = f"{len(numbers)} of {tokens} tokens came, or not in order"
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return Stream(
        fault=fault,
        added=added,
        frames=len(times),
        taken=max(turn["ended"] - turn["sent"], 0.0) * 1000,
        gap=max(gaps, default=0.0) * 1000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Streams that started at the same moment; several runs become their medians."""

    streams: int
    finished: int
    #: Time from the first message to the last end, divided by what the provider alone needs.
    wall: float
    #: Added to the first token, and to all later ones.
    first_p50: float
    first_p95: float
    added_p50: float
    added_p99: float
    tokens_per_frame: float
    #: The longest silence of any stream.
    gap: float
    #: The time of the slowest stream divided by the median of all.
    slowest: float
    #: Microseconds of processor time for each token, by kind of process.
    cpu: dict[str, float]
    #: The same for provider and client, which are not the service.
    beside: dict[str, float]
    #: MiB, by kind of process.
    memory: dict[str, float]
    faults: list[str] = field(default_factory=list)
    webs: int = 1
    workers: int = 1

    @property
    def cpu_of_all(self) -> float:
        """Microseconds for each token, over all processes of the service."""
        return sum(self.cpu.values())


def row(
    streams: Sequence[Stream],
    *,
    seconds: float,
    ideal: float,
    cpu: Mapping[str, float],
    beside: Mapping[str, float],
    memory: Mapping[str, float],
    webs: int = 1,
    workers: int = 1,
) -> Row:
    """Return the row of one run: `seconds` from the first message to the last end, `cpu` in seconds."""
    tokens = max(sum(len(stream.added) for stream in streams), 1)
    firsts = [stream.added[0] for stream in streams if stream.added]
    rest = [delay for stream in streams for delay in stream.added[1:]]
    taken = [stream.taken for stream in streams if not stream.fault]
    return Row(
        streams=len(streams),
        finished=sum(not stream.fault for stream in streams),
        wall=seconds / ideal,
        first_p50=percentile(firsts, 0.5),
        first_p95=percentile(firsts, 0.95),
        added_p50=percentile(rest, 0.5),
        added_p99=percentile(rest, 0.99),
        tokens_per_frame=tokens / max(sum(stream.frames for stream in streams), 1),
        gap=max((stream.gap for stream in streams), default=0.0),
        slowest=max(taken, default=math.nan) / median(taken),
        cpu={kind: used / tokens * 1e6 for kind, used in cpu.items()},
        beside={kind: used / tokens * 1e6 for kind, used in beside.items()},
        memory=dict(memory),
        faults=sorted({stream.fault for stream in streams if stream.fault}),
        webs=webs,
        workers=workers,
    )


def medians(rows: Sequence[Row]) -> Row:
    """Return one row for several runs of the same load: medians, but the fewest finished streams and all faults."""
    first = rows[0]
    values: dict[str, Any] = {}
    for name in (entry.name for entry in fields(Row)):
        column = [getattr(each, name) for each in rows]
        if isinstance(column[0], dict):
            values[name] = {kind: median(each[kind] for each in column) for kind in column[0]}
        elif name not in ("streams", "webs", "workers", "finished", "faults"):
            values[name] = median(column)
    values |= {"streams": first.streams, "webs": first.webs, "workers": first.workers}
    values["finished"] = min(each.finished for each in rows)
    values["faults"] = sorted({fault for each in rows for fault in each.faults})
    return Row(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstToken:
    """Short turns, one after the other, on a warm session."""

    turns: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Idle sockets."""

    sockets: int
    #: KiB for each of them in the web processes.
    kib: float
    #: Milliseconds of processor time, of all processes, to open one.
    opening: float
    seconds: float
    #: Percent of a core by kind, without and with the sockets.
    without: dict[str, float]
    with_them: dict[str, float]

    @property
    def grown(self) -> float:
        """Percent of a core that the sockets cost, over all processes."""
        return sum(self.with_them.values()) - sum(self.without.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """Attaching to a session with a long log: from connecting to the last frame, or to `welcome` with a snapshot."""

    events: int
    folded: bool
    how: str
    #: Whether the goal covers it.
    judged: bool
    frames: int
    p50: float
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """From a message to the request at the provider, by length of the conversation."""

    messages: int
    turns: int
    #: From `accepted` at the client, and from sending the message.
    from_accepted: float
    from_sent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """From `cancel` to the provider's connection closed."""

    stops: int
    #: Turns whose connection the provider never saw closed.
    missed: int
    p50: float
    p95: float
    #: The same while the model streams, and while it is silent.
    speaking_p50: float
    silent_p50: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRow:
    """The same turns through one API: some one by one, and several streams at once."""

    api: str
    turns: int
    #: Milliseconds from the provider to the client, of turns one by one.
    first_p50: float
    first_p95: float
    streams: int
    finished: int
    added_p50: float
    #: Microseconds of processor time for each token, by kind of process.
    cpu: dict[str, float]
    faults: list[str] = field(default_factory=list)

    @property
    def cpu_of_all(self) -> float:
        """Microseconds for each token, over all processes of the service."""
        return sum(self.cpu.values())


@dataclass(slots=True, kw_only=True)
class Results:
    """The results of one run; parts that were not measured are missing."""

    machine: dict[str, Any]
    arguments: dict[str, Any]
    settings: dict[str, str]
    product: list[Row] = field(default_factory=list)
    floor: list[Row] = field(default_factory=list)
    #: The same as `product` with more processes.
    scaled: list[Row] = field(default_factory=list)
    first: FirstToken | None = None
    idle: Idle | None = None
    attach: list[Attach] = field(default_factory=list)
    set_up: list[SetUp] = field(default_factory=list)
    cancel: Cancel | None = None
    #: The WebSocket's first.
    apis: list[ApiRow] = field(default_factory=list)
    turns: list[Cycle] = field(default_factory=list)
    steps: list[Cycle] = field(default_factory=list)
    start: Start | None = None

    def product_at(self, streams: int) -> Row | None:
        """Return the product's row with this many streams."""
        return next((each for each in self.product if each.streams == streams), None)

    def floor_at(self, streams: int) -> Row | None:
        """Return the floor's row with this many streams."""
        return next((each for each in self.floor if each.streams == streams), None)

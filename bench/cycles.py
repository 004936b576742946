"""Turns and tool steps, one after the other on each session: what they cost, how many a second, how long they take."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import processes
from bench.figures import percentile
from bench.sockets import EVENTS

if TYPE_CHECKING:
    from bench.measurements import Measurements

#: Messages of the long session.
LONG_HISTORY = 1000
_names = (f"cycle-{number}" for number in itertools.count(1))
#: Client tools of a turn of the steps. A coding turn has 20 to 50.
TOOLS = 10
#: Sessions that take turns in each loop. Alone, a session would soon have a history of hundreds of messages, the longer
#: the faster the service is, and a turn would cost what its history costs. A worker keeps all of the long ones.
SESSIONS, LONG_SESSIONS = 64, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """Turns of one token in a closed loop: a turn begins when one has ended."""

    #: Turns at once, each in a session of its own.
    sessions: int
    #: Messages of each session before, and client tools of each turn.
    messages: int
    tools: int
    turns: int
    seconds: float
    #: Milliseconds of processor time of a turn, by kind of process.
    cpu: dict[str, float]
    #: The same for provider and client, which are not the service.
    beside: dict[str, float]
    #: MiB, by kind of process.
    memory: dict[str, float]
    #: Milliseconds from the message to the first token.
    first_p50: float
    first_p95: float
    #: Milliseconds from a tool's result to the next request at the provider.
    next_p50: float
    next_p95: float
    faults: list[str]

    @property
    def cpu_of_all(self) -> float:
        """Milliseconds of a turn, over all processes of the service."""
        return sum(self.cpu.values())


def cycle(
    answer: Mapping[str, Any],
    when: Callable[[str], float | None],
    *,
    sessions: int,
    messages: int = 0,
    tools: int,
    cpu: Mapping[str, float],
    beside: Mapping[str, float],
    memory: Mapping[str, float],
) -> Cycle:
    """Return the figures of a client's record. `when` says when the provider got a request; `cpu` is in seconds."""
    turns = answer["turns"]
    whole = [turn for turn in turns if _fault(turn, tools) is None]
    firsts = [(turn["texts"][0][0] - turn["sent"]) * 1000 for turn in whole] if not tools else []
    asked = [
        (moment - sent) * 1000
        for turn in whole
        for number, sent in enumerate(turn["results"], 1)
        if (moment := when(f"{turn['wish_id']}/{number}"))
    ]
    count = max(len(whole), 1)
    return Cycle(
        sessions=sessions,
        messages=messages,
        tools=tools,
        turns=len(whole),
        seconds=answer["seconds"],
        cpu={kind: used / count * 1000 for kind, used in cpu.items()},
        beside={kind: used / count * 1000 for kind, used in beside.items()},
        memory=dict(memory),
        first_p50=percentile(firsts, 0.5),
        first_p95=percentile(firsts, 0.95),
        next_p50=percentile(asked, 0.5),
        next_p95=percentile(asked, 0.95),
        faults=sorted({fault for turn in turns if (fault := _fault(turn, tools))}),
    )


def _fault(turn: Mapping[str, Any], tools: int) -> str | None:
    """Return what is wrong with a turn: each tool is called once, and the token comes once."""
    if turn["error"] or not turn["ended"]:
        return str(turn["error"] or "it did not end in time")
    words = [word for _, text in turn["texts"] for word in text.split()]
    if len(words) != 1 or len(turn["results"]) != tools:
        return f"{len(words)} tokens and {len(turn['results'])} of {tools} calls came"
    return None


def step_cpu(steps: Cycle, turns: Sequence[Cycle]) -> dict[str, float]:
    """Return the milliseconds of one tool step by kind of process: what turns with tools cost beyond turns without."""
    plain = next((each.cpu for each in turns if each.sessions == steps.sessions), {})
    return {kind: (used - plain.get(kind, 0.0)) / steps.tools for kind, used in steps.cpu.items()}


def measure_cycles(it: Measurements, *, tools: int) -> list[Cycle]:
    """Run turns in closed loops: on new sessions, and with tools also on some with long histories."""
    found = [_measure(it, count, tools=tools) for count in it.load.loops]
    if tools and LONG_HISTORY in it.load.histories:
        found.append(_measure(it, 1, tools=tools, messages=LONG_HISTORY))
    return found


def open_cycles(it: Measurements, at_once: int, messages: int = 0) -> None:
    """Open new sessions that have had a turn, or some with as many messages."""
    keys = [next(_names) for _ in range(LONG_SESSIONS if messages else max(at_once, SESSIONS))]
    if messages:
        it.product.fill([{"key": key, "turns": messages // 2, "pieces": 0, "fold": True} for key in keys])
    urls = it.product.urls([f"/ws/{key}" for key in keys])
    it.client.ask("open", group="cycles", urls=urls, subprotocol=EVENTS)
    it.talk("cycles", next(_names), tokens=1)


def run_cycles(it: Measurements, at_once: int, *, tools: int) -> dict[str, Any]:
    """Run turns on the open sessions, this many at once; return the client's record."""
    how = {"prefix": next(_names), "seconds": it.load.loop_seconds, "tools": tools, "at_once": at_once}
    return it.client.ask("cycle", group="cycles", **how)


def _measure(it: Measurements, at_once: int, *, tools: int, messages: int = 0) -> Cycle:
    open_cycles(it, at_once, messages)
    kinds, others = it.product.kinds, {"provider": [it.provider.watched]}
    processes.wait_until_calm(kinds)
    before, beside = processes.cpu(kinds), processes.cpu(others)
    answer = run_cycles(it, at_once, tools=tools)
    # Flower reads its events a little later.
    time.sleep(1)
    used = processes.difference(before, processes.cpu(kinds))
    asked = processes.difference(beside, processes.cpu(others))
    it.client.ask("close", group="cycles")
    return cycle(
        answer,
        lambda wish_id: it.provider.when("asked", wish_id),
        sessions=at_once,
        messages=messages,
        tools=tools,
        cpu=used,
        beside=asked | {"client": answer["cpu"]},
        memory=processes.memory(kinds),
    )

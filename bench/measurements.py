"""The measurements, one method each: put load on the product or the floor and return figures."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench import processes
from bench.figures import Attach, Cancel, FirstToken, Idle, Row, SetUp, median, medians, parse_turn, percentile, row
from bench.load import Load
from bench.processes import Kinds
from bench.product import Product
from bench.programs import Client, Provider, Relay
from bench.sockets import EVENTS

#: When this process began.
STARTED = time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to attach to a session."""

    name: str
    #: Whether the goal covers it.
    judged: bool
    query: str = ""
    subprotocol: str = EVENTS
    after: int | None = None
    #: Number of the last event that arrives.
    until: int


def ways(last: int, *, folded: bool) -> list[Way]:
    """Return the ways to attach to a session whose last event has this number.

    A log is unfolded only for a minute after a turn, so the goal does not cover reading one event by event.
    """
    # The most that is replayed by events (docs/protocol.md); without `codelab.v2` there is no limit, and the end of a
    # turn has no frame of its own.
    most = min(last, 5000)
    return [
        Way(name="snapshot", judged=True, until=last),
        Way(name=f"replay of {most:,} events", judged=folded, after=last - most, until=last),
        Way(name=f"replay of {last:,} as pieces", judged=folded, query="?after=0", subprotocol="", until=last - 1),
    ]


def say(text: str) -> None:
    """Print the progress, with the seconds since the start."""
    print(f"{time.monotonic() - STARTED:4.0f} s  {text}", file=sys.stderr, flush=True)


class Measurements:
    """One run with a product, a floor, a provider and a client."""

    def __init__(self, product: Product, relay: Relay, provider: Provider, client: Client, load: Load) -> None:
        self.product, self.relay, self.provider, self.client, self.load = product, relay, provider, client, load
        self._floor = {"relay": [relay.watched]}
        self._names = (f"bench-{number}" for number in itertools.count(1))

    def warm(self) -> None:
        """Import, connect and compile everything that the first turns need."""
        say("Warming up …")
        self.open("warm", 8)
        for i in range(3):
            self.talk("warm", f"warm-{i}", tokens=5)
        self.client.ask("close", group="warm")
        processes.wait_until_calm(self.product.kinds)

    def open(self, group: str, count: int) -> dict[str, Any]:
        """Open sockets, each on a new session."""
        paths = [f"/ws/{next(self._names)}" for _ in range(count)]
        return self.client.ask("open", group=group, urls=self.product.urls(paths), subprotocol=EVENTS)

    def talk(self, group: str, prefix: str, *, tokens: int, count: int | None = None) -> dict[str, Any]:
        """Run a turn on all sockets of a group, or on the first ones."""
        how = {"rate": self.load.rate, "patience": self.load.patience(tokens), "count": count}
        return self.client.ask("talk", group=group, prefix=prefix, tokens=tokens, **how)

    # ------------------------------------------------------------------ streams

    def streams(self, count: int) -> Row:
        """Run a turn in this many sessions at the same moment; they are new and have had one short turn."""
        self.open("streams", count)
        self.talk("streams", f"warm-{count}", tokens=1)
        rows = [self.run() for _ in range(self.load.runs)]
        self.client.ask("close", group="streams")
        result = medians(rows)
        say(
            f"  {count} streams: {result.finished} whole, {result.wall:.2f} × ideal,"
            f" added p50 {result.added_p50:.0f} ms, p99 {result.added_p99:.0f} ms, {result.cpu_of_all:.0f} µs/token"
        )
        return result

    def floor(self, count: int) -> Row:
        """Do the same with the bare relay, in one run: it hardly varies."""
        self.client.ask("open", group="streams", urls=[self.relay.url] * count, subprotocol="")
        self.talk("streams", "warm", tokens=1)
        result = self._run(self._floor, 1, 0)
        self.client.ask("close", group="streams")
        say(f"  {count} streams: added p50 {result.added_p50:.1f} ms, {result.cpu_of_all:.0f} µs/token")
        return result

    def run(self, talk: Callable[[str], dict[str, Any]] | None = None) -> Row:
        """Measure the service during turns of all open streams, or during others."""
        kinds = self.product.kinds
        return self._run(kinds, len(kinds["web"]), len(kinds["worker"]), talk)

    def _run(self, kinds: Kinds, webs: int, workers: int, talk: Callable[[str], dict[str, Any]] | None = None) -> Row:
        processes.wait_until_calm(kinds)
        before, beside = processes.cpu(kinds), processes.cpu({"provider": [self.provider.watched]})
        talk = talk or partial(self.talk, "streams", tokens=self.load.tokens)
        answer = talk(next(self._names))
        used = processes.difference(before, processes.cpu(kinds))
        beside = processes.difference(beside, processes.cpu({"provider": [self.provider.watched]}))
        turns = answer["turns"]
        return row(
            [parse_turn(turn, self.load.tokens) for turn in turns],
            seconds=max(turn["ended"] for turn in turns) - min(turn["sent"] for turn in turns),
            ideal=self.load.ideal,
            cpu=used,
            beside=beside | {"client": answer["cpu"]},
            memory=processes.memory(kinds),
            webs=webs,
            workers=workers,
        )

    def first_token(self) -> FirstToken:
        """Run short turns, one after the other, in one session."""
        self.open("first", 1)
        added = []
        for i in range(self.load.first_turns + 1):
            answer = self.talk("first", f"first-{i}", tokens=5)
            stream = parse_turn(answer["turns"][0], 5)
            # The first turn of a session does more work.
            added += stream.added[:1] if i else []
        self.client.ask("close", group="first")
        return FirstToken(turns=len(added), p50=percentile(added, 0.5), p95=percentile(added, 0.95))

    # ------------------------------------------------------------------ idle

    def idle(self) -> Idle:
        """Open idle sockets, each on a session of its own."""
        kinds, load = self.product.kinds, self.load
        processes.wait_until_calm(kinds)
        without = self._shares(load.idle_seconds)
        memory, before = processes.memory(kinds)["web"], processes.cpu(kinds)
        self.open("idle", load.sockets)
        processes.wait_until_calm(kinds)
        opening = processes.difference(before, processes.cpu(kinds))
        taken = processes.memory(kinds)["web"] - memory
        with_them = self._shares(load.idle_seconds)
        self.client.ask("close", group="idle")
        processes.wait_until_calm(kinds)
        return Idle(
            sockets=load.sockets,
            kib=taken * 1024 / load.sockets,
            opening=sum(opening.values()) * 1000 / load.sockets,
            seconds=load.idle_seconds,
            without=without,
            with_them=with_them,
        )

    def _shares(self, seconds: float) -> dict[str, float]:
        """Measure the percent of a core that each kind uses during the next seconds."""
        started, before = time.monotonic(), processes.cpu(self.product.kinds)
        time.sleep(seconds)
        used = processes.difference(before, processes.cpu(self.product.kinds))
        taken = time.monotonic() - started
        return {kind: 100 * each / taken for kind, each in used.items()}

    # ------------------------------------------------------------------ long sessions

    def attach(self) -> list[Attach]:
        """Attach to a long session in every way."""
        results = []
        for folded in (True, False):
            key = "long-folded" if folded else "long"
            # At once, because the service folds the log after a minute.
            (last,) = self.product.fill([{"key": key, "turns": self.load.long_turns, "pieces": 195, "fold": folded}])
            for way in ways(last, folded=folded):
                url = self.product.urls([f"/ws/{key}{way.query}"])[0]
                how = {"subprotocol": way.subprotocol, "after": way.after, "until": way.until}
                answers = [self.client.ask("attach", url=url, **how) for _ in range(self.load.attaches)]
                taken = [answer["seconds"] * 1000 for answer in answers]
                results.append(
                    Attach(
                        events=last,
                        folded=folded,
                        how=way.name,
                        judged=way.judged,
                        frames=answers[0]["frames"],
                        p50=median(taken),
                        worst=max(taken),
                    )
                )
        return results

    def set_up(self) -> list[SetUp]:
        """Start turns in conversations of different lengths."""
        lengths = self.load.histories
        keys = [f"history-{length}" for length in lengths]
        self.product.fill(
            [{"key": key, "turns": n // 2, "pieces": 0, "fold": False} for key, n in zip(keys, lengths, strict=True)]
        )
        results = []
        for key, length in zip(keys, lengths, strict=True):
            urls = self.product.urls([f"/ws/{key}"])
            self.client.ask("open", group=key, urls=urls, subprotocol=EVENTS)
            accepted, sent = [], []
            for i in range(self.load.set_ups + 1):
                turn = self.talk(key, f"{key}-{i}", tokens=1)["turns"][0]
                asked = self.provider.when("asked", turn["wish_id"])
                if i and asked:
                    accepted.append((asked - turn["accepted"]) * 1000)
                    sent.append((asked - turn["sent"]) * 1000)
            self.client.ask("close", group=key)
            results.append(
                SetUp(messages=length, turns=len(sent), from_accepted=median(accepted), from_sent=median(sent))
            )
        return results

    def cancel(self) -> Cancel:
        """Cancel turns, half of them while the model streams and half while it is silent."""
        taken: dict[bool, list[float]] = {False: [], True: []}
        missed = 0
        for silent in taken:
            group = f"stop-{silent}"
            self.open(group, self.load.stops // 2)
            self.talk(group, f"{group}-warm", tokens=1)
            for turn in self.client.ask("stop", group=group, prefix=group, silent=silent)["turns"]:
                closed = self.provider.when("closed", turn["wish_id"])
                taken[silent] += [(closed - turn["cancelled"]) * 1000] if closed else []
                missed += closed is None
            self.client.ask("close", group=group)
        both = taken[False] + taken[True]
        return Cancel(
            stops=len(both) + missed,
            missed=missed,
            p50=percentile(both, 0.5),
            p95=percentile(both, 0.95),
            speaking_p50=percentile(taken[False], 0.5),
            silent_p50=percentile(taken[True], 0.5),
        )

"""Compares the APIs for completions with the WebSocket: the same turns, by turns, in the same minutes."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, Protocol

from bench.figures import ApiRow, Row, medians, parse_turn, percentile
from bench.measurements import Measurements, say
from bench.requests import APIS
from bench.sockets import EVENTS

SOCKET = "WebSocket"
#: Streams at once: many enough to measure processor time, and few enough for two cores.
STREAMS = 16


class Talk(Protocol):
    """Runs so many turns at once."""

    def __call__(self, prefix: str, count: int, tokens: int) -> dict[str, Any]: ...


def compare(it: Measurements) -> list[ApiRow]:
    """Return a row for the WebSocket and one for each API."""
    talks: dict[str, Talk] = {SOCKET: _on_sockets(it)}
    talks |= {name: _requests(it, name) for name in APIS}
    names = (f"api-{number}" for number in itertools.count(1))
    firsts: dict[str, list[float]] = {name: [] for name in talks}
    rows: dict[str, list[Row]] = {name: [] for name in talks}
    for talk in talks.values():
        talk(next(names), 2, 5)
    # Each after the other, so that whatever else the machine does falls on all of them.
    for _ in range(it.load.first_turns):
        for name, talk in talks.items():
            answer = talk(next(names), 1, 5)
            firsts[name] += parse_turn(answer["turns"][0], 5).added[:1]
    for _ in range(it.load.runs):
        for name, talk in talks.items():
            rows[name].append(it.run(partial(talk, count=STREAMS, tokens=it.load.tokens)))
    it.client.ask("close", group="api-sockets")
    results = [_row(name, firsts[name], rows[name]) for name in talks]
    for each in results:
        say(f"  {each.api}: first token p50 {each.first_p50:.1f} ms, {each.cpu_of_all:.0f} µs/token")
    return results


def _row(name: str, firsts: list[float], rows: list[Row]) -> ApiRow:
    of_all = medians(rows)
    return ApiRow(
        api=name,
        turns=len(firsts),
        first_p50=percentile(firsts, 0.5),
        first_p95=percentile(firsts, 0.95),
        streams=of_all.streams,
        finished=of_all.finished,
        added_p50=of_all.added_p50,
        cpu=of_all.cpu,
        faults=of_all.faults,
    )


def _on_sockets(it: Measurements) -> Talk:
    paths = [f"/ws/api-{number}" for number in range(STREAMS)]
    it.client.ask("open", group="api-sockets", urls=it.product.urls(paths), subprotocol=EVENTS)

    def talk(prefix: str, count: int, tokens: int) -> dict[str, Any]:
        return it.talk("api-sockets", prefix, tokens=tokens, count=count)

    return talk


def _requests(it: Measurements, name: str) -> Talk:
    def talk(prefix: str, count: int, tokens: int) -> dict[str, Any]:
        urls = it.product.urls([APIS[name].path] * count)
        return it.client.ask(
            "request",
            api=name,
            urls=urls,
            prefix=prefix,
            tokens=tokens,
            rate=it.load.rate,
            patience=it.load.patience(tokens),
        )

    return talk

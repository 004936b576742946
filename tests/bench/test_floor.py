"""Provider, relay and load client as processes: their mistakes would look like the service's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bench.figures import parse_turn
from bench.programs import Client, Provider, Relay

pytestmark = pytest.mark.live


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as it:
        yield it


@pytest.fixture
def client(provider: Provider) -> Iterator[Client]:
    with Relay(provider) as relay, Client() as it:
        it.ask("open", group="bench", urls=[relay.url] * 3, subprotocol="")
        yield it


@pytest.mark.parametrize("rate", [0, 200])
def test_every_token_comes_once_and_in_order(client: Client, rate: int) -> None:
    for prefix in ("one", "two"):
        turns = client.ask("talk", group="bench", prefix=prefix, tokens=20, rate=rate, patience=30)["turns"]
        streams = [parse_turn(turn, 20) for turn in turns]
        assert [stream.fault for stream in streams] == [""] * 3
        assert all(delay > 0 for stream in streams for delay in stream.added)


def test_a_turn_that_does_not_end_is_noticed(client: Client, provider: Provider) -> None:
    turns = client.ask("talk", group="bench", prefix="slow", tokens=1000, rate=50, patience=0.5)["turns"]
    assert "did not end" in parse_turn(turns[0], 1000).fault
    assert provider.when("asked", "slow-0")


def test_the_provider_sees_a_connection_closed_early(client: Client, provider: Provider) -> None:
    client.ask("talk", group="bench", prefix="whole", tokens=2, rate=50, patience=30)
    client.ask("talk", group="bench", prefix="cut", tokens=1000, rate=50, patience=0.2)
    client.ask("close", group="bench")
    # The relay stops reading when it cannot send any more.
    assert provider.when("closed", "cut-0", 10)
    assert provider.when("closed", "whole-0", 0) is None


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_loop_begins_a_turn_when_one_has_ended(client: Client, at_once: int) -> None:
    asked: dict[str, Any] = {"seconds": 0.3, "tools": 0, "at_once": at_once}
    turns = client.ask("cycle", group="bench", prefix="loop", **asked)["turns"]
    assert len(turns) > 3
    assert [parse_turn(turn, 1).fault for turn in turns] == [""] * len(turns)
    for turn in turns:
        assert sum(other["sent"] <= turn["sent"] < other["ended"] for other in turns) <= at_once

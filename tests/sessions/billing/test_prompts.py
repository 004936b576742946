"""Which pieces of prompts a worker knows to be stored."""

from __future__ import annotations

import uuid

import pytest

from sessions.billing import prompts
from sessions.billing.prompts import Remembered
from tests.cpu import cpu_seconds


def digests(*numbers: int) -> frozenset[bytes]:
    return frozenset(number.to_bytes(16) for number in numbers)


def test_the_sessions_used_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "MAX_REMEMBERED", 6)
    monkeypatch.setattr(prompts, "MAX_REMEMBERED_OF_SESSION", 4)
    remembered, (alice, bob, carol) = Remembered(), (uuid.uuid4() for _ in range(3))
    remembered.add(alice, digests(1, 2))
    remembered.add(bob, digests(1, 2, 3))
    # Known ones count once.
    remembered.add(alice, digests(2, 3))
    assert (remembered.of(alice), remembered.of(bob)) == (digests(1, 2, 3), digests(1, 2, 3))
    remembered.add(carol, digests(1))
    assert (remembered.of(alice), remembered.of(bob)) == (digests(1, 2, 3), digests())
    # Over its own limit a session keeps what it has just used.
    remembered.add(alice, digests(4, 5))
    assert (remembered.of(alice), remembered.of(carol)) == (digests(4, 5), digests(1))
    remembered.add(bob, digests(1, 2, 3))
    assert [len(remembered.of(each)) for each in (alice, bob, carol)] == [2, 3, 1]


def test_a_step_costs_no_more_when_many_sessions_are_remembered() -> None:
    few, many = Remembered(), Remembered()
    for number in range(30_000):
        many.add(uuid.uuid4(), digests(number, number + 1, number + 2))

    def add_to(remembered: Remembered) -> None:
        for _ in range(100):
            remembered.add(uuid.uuid4(), digests(1, 2, 3))

    # Counting all sessions in each step took a thousand times as long.
    assert cpu_seconds(lambda: add_to(many)) < 20 * cpu_seconds(lambda: add_to(few)) + 0.01

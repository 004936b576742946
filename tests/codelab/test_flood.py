"""What is a flood and what is only a fast client."""

from __future__ import annotations

from codelab.flood import BURST, MAX_WAITING, MAX_WAITING_BYTES, RATE, Allowance


def test_a_client_that_waits_for_each_answer_may_be_as_fast_as_it_likes() -> None:
    allowance = Allowance()
    assert all(allowance.covers(200_000, waiting=0, now=1.0) for _ in range(10_000))


def test_frames_that_nobody_handles_are_a_flood() -> None:
    allowance = Allowance()
    taken = [allowance.covers(10, waiting=waiting, now=1.0) for waiting in range(MAX_WAITING + 1)]
    assert taken == [True] * MAX_WAITING + [False]


def test_bytes_that_nobody_handles_are_a_flood() -> None:
    allowance, size = Allowance(), 256 * 1024
    taken = [allowance.covers(size, waiting=waiting, now=1.0) for waiting in range(17)]
    assert size * 16 == MAX_WAITING_BYTES
    assert taken == [True] * 16 + [False]
    assert allowance.covers(size, waiting=0, now=1.0)


def test_a_client_that_never_waits_gets_a_burst_and_then_a_rate() -> None:
    allowance = Allowance(counted_at=10.0)
    burst = sum(allowance.covers(10, waiting=1, now=10.0) for _ in range(1000))
    assert burst == BURST
    allowance = Allowance(counted_at=10.0)
    for i in range(1, 20 * int(RATE)):
        assert allowance.covers(10, waiting=1, now=10.0 + i / RATE)
    assert not all(allowance.covers(10, waiting=1, now=40.0 + i / (3 * RATE)) for i in range(3 * int(BURST)))

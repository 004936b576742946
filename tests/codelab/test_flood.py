"""What counts as a flood, and what is only a fast client."""

from __future__ import annotations

from codelab.flood import BURST_FRAMES, FRAMES_PER_SECOND, MAX_WAITING_BYTES, MAX_WAITING_FRAMES, TokenBucket


def test_a_client_that_waits_for_each_answer_may_be_as_fast_as_it_likes() -> None:
    bucket = TokenBucket()
    assert all(bucket.consume(200_000, waiting=0, now=1.0) for _ in range(10_000))


def test_too_many_waiting_frames_are_a_flood() -> None:
    bucket = TokenBucket()
    accepted = [bucket.consume(10, waiting=waiting, now=1.0) for waiting in range(MAX_WAITING_FRAMES + 1)]
    assert accepted == [True] * MAX_WAITING_FRAMES + [False]


def test_too_many_waiting_bytes_are_a_flood() -> None:
    bucket, size = TokenBucket(), 256 * 1024
    accepted = [bucket.consume(size, waiting=waiting, now=1.0) for waiting in range(17)]
    assert size * 16 == MAX_WAITING_BYTES
    assert accepted == [True] * 16 + [False]
    assert bucket.consume(size, waiting=0, now=1.0)


def test_a_client_that_never_waits_gets_a_burst_and_then_a_rate() -> None:
    bucket = TokenBucket(refilled_at=10.0)
    burst = sum(bucket.consume(10, waiting=1, now=10.0) for _ in range(1000))
    assert burst == BURST_FRAMES
    bucket = TokenBucket(refilled_at=10.0)
    for i in range(1, 20 * int(FRAMES_PER_SECOND)):
        assert bucket.consume(10, waiting=1, now=10.0 + i / FRAMES_PER_SECOND)
    assert not all(
        bucket.consume(10, waiting=1, now=40.0 + i / (3 * FRAMES_PER_SECOND)) for i in range(3 * int(BURST_FRAMES))
    )

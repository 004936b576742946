"""Events are the same wherever the network cuts them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm import sse
from llm.sse import EventReader, EventTooLongError

LINES = st.lists(st.sampled_from([b"data: a", b"data:b", b"data", b": c", b"event: x", b"data: \xd0\x9f", b"", b""]))


@given(lines=LINES, ends=st.data())
def test_cuts_change_nothing(lines: list[bytes], ends: st.DataObject) -> None:
    stream = b"".join(line + ends.draw(st.sampled_from([b"\n", b"\r\n"])) for line in lines)
    whole = EventReader().feed(stream)
    cuts = sorted(ends.draw(st.lists(st.integers(0, len(stream)))))
    events = EventReader()
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [event for piece in pieces for event in events.feed(piece)] == whole


def test_a_line_end_that_is_cut_in_two_swallows_no_second_one() -> None:
    events = EventReader()
    assert [events.feed(piece) for piece in (b"data: a\r", b"\n", b"\n")] == [[], [], [b"a"]]


def test_the_standards_own_examples() -> None:
    assert EventReader().feed(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [b"YHOO\n+2\n10"]
    assert EventReader().feed(
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third"
    ) == [b"first event", b"second event"]


def test_memory_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    with pytest.raises(EventTooLongError):
        EventReader().feed(b"data: " + b"x" * 1000)
    events = EventReader()
    with pytest.raises(EventTooLongError):
        for _ in range(20):
            events.feed(b"data: " + b"x" * 100 + b"\n")


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b'{"a":['] + [b"}"] * 50_000, id="JSON of many lines that never ends"),
        pytest.param([b'data: {"a":[' + b"1," * 200_000] + [b"event: x"] * 20_000, id="an event before long data end"),
    ],
)
def test_data_that_never_end_are_not_parsed_again_and_again(lines: list[bytes]) -> None:
    stream = b"\n".join(lines) + b"\n"
    started = time.process_time()
    EventReader().feed(stream)
    # A tenth of a second. Parsed at each line it is minutes.
    assert time.process_time() - started < 5

"""The frames for clients without `codelab.v2`: each text once in `token`, whole in `content`, below 1 MiB."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from sessions.api.shown_text import MAX_TEXT_BYTES, ShownText, split_text
from sessions.api.websocket.dialects import Dialect, frames_of
from sessions.events.log import LoggedEvent
from sessions.models import EventKind
from tests.clients import benchmark, editor, terminal

TOKENS = Dialect(tokens=True, agents=False)
MESSAGES = Dialect(tokens=False, agents=False)


class Log:
    """Events of one turn, and the frames that a socket is sent of them."""

    def __init__(self) -> None:
        self.events: list[LoggedEvent] = []

    def add(self, kind: EventKind, **payload: Any) -> None:
        payload = {"turn_id": "t", **payload}
        self.events.append(LoggedEvent(uuid.UUID(int=1), len(self.events) + 1, kind, payload))

    def piece(self, message: str, text: str, **more: Any) -> None:
        self.add(EventKind.TEXT_DELTA, message_id=message, text=text, **more)

    def message(self, message: str, text: str, **more: Any) -> None:
        self.add(EventKind.MESSAGE_ADDED, message_id=message, role="assistant", content=text, **more)

    def texts(self, dialect: Dialect, after: int = 0) -> list[str]:
        shown = ShownText()
        return [text for event in self.events[after:] for text in frames_of(event, dialect, shown)]

    def frames(self, dialect: Dialect, after: int = 0) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.texts(dialect, after)]


def printed(frames: list[dict[str, Any]]) -> str:
    """Return what a client shows that prints each `token`."""
    return "".join(frame["token"] for frame in frames)


def test_a_client_that_prints_tokens_and_one_that_takes_the_final_content_have_the_answer_once() -> None:
    log = Log()
    for text in ("Hel", "lo ", "there"):
        log.piece("m", text)
    log.message("m", "Hello there")

    frames = log.frames(TOKENS)
    naive, joining = terminal.Reader(), benchmark.Reader()
    for text in log.texts(TOKENS):
        naive.take(text)
        joining.take(text)

    assert naive.printed == joining.answer == frames[-1]["content"] == "Hello there"
    assert (frames[-1]["token"], frames[-1]["is_final"], frames[-1]["number"]) == ("", True, 4)
    assert all("content" not in frame for frame in frames[:-1])


def test_whole_messages_have_the_text_under_both_names() -> None:
    log = Log()
    log.piece("m", "Hello")
    log.message("m", "Hello")
    (frame,) = log.frames(MESSAGES)
    assert (frame["token"], frame["content"], frame["is_final"]) == ("Hello", "Hello", True)


@pytest.mark.parametrize("after", [1, 2])
def test_a_client_that_comes_back_gets_the_rest_of_the_pieces(after: int) -> None:
    log = Log()
    log.piece("m", "Hello")
    log.piece("m", " there")
    log.message("m", "Hello there")
    before = [json.loads(text) for event in log.events[:after] for text in frames_of(event, TOKENS, ShownText())]
    assert printed(before + log.frames(TOKENS, after)) == "Hello there"


def test_text_that_another_worker_repeats_is_printed_once() -> None:
    log = Log()
    log.piece("m1", "Hello th")
    for text in ("Hello ", "there"):
        log.piece("m2", text, again=True)
    log.message("m2", "Hello there", tool_calls=[{"id": "c", "name": "t", "arguments": {}}])
    log.piece("m3", "Bye")
    log.message("m3", "Bye")

    frames = log.frames(TOKENS)
    assert printed(frames) == "Hello thereBye"
    assert [frame.get("number") for frame in frames] == [1, 4, 5, 6]


def test_another_text_of_another_worker_is_printed_whole() -> None:
    log = Log()
    log.piece("m1", "Good day")
    log.piece("m2", "Hello", again=True)
    log.message("m2", "Hello")
    frames = log.frames(TOKENS)
    assert [frame["token"] for frame in frames] == ["Good day", "Hello", ""]
    assert frames[-1]["content"] == "Hello"


@pytest.mark.parametrize("text", ["word " * 400_000, "строка\n" * 150_000, "\x01" * 600_000, "😀" * 500_000])
@pytest.mark.parametrize("dialect", [TOKENS, MESSAGES])
def test_no_frame_reaches_one_mebibyte(text: str, dialect: Dialect) -> None:
    log = Log()
    # As compaction leaves it.
    log.piece("m", text)
    log.message("m", text)

    texts = log.texts(dialect)
    assert max(len(each.encode()) for each in texts) < benchmark.MAX_FRAME_BYTES
    frames = [json.loads(each) for each in texts]
    joining, bubbles = benchmark.Reader(), editor.Reader()
    for each in texts:
        joining.take(each)
        bubbles.take(each)
    assert joining.answer == text
    assert "".join(bubbles.bubbles) == text
    assert [frame["is_final"] for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert [frame["number"] for frame in frames if "number" in frame] == ([1, 2] if dialect.tokens else [2])
    assert {frame["message_id"] for frame in frames} == {"m"}


def test_a_text_is_cut_between_lines() -> None:
    parts = list(split_text("line\n" * 250_000))
    assert len(parts) == 2
    assert all(part.endswith("line\n") and len(part) <= MAX_TEXT_BYTES for part in parts)
    assert list(split_text("")) == [""]

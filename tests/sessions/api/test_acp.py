"""The Agent Client Protocol without an editor: what its messages are made of, and what they cannot do to a process."""

from __future__ import annotations

import time

import pytest

from sessions.api.acp.tool_views import blocks_of


def block(old: str, new: str, line_end: str = "\n") -> str:
    return f"<<<<<<< SEARCH{line_end}{old}======={line_end}{new}>>>>>>> REPLACE"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", " \t\n"])
def test_the_blocks_of_a_diff_are_read_whatever_ends_its_lines(line_end: str) -> None:
    diff = block("a\nb\n", "", line_end) + line_end + block("c\n", "d\n", line_end)
    assert blocks_of(diff) == [("a\nb\n", ""), ("c\n", "d\n")]


def test_a_bad_diff_of_a_model_holds_up_no_process() -> None:
    started = time.process_time()
    assert blocks_of("<<<<<<< SEARCH\n" * 60_000) == []
    assert time.process_time() - started < 1

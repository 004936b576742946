"""The format of apply_diff (docs/protocol.md): whole lines, exactly once, all blocks or none; line ends stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codelab_cli.outcome import ToolFailed
from codelab_cli.tools import blocks
from tests.cli.tools.conftest import Runner


def diff(*pairs: tuple[str, str]) -> str:
    return "\n".join(
        f"<<<<<<< SEARCH\n{old}{'\n' if old else ''}=======\n{new}{'\n' if new else ''}>>>>>>> REPLACE"
        for old, new in pairs
    )


def apply(text: str, *pairs: tuple[str, str]) -> str:
    return blocks.apply(text, blocks.parse(diff(*pairs)), "a.py")


@pytest.mark.parametrize(
    ("text", "old", "new", "result"),
    [
        ("a\nb\nc\n", "b", "x\ny", "a\nx\ny\nc\n"),
        ("a\nb\nc\n", "b", "", "a\nc\n"),
        ("a\nb\nc\n", "a\nb\nc", "x", "x\n"),
        ("a\nb\nc\n", "a\nb\nc", "", ""),
        ("x = 1\nx = 10\n", "x = 1", "x = 2", "x = 2\nx = 10\n"),
        ("a\nb", "b", "c\nd", "a\nc\nd"),
        ("a\nb", "b", "", "a\n"),
        ("a\nb", "a", "c", "c\nb"),
        ("a\r\nb\r\nc\r\n", "b", "x\ny", "a\r\nx\r\ny\r\nc\r\n"),
        ("a\r\nb", "b", "x\ny", "a\r\nx\r\ny"),
        ("a\r\nb\nc\r\n", "b", "x", "a\r\nx\nc\r\n"),
        ("a\n\nb\n", "", "", None),
        ("", "", "new", "new\n"),
        ("  a\n", "a", "b", None),
        ("a\na\n", "a", "b", None),
        ("a\na\na\n", "a\na", "b", None),
    ],
)
def test_lines_are_replaced(text: str, old: str, new: str, result: str | None) -> None:
    if result is None:
        with pytest.raises(ToolFailed):
            apply(text, (old, new))
    else:
        assert apply(text, (old, new)) == result


def test_a_blank_line_is_a_line() -> None:
    given = "<<<<<<< SEARCH\n\n=======\nx\n>>>>>>> REPLACE"
    assert blocks.apply("a\n\nb\n", blocks.parse(given), "a") == "a\nx\nb\n"


def test_blocks_apply_in_order_each_to_the_result_of_the_one_before() -> None:
    assert apply("a\nb\n", ("a", "c"), ("c\nb", "d")) == "d\n"


def test_an_error_names_the_block_and_how_often_it_was_found() -> None:
    with pytest.raises(ToolFailed, match=r"Block 2 of 2: .* begins with 'zz', was found 0 times in a\.py"):
        apply("a\nb\n", ("a", "c"), ("zz", "d"))
    with pytest.raises(ToolFailed, match=r"Block 1 of 1: .* was found 3 times"):
        apply("a\na\na\n", ("a", "c"))
    with pytest.raises(ToolFailed, match="A line like its first one is line 2"):
        apply("a\n\tb\n", ("b", "c"))


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "--- a\n+++ b\n@@ -1 +1 @@\n-a\n+b\n",
        "<<<<<<< SEARCH\na\n=======\nb\n",
        "<<<<<<< SEARCH\na\n>>>>>>> REPLACE",
        "=======\n>>>>>>> REPLACE",
        "<<<<<<< SEARCH\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE",
        "<<<<<<< SEARCH\na\n=======\nb\n=======\nc\n>>>>>>> REPLACE",
    ],
)
def test_broken_blocks_are_refused(broken: str) -> None:
    with pytest.raises(ToolFailed):
        blocks.parse(broken)


def test_text_around_blocks_and_windows_line_ends_of_a_diff_are_taken() -> None:
    given = "Here it is:\r\n" + diff(("a", "b")).replace("\n", "\r\n") + "  \r\nDone."
    assert blocks.apply("a\n", blocks.parse(given), "a") == "b\n"


def test_many_equal_lines_take_no_time() -> None:
    with pytest.raises(ToolFailed, match="at least 100 times"):
        apply("a\n" * 100_000, ("a\n" * 20_000 + "a", "b"))


LINES = st.lists(st.sampled_from(["a", "b", "", " a", "a ", "ж", "\ta"]), max_size=12)
ENDS = st.sampled_from(["\n", "\r\n"])


@given(parts=st.tuples(LINES, LINES.filter(bool), LINES, LINES), end=ENDS, is_open=st.booleans())
def test_exactly_the_lines_that_were_found_change(
    parts: tuple[list[str], list[str], list[str], list[str]], end: str, is_open: bool
) -> None:
    head, old, new, tail = parts
    marked = ["here", *old]
    whole = [*head, *marked, *tail]
    text = "".join(f"{line}{end}" for line in whole)
    if is_open:
        text = text.removesuffix(end)
    given = "\n".join(["<<<<<<< SEARCH", *marked, "=======", *new, ">>>>>>> REPLACE"])

    changed = "".join(f"{line}{end}" for line in [*head, *new, *tail])
    # Without its last line end a file may end in an empty line, which is none.
    ends_there = is_open and (bool(tail) or bool(new))
    if is_open and (not tail and not marked[-1]):
        return
    if is_open and tail and not tail[-1]:
        return
    expected = changed.removesuffix(end) if ends_there else changed
    assert blocks.apply(text, blocks.parse(given), "a") == expected


@given(
    text=st.text(alphabet="ab\r\n\u2028 ", max_size=40),
    search=st.lists(st.text(alphabet="ab \r", max_size=4), min_size=1),
)
def test_what_is_applied_matches_one_place(text: str, search: list[str]) -> None:
    given = "\n".join(["<<<<<<< SEARCH", *search, "=======", *search, ">>>>>>> REPLACE"])
    try:
        result = blocks.apply(text, blocks.parse(given), "a")
    except ToolFailed:
        return
    # Replaced by itself, only line ends that the model cannot see may differ.
    assert result.replace("\r", "") == text.replace("\r", "")


async def test_a_file_is_changed_whole_or_not_at_all(tools: Runner, root: Path) -> None:
    (root / "a.py").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    (root / "a.py").chmod(0o755)

    assert "Block 2" in await tools.error("apply_diff", path="a.py", diff=diff(("one", "1"), ("zwei", "2")))
    assert (root / "a.py").read_bytes() == b"\xef\xbb\xbfone\r\ntwo\r\n"
    result = await tools.result("apply_diff", path="a.py", diff=diff(("one", "1"), ("two", "2")))
    assert (result["success"], result["path"], result["blocks_applied"]) == (True, "a.py", 2)
    assert (root / "a.py").read_bytes() == b"\xef\xbb\xbf1\r\n2\r\n"
    assert (root / "a.py").stat().st_mode & 0o777 == 0o755
    assert "-one" in result["diff"]
    assert "+1" in result["diff"]


async def test_other_encodings_keep_their_bytes(tools: Runner, root: Path) -> None:
    (root / "old.txt").write_bytes("привет\nhi\n".encode("cp1251"))
    (root / "wide.txt").write_bytes("\ufeffпривет\r\nhi\r\n".encode("utf-16-le"))

    await tools.result("apply_diff", path="old.txt", diff=diff(("hi", "ho")))
    assert (root / "old.txt").read_bytes() == "привет\nho\n".encode("cp1251")
    assert "not UTF-8" in await tools.error("apply_diff", path="old.txt", diff=diff(("ho", "да")))
    await tools.result("apply_diff", path="wide.txt", diff=diff(("hi", "да")))
    assert (root / "wide.txt").read_bytes() == "\ufeffпривет\r\nда\r\n".encode("utf-16-le")
    (root / "data").write_bytes(b"a\n\0\n")
    assert "binary file" in await tools.error("apply_diff", path="data", diff=diff(("a", "b")))

"""Markdown as trees: what each construct becomes, and that no character of an answer vanishes."""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessions.api.markdown import tree
from sessions.api.markdown.documents import characters, is_kept, render


def blocks(text: str) -> list[Any]:
    return render(text, is_open=False).blocks


def names(node: Any) -> Iterator[str]:
    if not isinstance(node, str):
        yield node[0]
        if node[0] != "pre":
            for child in node[2:]:
                yield from names(child)


def shown(nodes: list[Any]) -> str:
    return "".join(text for node in nodes for text in tree.texts(node))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# One *two*", [["h1", {}, "One ", ["em", {}, "two"]]]),
        ("a\nb  \nc", [["p", {}, "a\nb", ["br", {}], "c"]]),
        ("1) a\n7) b", [["ol", {}, ["li", {"value": "1"}, "a"], ["li", {"value": "7"}, "b"]]]),
        ("- [x] a\n- [ ] b", [["ul", {}, ["li", {"checked": True}, "a"], ["li", {"checked": False}, "b"]]]),
        ("````md\n```inner\n```\n````", [["pre", {"info": "md"}, "```inner\n```"]]),
        ("~~~ py x=1\n1\n~~~", [["pre", {"info": "py x=1"}, ["number", "1"]]]),
        ("```mermaid\ngraph TD\n```", [["pre", {"info": "mermaid"}, "graph TD"]]),
        ("$x_1$ and \\(y\\)", [["p", {}, ["math", {}, "$x_1$"], " and ", ["math", {}, "\\(y\\)"]]]),
        ("\\[\nx\n=\ny\n\\]", [["pre", {"math": True}, "\\[\nx\n=\ny\n\\]"]]),
        ("$5 and $6", [["p", {}, "$5 and $6"]]),
        (
            "a[^n]\n\n[^n]: b",
            [["p", {}, "a", ["ref", {"label": "n"}]], ["footnote", {"label": "n"}, ["p", {}, "b"]]],
        ),
        ("[^n]: unused", [["footnote", {"label": "n"}, ["p", {}, "unused"]]]),
        ('[r]: https://x.y "t"', [["definition", {}, '[r]: https://x.y "t"']]),
        ("[a](https://x.y)", [["p", {}, ["a", {"href": "https://x.y"}, "a"]]]),
        ("mailto:a@x.y", [["p", {}, ["a", {"href": "mailto:a@x.y"}, "mailto:a@x.y"]]]),
        (
            "https://x.y/%20ü README.md",
            [["p", {}, ["a", {"href": "https://x.y/%20ü"}, "https://x.y/%20ü"], " README.md"]],
        ),
        ("![a](https://x.y/z.png)", [["p", {}, ["image", {"href": "https://x.y/z.png"}, "a"]]]),
        ("<b>x</b> &amp; &copy;", [["p", {}, "<b>x</b> & ©"]]),
        ("<script>\nx\n</script>", [["p", {}, "<script>\nx\n</script>"]]),
        ("~~a~~ `b`", [["p", {}, ["s", {}, "a"], " ", ["code", {}, "b"]]]),
    ],
)  # fmt: skip
def test_constructs(text: str, expected: list[Any]) -> None:
    assert blocks(text) == expected


def test_a_table_keeps_the_cells_that_its_head_has_no_column_for() -> None:
    (table,) = blocks("| a | b |\n|---|--:|\n| 1 | 2 | `3` | |\n")
    assert table[3][2] == ["tr", {}, ["td", {}, "1"], ["td", {"align": "right"}, "2"], ["td", {}, ["code", {}, "3"]]]


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\\\nscript:x",
        "&#106;avascript:x",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.example",
        "/admin/",
        "#key",
        "blob:x",
        "https:",
        "ftp://x.y",
    ],
)
def test_other_addresses_are_not_links(address: str) -> None:
    for text in (f"[a]({address})", f"<{address}>", f"![a]({address})", f"[a]\n\n[a]: {address}", address):
        assert {"a", "image"}.isdisjoint(name for block in blocks(text) for name in names(block))
        assert is_kept(text, shown(blocks(text)))


def test_what_is_nested_too_deep_is_shown_as_it_was_written() -> None:
    text = "> " * 150 + "deep"
    assert blocks(f"a\n\n{text}\n\nb") == [["p", {}, "a"], ["plain", {}, text], ["p", {}, "b"]]
    lists = "".join(f"{'  ' * level}- {level}\n" for level in range(80))
    assert is_kept(lists, shown(blocks(lists)))


def test_what_a_label_repeats_is_kept_by_the_link() -> None:
    text = "[Text][Straße Nr. 1]\n\n[straße nr. 1]: https://x.y"
    assert blocks(text)[0][0] == "p"
    assert is_kept(text, shown(blocks(text)))


#: What Markdown is made of, in an order that it was not made for.
PARTS = st.sampled_from(
    [
        *("# ", "- ", "* ", "1. ", "12) ", "> ", "    ", "\t", "- [x] ", "[ ] ", "\n", "\n\n", "  \n", "---\n"),
        *("```", "````py\n", "~~~\n", "`", "``", "**", "*", "__", "_", "~~", "|", "===\n", "<div>", "<!-- c -->"),
        *("[a](https://x.y)", "[b](javascript:1)", "![i](https://x.y)", "[r]", "[r]: https://x.y 't'\n"),
        *("| a | b |\n|---|:-:|\n| 1 | 2 | 3 |\n", "<https://x.y>", "[^1]", "[^1]: ", "https://x.y/ä?q=1&copy=2"),
        *(
            "&amp;",
            "&copy;",
            "&#x41;",
            "\\",
            "\\*",
            "$x$",
            "$$\n",
            "\\(",
            "\\)",
            "\\[",
            "\\]",
            "[",
            "](",
            ")",
            "]",
            "!",
        ),
        *(
            "word",
            "слово",
            "שלום",
            "日本",
            "e\u0301",
            "👩\u200d💻",
            "\u202e",
            "\u00a0",
            "\r\n",
            "\r",
            "ſß",
            "\ufeff",
            "\x0b",
        ),
        *("def f(): return '''", '"', "'"),
    ]
)
TEXTS = st.lists(PARTS | st.text(max_size=5), max_size=25).map("".join)


@given(TEXTS)
@example("```inner\n```\n````")
@example("````md\n```inner\n```\n````")
@example("| a |\n|---|\n| b | c | d |")
@example("\\[a\\] behind")
@example("[x]: https://x.y\n[x]: https://z.z 'other'")
@example("- a\n\n      code\n  1. b\n> c")
def test_no_character_of_an_answer_is_missing(text: str) -> None:
    document = render(text, is_open=False)
    assert is_kept(text, shown(document.blocks))
    assert document.length == len(text.encode("utf-16-le", "surrogatepass")) // 2


@given(TEXTS, st.lists(st.integers(0, 200), max_size=6))
@example("```py\nx\n```\nafter", [6, 8, 12])
@example("para\n#tag", [6])
@example("| a |\n|---|\n| b |", [6, 10])
def test_no_character_is_missing_wherever_the_stream_is_cut(text: str, cuts: list[int]) -> None:
    """Plays the page: finished blocks stay, and what is behind them is text."""
    page: list[Any] = []
    done = 0
    for cut in sorted({min(cut, len(text)) for cut in cuts}):
        rest = text[:cut].encode("utf-16-le", "surrogatepass")[2 * done :].decode("utf-16-le", "surrogatepass")
        document = render(rest, is_open=True)
        page += document.blocks
        done += document.length
        rest = rest.encode("utf-16-le", "surrogatepass")[2 * document.length :].decode("utf-16-le", "surrogatepass")
        assert is_kept(text[:cut], shown(page) + rest)


@given(st.text(st.sampled_from(string.punctuation + " \n\tab1"), max_size=60))
def test_code_is_exact(code: str) -> None:
    fence = "`" * 61
    (block,) = blocks(f"{fence}py\n{code}\n{fence}")
    given = "".join(piece if isinstance(piece, str) else piece[1] for piece in block[2:])
    # The parser takes tabs and all other characters of code as they are.
    assert given == code


def test_an_open_text_has_only_blocks_that_no_further_line_can_change() -> None:
    assert render("# A\n\npara", is_open=True).blocks == render("# A\n", is_open=True).blocks == [["h1", {}, "A"]]
    assert render("# A\n\npara\n", is_open=True).blocks == [["h1", {}, "A"]]
    assert render("para\n#", is_open=True).blocks == []
    assert render("- a\n\n", is_open=True).blocks == []
    done = render("a 👩‍💻\n\n```py\n1\n```\n", is_open=True)
    assert [block[0] for block in done.blocks] == ["p", "pre"]
    assert done.length == len("a 👩‍💻\n\n```py\n1\n```\n".encode("utf-16-le")) // 2
    assert render("```py\n1\n``\n", is_open=True).blocks == []


def test_what_counts_as_a_character() -> None:
    assert characters("**a** &amp; `ß`\n") == "ASS"
    assert not is_kept("ab", "ba")
    assert is_kept("a-b", "xaxbx")

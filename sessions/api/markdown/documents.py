"""A text as blocks that lose none of its characters.

A character of an answer is each one that is neither white space nor ASCII punctuation: only those can be markup. Each
of them is in the block of its line, in the same order: in its text, or in what a person finds at it (the number of an
item, the mark of a task, the address and title of a link, the label of a reference). Entities count as what they stand
for. A block that fails this check is shown as the text that the model wrote.
"""

import html
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from markdown_it.token import Token

from sessions.api.markdown import tree
from sessions.api.markdown.highlighting import Highlighter
from sessions.api.markdown.parser import Parser
from sessions.api.markdown.tree import Node

LINE_END = re.compile(r"\r\n|\r|\n")
_MARKUP = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Document:
    """The blocks of a text, and how much of it they are, in UTF-16 units as JavaScript counts."""

    blocks: list[Node]
    length: int


@dataclass(frozen=True, slots=True)
class _Block:
    """The tokens of a block of the highest level, and its lines."""

    tokens: list[Token]
    first: int
    last: int


def render(text: str, *, is_open: bool, is_highlighted: bool = True) -> Document:
    """Return the blocks of a text; of an open one, which grows, those that no further line can change."""
    starts = [0, *(match.end() for match in LINE_END.finditer(text)), len(text)]
    # The parser's own normalization.
    lines = [LINE_END.sub("\n", text[start:end]) for start, end in pairwise(starts)]
    if is_open:
        # What a line is can change until it ends.
        lines.pop()
    source = "".join(lines)
    blocks = list(_blocks(_parser().parse(source), len(lines)))
    if is_open and blocks and not _is_closed(blocks[-1], lines):
        blocks.pop()
    highlighter = Highlighter() if is_highlighted else None
    nodes: list[Node] = []
    end = 0
    for block in blocks:
        # The parser leaves out what is too deep.
        nodes += _as_written(lines[end : block.first])
        nodes += _checked(block, lines[block.first : block.last], highlighter)
        end = block.last
    if not is_open:
        nodes += _as_written(lines[end:])
        end = len(lines)
    while end < len(lines) and not lines[end].strip():
        end += 1
    return Document(nodes, len(text[: starts[end]].encode("utf-16-le", "surrogatepass")) // 2)


@cache
def _parser() -> Parser:
    return Parser()


def _blocks(tokens: list[Token], line_count: int) -> Iterator[_Block]:
    """Yield the blocks of the highest level."""
    groups: list[list[Token]] = []
    depth = 0
    for token in tokens:
        if depth == 0:
            groups.append([])
        groups[-1].append(token)
        depth += token.nesting
    end = 0
    for index, group in enumerate(groups):
        following = groups[index + 1] if index + 1 < len(groups) else None
        first, last = group[0].map or (end, _start(following) or line_count)
        # Lists end behind the empty lines that follow.
        first, end = max(first, end), max(last, end)
        yield _Block(group, first, end)


def _start(group: list[Token] | None) -> int | None:
    return group[0].map[0] if group and group[0].map else None


def _is_closed(block: _Block, lines: list[str]) -> bool:
    """Return whether the last block of a growing text has ended, whatever comes next."""
    token = block.tokens[0]
    match token.type:
        case "heading_open":
            return token.markup.startswith("#")
        case "hr":
            return True
        case "fence":
            end = lines[block.last - 1].strip()
            return block.last - block.first > 1 and end.startswith(token.markup) and not end.strip(token.markup[0])
    return False


def _checked(block: _Block, lines: list[str], highlighter: Highlighter | None) -> list[Node]:
    source = "".join(lines)
    try:
        nodes = tree.build(block.tokens, highlighter)
    except (tree.UnknownToken, RecursionError):
        return _as_written(lines)
    shown = "".join(text for node in nodes for text in tree.texts(node))
    return nodes if is_kept(source, shown) else _as_written(lines)


def _as_written(lines: list[str]) -> list[Node]:
    source = "".join(lines).strip("\n")
    return [["plain", {}, source]] if source.strip() else []


def is_kept(source: str, shown: str) -> bool:
    """Return whether all characters of a source are shown, in their order."""
    needed, given = characters(source), characters(shown)
    if needed in given:
        return True
    rest = iter(given)
    return all(character in rest for character in needed)


def characters(text: str) -> str:
    """Return what counts as characters of an answer. Labels of references are compared as CommonMark does."""
    words = "".join(html.unescape(text).translate(_MARKUP).split())
    return words.lower().upper()

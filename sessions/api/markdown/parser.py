"""The dialect of Markdown: CommonMark with tables, task lists, footnotes, strikethrough, bare links and math.

Never lets a character vanish that the parser's defaults drop: definitions and footnotes are shown where they stand,
used or not, and the cells of a row that has more of them than the head of its table are kept.
"""

import re
from typing import Any, cast, override

from linkify_it import LinkifyIt
from markdown_it import MarkdownIt
from markdown_it.rules_block.table import escapedSplit
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.texmath import texmath_plugin

#: The only schemes of links. Everything else stays the text that the model wrote.
SAFE_LINK = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)
#: Deeper blocks are dropped by the parser, and shown as plain text then.
MAX_NESTING = 100


class Parser(MarkdownIt):
    """markdown-it-py with links as they are written."""

    def __init__(self) -> None:
        options = {
            "html": False,
            "linkify": True,
            "maxNesting": MAX_NESTING,
            "inline_definitions": True,
            "store_labels": True,
            "tasklists": True,
        }
        super().__init__("gfm-like", cast(Any, options))
        # Bare words such as `README.md` and `example.com` are no links.
        self.linkify = LinkifyIt(options={"fuzzy_link": False, "fuzzy_email": False})
        self.use(footnote_plugin, inline=False, move_to_end=False)
        self.use(dollarmath_plugin, allow_labels=False, allow_space=False, allow_digits=False, allow_blank_lines=False)
        self.use(texmath_plugin, delimiters="brackets")
        self.core.ruler.after("block", "surplus_cells", keep_surplus_cells)

    @override
    def validateLink(self, url: str) -> bool:
        return SAFE_LINK.match(url) is not None

    @override
    def normalizeLink(self, url: str) -> str:
        return url

    @override
    def normalizeLinkText(self, link: str) -> str:
        return link


def keep_surplus_cells(state: StateCore) -> None:
    """Add the cells that the parser leaves out of rows that are longer than the head; of tables in no other block."""
    if not any(token.type == "table_open" and token.level == 0 for token in state.tokens):
        return
    lines = state.src.split("\n")
    tokens: list[Token] = []
    cells = 0
    for token in state.tokens:
        if token.type == "tr_open":
            cells = 0
        elif token.type in ("td_open", "th_open"):
            cells += 1
        elif token.type == "tr_close" and token.level == 2:
            tokens.extend(_surplus(lines, tokens, cells))
        tokens.append(token)
    state.tokens = tokens


def _surplus(lines: list[str], row: list[Token], count: int) -> list[Token]:
    """Return the tokens of the cells of a row, whose tokens come last, behind the first `count` ones."""
    line = next((token.map[0] for token in reversed(row) if token.type == "tr_open" and token.map), None)
    if line is None:
        return []
    columns = escapedSplit(lines[line].strip())
    if columns and columns[0] == "":
        columns.pop(0)
    tokens = []
    for column in columns[count:]:
        if column.strip():
            cell = Token("inline", "", 0, content=column.strip(), children=[], map=[line, line + 1], level=4)
            tokens += [Token("td_open", "td", 1, level=3), cell, Token("td_close", "td", -1, level=3)]
    return tokens

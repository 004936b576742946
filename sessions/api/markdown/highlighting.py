"""Code as pieces with the kind of each, by Pygments. Never changes a character of the code."""

import re
import time
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Generic, Keyword, Name, Number, Operator, String
from pygments.token import _TokenType as TokenType
from pygments.util import ClassNotFound

#: Text, or a pair of its kind and the text.
Piece = str | list[str]

#: The kinds that the page has a colour for; the first one that the token belongs to.
KINDS = (
    (Comment, "comment"),
    (Keyword.Type, "type"),
    (Keyword, "keyword"),
    (Operator.Word, "keyword"),
    (String, "string"),
    (Number, "number"),
    (Name.Function, "function"),
    (Name.Class, "type"),
    (Name.Namespace, "type"),
    (Name.Builtin, "builtin"),
    (Name.Tag, "keyword"),
    (Name.Attribute, "attribute"),
    (Name.Decorator, "attribute"),
    (Generic.Deleted, "deleted"),
    (Generic.Inserted, "inserted"),
    (Generic.Heading, "heading"),
    (Generic.Subheading, "heading"),
)
#: Longer code is shown in one colour: a page with so many pieces would be slow.
MAX_HIGHLIGHTED_CHARACTERS = 30_000
#: Code behind what took this long in one document is shown in one colour.
BUDGET_SECONDS = 0.3
#: Names of languages have no other characters.
LANGUAGE = re.compile(r"[\w+#.-]{1,40}")


class Highlighter:
    """Highlights the code of one document within a budget of processor time."""

    def __init__(self) -> None:
        self._deadline = time.process_time() + BUDGET_SECONDS

    def pieces(self, code: str, info: str) -> list[Piece]:
        """Return the pieces of a code block whose fence has this info string."""
        language = LANGUAGE.match(info)
        if not language or len(code) > MAX_HIGHLIGHTED_CHARACTERS or time.process_time() > self._deadline:
            return [code]
        lexer = _lexer(language[0].lower())
        if lexer is None:
            return [code]
        tokens = ((_kind(kind), text) for kind, text in lexer.get_tokens(code))
        runs = [(kind, "".join(text for _, text in run)) for kind, run in groupby(tokens, itemgetter(0))]
        # A lexer must not be trusted to return all that it was given.
        if "".join(text for _, text in runs) != code:
            return [code]
        return [[kind, text] if kind else text for kind, text in runs if text]


@lru_cache(maxsize=64)
def _lexer(name: str) -> Lexer | None:
    try:
        return get_lexer_by_name(name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@lru_cache(maxsize=512)
def _kind(token: TokenType) -> str:
    return next((kind for parent, kind in KINDS if token in parent), "")

"""The words of a message, as the index of the search has them."""

from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db.models import Func

#: Longer messages than a user's come from models; the words behind are not found. PostgreSQL takes 1 MiB of them.
MAX_INDEXED_CHARACTERS = 100_000
#: PostgreSQL would keep some of these within a word, as in `src/cart.py`, and some databases do not know the others.
PUNCTUATION = ".,:;/\\-_@+~<>&#=?!*()[]{}|\"'`«»“”„‘’‚…—–·•\u00a0。、，！？：；（）【】《》"

_WORDS = (
    "(array_to_tsvector(ARRAY['@' || {owner}::text]) || "
    "to_tsvector('simple'::regconfig, translate(lower(left({content}, {length})), '{punctuation}', '{blanks}')))"
)


def words_of(owner: str, content: str) -> str:
    """Return the SQL for the words of a message, with a word that no text has for its owner."""
    return _WORDS.format(
        owner=owner,
        content=content,
        length=MAX_INDEXED_CHARACTERS,
        punctuation=PUNCTUATION.replace("'", "''"),
        blanks=" " * len(PUNCTUATION),
    )


class MessageWords(Func):
    """The expression of the index."""

    output_field = SearchVectorField()

    def __init__(self) -> None:
        super().__init__("owner_id", "content")

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL, without parameters."""
        owner, content = (compiler.compile(each)[0] for each in self.get_source_expressions())
        return words_of(owner, content), ()

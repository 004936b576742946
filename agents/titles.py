"""Titles of conversations: what a model is asked, and what is made of its answer."""

import re
import unicodedata

from agents import prompts
from agents.loop import make_storable
from llm.types import ModelMessage

#: Of the first message and of the first answer. The beginning says what the conversation is about.
MAX_QUESTION_CHARACTERS, MAX_ANSWER_CHARACTERS = 2_000, 1_000
MAX_TITLE_CHARACTERS = 80
_LABEL = re.compile(r"^(title|название|заголовок)\s*:\s*", re.IGNORECASE)
_QUOTES = "\"'`«»“”„‘’*_# "


def title_request(question: str, answer: str) -> tuple[ModelMessage, ...]:
    """Return the messages that ask a model for a title."""
    text = f"user: {question[:MAX_QUESTION_CHARACTERS]}"
    if answer:
        text += f"\n\nassistant: {answer[:MAX_ANSWER_CHARACTERS]}"
    return (
        ModelMessage(role="system", content=prompts.render("title.md")),
        ModelMessage(role="user", content=prompts.fence(text, "conversation", len(text))),
    )


def clean_title(text: str) -> str:
    """Return a model's answer as a title, an empty one when it is none.

    Without what models put around titles, and without characters that are not seen: some turn the text around them.
    """
    line = next((line for line in make_storable(text).splitlines() if line.strip(_QUOTES)), "")
    visible = "".join(
        " " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in line if one not in _HIDDEN
    )
    plain = visible.replace("**", "").replace("`", "").strip(_QUOTES)
    title = " ".join(_LABEL.sub("", plain).strip(_QUOTES + ".").split())
    return title if len(title) <= MAX_TITLE_CHARACTERS else title[: MAX_TITLE_CHARACTERS - 1].rstrip() + "…"


#: Marks of the direction of text, and other characters without a width that no word needs.
_HIDDEN = frozenset(
    map(chr, (0x00AD, 0x061C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF))
)

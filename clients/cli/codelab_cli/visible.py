"""Text of models, tools and files for a terminal: no control character in it may move the cursor or hide a word."""

import re

#: Control characters except tab and line feed, marks that turn the order of letters round, and blanks without a width.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def visible(text: str) -> str:
    """Return the text with hidden characters named, as the server's `display` names them: `⟨U+001B⟩`."""
    return HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = 200) -> str:
    """Return the text on one line, visible and not longer than the limit."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"

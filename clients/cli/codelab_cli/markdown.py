"""Where a streamed Markdown text can be cut, so that what is complete is rendered once and never touched again."""

import re

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


def split_complete(text: str) -> tuple[str, str]:
    """Return the blocks of the text that are complete, and the rest.

    A cut stands behind an empty line that is outside of a fence, when the next line has begun in the first column: an
    indented line continues the block above it.
    """
    cut = place = 0
    fence = ""
    is_after_blank = False
    for line in text.splitlines(keepends=True):
        if not fence and is_after_blank and line[:1] not in ("", " ", "\t", "\n", "\r"):
            cut = place
        if match := FENCE.match(line):
            mark, info = match.groups()
            if not fence:
                fence = mark
            elif mark[0] == fence[0] and len(mark) >= len(fence) and not info.strip():
                fence = ""
        is_after_blank = not fence and not line.strip()
        place += len(line)
    return text[:cut], text[cut:]

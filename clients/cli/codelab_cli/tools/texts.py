"""Files as text: encodings, line ends, binary files, differences, and cuts to a size that a frame can take."""

import codecs
import difflib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from codelab_cli.outcome import Outcome, ToolFailed

#: Larger files are neither read nor changed.
MAX_FILE_BYTES = 16 * 2**20
#: A frame of the protocol has 256 KiB; the rest is for its other fields.
MAX_RESULT_BYTES = 200_000
MAX_FRAME_BYTES = 250_000
MAX_CUTS = 20
MAX_DIFF_CHARACTERS = 20_000
#: `difflib` takes quadratic time, so larger changes have no diff.
MAX_DIFF_LINES = 4_000

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
#: For names of hosts and for Python's source. The first two take quadratic time.
_NOT_FOR_FILES = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
_KINDS = (
    (b"\x89PNG", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"%PDF", "PDF document"),
    (b"PK\x03\x04", "ZIP archive or office document"),
    (b"\x7fELF", "program"),
    (b"\x1f\x8b", "gzip archive"),
    (b"SQLite format 3", "SQLite database"),
)


@dataclass(frozen=True, slots=True)
class Text:
    """A file's text, and how to write it back as it was."""

    text: str
    codec: str
    #: The byte order mark, which is not part of the text.
    mark: bytes = b""
    #: Bytes that are not text in this codec stand in the text as lone surrogates.
    has_foreign_bytes: bool = False

    def encode(self, text: str, path: str) -> bytes:
        """Return the bytes of a changed text. Raises ToolFailed."""
        if self.has_foreign_bytes and any(not (ch.isascii() or "\udc80" <= ch <= "\udcff") for ch in text):
            raise ToolFailed(f"{path} is not UTF-8, so only ASCII can be put in it. Use write_file with its encoding.")
        return self.mark + text.encode(self.codec, "surrogateescape")


def is_binary(content: bytes) -> bool:
    """Return whether the content of a file is no text."""
    return b"\0" in content[:8192] and not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def check_is_text(content: bytes, path: str) -> None:
    """Raise ToolFailed for a binary file."""
    if is_binary(content) or content.startswith((b"%PDF", b"\x1f\x8b", b"\x89PNG", b"\xff\xd8\xff")):
        kind = next((name for start, name in _KINDS if content.startswith(start)), "unknown kind")
        raise ToolFailed(f"{path} is a binary file ({kind}, {len(content)} bytes), not text")


def find_codec(encoding: str) -> str:
    """Return the name of a text encoding. Raises ToolFailed for an unknown one."""
    try:
        info = codecs.lookup(encoding)
        # hex, zip and the like are codecs, but not of text.
        "".encode(info.name)
        if info.name in _NOT_FOR_FILES:
            raise LookupError
    except (LookupError, UnicodeError):
        raise ToolFailed(f"The encoding {encoding[:40]!r} is unknown; use utf-8") from None
    return info.name


def decode(content: bytes, path: str) -> Text:
    """Return the text of a file whose encoding is not given, keeping what cannot be read. Raises ToolFailed."""
    for mark, codec in _MARKS:
        if content.startswith(mark):
            return Text(_decode(content[len(mark) :], codec, path), codec, mark)
    check_is_text(content, path)
    try:
        return Text(content.decode(), "utf-8")
    except UnicodeDecodeError:
        return Text(content.decode(errors="surrogateescape"), "utf-8", has_foreign_bytes=True)


def decode_as(content: bytes, encoding: str, path: str) -> str:
    """Return the text of a file in an encoding; a byte order mark counts for more. Raises ToolFailed."""
    codec = find_codec(encoding)
    for mark, marked in _MARKS:
        if content.startswith(mark):
            return _decode(content[len(mark) :], marked, path)
    if not codec.startswith(("utf-16", "utf-32")):
        check_is_text(content, path)
    return _decode(content, codec, path)


def _decode(content: bytes, codec: str, path: str) -> str:
    try:
        return content.decode(codec)
    except UnicodeError:
        raise ToolFailed(f"{path} is not text in {codec}; give its `encoding`, such as cp1251 or latin-1") from None


def sha256(content: bytes) -> str:
    """Return the hash of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def diff(path: str, before: bytes | None, after: bytes | None) -> str:
    """Return a unified diff of a file, bounded; empty for what is no text or has not changed."""
    if before == after or any(content is not None and is_binary(content) for content in (before, after)):
        return ""
    old, new = _lines(before), _lines(after)
    names = (f"a/{path}" if before is not None else "/dev/null", f"b/{path}" if after is not None else "/dev/null")
    old, new, skipped = _without_equal_ends(old, new)
    if len(old) + len(new) > MAX_DIFF_LINES:
        return f"--- {names[0]}\n+++ {names[1]}\n@@ too many changed lines to show: {len(old)} became {len(new)} @@\n"
    lines = _render(old, new, names, skipped)
    return cut("\n".join(lines) + "\n", MAX_DIFF_CHARACTERS)


def _lines(content: bytes | None) -> list[str]:
    mark, codec = next((pair for pair in _MARKS if content and content.startswith(pair[0])), (b"", "utf-8"))
    lines = (content or b"")[len(mark) :].decode(codec, errors="replace").split("\n")
    if lines[-1]:
        lines[-1] += "\n\\ No newline at end of file"
    else:
        lines.pop()
    return lines


def _without_equal_ends(old: list[str], new: list[str]) -> tuple[list[str], list[str], int]:
    """Return the lines from 3 before the first change to 3 behind the last one, and how many were left out before."""
    shorter = min(len(old), len(new))
    head = 0
    while head < shorter and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    skipped, behind = max(0, head - 3), max(0, tail - 3)
    return old[skipped : len(old) - behind], new[skipped : len(new) - behind], skipped


def _render(old: list[str], new: list[str], names: tuple[str, str], skipped: int) -> list[str]:
    """Return the lines of a unified diff of parts of files that begin behind the skipped lines."""
    lines = [f"--- {names[0]}", f"+++ {names[1]}"]
    for group in difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(3):
        first, last = group[0], group[-1]
        ranges = (_range(first[1], last[2], skipped), _range(first[3], last[4], skipped))
        lines.append(f"@@ -{ranges[0]} +{ranges[1]} @@")
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                lines.extend(f" {line}" for line in old[old_from:old_to])
                continue
            lines.extend(f"-{line}" for line in old[old_from:old_to])
            lines.extend(f"+{line}" for line in new[new_from:new_to])
    return lines


def _range(begin: int, end: int, skipped: int) -> str:
    length = end - begin
    return f"{begin + skipped + (1 if length else 0)},{length}"


def cut(text: str, limit: int) -> str:
    """Return a text with its middle left out, and a word about that, when it is longer than the limit."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def size_in_frame(value: Any) -> int:
    """Return how many bytes a value takes in a frame at most."""
    return len(json.dumps(value))


def fit(outcome: Outcome) -> Outcome:
    """Return an outcome that a frame can take: its longest texts cut in their middle, and no half characters."""
    result, parts, error = (_clean(each) for each in (outcome.result, outcome.parts, outcome.error))
    outcome = replace(outcome, result=result, parts=None if parts is None else tuple(parts), error=error)
    for _ in range(MAX_CUTS):
        if size_in_frame(outcome.fields()) <= MAX_FRAME_BYTES:
            return outcome
        longest = max(_strings(outcome.fields()), key=len)
        shorter = cut(longest, len(longest) // 2)
        result, parts, error = (
            _swap(each, longest, shorter) for each in (outcome.result, outcome.parts, outcome.error)
        )
        outcome = replace(outcome, result=result, parts=None if parts is None else tuple(parts), error=error)
    return Outcome(error="The result is too large to be sent, so only this is told: the tool has run.", is_error=True)


def _clean(value: Any) -> Any:
    """Return a value as JSON can have it."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if not value.isascii() else value
    if isinstance(value, dict):
        return {_clean(name): _clean(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)


def _swap(value: Any, old: str, new: str) -> Any:
    if isinstance(value, str):
        return new if value == old else value
    if isinstance(value, dict):
        return {name: _swap(each, old, new) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_swap(each, old, new) for each in value]
    return value

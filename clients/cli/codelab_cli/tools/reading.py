"""read_file, list_files and search_in_code."""

import os
import stat
import time
from datetime import UTC, datetime
from typing import Any

import regex

from codelab_cli.outcome import ToolFailed
from codelab_cli.tools import secrets, texts
from codelab_cli.tools.arguments import ListFiles, ReadFile, SearchInCode
from codelab_cli.tools.patterns import Pattern
from codelab_cli.tools.root import Links, NotFound, Root, check_is_file
from codelab_cli.tools.walk import Entry, Walk

MAX_ITEMS = 1000
MAX_SEARCHED_BYTES = 4 * 2**20
MAX_LINE_CHARACTERS = 500
MAX_SEARCH_SECONDS = 20.0
#: Of processor time, for one file; an expression can take exponential time.
MAX_EXPRESSION_SECONDS = 1.0


def read_file(root: Root, arguments: ReadFile, *, allow_secrets: bool) -> dict[str, Any]:
    """Return the text of a file, or some of its lines."""
    if arguments.start_line and arguments.end_line and arguments.end_line < arguments.start_line:
        raise ToolFailed("`end_line` is before `start_line`")
    with root.place(arguments.path, Links.FOLLOW) as place:
        if not allow_secrets:
            secrets.check(arguments.path)
            secrets.check(place.path)
        content = place.read(texts.MAX_FILE_BYTES)
    if not allow_secrets:
        secrets.check(arguments.path, content)
    lines = texts.decode_as(content, arguments.encoding, arguments.path).split("\n")
    lines = [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    first = (arguments.start_line or 1) - 1
    wanted = lines[first : arguments.end_line]
    shown = _fit(wanted)
    answer: dict[str, Any] = {"success": True, "content": "".join(shown), "lines_read": len(shown)}
    if len(shown) < len(wanted):
        answer["truncated"] = True
        answer["note"] = f"The file has {len(lines)} lines. Read on with start_line {first + len(shown) + 1}."
    elif shown != wanted[: len(shown)]:
        answer["truncated"] = True
        answer["note"] = "A line is too long to be shown whole."
    elif not wanted and lines:
        answer["note"] = f"The file has {len(lines)} lines."
    return answer


def _fit(lines: list[str]) -> list[str]:
    """Return as many lines as a frame can take; one that is too long by itself is cut in its middle."""
    shown: list[str] = []
    size = 0
    for line in lines:
        length = texts.size_in_frame(line)
        if size + length > texts.MAX_RESULT_BYTES:
            if not shown:
                shown.append(texts.cut(line, texts.MAX_RESULT_BYTES // 8))
            break
        shown.append(line)
        size += length
    return shown


def list_files(root: Root, arguments: ListFiles) -> dict[str, Any]:
    """Return what is in a folder."""
    pattern = Pattern(arguments.pattern) if arguments.pattern else None
    walk = Walk(root, recursive=arguments.recursive, include_hidden=arguments.include_hidden)
    items: list[dict[str, Any]] = []
    count = size = 0
    for entry in walk.go(arguments.path):
        if pattern and not pattern.has(entry.path.removeprefix(walk.base)):
            continue
        count += 1
        if len(items) < MAX_ITEMS and size < texts.MAX_RESULT_BYTES:
            items.append(_describe(entry))
            size += texts.size_in_frame(items[-1])
    answer: dict[str, Any] = {"success": True, "path": arguments.path, "items": items, "total_count": count}
    if walk.is_cut or len(items) < count:
        answer["truncated"] = True
    if walk.ignored:
        answer["ignored_by_git"] = walk.ignored
    return answer


def _describe(entry: Entry) -> dict[str, Any]:
    modified = datetime.fromtimestamp(max(0, int(entry.status.st_mtime)), UTC)
    item: dict[str, Any] = {
        "name": entry.name,
        "path": entry.path,
        "type": "directory" if entry.is_folder else "file",
        "size": entry.status.st_size,
        "modified": modified.isoformat().replace("+00:00", "Z"),
    }
    if stat.S_ISLNK(entry.status.st_mode):
        item["link_to"] = os.readlink(entry.name, dir_fd=entry.folder)
    return item


def search_in_code(root: Root, arguments: SearchInCode, *, allow_secrets: bool) -> dict[str, Any]:
    """Return the lines of files that have a text, or match an expression."""
    search = _Search(root, arguments, allow_secrets=allow_secrets)
    with root.place(arguments.path, Links.FOLLOW) as place:
        status = place.stat()
        if status is None:
            raise NotFound(f"{arguments.path} does not exist")
        is_file = not stat.S_ISDIR(status.st_mode)
        if is_file:
            check_is_file(status, arguments.path)
            if not allow_secrets:
                secrets.check(arguments.path)
                secrets.check(place.path)
            search.look_into(place.read(texts.MAX_FILE_BYTES), place.path)
    if not is_file:
        search.walk()
    return search.answer()


class _Search:
    """One search: what it has found, and what it left out."""

    def __init__(self, root: Root, arguments: SearchInCode, *, allow_secrets: bool) -> None:
        self._root = root
        self._arguments = arguments
        self._allow_secrets = allow_secrets
        self._pattern = Pattern(arguments.file_pattern) if arguments.file_pattern else None
        self._deadline = time.monotonic() + MAX_SEARCH_SECONDS
        self._matches: list[dict[str, Any]] = []
        self._size = self._total = self._secrets = self._large = 0
        self._is_cut = False
        flags = 0 if arguments.case_sensitive else regex.IGNORECASE
        query = arguments.query if arguments.regex else regex.escape(arguments.query, special_only=True)
        try:
            self._expression = regex.compile(query, flags)
        except (regex.error, OverflowError, RecursionError) as error:
            raise ToolFailed(f"The query is not a regular expression: {error}") from None

    def walk(self) -> None:
        """Search the files of a folder."""
        walk = Walk(self._root)
        for entry in walk.go(self._arguments.path):
            if time.monotonic() > self._deadline:
                self._is_cut = True
                break
            if not entry.is_file or (self._pattern and not self._pattern.has(entry.path.removeprefix(walk.base))):
                continue
            if not self._allow_secrets and secrets.is_secret(entry.path):
                self._secrets += 1
            elif entry.status.st_size > MAX_SEARCHED_BYTES:
                self._large += 1
            else:
                self.look_into(_read(entry), entry.path)
        self._is_cut = self._is_cut or walk.is_cut

    def look_into(self, content: bytes, path: str) -> None:
        """Search the content of a file."""
        if texts.is_binary(content):
            return
        if not self._allow_secrets and secrets.is_key(content):
            self._secrets += 1
            return
        try:
            text = texts.decode(content, path).text.encode(errors="replace").decode()
        except ToolFailed:
            return
        deadline = time.monotonic() + MAX_EXPRESSION_SECONDS
        # The whole text first: most files have no match, and one call is faster than one for each line.
        try:
            if not self._arguments.regex and not self._expression.search(text, timeout=MAX_EXPRESSION_SECONDS):
                return
            for number, line in enumerate(text.split("\n"), 1):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                if self._expression.search(line, timeout=left, concurrent=self._arguments.regex):
                    self._add(path, number, line.removesuffix("\r"))
        except TimeoutError:
            self._is_cut = True

    def _add(self, path: str, number: int, line: str) -> None:
        self._total += 1
        if len(self._matches) >= self._arguments.max_results or self._size > texts.MAX_RESULT_BYTES:
            return
        shown = line if len(line) <= MAX_LINE_CHARACTERS else f"{line[:MAX_LINE_CHARACTERS]}…"
        self._matches.append({"file": path, "line": number, "text": shown})
        self._size += texts.size_in_frame(self._matches[-1])

    def answer(self) -> dict[str, Any]:
        """Return the result of the tool."""
        answer: dict[str, Any] = {
            "query": self._arguments.query,
            "matches": self._matches,
            "total_matches": self._total,
            "truncated": self._is_cut or len(self._matches) < self._total,
        }
        notes = []
        if self._secrets:
            notes.append(f"{self._secrets} files that may hold secrets were not searched. {secrets.ADVICE}")
        if self._large:
            notes.append(f"{self._large} files above {MAX_SEARCHED_BYTES // 2**20} MiB were not searched.")
        if self._is_cut:
            notes.append("The search took too long and was ended; search a smaller folder.")
        return answer | ({"note": " ".join(notes)} if notes else {})


def _read(entry: Entry) -> bytes:
    try:
        file = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=entry.folder)
    except OSError:
        return b""
    with os.fdopen(file, "rb") as stream:
        return stream.read(MAX_SEARCHED_BYTES) if stat.S_ISREG(os.fstat(file).st_mode) else b""

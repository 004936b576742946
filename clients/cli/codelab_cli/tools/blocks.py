"""The format of apply_diff: blocks of lines to find, each with the lines that replace them (docs/protocol.md)."""

from dataclasses import dataclass

from codelab_cli.outcome import ToolFailed

SEARCH, MIDDLE, REPLACE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"

#: More places than this are not counted.
MAX_COUNTED = 100


@dataclass(frozen=True, slots=True)
class Block:
    """Lines to find and the lines that replace them, without their line ends."""

    search: tuple[str, ...]
    replace: tuple[str, ...]


def parse(diff: str) -> list[Block]:
    """Return the blocks of a diff. Lines outside of them are ignored. Raises ToolFailed."""
    blocks: list[Block] = []
    search: list[str] = []
    replace: list[str] = []
    # The marker that comes next.
    expected = SEARCH
    for line in diff.split("\n"):
        mark = line.rstrip()
        if mark not in (SEARCH, MIDDLE, REPLACE):
            if expected != SEARCH:
                (search if expected == MIDDLE else replace).append(line.removesuffix("\r"))
        elif mark != expected:
            raise ToolFailed(f"Block {len(blocks) + 1} of `diff` is broken: {mark} stands where {expected} should be")
        elif mark == REPLACE:
            blocks.append(Block(tuple(search), tuple(replace)))
            search, replace, expected = [], [], SEARCH
        else:
            expected = MIDDLE if mark == SEARCH else REPLACE
    if expected != SEARCH:
        raise ToolFailed(f"Block {len(blocks) + 1} of `diff` is broken: {expected} is missing")
    if not blocks:
        raise ToolFailed(f"`diff` has no block of {SEARCH}, {MIDDLE}, {REPLACE}, each on its own line")
    return blocks


def apply(text: str, blocks: list[Block], path: str) -> str:
    """Return the text with all blocks applied, in order. Raises ToolFailed that names the block which does not fit.

    Lines are compared without their line ends. New lines get those of the lines that they replace, so a file with CRLF
    keeps them.
    """
    for number, block in enumerate(blocks, 1):
        text = _apply_one(text, block, f"Block {number} of {len(blocks)}", path)
    return text


def _apply_one(text: str, block: Block, name: str, path: str) -> str:
    if not block.search:
        if text:
            raise ToolFailed(f"{name}: the SEARCH part is empty, so the place in {path} is not known")
        return "".join(f"{line}\n" for line in block.replace)
    # Compared in one piece, with a line end before and behind each line: `find` takes linear time.
    lines = "\n" + text.replace("\r\n", "\n")
    if not lines.endswith("\n"):
        lines += "\n"
    count, place = _count(lines, f"\n{'\n'.join(block.search)}\n")
    if count != 1:
        raise ToolFailed(_explain(count, block, name, path, lines))
    return _replace(text, lines.count("\n", 0, place), block)


def _replace(text: str, first: int, block: Block) -> str:
    """Replace as many lines as the block has to find, from the one counted from 0."""
    # Behind the last line end `split` leaves a piece that is empty, or is a line without an end.
    old = text.split("\n")
    last = first + len(block.search)
    is_open = last == len(old)
    ends = ["\r\n" if line.endswith("\r") else "\n" for line in old[first : last - is_open]]
    ends = ends or ["\r\n" if "\r\n" in text else "\n"]
    new = [line + ends[min(place, len(ends) - 1)] for place, line in enumerate(block.replace)]
    if is_open and new:
        new[-1] = block.replace[-1]
    head = "".join(f"{line}\n" for line in old[:first])
    return head + "".join(new) + "\n".join(old[last:])


def _count(lines: str, wanted: str) -> tuple[int, int]:
    """Return how often the lines occur, also where they overlap, and the place of the first."""
    first = place = lines.find(wanted)
    count = 0
    while place >= 0 and count < MAX_COUNTED:
        count += 1
        place = lines.find(wanted, place + 1)
    return count, first


def _explain(count: int, block: Block, name: str, path: str, lines: str) -> str:
    shown = block.search[0] if len(block.search[0]) <= 80 else f"{block.search[0][:80]}…"
    if count:
        often = f"{count} times" if count < MAX_COUNTED else f"at least {count} times"
        return (
            f"{name}: the SEARCH part, which begins with {shown!r}, was found {often} in {path}. It must match exactly"
            " one place: add lines around it. No block was applied."
        )
    hint = ""
    stripped = block.search[0].strip()
    near = next((number for number, line in enumerate(lines.split("\n")[1:], 1) if line.strip() == stripped), 0)
    if near and stripped:
        hint = f" A line like its first one is line {near}; compare blanks and the lines that follow."
    return (
        f"{name}: the SEARCH part, which begins with {shown!r}, was found 0 times in {path}.{hint}"
        " No block was applied. Read the file again."
    )

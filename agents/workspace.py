"""What a model is told of the user's workspace: what stays the same for long, and what changes from turn to turn.

The first is a part of the system prompt. The second is a block beside the user's message and never in the prompt, so
that the beginning of a conversation stays the same and a provider's cache keeps working. A block has only what differs
from the one before.

Everything here comes from a client and is data: hidden characters are named, texts stand in fences that they cannot
close, and each is cut to a bound with a word about it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from agents.display import show_hidden
from agents.prompts import Workspace, fence, flatten

#: The tag around what changes.
NOW = "workspace_now"
#: Characters of all instructions together in a prompt; a smaller window has room for fewer.
MAX_RULES_CHARACTERS = 20_000
#: Characters of each part of a block.
MAX_STATUS_CHARACTERS, MAX_TREE_CHARACTERS, MAX_OPEN_CHARACTERS, MAX_SELECTION_CHARACTERS = 2_000, 4_000, 1_000, 4_000


def steady_facts(data: Mapping[str, Any], max_rules: int = MAX_RULES_CHARACTERS) -> Workspace:
    """Return what a system prompt tells of a workspace, with at most `max_rules` characters of its instructions."""
    return Workspace(
        name=show_hidden(data.get("name", "")),
        system=show_hidden(data.get("system", "")),
        shell=show_hidden(data.get("shell", "")),
        rules=_rules(data.get("instructions", ()), min(max_rules, MAX_RULES_CHARACTERS)),
    )


def _rules(instructions: Sequence[Mapping[str, str]], limit: int) -> str:
    """Return all instructions as one text. Where they are too long, the longest are cut, each to the same length."""
    texts = [_clean(each["text"]) for each in instructions]
    share = _share([len(text) for text in texts], limit)
    pairs = zip(instructions, texts, strict=True)
    return "\n\n".join(f"[{_line(each['path'])}]\n{_cut(text, share)}" for each, text in pairs if text)


def _share(lengths: Sequence[int], limit: int) -> int:
    """Return the length to which the longest texts are cut, so that all together have at most `limit` characters."""
    left = limit
    for place, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - place)
        if length > share:
            return share
        left -= length
    return limit


def current_facts(data: Mapping[str, Any]) -> dict[str, str]:
    """Return what changes from turn to turn, each part as a text by its name. Missing parts are empty."""
    git = data.get("git") or {}
    branch, head = _line(git.get("branch", "")), _line(git.get("head", ""))
    status = git.get("status")
    return {
        "date": ", ".join(_line(data[name]) for name in ("date", "time_zone") if data.get(name)),
        "branch": f"{branch}, at {head}" if branch and head else branch or head,
        "status": ""
        if status is None
        else _lines(status.replace("\r\n", "\n").split("\n"), MAX_STATUS_CHARACTERS) or "clean",
        "open files": _lines(data.get("open_files", ()), MAX_OPEN_CHARACTERS),
        "tree": _lines(data.get("tree", ()), MAX_TREE_CHARACTERS),
        "selection": _selection(data.get("selection") or {}),
    }


def _selection(selection: Mapping[str, Any]) -> str:
    if not selection:
        return ""
    start, end = selection.get("start_line"), selection.get("end_line")
    lines = f", lines {start} to {end or start}" if start else ""
    place = _line(selection.get("path", "")) or "a text without a file"
    text = _cut(_clean(selection.get("text", "")), MAX_SELECTION_CHARACTERS)
    return f"in {place}{lines}" + (f":\n{text}" if text else "")


def digests(facts: Mapping[str, str]) -> dict[str, str]:
    """Return a short digest of each part that is not empty."""
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in facts.items() if text}


def surroundings(facts: Mapping[str, str], shown: Mapping[str, str] | None = None) -> str:
    """Return the block beside a message: the parts that differ from those with the digests `shown`, or all of them.

    Empty if nothing differs.
    """
    earlier, now = shown or {}, digests(facts)
    changed = [name for name in facts if earlier.get(name) != now.get(name)]
    parts = [_TITLES[name][bool(facts[name])] + facts[name] for name in changed]
    return fence("\n".join(parts), NOW) if parts else ""


#: What a part begins with, when it is gone and when it is there.
_TITLES = {
    "date": ("Date: not known any more", "Date: "),
    "branch": ("Git branch: none any more", "Git branch: "),
    "status": ("Git status: not known any more", "Git status:\n"),
    "open files": ("Open files: none any more", "Open files:\n"),
    "tree": ("Files and folders: not known any more", "Files and folders at the top:\n"),
    "selection": ("Selection: none any more", "Selected "),
}


def _line(text: str) -> str:
    return flatten(show_hidden(text))


def _clean(text: str) -> str:
    return show_hidden(text.replace("\r\n", "\n")).strip("\n")


def _lines(values: Sequence[str], limit: int) -> str:
    """Return each value on a line of its own, as many as the limit takes, with a word about the others."""
    # Blanks at the beginning mean something in a git status.
    texts = [" " * value.startswith(" ") + _line(value) for value in values if value.strip()]
    lines: list[str] = []
    room = limit
    for place, text in enumerate(texts):
        room -= len(text) + 1
        if room < 0:
            lines.append(f"[… {len(texts) - place:,} more were left out.]")
            break
        lines.append(text)
    return "\n".join(lines)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[… {len(text) - limit:,} characters were left out. Read the file if you need them.]"

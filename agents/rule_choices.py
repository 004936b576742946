"""Which rules would allow a call from now on: what a person can choose instead of answering each time.

Each choice is checked against the call (`agents.rules`), so what is offered does cover it. The narrowest comes first. A
call that no rule covers, such as one with a wildcard in an opaque command, has no choices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pydantic import ValidationError

from agents.rules import MAX_LABEL_CHARACTERS, Comparison, Effect, ParsedCall, Rule
from agents.wildcards import TooMuchWork


class Coverage(StrEnum):
    """What the calls have in common that a rule covers, for people."""

    #: This command and no other.
    COMMAND = "command"
    #: Commands that begin with these words.
    PREFIX = "prefix"
    #: This file.
    FILE = "file"
    #: Files of this name, in any folder.
    NAME = "name"
    #: Files in this folder and below.
    FOLDER = "folder"
    #: Every file of the workspace that is not protected.
    WORKSPACE = "workspace"
    #: Every call of this tool.
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class RuleChoice:
    """A rule that would have allowed a call, and what else it allows."""

    coverage: Coverage
    rule: Rule


def choices(call: ParsedCall) -> list[RuleChoice]:
    """Return the rules that a person may choose for a call, the narrowest first."""
    comparison = Comparison(call)
    found: dict[str, RuleChoice] = {}
    for coverage, subject in _subjects(call):
        try:
            rule = Rule(effect=Effect.ALLOW, tool=call.tool, subject=subject, folder=call.folder)
            if len(rule.label) <= MAX_LABEL_CHARACTERS and comparison.allowed_by(rule):
                found.setdefault(subject, RuleChoice(coverage, rule))
        except (ValidationError, TooMuchWork):
            continue
    return list(found.values())


def _subjects(call: ParsedCall) -> Iterator[tuple[Coverage, str]]:
    if call.command:
        yield Coverage.COMMAND, call.command.text
        words = call.command.argv
        # The first word alone would cover too much: `git *`, `python *`. So would an option: `rm -rf *`.
        if len(words) > 1 and not words[1].startswith("-"):
            yield Coverage.PREFIX, " ".join((*words[:2], "*"))
        return
    if call.definition:
        yield Coverage.TOOL, "*"
        return
    if not call.written_paths:
        yield Coverage.TOOL, "**"
        return
    first, *others = call.written_paths
    if not others:
        yield (Coverage.FILE if "/" in first else Coverage.NAME), first
    if folder := _common_folder(call.written_paths):
        yield Coverage.FOLDER, f"{folder}/**"
    yield Coverage.WORKSPACE, "**"


def _common_folder(paths: tuple[str, ...]) -> str:
    """Return the folder that all paths lie in, or an empty text for the workspace."""
    folders = [path.split("/")[:-1] for path in paths]
    names = []
    for level in zip(*folders, strict=False):
        if len(set(level)) > 1:
            break
        names.append(level[0])
    return "/".join(names)

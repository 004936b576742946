"""The rules of users: what they are, and which calls each of them is about.

An allow rule covers all paths of a call, a deny rule any of them. Of a tool that a client defines the paths are not
known: allow rules name the tool, and deny rules count for every text in its arguments.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from agents import commands, protected
from agents.client_tools import ClientTool
from agents.commands import Command, CommandWords
from agents.mentions import Mentions
from agents.paths import Paths
from agents.tools import ToolKind
from agents.wildcards import TooMuchWork, matches

#: Longer texts in arguments are not paths. So many characters of arguments are compared with deny rules.
MAX_PATH_CHARACTERS, MAX_COMPARED_CHARACTERS = 4096, 50_000
#: Names at the end of an absolute path that may lie in the workspace.
MAX_NAMES = 32


class Effect(StrEnum):
    """What a rule does."""

    ALLOW = "allow"
    DENY = "deny"


type WildcardPattern = Annotated[str, Field(min_length=1, max_length=1000)]
#: Subjects that cover all calls of a tool, also where its paths are not known.
EVERYTHING = ("*", "**")
#: Characters of the name of what decided.
MAX_LABEL_CHARACTERS = 2200


class Rule(BaseModel):
    """A standing decision of the user: always allow or always deny the calls that match all patterns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effect: Effect
    #: Names of tools.
    tool: WildcardPattern = "*"
    #: Paths (agents.paths.matches) or, for execute_command, words of the command (agents.commands.covers). An allow
    #: rule must match all paths of a call, a deny rule any of them.
    subject: WildcardPattern = "*"
    #: Names of agents.
    agent: WildcardPattern = "*"
    #: For allowed commands: the folders in which they may run.
    folder: WildcardPattern = "."

    @property
    def is_about_files(self) -> bool:
        """Return whether the subject may be a pattern of paths. For commands alone, a word such as `make` is none."""
        name = "." in self.subject and " " not in self.subject
        return "/" in self.subject or name or any(matches(self.tool, tool) for tool in ("read_file", "write_file"))

    @property
    def label(self) -> str:
        """Return the name of the rule in a decision."""
        return f"rule: {self.effect} {self.tool} {self.subject}" + (f" for {self.agent}" if self.agent != "*" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCall:
    """A call with valid arguments, and what rules compare."""

    tool: str
    kind: ToolKind
    arguments: dict[str, Any]
    agent: str
    subjects: tuple[str, ...]
    written_paths: tuple[str, ...]
    command: Command | None = None
    folder: str = "."
    #: Of a client-defined tool.
    definition: ClientTool | None = None

    @property
    def protected_kind(self) -> protected.Kind | None:
        """Return why a file that the call may change is protected, if one is."""
        paths: Iterable[str] = self.written_paths
        if self.definition and self.kind is ToolKind.EDIT:
            # Windows removes dots and spaces at the end of a name.
            paths = ("/".join(name.rstrip(". ") for name in text.split("/")) for text in _texts(self.arguments))
        return next(filter(None, map(protected.kind_of, paths)), None)


class Comparison:
    """A call that is compared with many rules: what they compare is prepared once."""

    def __init__(self, call: ParsedCall) -> None:
        self._call = call

    @cached_property
    def _command(self) -> CommandWords:
        assert self._call.command
        return CommandWords(self._call.command)

    @cached_property
    def _folder(self) -> Paths:
        return Paths([self._call.folder])

    @cached_property
    def _subjects(self) -> Paths:
        return Paths(self._call.subjects)

    @cached_property
    def _folded_subjects(self) -> Paths:
        return Paths(self._call.subjects, ignore_case=True)

    @cached_property
    def _mentions(self) -> Mentions:
        assert self._call.command
        words = commands.words(self._call.command)
        # A program without a folder is not a file of the workspace.
        return Mentions(words if "/" in "".join(words[:1]) else words[1:], self._call.folder)

    @cached_property
    def _mentions_of_arguments(self) -> Mentions:
        words: list[str] = []
        room = MAX_COMPARED_CHARACTERS
        for text in _texts(self._call.arguments):
            found = [text, *text.split(), *_ends_of(text)]
            room -= sum(map(len, found))
            if room < 0:
                raise TooMuchWork
            words += found
        return Mentions(words, ".")

    def denied_by(self, rule: Rule) -> bool:
        call = self._call
        if not (matches(rule.tool, call.tool) and matches(rule.agent, call.agent)):
            return False
        if call.command:
            return self._command.forbidden_by(rule.subject) or (
                rule.is_about_files and self._mentions.match_any(rule.subject)
            )
        if call.definition:
            # Which of its arguments are paths is not known, so all texts count.
            return rule.subject in EVERYTHING or self._mentions_of_arguments.match_any(rule.subject)
        return self._folded_subjects.match_any(rule.subject)

    def allowed_by(self, rule: Rule) -> bool:
        call = self._call
        if not (matches(rule.tool, call.tool) and matches(rule.agent, call.agent)):
            return False
        if call.command:
            return self._folder.match_any(rule.folder) and self._command.covered_by(rule.subject)
        # Wildcards do not cover files that other programs run or trust: the user may not have thought of those.
        if call.protected_kind and set(rule.subject) & set("*?"):
            return False
        if call.definition:
            return rule.subject in EVERYTHING
        return self._subjects.match_all(rule.subject)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in arguments that may be paths, with `/` between names."""
    match value:
        case str() if len(value) <= MAX_PATH_CHARACTERS:
            yield value.replace("\\", "/").removeprefix("file://")
        case list():
            for each in value:
                yield from _texts(each)
        case dict():
            for key, each in value.items():
                # Some tools take many files by their paths. Other keys are names of arguments.
                if not {"/", "\\", "."}.isdisjoint(key):
                    yield from _texts(key)
                yield from _texts(each)


def _ends_of(path: str) -> Iterator[str]:
    """Yield what may be the paths within the workspace, whose place is not known, of an absolute path."""
    if path.startswith("/") or path[1:3] == ":/":
        names = path.strip("/").split("/")[-MAX_NAMES:]
        yield from ("/".join(names[start:]) for start in range(1, len(names)))

"""Parses a model's command lines without a shell: what may run without approval, what a rule covers.

Three risks. SAFE: on a short list of programs and options that only show something. PLAIN: one program with words as
arguments; it runs without approval only if a mode or rule of the user says so. OPAQUE: a shell may read more into the
text than it shows, so the user approves all of it each time. The allowed characters mean the same to POSIX shells,
cmd.exe and PowerShell, because the server does not know which of them the client uses. The lists of wrappers are a
second fence: they keep a rule such as `python *` from covering `python -c …`. Absence from them makes nothing SAFE.
"""

import re
import shlex
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from agents import hazards, paths
from agents.wildcards import WordRow

#: People do not read longer commands, either.
MAX_COMMAND_CHARACTERS = 4000

#: Literal in every shell. So are letters of all languages and some signs between double quotes. cmd.exe does not know
#: single quotes, so fewer signs are allowed between those.
PLAIN_CHARACTERS = r"A-Za-z0-9_./:=,+@\-"
WORD_PATTERN = rf"""(?:[{PLAIN_CHARACTERS}]|"[{PLAIN_CHARACTERS}\w ()#]*+"|'[{PLAIN_CHARACTERS}\w ]*+')++"""
COMMAND_PATTERN = re.compile(rf" *+[{PLAIN_CHARACTERS}]++(?: ++{WORD_PATTERN})*+ *+")


class Risk(StrEnum):
    """How much more a command may do than its text shows."""

    SAFE = "safe"
    PLAIN = "plain"
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A parsed command line."""

    text: str
    risk: Risk
    #: Program and arguments; empty when shells may split the text in another way.
    argv: tuple[str, ...] = ()
    #: Why it is OPAQUE, as a clause that follows "because".
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _SafeOptions:
    """Options of a safe command, in full or as letters that may be combined, and whether paths may follow."""

    options: frozenset[str] = frozenset()
    letters: str = ""
    paths: bool = False


#: These write nothing, need no network, run no program that a file of the workspace could name, and show only names and
#: changes of files that `read_file` may show anyway. Configuration in .git can name programs, but the editor runs git
#: there all the time, and changing that configuration always needs approval.
SAFE_COMMANDS = {
    ("pwd",): _SafeOptions(),
    ("ls",): _SafeOptions(letters="aAlhRtrS1dF", paths=True),
    ("git", "status"): _SafeOptions(frozenset({"--short", "--branch", "--porcelain", "--long"}), letters="sb"),
    ("git", "diff"): _SafeOptions(
        frozenset({"--stat", "--shortstat", "--numstat", "--name-only", "--cached", "--staged"})
    ),
    ("git", "log"): _SafeOptions(
        frozenset({"--oneline", "--stat", "--graph", *(f"-{number}" for number in range(1, 101))})
    ),
    ("git", "branch"): _SafeOptions(frozenset({"--show-current", "--list", "--all"}), letters="av"),
}


def parse(text: str, *, shell: bool = False, folder: str = ".") -> Command:
    """Parse a command line that is to run in a folder of the workspace; `shell` is the tool's argument of that name."""
    if shell:
        return Command(text=text, risk=Risk.OPAQUE, reason="it asks for a shell")
    argv: list[str] = []
    try:
        argv = _split(text)
        hazards.check(argv, folder=folder)
    except hazards.Hazard as hazard:
        return Command(text=text, risk=Risk.OPAQUE, argv=tuple(argv), reason=str(hazard))
    # A folder below the root can have a git configuration of its own.
    safe = folder == "." and text.isascii() and _is_safe(argv)
    return Command(text=text, risk=Risk.SAFE if safe else Risk.PLAIN, argv=tuple(argv))


class CommandWords:
    """A command that is compared with the patterns of many rules. They raise `wildcards.TooMuchWork`."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._is_opaque = command.risk is Risk.OPAQUE
        self._exact = WordRow(command.argv)
        #: Deny rules ignore case, and see programs behind paths and wrappers.
        folded = [word.casefold() for word in words(command)]
        stems = [hazards.stem_of(word) for word in (folded if self._is_opaque else folded[:1])]
        self._folded = WordRow(folded, stems)

    def covered_by(self, pattern: str) -> bool:
        """Return whether the pattern of an allow rule covers the command.

        Word by word: `*` at the end is any number of further words, within a word any number of characters. Only its
        own whole text covers an OPAQUE command, never a pattern with wildcards.
        """
        if self._is_opaque:
            return pattern == self._command.text != "" and not set(pattern) & set("*?[")
        return self._exact.matches(pattern.split())

    def forbidden_by(self, pattern: str) -> bool:
        """Return whether the pattern of a deny rule forbids the command.

        In an OPAQUE command the pattern may begin at any word, which guarantees nothing, but such a command needs
        approval anyway.
        """
        parts = pattern.casefold().split()
        if self._is_opaque:
            return parts == ["*"] or (bool(parts) and self._folded.contains(parts))
        return self._folded.matches(parts)


def covers(pattern: str, command: Command) -> bool:
    """Return whether the pattern of an allow rule covers a command (`CommandWords`)."""
    return CommandWords(command).covered_by(pattern)


def forbids(pattern: str, command: Command) -> bool:
    """Return whether the pattern of a deny rule forbids a command (`CommandWords`)."""
    return CommandWords(command).forbidden_by(pattern)


def words(command: Command) -> list[str]:
    """Return a command's words; of an OPAQUE one, everything that looks like a word."""
    return list(command.argv) if command.risk is not Risk.OPAQUE else re.findall(r"[\w./:=@%+,\\-]+", command.text)


def _split(text: str) -> list[str]:
    """Split into words. Raises Hazard for everything that some shell would read differently."""
    if not text.strip(" "):
        raise hazards.Hazard("it is empty")
    if len(text) > MAX_COMMAND_CHARACTERS:
        raise hazards.Hazard(f"it is longer than {MAX_COMMAND_CHARACTERS} characters")
    # A code page may turn characters that normalization changes into signs of the shell.
    if not COMMAND_PATTERN.fullmatch(text) or unicodedata.normalize("NFKC", text) != text:
        odd = next(
            (character for character in text if not re.fullmatch(rf"[{PLAIN_CHARACTERS}\w '\"]", character)), None
        )
        raise hazards.Hazard(f"it has {odd!r}, which a shell may interpret" if odd else "its quoting may be misread")
    return shlex.split(text)


def _is_safe(argv: list[str]) -> bool:
    for length in (1, 2):
        options = SAFE_COMMANDS.get(tuple(argv[:length]))
        if options is not None:
            return all(_is_safe_argument(argument, options) for argument in argv[length:])
    return False


def _is_safe_argument(argument: str, safe: _SafeOptions) -> bool:
    if argument.startswith("-"):
        return argument in safe.options or bool(argument[1:] and set(argument[1:]) <= set(safe.letters))
    if not safe.paths:
        return False
    try:
        paths.normalize(argument)
    except paths.UnsafePath:
        return False
    return True

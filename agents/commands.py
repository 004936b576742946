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

from agents import paths
from agents.programs import DANGEROUS_OPTIONS, INTERPRETERS, OPAQUE_PROGRAMS, PYTHON_MODULES, SUBCOMMANDS
from agents.wildcards import WordRow, matches

#: People do not read longer commands, either.
MAX_COMMAND_CHARACTERS = 4000

#: Literal in every shell. So are letters of all languages and some signs between double quotes. cmd.exe does not know
#: single quotes, so fewer signs are allowed between those.
PLAIN_CHARACTERS = r"A-Za-z0-9_./:=,+@\-"
WORD_PATTERN = rf"""(?:[{PLAIN_CHARACTERS}]|"[{PLAIN_CHARACTERS}\w ()#]*+"|'[{PLAIN_CHARACTERS}\w ]*+')++"""
COMMAND_PATTERN = re.compile(rf" *+[{PLAIN_CHARACTERS}]++(?: ++{WORD_PATTERN})*+ *+")

PROGRAM_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")

#: A piece of an argument that leads out of the workspace: an absolute path, a URL, or `..`, also behind an option.
OUTSIDE_PATTERN = re.compile(r"(?:^|[=:,@]|^-+\w)/|(?:^|[=:,/@]|^-+\w)\.\.(?:/|$)")


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
    #: Program and arguments; empty when OPAQUE.
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
    try:
        argv = _split(text)
        _check(argv)
    except _OpaqueCommand as reason:
        return Command(text=text, risk=Risk.OPAQUE, reason=str(reason))
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
        stems = [_stem(word) for word in (folded if self._is_opaque else folded[:1])]
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
    return list(command.argv) or re.findall(r"[\w./:=@%+,\\-]+", command.text)


class _OpaqueCommand(Exception):
    """The command cannot be judged by its words; the message is the reason."""


def _split(text: str) -> list[str]:
    """Split into words. Raises _OpaqueCommand for everything that some shell would read differently."""
    if not text.strip(" "):
        raise _OpaqueCommand("it is empty")
    if len(text) > MAX_COMMAND_CHARACTERS:
        raise _OpaqueCommand(f"it is longer than {MAX_COMMAND_CHARACTERS} characters")
    # A code page may turn characters that normalization changes into signs of the shell.
    if not COMMAND_PATTERN.fullmatch(text) or unicodedata.normalize("NFKC", text) != text:
        odd = next(
            (character for character in text if not re.fullmatch(rf"[{PLAIN_CHARACTERS}\w '\"]", character)), None
        )
        raise _OpaqueCommand(f"it has {odd!r}, which a shell may interpret" if odd else "its quoting may be misread")
    return shlex.split(text)


def _check(argv: list[str]) -> None:
    """Raise _OpaqueCommand for words that are not one program and its arguments."""
    program, *arguments = argv
    if "=" in program:
        raise _OpaqueCommand("it sets a variable")
    if "/" in program:
        try:
            paths.normalize(program)
        except paths.UnsafePath:
            raise _OpaqueCommand("its program is not in the workspace") from None
    elif not PROGRAM_PATTERN.fullmatch(program):
        raise _OpaqueCommand("its program has an unusual name")
    name = _stem(program)
    if reason := OPAQUE_PROGRAMS.get(name) or OPAQUE_PROGRAMS.get(_name(program)):
        raise _OpaqueCommand(f"{name} {reason}")
    first = arguments[0] if arguments else ""
    if name in SUBCOMMANDS and first not in SUBCOMMANDS[name]:
        raise _OpaqueCommand(f"{name} {first or 'alone'} may run other programs")
    if name in INTERPRETERS and not _has_script(name, arguments):
        raise _OpaqueCommand(f"{name} would run code from the command itself or from its input")
    for argument in arguments:
        if argument.startswith("="):
            raise _OpaqueCommand("an argument begins with =, which zsh replaces with a program")
        if OUTSIDE_PATTERN.search(argument):
            raise _OpaqueCommand("an argument leads out of the workspace")
        if name == "git" and "::" in argument:
            raise _OpaqueCommand("it names a git transport, which may be a program")
        if any(_is_option(argument, option) for option in DANGEROUS_OPTIONS.get(name, ())):
            raise _OpaqueCommand(f"{name} may run or write something because of {argument.split('=')[0]}")


def _has_script(name: str, arguments: list[str]) -> bool:
    if name == "python" and arguments[:1] == ["-m"]:
        return len(arguments) > 1 and arguments[1] in PYTHON_MODULES
    return bool(arguments) and not arguments[0].startswith("-")


def _is_option(argument: str, option: str) -> bool:
    """Return whether an argument is this option, perhaps abbreviated (`--exe` for `--exec`) or with a value."""
    if "*" in option:
        return matches(option, argument)
    name = argument.split("=", maxsplit=1)[0]
    if option.startswith("--"):
        return len(name) > 2 and option.startswith(name)
    if len(option) == 2:
        # Letters can be combined: -xc is -x -c.
        return argument.startswith("-") and not argument.startswith("--") and option[1] in argument
    return name.lstrip("-") == option.lstrip("-")


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


def _name(program: str) -> str:
    """Return a program's name in lower case, without its folder and Windows extension."""
    return re.sub(r"\.(exe|com|cmd|bat|ps1)$", "", re.split(r"[/\\]", program)[-1].casefold())


def _stem(program: str) -> str:
    """Return a program's name without its version, too: `bin/Python3.12.exe` is python."""
    return re.sub(r"(?<=[a-z])[-.\d]+$", "", _name(program))

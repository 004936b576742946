"""Command lines of a model, read without a shell: what may run unasked, what a rule may cover, what a person must read.

Three risks. SAFE: on a short list of programs and options that only show something. PLAIN: one program with words as
arguments; it runs unasked only if the user has said so. OPAQUE: the text means more than it shows, or nobody knows
what, so a person reads all of it each time. Characters are on an allow list that is the same for POSIX shells, cmd.exe
and PowerShell, since nobody knows what the client runs a command with. The lists of wrappers are a second fence: they
keep a rule such as `python *` from covering `python -c …`, and nothing is SAFE by not being on them.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from agents import paths
from agents.programs import DANGEROUS_OPTIONS, INTERPRETERS, OPAQUE_PROGRAMS, PYTHON_MODULES, SUBCOMMANDS
from agents.wildcards import fits

#: Characters of a command; what is longer is not read by people, either.
MAX_COMMAND = 4000

#: What means itself to every shell. Between double quotes letters of all languages and some signs do so too; cmd.exe
#: does not know single quotes, so between them there are fewer.
PLAIN = r"A-Za-z0-9_./:=,+@\-"
WORD = rf"""(?:[{PLAIN}]|"[{PLAIN}\w ()#]*+"|'[{PLAIN}\w ]*+')++"""
COMMAND = re.compile(rf" *+[{PLAIN}]++(?: ++{WORD})*+ *+")

PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")

#: A piece of an argument that leads out of the workspace: an absolute path, a URL, or `..`, also behind an option.
OUTSIDE = re.compile(r"(?:^|[=:,@]|^-+\w)/|(?:^|[=:,/@]|^-+\w)\.\.(?:/|$)")


class Risk(StrEnum):
    """How much a command may do that its text does not show."""

    SAFE = "safe"
    PLAIN = "plain"
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line and what is known about it."""

    text: str
    risk: Risk
    #: Program and arguments; empty when OPAQUE.
    argv: tuple[str, ...] = ()
    #: Why it is OPAQUE, as the end of a sentence.
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Safe:
    """Options of a safe command, in full or as letters that may be joined, and whether paths may follow."""

    options: frozenset[str] = frozenset()
    letters: str = ""
    paths: bool = False


#: Why these are safe: they write nothing, run no other program that the workspace's files could name (configuration in
#: .git can, but the editor itself runs git there all the time, and a change of it is never made unasked), need no
#: network, and show only names and changes of files that `read_file` may show anyway.
SAFE = {
    ("pwd",): _Safe(),
    ("ls",): _Safe(letters="aAlhRtrS1dF", paths=True),
    ("git", "status"): _Safe(frozenset({"--short", "--branch", "--porcelain", "--long"}), letters="sb"),
    ("git", "diff"): _Safe(frozenset({"--stat", "--shortstat", "--numstat", "--name-only", "--cached", "--staged"})),
    ("git", "log"): _Safe(frozenset({"--oneline", "--stat", "--graph", *(f"-{number}" for number in range(1, 101))})),
    ("git", "branch"): _Safe(frozenset({"--show-current", "--list", "--all"}), letters="av"),
}


def read(text: str, *, shell: bool = False, folder: str = ".") -> Command:
    """Read a command line that is to run in a folder of the workspace; `shell` is the tool's argument of that name."""
    if shell:
        return Command(text=text, risk=Risk.OPAQUE, reason="it asks for a shell")
    try:
        argv = _split(text)
        _check(argv)
    except _Opaque as reason:
        return Command(text=text, risk=Risk.OPAQUE, reason=str(reason))
    # Elsewhere than in the root a folder can bring a git configuration of its own.
    safe = folder == "." and text.isascii() and _is_safe(argv)
    return Command(text=text, risk=Risk.SAFE if safe else Risk.PLAIN, argv=tuple(argv))


def covered(pattern: str, command: Command) -> bool:
    """Say whether a rule that allows commands covers one.

    Word by word: `*` at the end is any number of further words, within a word any characters of it. An OPAQUE command
    is only covered by its own whole text, and never by a pattern with wildcards.
    """
    if command.risk is Risk.OPAQUE:
        return pattern == command.text != "" and not set(pattern) & set("*?[")
    return _words_fit(pattern.split(), command.argv)


def forbidden(pattern: str, command: Command) -> bool:
    """Say whether a rule that denies commands speaks of one: ignores case, and sees programs behind paths and wrappers.

    In an OPAQUE command the pattern may begin at any word. That is a help, not a wall: such a command waits for
    a person anyway.
    """
    wanted = pattern.casefold().split()
    if command.risk is not Risk.OPAQUE:
        return any(_words_fit(wanted, form) for form in _forms(command.argv))
    found = words(command)
    open_end = wanted if wanted[-1:] == ["*"] else [*wanted, "*"]
    starts = range(len(found)) if wanted else ()
    return any(_words_fit(open_end, form) for start in starts for form in _forms(found[start:])) or wanted == ["*"]


def words(command: Command) -> list[str]:
    """Return a command's words; of an OPAQUE one whatever looks like a word in it."""
    return list(command.argv) or re.findall(r"[\w./:=@%+,\\-]+", command.text)


class _Opaque(Exception):
    """Why a command cannot be judged by its words."""


def _split(text: str) -> list[str]:
    """Split into words. Raises _Opaque for everything that some shell would read in another way."""
    if not text.strip(" "):
        raise _Opaque("it is empty")
    if len(text) > MAX_COMMAND:
        raise _Opaque(f"it is longer than {MAX_COMMAND} characters")
    # A code page may turn characters that normalisation changes into signs of the shell.
    if not COMMAND.fullmatch(text) or unicodedata.normalize("NFKC", text) != text:
        odd = next((character for character in text if not re.fullmatch(rf"[{PLAIN}\w '\"]", character)), None)
        raise _Opaque(f"it has {odd!r}, which may mean something to a shell" if odd else "its quotation may be misread")
    return shlex.split(text)


def _check(argv: list[str]) -> None:
    """Raise _Opaque for words that are not one program and its arguments."""
    program, *arguments = argv
    if "=" in program:
        raise _Opaque("it sets a variable")
    if "/" in program:
        try:
            paths.normal(program)
        except paths.UnsafePath:
            raise _Opaque("its program is not in the workspace") from None
    elif not PROGRAM.fullmatch(program):
        raise _Opaque("its program has an unusual name")
    name = _stem(program)
    if reason := OPAQUE_PROGRAMS.get(name) or OPAQUE_PROGRAMS.get(_name(program)):
        raise _Opaque(f"{name} {reason}")
    first = arguments[0] if arguments else ""
    if name in SUBCOMMANDS and first not in SUBCOMMANDS[name]:
        raise _Opaque(f"{name} {first or 'alone'} may run other programs")
    if name in INTERPRETERS and not _runs_a_file(name, arguments):
        raise _Opaque(f"{name} would run code that stands in the command or is typed into it")
    for argument in arguments:
        if argument.startswith("="):
            raise _Opaque("an argument begins with =, which zsh replaces by a program")
        if OUTSIDE.search(argument):
            raise _Opaque("an argument leads out of the workspace")
        if name == "git" and "::" in argument:
            raise _Opaque("it names a transport of git, which may be a program")
        if any(_is_option(argument, option) for option in DANGEROUS_OPTIONS.get(name, ())):
            raise _Opaque(f"{name} may run or write something by {argument.split('=')[0]}")


def _runs_a_file(name: str, arguments: list[str]) -> bool:
    if name == "python" and arguments[:1] == ["-m"]:
        return len(arguments) > 1 and arguments[1] in PYTHON_MODULES
    return bool(arguments) and not arguments[0].startswith("-")


def _is_option(argument: str, option: str) -> bool:
    """Compare with an option, which may be shortened (`--exe` for `--exec`) or have a value glued on."""
    if "*" in option:
        return fits(option, argument)
    name = argument.split("=", maxsplit=1)[0]
    if option.startswith("--"):
        return len(name) > 2 and option.startswith(name)
    if len(option) == 2:
        # A letter may stand among others: -xc is -x -c.
        return argument.startswith("-") and not argument.startswith("--") and option[1] in argument
    return name.lstrip("-") == option.lstrip("-")


def _is_safe(argv: list[str]) -> bool:
    for length in (1, 2):
        known = SAFE.get(tuple(argv[:length]))
        if known is not None:
            return all(_is_safe_argument(argument, known) for argument in argv[length:])
    return False


def _is_safe_argument(argument: str, known: _Safe) -> bool:
    if argument.startswith("-"):
        return argument in known.options or bool(argument[1:] and set(argument[1:]) <= set(known.letters))
    if not known.paths:
        return False
    try:
        paths.normal(argument)
    except paths.UnsafePath:
        return False
    return True


def _name(program: str) -> str:
    """Return a program's name without its folder and Windows' extensions, and without case."""
    return re.sub(r"\.(exe|com|cmd|bat|ps1)$", "", re.split(r"[/\\]", program)[-1].casefold())


def _stem(program: str) -> str:
    """Return its name without a version besides: `bin/Python3.12.exe` is python."""
    return re.sub(r"(?<=[a-z])[-.\d]+$", "", _name(program))


def _forms(argv: tuple[str, ...] | list[str]) -> list[list[str]]:
    """Return the ways in which a rule may name a command, without case."""
    words = [word.casefold() for word in argv]
    return [words, [_stem(words[0]), *words[1:]]] if words else []


def _words_fit(pattern: list[str], words: tuple[str, ...] | list[str]) -> bool:
    if pattern[-1:] == ["*"]:
        return len(words) >= len(pattern) - 1 and _words_fit(pattern[:-1], words[: len(pattern) - 1])
    return len(pattern) == len(words) and all(map(fits, pattern, words))

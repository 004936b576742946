"""Finds what one program with plain words may do beyond what its words show. What it finds, a person must approve.

Pure look-ups in tables (`agents.programs`, `agents.protected`) and a few rules about the shape of
words, in a time that grows with the length of the command alone. It must never grow tests for single command lines:
a gap is a row of a table or a missing rule.
"""

import re

from agents import paths, protected
from agents.programs import options, words
from agents.programs.known_options import KNOWN_OPTIONS, MAVEN_TESTS, SCRIPTS
from agents.programs.names import ALIASES, INTERPRETERS, OPAQUE_PROGRAMS, PYTHONS
from agents.programs.subcommands import CONSOLES, LAUNCHERS, PYTHON_MODULES, READERS, RUNNERS, SUBCOMMANDS

PROGRAM_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")

#: A piece of an argument that leads out of the workspace: an absolute path, a URL, or `..`, also behind an option.
_OUTSIDE = re.compile(r"(?:^|[=:,@(#+]|^-+\w+)/|(?:^|[=:,/@(#+]|^-+\w*)\.\.(?:/|$)|^[A-Za-z]:(?!:)", re.ASCII)
#: A host as ssh names it, or an address that a package manager or a runtime loads from.
_REMOTE = re.compile(
    r"(?:^|[=,])[\w.+-]+@[\w.-]+:|(?:^|[=,@])(?:npm|jsr|github|gitlab|bitbucket|gist|https?|ftp|ssh|git\+\w+):",
    re.ASCII | re.IGNORECASE,
)
_HOST = re.compile(r"(?:^|=)[\w-]+(?:\.[\w-]+)+:(?!:|\d+(?::|$))", re.ASCII)
#: Schemes that are names of scripts elsewhere.
_LOADED = re.compile(r"(?:^|[=,@])(?:data|file|git|link|portal|workspace|blob|hg|svn|bzr):", re.ASCII | re.IGNORECASE)
#: How calls of functions look in languages that a program may read.
_CALL = re.compile(r"\w\(", re.ASCII)

#: Packages that the package manager itself would choose: by name and version.
_NPM_PACKAGE = re.compile(r"(?:@[\w.-]+/)?[\w.-]*\w(?:@[\w.^-]+)?", re.ASCII)
_PYTHON_PACKAGE = re.compile(r"\w[\w.-]*(?:==[\w.+-]+)?", re.ASCII)
_ARCHIVE = re.compile(r"\.(?:tgz|tar|gz|bz2|xz|zip|whl|egg|gem|crate|jar)$", re.IGNORECASE)
_PACKAGES = {
    ("npm", "install"): _NPM_PACKAGE,
    ("npm", "i"): _NPM_PACKAGE,
    ("pnpm", "install"): _NPM_PACKAGE,
    ("pnpm", "i"): _NPM_PACKAGE,
    ("yarn", "install"): _NPM_PACKAGE,
    ("bun", "install"): _NPM_PACKAGE,
    ("bun", "i"): _NPM_PACKAGE,
    ("pip", "install"): _PYTHON_PACKAGE,
}
_RUNTIMES = frozenset({"npm", "pnpm", "yarn", "bun", "deno", "node", "nodejs", "pip", "cargo", "go"})

#: Git's options without a value, behind which the name of a remote may stand.
_GIT_FLAGS = words(
    "-u -f -q -v -n -d -a -t -4 -6 --set-upstream --force --force-with-lease --force-if-includes --tags --all",
    "--verbose --quiet --no-verify --dry-run --delete --prune --atomic --rebase --no-rebase --ff --no-ff",
    "--ff-only --no-tags --unshallow --progress --no-progress --follow-tags --autostash --no-edit --signoff",
    "--mirror --bare",
)
#: Options before a subcommand that change nothing but the output or the number of processes.
_PREFIXES = {
    "git": re.compile(r"--no-pager|-P|--no-optional-locks|--literal-pathspecs"),
    "make": re.compile(r"-[jkslnBi]+\d*|--silent|--keep-going|--no-print-directory"),
    "mvn": re.compile(r"-q|-B|-o|-ntp|--quiet|--batch-mode|--offline|--no-transfer-progress|" f"-D(?:{MAVEN_TESTS})"),
    **dict.fromkeys(("gradle", "gradlew"), re.compile(r"-q|--quiet|--no-daemon|--offline|--stacktrace|--info")),
    **dict.fromkeys(("npm", "pnpm", "yarn"), re.compile(r"-s|--silent")),
    **dict.fromkeys(PYTHONS, re.compile(r"-[uBOEsI]+")),
}
#: Scripts in such folders are programs under their own names.
_INSTALLED = re.compile(
    r"(?:^|/)(?:\.?bin|node_modules|vendor|site-packages|\.yarn/releases)/(?!console$)", re.IGNORECASE
)
#: Scripts in packages whose names say nothing, and the name of the package.
_PACKAGE_MAIN = re.compile(
    r".*(?:^|/)(?:node_modules|site-packages)/(?:@[\w.-]+/)?([\w.-]+)/(?:.*/)?(?:__main__|cli|index|main|run)(?:\.\w+)?",
    re.IGNORECASE,
)
_EXTENSION = re.compile(r"\.(?:[cm]?js|py|rb|php|phar|pl)$")

#: Names of programs in which digits at the end are no version, such as `flake8`.
_KNOWN = KNOWN_OPTIONS.keys() | SUBCOMMANDS.keys() | CONSOLES.keys() | READERS | RUNNERS | INTERPRETERS

#: Programs whose argument is a module and a name in it, such as `app.main:app`.
_APP_SERVERS = frozenset({"uvicorn", "gunicorn", "hypercorn", "granian", "daphne"})
#: Texts of people, in which parentheses are no code.
_TEXT_PROGRAMS = frozenset(
    {"git", "npm", "pnpm", "yarn", "cargo", "go", "make", "gh", "mkdir", "touch", "cp", "mv", "rm"}
)


class Hazard(Exception):
    """A command may do more than its words show; the message is a clause that follows "because"."""


def check(argv: list[str], *, folder: str = ".") -> None:
    """Raise Hazard for words that are not one program and its arguments, or that reach what needs approval."""
    program, *arguments = argv
    if "=" in program:
        raise Hazard("it sets a variable")
    for argument in arguments:
        _check_word(argument)
    name, subcommand, rest = _resolve(program, arguments)
    _check_consoles(name, rest)
    _check_options(name, subcommand, rest)
    _check_response_files(name, rest)
    _check_addresses(name, subcommand, rest)
    _check_protected(name, subcommand, rest, folder)


def name_of(program: str) -> str:
    """Return a program's name in lower case, without its folder and Windows extension."""
    return re.sub(r"\.(exe|com|cmd|bat|ps1)$", "", re.split(r"[/\\]", program)[-1].casefold())


def stem_of(program: str) -> str:
    """Return a program's name without its version, too: `bin/Python3.12.exe` is python."""
    return re.sub(r"(?<=[a-z])[-.\d]+$", "", name_of(program))


def _check_response_files(name: str, arguments: list[str]) -> None:
    for argument in arguments if name in RUNNERS else ():
        if argument.startswith("@"):
            raise Hazard(f"{name} takes further arguments from a file")


def _check_word(word: str) -> None:
    if word.startswith("="):
        raise Hazard("an argument begins with =, which zsh replaces with a program")
    if _OUTSIDE.search(word):
        raise Hazard("an argument leads out of the workspace")


def _resolve(program: str, arguments: list[str]) -> tuple[str, str, list[str]]:
    """Return the name of the program that really runs, its first argument, and its arguments behind a script."""
    while True:
        name = _checked_name(program)
        while name in _PREFIXES and arguments and _PREFIXES[name].fullmatch(arguments[0]):
            arguments = arguments[1:]
        first = arguments[0] if arguments else ""
        if arguments == ["--version"]:
            return name, first, arguments
        if name in SUBCOMMANDS and first not in SUBCOMMANDS[name]:
            raise Hazard(f"{name} {first or 'alone'} may run other programs")
        launched = _launched(name, first, arguments)
        if launched:
            program, *arguments = launched
        elif name not in INTERPRETERS:
            return name, first, arguments
        else:
            script = name_of(first)
            return (script if script in CONSOLES else name), first, arguments[1:]


def _checked_name(program: str) -> str:
    """Return the usual name of a program that does not run others. Raises Hazard."""
    if "/" in program:
        try:
            paths.normalize(program)
        except paths.UnsafePath:
            raise Hazard("its program is not in the workspace") from None
    elif not PROGRAM_PATTERN.fullmatch(program):
        raise Hazard("its program has an unusual name")
    name = name_of(program) if name_of(program) in _KNOWN else stem_of(program)
    if reason := OPAQUE_PROGRAMS.get(name) or OPAQUE_PROGRAMS.get(name_of(program)):
        raise Hazard(f"{name} {reason}")
    return ALIASES.get(name, name)


def _launched(name: str, first: str, arguments: list[str]) -> list[str]:
    """Return the program and arguments that a program runs, if its arguments name one of its own kind."""
    if (name, first) in LAUNCHERS and len(arguments) > 1:
        return arguments[1:]
    if (name, first) == ("coverage", "run"):
        place = _script_place(arguments)
        _check_options("coverage", first, arguments[1:place])
        return ["python", *arguments[place:]]
    if name not in INTERPRETERS:
        return []
    if name in PYTHONS and first == "-m" and len(arguments) > 1 and arguments[1] in PYTHON_MODULES:
        return arguments[1:]
    if not first or first.startswith("-"):
        raise Hazard(f"{name} would run code from the command itself or from its input")
    if not _INSTALLED.search(first):
        return []
    package = _PACKAGE_MAIN.fullmatch(first)
    return [package[1] if package else _EXTENSION.sub("", name_of(first)), *arguments[1:]]


def _script_place(arguments: list[str]) -> int:
    """Return the place of `-m` or of a script in the arguments of `coverage run`."""
    if "-m" in arguments:
        return arguments.index("-m")
    return next((place for place, word in enumerate(arguments) if place and not word.startswith("-")), len(arguments))


def _check_consoles(name: str, arguments: list[str]) -> None:
    words = CONSOLES.get(name, frozenset())
    for argument in arguments if words else ():
        word = argument.split("=")[0]
        if word in words or (word.startswith("-") and len(word) > 3 and any(each.startswith(word) for each in words)):
            raise Hazard(f"{name} {word} runs code, reaches a database or opens a server")


def _check_options(name: str, subcommand: str, arguments: list[str]) -> None:
    known = [KNOWN_OPTIONS[key] for key in (name, f"{name} {subcommand}") if key in KNOWN_OPTIONS]
    found = options.find(known, arguments, is_script=name in INTERPRETERS)
    if not found and name in _RUNTIMES and "--" in arguments:
        found = options.find([SCRIPTS], arguments[arguments.index("--") :])
    if found:
        option, effect = found
        raise Hazard(f"{name} {effect} because of {option}")


def _check_addresses(name: str, subcommand: str, arguments: list[str]) -> None:
    """Raise Hazard for hosts, packages that are not from the usual registry, and code as an argument."""
    is_unknown = name not in SUBCOMMANDS and name not in INTERPRETERS and name not in READERS and name not in RUNNERS
    package = _PACKAGES.get((name, subcommand))
    for place, argument in enumerate(arguments):
        # Scripts of a project are often called like `git:tag`.
        is_script = place and arguments[place - 1] in ("run", "run-script")
        if is_script:
            continue
        if _REMOTE.search(argument) or (is_unknown and name not in _APP_SERVERS and _HOST.search(argument)):
            raise Hazard("an argument names a host or an address on the network")
        if name in _RUNTIMES and _LOADED.search(argument):
            raise Hazard("an argument names code from elsewhere")
        if is_unknown and name not in _TEXT_PROGRAMS and _CALL.search(argument):
            raise Hazard("an argument may be code")
        is_package = package and place and not argument.startswith("-")
        if package and is_package and (_ARCHIVE.search(argument) or not package.fullmatch(argument)):
            raise Hazard(f"{argument[:80]} is not a package of {name}'s registry")
    if name == "git":
        _check_remote(subcommand, arguments[1:])


def _check_remote(subcommand: str, arguments: list[str]) -> None:
    """Raise Hazard if git may take a word for `host:path`. Behind a remote's name, such words are names of branches."""
    has_remote = False
    before = ""
    for argument in arguments:
        if "::" in argument:
            raise Hazard("it names a git transport, which may be a program")
        if subcommand in ("clone", "fetch", "pull", "push") and not argument.startswith("-"):
            if ":" in argument and (subcommand == "clone" or not has_remote):
                raise Hazard("an argument names a host or an address on the network")
            has_remote = has_remote or not before.startswith("-") or before in _GIT_FLAGS
        before = argument


def _check_protected(name: str, subcommand: str, arguments: list[str], folder: str) -> None:
    """Raise Hazard if the command may change a file that other programs run or trust."""
    key = f"git {subcommand}" if name == "git" else name
    if key in READERS:
        return
    if protected.is_named(folder, key):
        raise Hazard(f"it runs in {folder[:80]}, which other programs run or trust")
    before = ""
    for argument in arguments:
        is_given = key in RUNNERS and not argument.startswith("-") and not _may_take_value(before)
        if not is_given and protected.is_named(argument, key):
            raise Hazard(f"it names {argument[:80]}, which other programs run or trust")
        before = argument


def _may_take_value(option: str) -> bool:
    return option.startswith("--") and "=" not in option and not protected.is_exclusion(option)

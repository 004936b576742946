"""Whether a command needs a shell, and the environment that it gets.

Without shell syntax a command is run as the words that a shell would have made of it, so what was approved is what is
run. With shell syntax the whole text goes to a shell, as it was approved.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from functools import lru_cache

from codelab_cli.outcome import ToolFailed
from codelab_cli.tools import secrets

#: Words that only a shell knows, as the first of a command.
_SHELL_WORDS = frozenset(
    {
        ".", ":", "[[", "{", "!", "alias", "bg", "bind", "break", "builtin", "case", "cd", "command", "continue",
        "coproc", "declare", "dirs", "disown", "eval", "exec", "exit", "export", "fc", "fg", "for", "function",
        "getopts", "hash", "help", "history", "if", "jobs", "let", "local", "mapfile", "popd", "pushd", "read",
        "readonly", "return", "select", "set", "shift", "shopt", "source", "suspend", "time", "times", "trap", "type",
        "typeset", "ulimit", "umask", "unalias", "unset", "until", "wait", "while",
    }
)  # fmt: skip
#: Outside of quotes these mean something to a shell. So does ~ at the beginning of a word, and # there.
_SIGNS = re.compile(r"[|&;<>()$`*?\[\]{}!\n\r]|(?:^|[\s=:])~|(?:^|\s)#")
_SIGNS_IN_QUOTES = re.compile(r"[$`!]")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_QUOTED = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"|\\.", re.DOTALL)

#: Names of variables whose values are secrets.
_SECRET_VARIABLE = re.compile(
    r"^CODELAB_|TOKEN|SECRET|PASSW(OR)?D|PASSPHRASE|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|^PGPASS"
    r"|(^|_)(PASS|PWD|KEY|PAT|AUTH|DSN)$",
    re.IGNORECASE,
)
#: These make a shell or git do something else than the text says.
_DROPPED_VARIABLES = frozenset(
    {"BASH_ENV", "ENV", "PROMPT_COMMAND", "PWD", "OLDPWD", "CDPATH", "GLOBIGNORE", "SHELLOPTS", "BASHOPTS", "IFS"}
    | {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"}
)


def needs_shell(command: str) -> bool:
    """Return whether a shell would read more into a command than words."""
    plain = _QUOTED.sub(lambda quoted: "_" * len(quoted[0]), command)
    if _SIGNS.search(plain) or "\\\n" in command:
        return True
    if any(quoted[0].startswith('"') and _SIGNS_IN_QUOTES.search(quoted[0]) for quoted in _QUOTED.finditer(command)):
        return True
    first = plain.split(maxsplit=1)[0] if plain.split() else ""
    return first in _SHELL_WORDS or bool(_ASSIGNMENT.match(first))


def split(command: str, *, shell: bool) -> list[str]:
    """Return the program and its arguments for a command. Raises ToolFailed."""
    if "\0" in command:
        raise ToolFailed("The command has the character NUL")
    if shell or needs_shell(command):
        return [find_shell(), "-c", command]
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ToolFailed(f"The command cannot be read: {error}") from None
    if not words:
        raise ToolFailed("The command is empty")
    if words[0] in _SHELL_WORDS:
        return [find_shell(), "-c", command]
    return words


@lru_cache
def find_shell() -> str:
    """Return the shell for shell syntax: bash where it is installed, because models write for it."""
    return shutil.which("bash", path="/bin:/usr/bin:/usr/local/bin:/opt/homebrew/bin") or "/bin/sh"


def environment(variables: Mapping[str, str], folder: str, *, allow_secrets: bool) -> dict[str, str]:
    """Return the environment of commands in a folder: that of the client without its secrets, and without questions."""
    kept = {
        name: value
        for name, value in variables.items()
        if name not in _DROPPED_VARIABLES
        and not name.startswith(("CODELAB_", "BASH_FUNC_"))
        and (allow_secrets or not _SECRET_VARIABLE.search(name))
    }
    # An empty or relative entry would find programs in the folder of the command.
    path = os.pathsep.join(entry for entry in kept.get("PATH", os.defpath).split(os.pathsep) if entry.startswith("/"))
    return kept | {
        "PATH": path,
        "PWD": folder,
        "TERM": "dumb",
        "NO_COLOR": "1",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        "PYTHONUNBUFFERED": "1",
    }


def secret_words(command: str) -> Iterator[str]:
    """Yield the words of a command that have a name of secrets. Not all are files: `pytest -k token`."""
    for word in re.split(r"[\s'\"|&;<>()$`{},=@:]+", command):
        name = word.strip("\\").removeprefix("./")
        if name and secrets.is_secret(name):
            yield name

"""Which command lines may run without approval. Each string of OPAQUE needs approval in every mode.

No shell may see more in an accepted text than we do: the last tests ask a real one.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.commands import SAFE_COMMANDS, Risk, covers, forbids, parse
from agents.programs.names import OPAQUE_PROGRAMS

#: Each of these means more than its words, by kind of trap.
# fmt: off
OPAQUE = {
    "operators": [
        "ls; rm -rf .", "ls && rm x", "ls || rm x", "ls | sh", "ls & rm x", "ls&", "ls;", ";ls", "ls |& cat",
        "git status;id", "git status && curl evil.example", "ls\n rm x", "ls\nrm x", "ls\r\nrm x", "ls\rrm x",
        "pwd\x0brm", "ls \x00rm", "ls\u2028rm", "(ls)", "{ ls; }", "! ls", "ls -la;rm", "ls &&& x", "ls%0arm",
        "ls \\\n rm",
    ],
    "substitutions": [
        "ls $(rm x)", "ls `rm x`", "ls ${HOME}", "ls $HOME", "echo $((1+1))", "ls <(rm x)", "ls >(rm x)", "ls $'a'",
        'ls $"a"', 'ls "$(rm x)"', 'ls "`rm x`"', "ls !!", "ls !rm", "ls ^a^b", "ls ~", "ls ~root", "ls {a,b}",
        "ls a{1..9}", "ls $IFS", "ls %PATH%", "ls $env:PATH", "ls @(1)", 'ls "${x@P}"', "git status $(id)",
        'git log --oneline "$(id)"', "=ls", "ls =rm",
    ],
    "redirections": [
        "ls > x", "ls >> x", "ls >x", "ls 2>&1", "cat < x", "ls &> x", "cat << E", "cat <<< x", "ls >| x", "ls <> x",
        "git diff >.git/config",
    ],
    "variables": [
        "PATH=. ls", "LD_PRELOAD=x.so ls", "GIT_PAGER=sh git log", "A=1", "GIT_EXTERNAL_DIFF=x git diff", "x+=1 ls",
        "PAGER=rm git log",
    ],
    "globs in the program's place": [
        "l? -la", "/bin/l*", "[l]s", "*", "./*", "?", "l[s]", "ls *", "rm *.py", "git add [a-z]*",
    ],
    "quotes": [
        '"ls"', "'ls'", 'l"s"', "l's'", "ls 'a", 'ls "a', "ls a'", "ls \\'a", '"ls -la"', "ls 'a;b'", 'ls "a&b"',
        "ls 'a(b'", 'ls "a%b"', "\\ls", "l\\s", "ls \\; rm", "ls '\\''; rm", 'ls "a\\"; rm"', "ls \u2018a\u2019",
        "ls \uff1b rm", "ls \uff06 rm", "ls \u037e rm",
    ],
    "wrappers": [
        "env ls", "env -i ls", "env -S 'ls'", "sh -c ls", "bash -c ls", "bash x.sh", "zsh -c ls", "dash x",
        "fish -c ls", "busybox sh", "toybox ls", "xargs rm", "sudo ls", "sudo -u root ls", "doas ls", "su -c ls",
        "nohup ls", "timeout 5 ls", "time ls", "nice ls", "ionice ls", "setsid ls", "stdbuf -o0 ls", "strace ls",
        "watch ls", "script -c ls", "parallel ls", "flock x ls", "chroot . ls", "unshare ls", "nsenter ls",
        "taskset 1 ls", "cmd /c dir", "cmd.exe /c dir", "powershell -Command ls", "pwsh -c ls", "wsl ls", "runas ls",
        "start ls", "forfiles", "rundll32 x", "Env ls", "SUDO ls", "./sudo ls", "bin/env ls", "/usr/bin/env ls",
        "/bin/ls", "sudo.exe ls", "env.cmd ls", "npx x", "uvx x", "pipx run x", "npm exec x", "yarn dlx x",
        "docker run x", "kubectl exec x", "poetry run x", "uv run x", "conda run x", "tmux new x", "screen x",
        "at now", "crontab x", "systemd-run ls",
    ],
    "options that run programs": [
        "find . -exec rm x", "find . -execdir rm x", "find . -ok rm x", "find . -delete", "find . -fprint x",
        "git -c core.pager=x log", "git -C .. status", "git --exec-path=. status", "git --git-dir=x status",
        "git -p log", "git clone --upload-pack=x y", "git clone --upload=x y", "git clone -c x=y z",
        "git fetch --upload-pack x", "git ls-remote --upload-pack=x .", "git rebase --exec x", "git rebase -x x",
        "git rebase --exe=x main", "git grep -Ox y", "git grep --open-files-in-pager=x y", "git diff --output=x",
        "git diff --ext-diff", "git log --output=x", "git clone ext::sh x", "git bisect run x",
        "git config core.pager x", "git submodule foreach ls", "git difftool", "git filter-branch", "git x", "git",
        "git diff --no-index a b", "ssh -o ProxyCommand=x y", "ssh host ls", "scp x y", "rsync -e x y z", "awk 1 x",
        "gawk x", "sed e x", "sed -n 1e x", "sed -i x y", "vim -c x", "less x", "tar --checkpoint-action=exec=x",
        "tar -I x -f y", "tar cf x y", "zip -T -TT x", "make -f x", "make --eval=x", "make SHELL=x", "make test CC=x",
        "rg --pre x y", "fd -x rm", "npm run x --script-shell=y", "npm --script-shell=y test", "go test -exec x",
        "go build -toolexec=x", "go generate", "cargo test --config x", "pytest -p x", "pytest -o x",
        "pip install -i x y", "mvn test -Dx=y", "mvn exec:java", "gradle -I x", "sort x", "tee x", "dd if=x",
    ],
    "code in the command": [
        "python -c 1", "python3 -c 1", "python3.12 -Ic 1", "python -", "python", "python -m timeit x",
        "python -m code", "python -i x.py", "python -W x x.py", "node -e 1", "node --eval 1", "node -p 1", "node",
        "node -r x y", "ruby -e 1", "perl -e 1", "perl -pi -e x y", "php -r 1", "lua -e 1", "deno eval 1", "bun -e 1",
        "bun x y", "py -c 1", "pypy3 -c 1", "Rscript -e 1", "julia -e 1", "osascript x", "java x", "irb", "sqlite3 x",
        "psql x", "jshell",
    ],
    "built-ins": [
        "export A", "declare x", "typeset x", "eval ls", "source x", ". x", "alias ls", "unalias ls", "exec ls",
        "command ls", "builtin ls", "trap x y", "set -x", "read x", "printf x", "test x", "cd src", "pushd x",
        "hash x", "enable x", "ulimit -n 1", "umask 0", "local x", "readonly x", "let x", "if true", "for x in y",
        "while true", "function x", "time", "coproc x", "bind x", "history", "echo x", "iex x", "call x", "del x",
        "wait",
    ],
    "outside": [
        "ls /", "ls ..", "ls ../x", "cat /etc/passwd", "x --file=/etc/passwd", "x -I/usr", "git diff ../x", "../x",
        "git clone https://x.example/y",
    ],
    "network and machine": [
        "curl x", "wget x", "nc x 1", "telnet x", "kill 1", "shutdown", "chmod x y", "chown x y", "mkfs x", "mount x",
    ],
    "nothing": ["", " ", "   ", "\t", "ls " * 2000],
}
# fmt: on
TRAPS = [(kind, text) for kind, texts in OPAQUE.items() for text in texts]

# fmt: off
PLAIN = [
    "pytest", "pytest -q tests", "npm test", "npm run test:unit", "cargo test", "go test ./...", "make", "make test",
    "python -m pytest -x", "python scripts/build.py --fast", "node build.js", "git add src/main.py",
    'git commit -m "Fix the parser (again)"', "git commit -m 'Add x'", 'git commit -m "Исправить ошибку"',
    "git push origin main", "git checkout -b feature/x", "dart test", "flutter analyze", "ruff check .", "mkdir x",
    "rm -rf build", "./gradlew test", "ls -la --color", "ls --full-time", "git status --ignored", "git diff main",
    "git branch new", "grep -rn TODO src", "find . -name x.py", "npm install @types/node", "git log --format=x",
    "pip install requests", "ls -o", "git log -p", "git log main..HEAD",
]
# fmt: on

# fmt: off
SAFE_TEXTS = [
    "ls", "ls -la", "ls -R src", "ls -1 src tests/agents", "pwd", "git status", "git status -sb",
    "git status --short --branch", "git diff", "git diff --stat", "git diff --cached --name-only",
    "git log --oneline -20", "git branch --show-current", "git branch -a", " ls  -l ", "ls ./src",
]
# fmt: on


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len({text for _, text in TRAPS}) >= 150


@pytest.mark.parametrize(("kind", "text"), TRAPS, ids=[f"{kind}: {text[:30]!a}" for kind, text in TRAPS])
def test_a_trap_needs_approval(kind: str, text: str) -> None:
    command = parse(text)
    assert command.risk is Risk.OPAQUE
    assert command.reason
    assert command.reason.isprintable()
    for pattern in (
        "*",
        "ls *",
        "git *",
        text.split(" ", maxsplit=1)[0] + " *",
        text + "*",
        text + " *",
        "* *",
        "?" * len(text),
    ):
        assert not covers(pattern, command), "no rule with wildcards covers it"


@pytest.mark.parametrize("text", PLAIN)
def test_one_program_with_plain_words_is_read_but_not_safe(text: str) -> None:
    command = parse(text)
    assert command.risk is Risk.PLAIN
    assert list(command.argv) == shlex.split(text)


@pytest.mark.parametrize("text", SAFE_TEXTS)
def test_what_only_shows_something_is_safe(text: str) -> None:
    assert parse(text).risk is Risk.SAFE


@pytest.mark.parametrize("text", SAFE_TEXTS)
def test_nothing_is_safe_in_a_shell_or_in_another_folder(text: str) -> None:
    assert parse(text, shell=True).risk is Risk.OPAQUE
    assert parse(text, folder="vendor/x").risk is Risk.PLAIN


def test_the_list_of_safe_commands_stays_short() -> None:
    assert set(SAFE_COMMANDS) == {("ls",), ("pwd",), *(("git", word) for word in ("status", "diff", "log", "branch"))}
    assert not {program for program, *_ in SAFE_COMMANDS} & OPAQUE_PROGRAMS.keys()


@pytest.mark.parametrize(
    ("pattern", "text", "is_covered"),
    [
        ("npm test", "npm test", True),
        ("npm test", "npm  test", True),
        ("npm test", "npm test --watch", False),
        ("npm test *", "npm test --watch", True),
        ("npm test *", "npm test", True),
        ("npm test *", "npm tests", False),
        ("npm run te*", "npm run test", True),
        ("npm run test:*", "npm run test:unit", True),
        ("npm run test:*", "npm run build", False),
        ("npm *", "npm 'test x'", False),
        ("git commit *", 'git commit -m "a b"', True),
        ("git commit -m *", 'git commit -m "a b"', True),
        ("npm test", "NPM test", False),
        ("*", "pytest -q", True),
        ("", "pytest", False),
        ("make test && make lint", "make test && make lint", True),
        ("make test && make *", "make test && make lint", False),
        ("rm *", "rm *", False),
        ("python *", "python -c 1", False),
        ("python -c 1", "python -c 1", True),
    ],
)
def test_a_rule_covers_words_and_an_opaque_text_only_as_a_whole(pattern: str, text: str, is_covered: bool) -> None:
    assert covers(pattern, parse(text)) is is_covered


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("rm *", "rm -rf build"),
        ("rm *", "RM -rf build"),
        ("rm *", "./bin/rm x"),
        ("rm *", "rm.exe x"),
        ("rm *", "/bin/rm x"),
        ("rm *", "ls && rm x"),
        ("rm *", "sudo rm x"),
        ("rm *", "sh -c 'rm x'"),
        ("rm *", "ls $(rm x)"),
        ("git push *", "git push"),
        ("git push *", "cd x; git push --force"),
        ("git push", "true; git push --force"),
        ("python *", "python3.12 x.py"),
        ("*", "anything at all"),
        ("*", "a;b"),
    ],
)
def test_a_denied_program_is_seen_behind_other_words(pattern: str, text: str) -> None:
    assert forbids(pattern, parse(text))


@pytest.mark.parametrize(
    ("pattern", "text"), [("rm *", "git rm x"), ("rm *", "rmx y"), ("git push *", "git pull"), ("", "ls")]
)
def test_other_programs_are_not_denied(pattern: str, text: str) -> None:
    assert not forbids(pattern, parse(text))


# Whatever a model writes

SIGNS = "l s r m g i t ls git status -la src echo ' \" ; & | $x ` \\ * = # ~ ( ) < > {a,b} ! % ^ @ я . / - , : + ："
WORDS = st.sampled_from([*SIGNS.split(" "), " ", "  ", "\n", "\t", "\u00a0"])
TEXTS = st.one_of(st.text(max_size=30), st.lists(WORDS, max_size=12).map("".join))


@given(TEXTS)
@example("ls 'a b'")
@example('git commit -m "a (b) #c"')
def test_an_accepted_command_is_split_as_python_does_and_holds_no_sign_of_a_shell(text: str) -> None:
    command = parse(text)
    if command.risk is Risk.OPAQUE:
        assert list(command.argv) in ([], shlex.split(text) if command.argv else [])
        return
    assert list(command.argv) == shlex.split(text)
    assert not set(text) & set(";&|<>$`\\*?[]{}~!^%\n\r\t\0")
    if command.risk is Risk.SAFE:
        assert command.argv[0] in {"ls", "pwd", "git"}


SHELLS = [shell for shell in ("dash", "bash", "zsh", "busybox") if shutil.which(shell)]


@pytest.mark.skipif(not SHELLS, reason="no shell on this machine")
@given(st.lists(WORDS, max_size=10).map("".join))
@settings(max_examples=40)
@example("ls 'a b' \"c (d) #e\" f,g=h")
@example("ls a@b x:y +z")
def test_real_shells_see_the_same_words(text: str) -> None:
    command = parse(text)
    if command.risk is Risk.OPAQUE:
        return
    for shell in SHELLS:
        argv = [shell, "sh"] if shell == "busybox" else [shell]
        # The text is only given to printf as words; it is not run.
        script = f"printf '%s\\n' {text}"
        done = subprocess.run([*argv, "-c", script], capture_output=True, text=True, check=True, timeout=120)
        assert done.stdout == "".join(f"{word}\n" for word in command.argv)

"""Options and paths in every disguise that command lines know: bundled, glued, abbreviated, quoted, in lists."""

from __future__ import annotations

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from agents.policy import Mode, Verdict
from agents.programs.known_options import KNOWN_OPTIONS
from agents.programs.names import ALIASES
from agents.programs.subcommands import CONSOLES, PYTHON_MODULES, SUBCOMMANDS
from tests.agents.test_policy import allow, deny, run

#: Each dangerous option with the words before it.
DANGERS = [
    (key, option)
    for key, options in KNOWN_OPTIONS.items()
    for option in options.effects
    if "*" not in option and key != "django-admin"
]


def _opening(key: str) -> str:
    """Return the words that begin a command of a program that runs unasked."""
    program, _, subcommand = key.partition(" ")
    if not subcommand and program in SUBCOMMANDS:
        subcommand = next(
            word
            for word in ("report", "test", "build", "list", "install", "log", "run", "")
            if word in SUBCOMMANDS[program]
        )
    return f"{program} {subcommand}".strip()


@st.composite
def disguised_options(draw: st.DrawFn) -> str:
    """Make a command line with a dangerous option that looks as harmless as it can."""
    key, option = draw(st.sampled_from(DANGERS))
    opening, options = _opening(key), KNOWN_OPTIONS[key]
    if key in PYTHON_MODULES:
        opening = draw(st.sampled_from([opening, f"python -m {opening}", f"python3.12 -m {opening}"]))
    elif opening != "manage.py":
        opening = draw(st.sampled_from([opening, f"bin/{opening}", opening.replace(" ", ".exe ", 1), opening]))
    value = draw(st.sampled_from(["x", "./x", "sub/x.y", "python evil.py", "x=y"]))
    if option.startswith("--"):
        shortest = max(4, len(option) - draw(st.integers(0, 6)))
        spelled = option[:shortest]
        assume(spelled not in options.harmless)
        words = draw(st.sampled_from([[spelled, value], [f"{spelled}={value}"], [spelled]]))
    elif len(option) == 2:
        before = draw(st.sampled_from(["", "q", "v", "qv"])) if options.bundles else ""
        assume(not set(before) & (options.values | {each[1] for each in options.effects if len(each) == 2}))
        bundle = f"-{before}{option[1]}"
        words = draw(st.sampled_from([[bundle, value], [f"{bundle}{value}"], [f"{bundle}={value}"]]))
        if not options.bundles:
            words = [option, value]
    else:
        words = draw(st.sampled_from([[option, value], [f"{option}={value}"], [f"-{option}={value}"]]))
    others = st.lists(st.sampled_from(["a", "src/b", "-v", "--quiet", "5"]), max_size=2)
    words = [*draw(others), *words, *draw(others)]
    quote = draw(st.sampled_from(['"', ""]))
    return " ".join([opening, *(f'"{word}"' if " " in word or quote else word for word in words)])


@given(disguised_options())
def test_no_disguise_of_a_dangerous_option_runs_unasked(text: str) -> None:
    first, second = text.split(" ")[:2]
    rules = [allow(), allow("execute_command", f"{first} *"), allow("execute_command", f"{first} {second} *")]
    for mode in Mode:
        assert run(text, mode=mode, rules=rules).verdict is Verdict.ASK, text


@given(
    st.sampled_from(sorted(CONSOLES)),
    st.data(),
    st.sampled_from(["python {}", "python ./{}", "php {}", "bin/{}", "ruby sub/{}", "./{}"]),
    st.sampled_from(["", "--verbose ", "--settings=x "]),
)
def test_no_way_into_a_console_runs_unasked(name: str, data: st.DataObject, call: str, before: str) -> None:
    word = data.draw(st.sampled_from(sorted(CONSOLES[name])))
    for mode in Mode:
        assert run(f"{call.format(name)} {before}{word} x", mode=mode, rules=[allow()]).verdict is Verdict.ASK


#: Patterns of deny rules, and paths that they deny.
DENIALS = [
    (".env", ".env"),
    (".env", "config/.env"),
    (".env", ".env."),
    ("secret/**", "secret./key"),
    ("*.pem", "server.pem"),
    ("*.pem", "certs/server.pem"),
    ("secret/**", "secret/key"),
    ("secret/**", "secret"),
    ("**/secret/**", "a/secret/b/key"),
    ("secret/*.txt", "secret/a.txt"),
    ("**/.env*", "a/.env.local"),
]
WAYS = [
    "{}",
    "./{}",
    '"{}"',
    "'./{}'",
    "--file={}",
    "-f{}",
    "-rnf{}",
    "-f={}",
    "HEAD:{}",
    "a,{}",
    "{},b",
    "--x=a,{}",
    "@{}",
    "x:y:{}",
]


@given(
    denial=st.sampled_from(DENIALS),
    way=st.sampled_from(WAYS),
    program=st.sampled_from(["cat", "grep x", "cp x", "git show", "git diff --stat", "foo", "python x.py", "cat x |"]),
    change=st.sampled_from([str, str.upper, str.title]),
    slashes=st.sampled_from(["/", "//", "/./"]),
    end=st.sampled_from(["", " y", " --z"]),
)
def test_a_deny_rule_holds_for_every_way_to_name_a_path(
    *, denial: tuple[str, str], way: str, program: str, change: type[str], slashes: str, end: str
) -> None:
    pattern, path = denial
    text = f"{program} {way.format(change(path).replace('/', slashes))}{end}"
    for tool in ("*", "execute_*"):
        decision = run(text, mode=Mode.FULL, rules=[deny(tool, pattern), allow()])
        assert (decision.verdict, decision.rule) == (Verdict.DENY, deny(tool, pattern).label), text


@given(denial=st.sampled_from(DENIALS), way=st.sampled_from(WAYS), folder=st.sampled_from(["web", "a/b"]))
def test_a_deny_rule_holds_in_the_folder_of_a_command(denial: tuple[str, str], way: str, folder: str) -> None:
    pattern, path = denial
    pattern = pattern if "/" not in pattern or pattern.startswith("**") else f"{folder}/{pattern}"
    rules = [deny("*", pattern), allow()]
    assert run(f"cat {way.format(path)}", cwd=folder, mode=Mode.FULL, rules=rules).verdict is Verdict.DENY
    if pattern.startswith(folder):
        assert run(f"cat {path}", mode=Mode.FULL, rules=rules).verdict is Verdict.ALLOW


WORDS = st.from_regex(re.compile(r"[a-z]{1,8}(\.[a-z]{1,4})?", re.ASCII), fullmatch=True)


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_a_deny_rule_says_nothing_about_other_names(words: list[str]) -> None:
    assume(not {"env", "pem"} & {part for word in words for part in word.split(".")})
    rules = [deny("*", ".env"), deny("*", "*.pem"), deny("*", "secret/**")]
    assume("secret" not in words)
    assert (
        run(" ".join(["cat", *words, "x.env", ".env.example", "secrets"]), mode=Mode.FULL, rules=rules).verdict
        is Verdict.ALLOW
    )


def test_aliases_are_known_programs() -> None:
    assert set(ALIASES.values()) <= KNOWN_OPTIONS.keys() | SUBCOMMANDS.keys() | CONSOLES.keys()

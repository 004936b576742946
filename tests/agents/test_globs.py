"""Patterns of file names: inside the workspace under every reading of them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.globs import check
from agents.paths import UnsafePath
from agents.policy import Mode, Verdict
from tests.agents.test_policy import allow, judge
from tests.cpu import cpu_seconds

# fmt: off
REFUSED = [
    "../../*", "..", "../x", "a/../b", "**/../x", "/etc/*", "/", "{../x,b}", "{..,x}/y", "{.,x}./y", "{.,}{.,}/y",
    "[.][.]/x", ".[.]/x", "[.]./x", "?./x", "??/x", ".?/x", ".*/x", "[!a][!a]/x", "[^a]./x", "\\.\\./x", "..\\x",
    "C:/x", "~/x", "$HOME/x", "%2e%2e/x", "{/etc,x}/y", "{a,/etc}/y", "@(..)/x", "@(.|x)./y", "+(.)/x", "(..)/x",
    "{{.,a}.,b}/x", "\uff0e\uff0e/x", "..\u2215x", "{..}/x", "{../x", "a,../x", "../", "./../x", "x/..", "x/{a,..}",
    "x/[.][.]", "..{,/x}", "*(.)/x", "?(..)/x", ".{.,x}/y", "{a..z}/../x", "{,.}{.,}/x", "@(/etc|x)/y", "{.}{.}/x",
    "!../x",
]
ACCEPTED = [
    "*.py", "**/*.py", "src/**/*.ts", "*.{ts,tsx}", "*{.ts,.tsx}", "{src,tests}/**/*.py", "[a-z]*.py", "**", "*",
    ".*", ".env*", ".github/**", "*.*", "test_?.py", "./*.py", "*.d.ts", "a..b", "*.test.[jt]s",
    "app/(group)/page.tsx", "app/[slug]/page.tsx", "src/[...slug]/x.tsx", "*.@(js|ts)", "file{1..3}.txt", "!*.py",
    "*.py,*.pyi", "README.md", "...x", "\u043a\u0430\u0442\u0430\u043b\u043e\u0433/*.md", "**/.*", "?.py",
    "{a,b}{c,d}/*.x", "*.{d.ts,js}", "*.tar.gz", "**/[!.]*", "*/",
]
# fmt: on


@pytest.mark.parametrize("pattern", REFUSED, ids=ascii)
@pytest.mark.parametrize(
    ("tool", "field", "others"),
    [("list_files", "pattern", {"path": "."}), ("search_in_code", "file_pattern", {"query": "x"})],
)
def test_no_pattern_leads_out_of_the_workspace(tool: str, field: str, others: dict[str, Any], pattern: str) -> None:
    decision = judge(tool, others | {field: pattern}, mode=Mode.FULL, rules=[allow()])
    assert (decision.verdict, decision.rule) == (Verdict.DENY, "path")
    assert "refused" in decision.reason


@pytest.mark.parametrize("pattern", ACCEPTED, ids=ascii)
def test_patterns_of_daily_work_are_accepted(pattern: str) -> None:
    assert check(pattern) == pattern
    decision = judge("list_files", {"path": ".", "pattern": pattern})
    assert (decision.verdict, decision.arguments["pattern"]) == (Verdict.ALLOW, pattern)


PIECES = st.sampled_from(["..", ".", "/", "{", "}", ",", "[", "]", "(", ")", "|", "*", "?", "!", "@", "a", "\\", "~"])


@given(st.lists(PIECES, max_size=12).map("".join))
def test_an_accepted_pattern_has_no_parent_once_its_signs_are_gone(pattern: str) -> None:
    try:
        check(pattern)
    except UnsafePath:
        return
    assert not pattern.startswith("/")
    assert not any(name == ".." for name in pattern.split("/"))
    assert not any(name.strip("{}") == ".." for name in pattern.split("/"))


@pytest.mark.parametrize(
    "pattern",
    [
        *("{a,b}" * 100, "{" * 500, "{a," * 160, "@(" * 250, "[." * 250, "{a,b}" * 8, "[" * 460 + "{a,b}" * 8),
        "a/" * 220 + "{a,b}" * 8,
    ],
    ids=ascii,
)
def test_a_hostile_pattern_takes_no_time(pattern: str) -> None:
    def read() -> None:
        with suppress(UnsafePath):
            check(pattern)

    assert cpu_seconds(read) < 0.2


def test_a_pattern_that_is_too_long_is_not_read() -> None:
    arguments = {"path": ".", "pattern": "[" * 100_000}
    decision = judge("list_files", arguments)
    assert decision.verdict is Verdict.DENY
    assert "at most 500 characters" in decision.reason
    assert cpu_seconds(lambda: judge("list_files", arguments)) < 0.2

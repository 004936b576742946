"""Which paths of a model are accepted. A client joins them to its root under the rules of its own system."""

from __future__ import annotations

import ntpath
import posixpath
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents import paths
from agents.paths import UnsafePath, matches, matches_any, normalize

#: Each of these must be refused, whatever the tool. Grouped by the trap.
# fmt: off
REFUSED = {
    "empty": ["", " ", "   ", "\t", "\u3000"],
    "absolute": ["/", "/etc/passwd", "//etc/passwd", "///x", "/.", "/..", "\\", "\\x", "/var/lib/x"],
    "parents": [
        "..", "../", "../x", "../../etc/passwd", "src/..", "src/../..", "src/../../x", "./../x", "././../x",
        "a/b/../../../x", "src/.././../x", "..//x", "x/..//..", "../.", "a/../b",
    ],
    "backslashes": [
        "..\\x", "src\\..\\..\\x", "src\\main.py", "..\\/x", "../\\x", "a/b\\..\\..\\..\\c", ".\\x", "x\\",
        "..\\..\\Windows\\win.ini",
    ],
    "drives": ["C:", "C:x", "C:/x", "C:\\x", "c:/Windows/win.ini", "C:../x", "Z:.", "x/C:/y", "1:/x"],
    "unc and namespaces": [
        "\\\\server\\share\\x", "//server/share/x", "\\\\?\\C:\\x", "//?/C:/x", "\\\\.\\PhysicalDrive0", "//./COM1",
        "\\\\?\\UNC\\server\\share", "\\??\\C:\\x", "//localhost/C$/x",
    ],
    "devices": [
        "CON", "con", "NUL", "nul", "nul.txt", "aux.c", "src/aux.h", "prn", "COM1", "com9.log", "LPT1", "lpt3.txt",
        "CONIN$", "conout$", "CLOCK$", "a/NUL/b", "nul .txt", "COM0", "com\u00b9", "LPT\u00b2.txt", "src/Con.tar.gz",
    ],
    "streams": ["x.txt:stream", "x.txt::$DATA", ".git::$INDEX_ALLOCATION/config", "x:y", ":x", "x:", "src:hidden/x"],
    "trailing dots and spaces": [
        "x.", "x ", "x. ", "x .", "x...", "src./x", "src /x", " x", "...", "....", "a/... /b", ". ",
    ],
    "controls": ["x\x00", "x\x00.png", "\x00", "x\ny", "x\r", "x\ty", "x\x1b[31m", "x\x7f", "x\x85y", "\x01"],
    "unicode": [
        "x\u202ecod.exe", "x\u200b", ".g\u200cit/config", "x\ufeff", "\u2066x", "x\u2028y", "x\u00a0y", "x\u00ad",
        "\ud800", "x\udcc0\udcaey", "\uff0e\uff0e/x", "\u2025/x", "\u2024\u2024/x", "..\uff0fx", "..\u2215x",
        "..\u2044x", "..\uff3cx", "..\u00a5x", "x\u20a9y", "\uff23\uff1a/x", "\u2026", "x\uff1astream", "\ue000",
        "x\u29f8y", "\ufe68x", "\uff5e/x", "x/\uff0e\uff0e", "a\u2216b",
    ],
    "percent and overlong": [
        "%2e%2e/x", "%2e%2e%2fx", "..%2fx", "%252e%252e/x", "..%c0%afx", "%c0%ae%c0%ae/x", "..%5cx", "%00",
        "x%00.png", "%USERPROFILE%/x", "%u002e%u002e/x", "\u00c0\u00ae\u00c0\u00ae/x", "..\u00c0\u00afx",
        "\u00e0\u0080\u00ae/x",
    ],
    "home and variables": [
        "~", "~/x", "~root/.ssh/id_rsa", "x/~/y", "$HOME/x", "${HOME}/x", "$(id)/x", "`id`", "$HOME", "$PWD/../x",
    ],
    "short names": ["GIT~1", "GIT~1/config", "PROGRA~1/x", "a/B~2.TXT"],
    "wildcards and signs": ["*", "src/*.py", "x?", 'x"y', "x<y", "x>y", "x|y", "**/x"],
    "options": ["-rf", "--output=x", "-"],
    "separators": ["a//b", "a///b", "a//", "src//../x"],
    "schemes": ["file:///etc/passwd", "file:x", "http://x/y", "smb://server/x", "file://localhost/etc/passwd"],
    "long": ["x" * 256, "a/" * 600 + "x", "я" * 128, "x" * 100_000],
}
# fmt: on

SPELLINGS = [(trap, path) for trap, found in REFUSED.items() for path in found]

ACCEPTED = {
    ".": ".",
    "./": ".",
    "README.md": "README.md",
    "./README.md": "README.md",
    "src/main.py": "src/main.py",
    "src/": "src",
    "./src/./main.py": "src/main.py",
    ".gitignore": ".gitignore",
    ".github/workflows/ci.yml": ".github/workflows/ci.yml",
    "..x/y": "..x/y",
    "x..y": "x..y",
    "...x": "...x",
    "a b/c d.txt": "a b/c d.txt",
    "каталог/файл.txt": "каталог/файл.txt",
    "日本語/ファイル.md": "日本語/ファイル.md",
    "app/[...slug]/page.tsx": "app/[...slug]/page.tsx",
    "routes/$id.tsx": "routes/$id.tsx",
    "@types/node/index.d.ts": "@types/node/index.d.ts",
    "lib/c++/x.cc": "lib/c++/x.cc",
    "notes~": "notes~",
    "console.py": "console.py",
    "nullable.py": "nullable.py",
    "auxiliary/com10.txt": "auxiliary/com10.txt",
    "a-b/-c": "a-b/-c",
    "emoji 🙂.md": "emoji 🙂.md",
    "x" * 255: "x" * 255,
}


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len({path for _, path in SPELLINGS}) >= 120


@pytest.mark.parametrize(("trap", "path"), SPELLINGS, ids=[f"{trap}: {path[:30]!a}" for trap, path in SPELLINGS])
def test_a_trap_is_refused_with_a_sentence(trap: str, path: str) -> None:
    with pytest.raises(UnsafePath) as caught:
        normalize(path)
    sentence = str(caught.value)
    assert sentence.startswith("The path ")
    assert len(sentence) < 1000
    assert sentence.isprintable()


@pytest.mark.parametrize(("path", "expected"), ACCEPTED.items(), ids=[path[:30] for path in ACCEPTED])
def test_ordinary_names_of_every_language_are_accepted_in_one_spelling(path: str, expected: str) -> None:
    assert normalize(path) == expected
    assert normalize(expected) == expected


# Pieces that traps are made of, and everything else that a model can write.
PIECES = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "//",
        "\\",
        "C:",
        "~",
        "%2e",
        "nul",
        "CON",
        "x",
        "src",
        " ",
        "\x00",
        "$HOME",
        "：",
        "．",
        "*",
        "я",
        "é",
    ]
)
PATHS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=8).map("".join))


@given(PATHS)
@example("..")
@example("a/../../b")
def test_an_accepted_path_is_inside_the_root_by_every_system_s_rules(path: str) -> None:
    try:
        accepted = normalize(path)
    except UnsafePath:
        return
    posix = posixpath.normpath(posixpath.join("/srv/project", accepted))
    assert (posix + "/").startswith("/srv/project/")
    windows = ntpath.normpath(ntpath.join("C:\\project", accepted))
    assert (windows + "\\").startswith("C:\\project\\")
    assert not ntpath.splitdrive(accepted)[0]
    for name in accepted.split("/"):
        assert name not in ("", "..")
        assert name == "." == accepted or name == name.rstrip(". ")
        assert name.split(".")[0].upper() not in paths.DEVICE_NAMES
    assert accepted.isprintable() or " " in accepted
    assert normalize(accepted) == accepted


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.md", "README.md", True),
        ("*.md", "docs/deep/README.md", True),
        ("*.md", "README.mdx", False),
        ("*.md", "x.md/evil.py", False),
        ("*.md", "README.md\n", False),
        ("*.md", "README.MD", False),
        ("*.md", ".md", True),
        ("docs/*.md", "docs/a.md", True),
        ("docs/*.md", "docs/deep/a.md", False),
        ("docs/*.md", "other/docs/a.md", False),
        ("docs/**", "docs/deep/a.md", True),
        ("docs/**", "docs", True),
        ("docs/**", "docs2/a.md", False),
        ("docs/**/*.md", "docs/a.md", True),
        ("docs/**/*.md", "docs/x/y/a.md", True),
        ("**/test_*.py", "test_a.py", True),
        ("**/test_*.py", "a/b/test_a.py", True),
        ("**", "a/b/c", True),
        ("**", ".", True),
        ("*", "a/b/c", True),
        ("?.py", "a.py", True),
        ("?.py", "ab.py", False),
        ("[ab].py", "a.py", False),
        ("[ab].py", "[ab].py", True),
        ("a.py", "axpy", False),
        ("caf\u00e9.md", "cafe\u0301.md", True),
    ],
)
def test_patterns_fit_what_they_say(pattern: str, path: str, fits: bool) -> None:
    assert matches(pattern, path) is fits
    assert matches_any(["nothing.at.all", pattern], path) is fits


def test_what_forbids_can_ignore_case() -> None:
    assert matches("Secret/**", "SECRET/x", ignore_case=True)
    assert not matches("Secret/**", "SECRET/x")


def test_a_pattern_full_of_stars_takes_no_time() -> None:
    started = time.process_time()
    assert not matches("/".join(["*a" * 10] * 3) + "b", "/".join(["a" * 60] * 3))
    # A few milliseconds; exponential time would be minutes.
    assert time.process_time() - started < 20

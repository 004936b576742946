"""What people are shown of a call: nothing stays invisible, and ordinary text stays as it is."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.display import show_arguments, show_changed, show_exact, show_text

INVISIBLE = [
    *"\x00\x07\x08\x0b\x0c\x1b\x7f\x85\x9f",
    *"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029",
    *"\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206f",
    *"\u2800\u3164\ufe00\ufe0e\ufe0f\ufeff\uffa0\ufff9\ufffb\ue000\uffff",
    *"\U000e0001\U000e0020\U000e0041\U000e007f\U000e0100\U000e01ef\U0001d173\U0001bca0\U00013430",
]
ORDINARY = [
    "Привет, мир! Съешь ещё этих мягких французских булок.",
    "שלום עולם, זה טקסט רגיל (בעברית).",
    "مرحبا بالعالم",
    "می‌خواهم بروم",
    "क्‍ष हिन्दी ক্‍",
    "ភាសា\u200bខ្មែរ",
    "修复：登录页面的错误，请检查！",
    "日本語　テキスト 葛\U000e0100飾",
    "한국어 텍스트",
    "Ελληνικά: ΑΒΓ, αβγ",
    "ısı İstanbul — “quotes” … naïve café",
    "fichier\u202f: x\u00a0!",
    "👨‍👩‍👧‍👦 👍🏽 ❤️ 1️⃣ ☺︎ 🏳️‍🌈",
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "def f():\n    if x:\n" + " " * 48 + "return 1\n\n\n\nclass A:\n\tpass\r\n",
    "| a" + " " * 30 + "| b |",
]
COMMANDS = [
    "git commit -m 'Исправить ошибку входа'",
    "cat документы/отчёт_final_v2.docx",
    "mkdir проекты/сахар",
    "git commit -m '修复登录：完成！ 👨‍👩‍👧'",
    "python -c 'print(1)'  # ok\nls -la",
    "grep -rn 'Ελλάδα' docs/",
    "npm run build && npm test -- --watch=false",
    "πρόγραμμα.py",
]


def is_invisible(char: str) -> bool:
    return char in INVISIBLE or (char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs"))


#: Sequences in which hidden characters make a picture.
PICTURE = re.compile(r"[^\x00-\x7f][\ufe0e\ufe0f]|[0-9#*]\ufe0f\u20e3|(?<=[^\x00-\x7f])\u200d(?=[^\x00-\x7f])|\r\n")


@given(st.text(st.sampled_from([*INVISIBLE, *"ab /;\n\t", "я", "中"]), max_size=60))
@example("rm -rf \u202e/tmp")
def test_nothing_invisible_is_left(text: str) -> None:
    for show in (show_exact, show_text):
        shown = show(text.replace("\r\n", "\n"))
        # What is left is part of a variant of a Chinese character.
        shown = re.sub("中[\ufe00-\ufe02\U000e0100-\U000e01ef]", "", shown)
        assert [char for char in shown if is_invisible(char)] == []


@given(st.text(max_size=80))
def test_hidden_characters_are_left_in_pictures_and_spelling_only(text: str) -> None:
    left = [char for char in PICTURE.sub("", show_exact(text)) if is_invisible(char)]
    assert left == []


@given(st.lists(st.sampled_from([*ORDINARY, *COMMANDS, "\n", " "]), max_size=6))
def test_ordinary_text_is_unchanged(parts: list[str]) -> None:
    text = " ".join(parts)
    assert show_text(text) == text


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=80))
def test_plain_ascii_is_unchanged(text: str) -> None:
    if " " * 40 not in text:
        assert show_exact(text) == show_text(text) == text


@pytest.mark.parametrize("command", COMMANDS)
def test_an_ordinary_command_is_unchanged(command: str) -> None:
    assert show_exact(command) == command
    assert show_changed({"command": command, "cwd": "."}) is None


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("rm -rf \u202e/tmp", "rm -rf ⟨U+202E⟩/tmp"),
        ("ls" + " " * 400 + "; rm -rf /", "ls⟨400 spaces⟩; rm -rf /"),
        ("ls" + "\n" * 50 + "rm -rf /", "ls\n⟨50 line breaks⟩\nrm -rf /"),
        ("ls" + "\t" * 60 + "; rm", "ls⟨60 tabs⟩; rm"),
        ("ls" + " \n" * 50 + "rm", "ls\n⟨50 line breaks⟩\nrm"),
        ("ls \u3164\u3164rm", "ls ⟨U+3164⟩⟨U+3164⟩rm"),
        ("ls" + "\u2800" * 300 + ";rm", "ls⟨300 × U+2800⟩;rm"),
        ("ls \U000e0072\U000e006d\U000e0020\U000e002d\U000e0072", "ls ⟨5 invisible characters⟩"),
        ("cat a\u00a0b\u3000c", "cat a⟨U+00A0⟩b⟨U+3000⟩c"),
        ("gіt status", "g⟨U+0456, not i⟩t status"),
        ("сору a b", "⟨U+0441, not c⟩⟨U+043E, not o⟩⟨U+0440, not p⟩⟨U+0443, not y⟩ a b"),
        ("ｇit push", "⟨U+FF47, not g⟩it push"),
        ("cat ∕etc", "cat ⟨U+2215, not /⟩etc"),
        ("mkdir νotes", "mkdir ⟨U+03BD, not v⟩otes"),
        ("echo a\rrm", "echo a␍rm"),
        ("\x1b[2Jls", "␛[2Jls"),
    ],
)
def test_what_would_mislead_is_shown(command: str, shown: str) -> None:
    assert show_exact(command) == shown


def test_arguments_keep_their_shape_and_order() -> None:
    arguments = {
        "to": "b\u200b.txt",
        "from": "a.txt",
        "paths": ["аpp.py"],
        "content": "сору\u200b",
        "timeout": 5,
        "on": True,
    }
    shown = show_changed(arguments)
    assert shown is not None
    assert list(shown.items()) == [
        ("to", "b⟨U+200B⟩.txt"),
        ("from", "a.txt"),
        ("paths", ["⟨U+0430, not a⟩pp.py"]),
        ("content", "сору⟨U+200B⟩"),
        ("timeout", 5),
        ("on", True),
    ]
    assert show_arguments({"subtasks": [{"description": "x\u202e"}]}) == {"subtasks": [{"description": "x⟨U+202E⟩"}]}


@pytest.mark.parametrize(
    "unit",
    ["\u200b", "a\u200b", " ", "\n ", "\n" + " " * 79, "а b", "👍\u200d", "\n" * 19 + "x", "\u200c\u200d", "ک\u200c"],
)
def test_no_text_takes_long_or_grows_beyond_bounds(unit: str) -> None:
    text = unit * (250_000 // len(unit))
    for show in (show_exact, show_text):
        started = time.process_time()
        assert len(show(text)) <= 12 * len(text)
        assert time.process_time() - started < 2

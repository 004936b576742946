"""Shows people what a tool call will do: what cannot be seen is made visible, padding is folded, look-alikes are named.

Only for reading. What runs, and what the hash of an approval covers, is the exact text. Ordinary text of any language
stays as it is. Linear in the length of the text; a character becomes at most a dozen.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import groupby
from typing import Any

#: Arguments that a shell or a file system reads. There a look-alike is another command or another file.
EXACT_ARGUMENTS = frozenset({"command", "cwd", "path", "paths", "from", "to", "pattern", "file_pattern"})

#: Controls, formats (bidirectional, zero width, tags), halves of pairs, private and unassigned characters, separators.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Characters without a mark on the screen that Unicode counts as letters, marks or symbols: fillers and selectors.
_FILLERS = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x2800, 0x3164, 0xFFA0, 0xFFFC),
            *(0x16FE4, 0x1D159),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
_EMOJI = r"[©®‼⁉™ℹ\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff〰〽㊗㊙\U0001f000-\U0001faff]"
_ONE_EMOJI = _EMOJI + r"[\ufe0e\ufe0f]?+[\U0001f3fb-\U0001f3ff]?+"
#: Sequences whose hidden characters make one picture: joined emoji, keycaps, the flags of England, Scotland and Wales.
_PICTURES = (
    "\U0001f3f4\U000e0067\U000e0062(?:\U000e0065\U000e006e|\U000e0073\U000e0063|\U000e0077\U000e006c)"
    "[\U000e0067\U000e0074\U000e0073]\U000e007f"
    rf"|{_ONE_EMOJI}(?:\u200d{_ONE_EMOJI})*+|[0-9#*]\ufe0f\u20e3"
)
#: Letters of scripts with joiners, and of those without blanks between words. Neither has fillers or formats.
_JOINING = (
    r"[\u0620-\u06dc\u06de-\u06ff\u0710-\u088f\u0892-\u08e1\u08e3-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17b3\u17b6-\u17ff"
    r"\u1820-\u18aa]"
)
_UNSPACED = r"[\u0e01-\u0eff\u1000-\u109f\u1780-\u17b3\u17b6-\u17ff]"
_VIRAMAS = r"[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca]"
#: Hidden characters that spelling needs: joiners (Persian, Hindi …), breaks between words (Khmer, Thai), variants.
_SPELLING = (
    rf"(?<={_JOINING})[\u200c\u200d](?={_JOINING})|(?<={_VIRAMAS})\u200d|(?<={_UNSPACED})\u200b(?={_UNSPACED})"
    r"|(?<=[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\ufe00-\ufe02\U000e0100-\U000e01ef]"
    r"|(?<=[\u1820-\u18aa])[\u180b-\u180d\u180f]|\r\n"
)
_PICTURES_ONLY, _ORDINARY = re.compile(_PICTURES), re.compile(f"{_PICTURES}|{_SPELLING}")
#: Of a run of hidden characters so many are named one by one.
_MAX_NAMED = 4

_BLANKS = re.compile(r"[^\S\x0b\x0c\x1c-\x1f\x85\u2028\u2029]{6,}")
#: Blanks, tabs and line breaks in a row from which on they are folded: in exact arguments, and in texts, with their
#: indentation and tables.
_EXACT_LIMITS, _TEXT_LIMITS = (40, 12, 6), (80, 20, 20)

_WORD = re.compile(r"[^\W\d_]+")
_PAIRS = (
    # Cyrillic, Greek, Armenian, Cherokee, and letters of phonetic alphabets.
    ("аеорсухѕіјԁһԛԝѵӏАВЕІЈКМНОРСТУХЅԚԜѴӀ", "aeopcyxsijdhqwvlABEIJKMHOPCTYXSQWVI"),
    ("αγηικνορυχωϲϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹͿ", "aynikvopuxwcjABEZHIKMNOPTYXCJ"),
    ("օսոհցյզՍՕԼՏ", "ounhgjqUOLS"),
    ("ᎠᎡᎢᎥᎪᎫᎬᎳᎷᎻᏀᏃᏒᏕᏙᏚᏞᏟᏢᏦᏧᏴ", "DRTiAJEWMHGZRSVSLCPKdB"),
    ("ɑɡ", "ag"),
)
_LOOKALIKES = {foreign: letter for pair in _PAIRS for foreign, letter in zip(*pair, strict=True)}
#: Signs that mean something to a shell or a file system, and what looks like them.
_SIGNS = dict(zip("⁄∕⧸╱／․．﹨⧵∖＼\u037e꞉∶－＿＄＊｜＆＞＜＝", r"/////..\\\\;::-_$*|&><=", strict=True))


def show_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call for people to read, in the same shape and order."""
    return {
        show_text(name): _show_value(value, show_exact if name in EXACT_ARGUMENTS else show_text)
        for name, value in arguments.items()
    }


def show_changed(arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Return the arguments for people to read, or None where they read the same as the exact ones."""
    shown = show_arguments(arguments)
    return None if shown == arguments else shown


def show_text(text: str) -> str:
    """Return prose or the content of a file for people to read."""
    return _fold(show_hidden(text), _TEXT_LIMITS)


def show_exact(text: str) -> str:
    """Return a command or a path for people to read."""
    if not text.isascii():
        text = _name_lookalikes(text)
    return _fold(_show(text, _is_hidden_or_blank, _PICTURES_ONLY), _EXACT_LIMITS)


def show_hidden(text: str) -> str:
    """Return a text with its hidden characters made visible, and unfolded."""
    return _show(text, _is_hidden, _ORDINARY)


def _show_value(value: Any, show: Callable[[str], str]) -> Any:
    match value:
        case str():
            return show(value)
        case dict():
            return {show(name): _show_value(each, show) for name, each in value.items()}
        case list():
            return [_show_value(each, show) for each in value]
    return value


@lru_cache(maxsize=4096)
def _is_hidden(char: str) -> bool:
    return char not in "\t\n" and (unicodedata.category(char) in _HIDDEN_CATEGORIES or char in _FILLERS)


@lru_cache(maxsize=4096)
def _is_hidden_or_blank(char: str) -> bool:
    # A shell does not part words at a blank that only looks like one.
    return _is_hidden(char) or (not char.isascii() and unicodedata.category(char) == "Zs")


def _show(text: str, is_hidden: Callable[[str], bool], ordinary: re.Pattern[str]) -> str:
    hidden = {char for char in set(text) if is_hidden(char)}
    if not hidden:
        return text
    parts: list[str] = []
    end = 0
    for match in ordinary.finditer(text):
        parts += _mark(text[end : match.start()], hidden)
        parts.append(match[0])
        end = match.end()
    parts += _mark(text[end:], hidden)
    return "".join(parts)


def _mark(text: str, hidden: set[str]) -> list[str]:
    runs = ((is_run, "".join(chars)) for is_run, chars in groupby(text, hidden.__contains__))
    return [_name_run(run) if is_run else run for is_run, run in runs]


def _name_run(run: str) -> str:
    if len(run) <= _MAX_NAMED:
        return "".join(map(_name, run))
    if len(set(run)) == 1:
        return f"⟨{len(run):,} × U+{ord(run[0]):04X}⟩"
    return f"⟨{len(run):,} invisible characters⟩"


def _name(char: str) -> str:
    """Return the symbol that Unicode has for a control character, or the character's number."""
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return chr(0x2400 + code) if code != 0x7F else "␡"
    return f"⟨U+{code:04X}⟩"


def _fold(text: str, limits: tuple[int, int, int]) -> str:
    return _BLANKS.sub(partial(_fold_run, limits=limits), text)


def _fold_run(match: re.Match[str], *, limits: tuple[int, int, int]) -> str:
    run: str = match[0]
    max_blanks, max_tabs, max_breaks = limits
    breaks = run.count("\n")
    if breaks >= max_breaks:
        return f"\n⟨{breaks:,} line breaks⟩\n{_fold_line(run.rpartition('\n')[2], max_blanks, max_tabs)}"
    if len(run) < max_blanks and run.count("\t") < max_tabs:
        return run
    return "\n".join(_fold_line(line, max_blanks, max_tabs) for line in run.split("\n"))


def _fold_line(blanks: str, max_blanks: int, max_tabs: int) -> str:
    tabs = blanks.count("\t")
    if len(blanks) < max_blanks and tabs < max_tabs:
        return blanks
    kind = "tabs" if tabs == len(blanks) else "blanks" if blanks.strip(" ") else "spaces"
    return f"⟨{len(blanks):,} {kind}⟩"


def _name_lookalikes(text: str) -> str:
    """Name letters among Latin ones that only look like them, and signs that a shell would not know."""
    letters = {char for char in set(text) if char.isalpha()}
    foreign = {char for char in letters if not char.isascii()}
    has_latin = len(foreign) < len(letters)
    # A word of another script has letters that no Latin one looks like, somewhere in the text.
    names_all = has_latin and all(char in _LOOKALIKES for char in foreign)
    likes = ((char, _styled_letter(char) or _SIGNS.get(char)) for char in set(text))
    always = str.maketrans({char: _like(char, letter) for char, letter in likes if letter})

    def name(word: re.Match[str]) -> str:
        if word[0].isascii() or not (names_all or any(char.isascii() for char in word[0])):
            return word[0]
        return "".join(_like(char, _LOOKALIKES[char]) if char in _LOOKALIKES else char for char in word[0])

    return _WORD.sub(name, text).translate(always)


def _like(char: str, letter: str) -> str:
    return f"⟨U+{ord(char):04X}, not {letter}⟩"


@lru_cache(maxsize=4096)
def _styled_letter(char: str) -> str:
    """Return the letter or digit that a wide or mathematical one, or a Roman numeral, looks like."""
    kind, _, code = unicodedata.decomposition(char).partition(" ")
    if kind not in ("<wide>", "<font>", "<compat>") or " " in code:
        return ""
    letter = chr(int(code, 16))
    return letter if letter.isascii() and letter.isalnum() else ""

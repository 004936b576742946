"""Options that make a program do more than its words show: run others, write files, reach the network.

Two fences. `known_options` has what is known of programs. `_GENERAL` has words that mean such things in the
options of any program; a program's `harmless` ones are exceptions. Neither list is complete.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from itertools import zip_longest

RUNS, WRITES, READS, REACHES = (
    "may run another program",
    "may write a file",
    "may read another configuration or follow it",
    "may reach the network",
)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one program. Long ones may be abbreviated and letters bundled, with or without a value."""

    #: What each option does. With one hyphen and more than a letter it is a word of its own, such as `-exec`.
    effects: dict[str, str] = field(default_factory=dict)
    #: Options that only look as if they did such things.
    harmless: frozenset[str] = frozenset()
    #: Letters that take the rest of a bundle as their value.
    values: frozenset[str] = frozenset()
    #: Whether letters may stand together behind one hyphen.
    bundles: bool = True
    #: Values with which an option does nothing else, as patterns. The value is the next word, or the rest of this one.
    safe: dict[str, re.Pattern[str]] = field(default_factory=dict)
    _longs: list[str] = field(init=False, default_factory=list)
    _patterns: list[tuple[re.Pattern[str], str]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._longs.extend(sorted(name for name in self.effects if name.startswith("--") and "*" not in name))
        self._patterns.extend(
            (re.compile(translate(name)), effect) for name, effect in self.effects.items() if "*" in name
        )

    def is_safe(self, argument: str, following: str) -> bool:
        """Return whether an option has a value with which it does no more than it shows."""
        for option, values in self.safe.items():
            rest = argument.removeprefix(option)
            # Only letters have their values glued to them.
            if rest == "" or (rest != argument and (len(option) == 2 or rest.startswith("="))):
                return bool(values.fullmatch(rest.removeprefix("=") or following))
        return False

    def effect_of(self, argument: str) -> str:
        """Return what the option in an argument does, or an empty text."""
        for pattern, effect in self._patterns:
            if pattern.match(argument):
                return effect
        if not argument.startswith("-"):
            return ""
        name = argument.split("=", maxsplit=1)[0]
        if name in self.harmless:
            return ""
        if name.startswith("--"):
            return self._effect_of_long(name)
        if name in self.effects:
            return self.effects[name]
        for letter in argument[1:] if self.bundles else "":
            if f"-{letter}" in self.effects:
                return self.effects[f"-{letter}"]
            if letter in self.values or letter == "=":
                break
        return ""

    def _effect_of_long(self, name: str) -> str:
        # Go's programs take one hyphen or two.
        if len(name) > 3 and name[1:] in self.effects:
            return self.effects[name[1:]]
        place = bisect_left(self._longs, name)
        if len(name) > 2 and place < len(self._longs) and self._longs[place].startswith(name):
            return self.effects[self._longs[place]]
        return ""


def options_of(
    runs: str = "",
    writes: str = "",
    reads: str = "",
    reaches: str = "",
    *,
    harmless: str = "",
    values: str = "",
    bundles: bool = True,
    safe: dict[str, str] | None = None,
) -> Options:
    """Return options by what they do, each text a list of them."""
    texts = {RUNS: runs, WRITES: writes, READS: reads, REACHES: reaches}
    effects = {option: effect for effect, text in texts.items() for option in text.split()}
    patterns = {option: re.compile(values) for option, values in (safe or {}).items()}
    return Options(effects, frozenset(harmless.split()), frozenset(values), bundles, patterns)


#: Words within names of long options of any program, without hyphens, and what such options do.
_GENERAL = {
    RUNS: "exec(?!ut) execute eval command cmd pager editor viewer plugin preload require(?!d) loader hook wrapper"
    " interpreter preprocess postprocess shell initscript initfile bootstrap autoload setupfile globalsetup askpass"
    " customsyntax rulesdir ldpreload onsuccess addon",
    WRITES: "output(?!format|style|level|color|mode|onfailure) outfile logfile logto reportfile saveto writeto dumpto"
    " tracefile pidfile",
    READS: "config rcfile settingsfile",
    REACHES: "proxy upload pastebin registry indexurl webhook",
}  # fmt: skip
_GENERAL_PATTERNS = [(re.compile("|".join(words.split())), effect) for effect, words in _GENERAL.items()]

#: Words within names of options whose value may be a file of code.
_MAY_LOAD_CODE = re.compile(
    "format|reporter|parser|browser|runner|transform|resolver|environment|preset|syntax|engine|driver|backend|template|theme|"
    "printer|processor|converter|(?<!sub)module|library|extension|script|import"
)
_CODE_FILE = re.compile(r"/|\.(?:[cm]?[jt]s|py|rb|php|pl|lua|vim|so|dylib|dll|sh|bash|exe|bat|cmd|ps1|jar)$", re.ASCII)
#: A value that is a program or a library is one for whatever option, behind `=` or glued to a letter.
_PROGRAM_VALUE = re.compile(r"(?:^-\w|=)\.?/?[^=]*\.(?:so|dylib|dll|sh|bash|exe|bat|cmd|ps1|jar|vim)$", re.ASCII)

_LIBRARY = re.compile(r"\.(?:so|dylib|dll)$")


def find(known: Sequence[Options], arguments: Sequence[str], *, is_script: bool = False) -> tuple[str, str] | None:
    """Return the first option that does more than show, and what it does: `("--exec", "may run another program")`.

    `known` is what is known of the program. Options of a script of the workspace mean what the script likes.
    """
    harmless = frozenset[str]().union(*(options.harmless for options in known))
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        if any(options.is_safe(argument, following) for options in known):
            continue
        for effect in (options.effect_of(argument) for options in known):
            if effect:
                return argument.split("=")[0], effect
        if argument.startswith("-") and not is_script and (effect := _general_effect(argument, following, harmless)):
            return argument.split("=")[0], effect
    return None


def _general_effect(argument: str, following: str, harmless: frozenset[str]) -> str:
    """Return what an option of any program probably does, or an empty text. Single letters say nothing."""
    if _PROGRAM_VALUE.search(argument) or _LIBRARY.search(following):
        return RUNS
    option, _, value = argument.partition("=")
    if len(option) < 4 or option.startswith(("--no-", "--ignore", "--exclude", "--skip")):
        return ""
    name = re.sub(r"[-_.]", "", option).casefold()
    if _MAY_LOAD_CODE.search(name) and _CODE_FILE.search(value or following):
        return RUNS
    if option in harmless:
        return ""
    return next((effect for pattern, effect in _GENERAL_PATTERNS if pattern.search(name)), "")

"""Keys as they come from files, secret stores and clipboards: with a line break at the end, or with characters that no
header can have.
"""

from collections.abc import MutableMapping

#: Blanks of all scripts, and marks that are not to be seen.
INVISIBLE = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\x00\u200b\u200c\u200d\u2060\ufeff"


def trim(key: str) -> str:
    """Return a key without blanks, line breaks and invisible marks at its ends."""
    return key.strip(INVISIBLE)


def trim_keys(environment: MutableMapping[str, str]) -> None:
    """Trim the keys of providers in a process environment, where LiteLLM looks for them."""
    for name, value in list(environment.items()):
        if name.endswith("_API_KEY"):
            environment[name] = trim(value)


def problem(key: str) -> str:
    """Return why a trimmed key cannot be sent, as the rest of a sentence about it, or an empty text."""
    if any(character in INVISIBLE for character in key):
        return "has a blank or a line break inside"
    if not (key.isascii() and key.isprintable()):
        return "has characters that a key cannot have"
    return ""

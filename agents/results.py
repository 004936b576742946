"""Results of tools that a client has run: what the model reads of them, and what people are told.

The server looks into a result only for a few facts. It takes whatever a client sends, also what does not fit the
documented shapes (docs/protocol/tool-results.json): the tool has run, and its result must not be lost.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from agents.tools import ToolKind

#: Characters of a result that a model gets: a quarter of a window of 64,000 tokens. The record has the whole.
MAX_SHOWN_CHARACTERS = 64_000
#: Characters of a diff that people are told with a result.
MAX_DIFF_CHARACTERS = 20_000
MAX_EXIT_CODE = 2**31

NOTHING = "Tool executed successfully"
FAILED = "the tool failed and gave no reason."
HASHES = ("sha256_before", "sha256_after")
#: Facts by the kind of the tool.
FACTS: Mapping[ToolKind, frozenset[str]] = {
    ToolKind.EDIT: frozenset({*HASHES, "diff"}),
    ToolKind.COMMAND: frozenset({"exit_code"}),
    ToolKind.OTHER: frozenset({*HASHES, "diff", "exit_code"}),
}

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def text_of(result: Any, parts: Iterable[str], *, error: str | None, is_error: bool) -> str:
    """Return a result as the model reads it: its JSON, then the texts of its parts. An error wins over both."""
    if error is not None:
        return f"Error: {error}"
    texts = [] if result is None else [json.dumps(result, ensure_ascii=False)]
    text = "\n\n".join(filter(None, [*texts, *parts]))
    if is_error:
        return text if text.startswith("Error: ") else f"Error: {text or FAILED}"
    return text or NOTHING


def cut_middle(text: str, characters: int) -> str:
    """Return a text of about so many characters: its beginning and its end, and how much is left out between."""
    if len(text) <= characters:
        return text
    head, tail = characters * 2 // 3, characters // 3
    left_out = len(text) - head - tail
    return f"{text[:head]}\n[… {left_out:,} of {len(text):,} characters left out …]\n{text[len(text) - tail :]}"


def facts_of(result: Any) -> dict[str, Any]:
    """Return the facts in a result that people are told: `exit_code`, hashes of a file, its `diff`."""
    if not isinstance(result, dict):
        return {}
    facts: dict[str, Any] = {}
    code = result.get("exit_code")
    if isinstance(code, int) and not isinstance(code, bool) and abs(code) < MAX_EXIT_CODE:
        facts["exit_code"] = code
    for name in HASHES:
        if isinstance(value := result.get(name), str) and _SHA256.fullmatch(value):
            facts[name] = value.lower()
    if isinstance(diff := result.get("diff"), str) and diff:
        # PostgreSQL stores no NUL.
        facts["diff"] = cut_middle(diff.replace("\x00", "\ufffd"), MAX_DIFF_CHARACTERS)
    return facts


def facts_for(kind: ToolKind | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a tool of this kind can tell: the `diff` of a tool that only reads is not its change."""
    names = FACTS.get(kind, frozenset()) if kind else frozenset()
    return {name: value for name, value in facts.items() if name in names}

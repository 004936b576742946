"""Pages say errors and reasons of the server in each language, not only their own texts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from agents import protected, routing
from agents.programs.names import OPAQUE_PROGRAMS
from agents.programs.options import REACHES, READS, RUNS, WRITES
from agents.roles import ROLES
from codelab.environment import PROJECT
from llm.errors import ModelError
from sessions.api.language import FOLDER, translations
from sessions.protocol.codes import ErrorCode
from sessions.turns import call_offers, tool_policy

LANGUAGES = sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir())
#: Where calls are judged and agents are switched, and the functions whose arguments are reasons for people.
MODULES = (
    *("agents/hazards.py", "agents/commands.py", "agents/policy.py", "agents/routing.py"),
    *(f"sessions/turns/{name}.py" for name in ("current_agent", "inbox", "plans", "server_tools")),
)
FUNCTIONS = {"Hazard", "_decided", "_hand_over", "switch_agent", "_announcement", "Route", "Command"}


def model_codes(error: type[ModelError] = ModelError) -> set[str]:
    return {error.code}.union(*(model_codes(each) for each in error.__subclasses__()))


def shape(text: str) -> str:
    """Return a sentence with {} for each of its facts."""
    return re.sub(r"\{\w+\}", "{}", text)


def texts_in(node: ast.AST) -> Iterator[str]:
    """Yield the texts in an expression, with {} for what is put into them."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.BoolOp | ast.IfExp):
        for child in ast.iter_child_nodes(node):
            yield from texts_in(child)


def reasons_in(source: str) -> Iterator[str]:
    """Yield the reasons for people in a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            # The model reads why a call is denied, and an allowed call has no card.
            if not re.search(r"Verdict\.(DENY|ALLOW)", ast.unparse(node)):
                for value in [*node.args, *(keyword.value for keyword in node.keywords)]:
                    yield from texts_in(value)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "reason":
            yield from texts_in(node.value)


def server_sentences() -> set[str]:
    found = {text for module in MODULES for text in reasons_in((PROJECT / module).read_text())}
    # Words are values of fields; a rule's denial is for the model.
    found = {text for text in found if " " in text and "was not run" not in text and not text.startswith("mode: ")}
    found -= {"client tools", "protected path", "opaque command", "safe command", "too many rules"}
    # Only facts: the tables below have what they are filled with.
    found -= {"{} {}", "{} {} because of {}"}
    found |= {f"{{}} {effect}" for effect in OPAQUE_PROGRAMS.values()}
    found |= {f"{{}} {effect} because of {{}}" for effect in (RUNS, WRITES, READS, REACHES)}
    found |= {kind.reason for kind in protected.KINDS}
    found |= {text for role in ROLES.values() for text in (role.title, role.description)}
    return found | {routing.FALLBACK_REASON, tool_policy.NOT_JUDGED, call_offers.UNKNOWN}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_error_has_a_translation(language: str) -> None:
    texts = translations(language)
    codes = {*map(str, ErrorCode), *model_codes()}

    assert {key.removeprefix("error ") for key in texts if key.startswith("error ")} == codes


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_reason_has_a_translation(language: str) -> None:
    known = {shape(key.removeprefix("sentence ")) for key in translations(language) if key.startswith("sentence ")}
    sentences = server_sentences()

    # The collection itself must not run empty.
    assert {"it sets a variable", "User requested", "Command execution requires user approval."} <= sentences
    assert sentences - known == set()

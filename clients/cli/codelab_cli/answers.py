"""What a person may answer to a question, and what follows from it: a decision, changed arguments, a standing rule."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from codelab_cli.failures import Failure
from codelab_cli.items import Payload

type Decision = Literal["approve", "reject", "edit", "always"]

#: Programs whose second word says what they do.
WITH_SUBCOMMANDS = {"npm", "pnpm", "yarn", "git", "go", "cargo", "make", "uv", "poetry", "docker", "dotnet", "mvn"}


@dataclass(frozen=True)
class Answer:
    """What a person has said to a question."""

    decision: Decision
    feedback: str = ""


def parse_answer(text: str) -> Answer | None:
    """Return the answer that a line gives, or None for any other line: what is unclear approves nothing."""
    line = text.strip()
    if line.lower() in ("y", "yes"):
        return Answer("approve")
    if line.lower() in ("e", "edit"):
        return Answer("edit")
    if line.lower() in ("a", "always"):
        return Answer("always")
    if match := re.fullmatch(r"(?:no|n)(?:[\s,:;.–—-]+(.*))?", line, re.IGNORECASE | re.DOTALL):
        return Answer("reject", (match[1] or "").strip())
    return None


@dataclass(frozen=True)
class Draft:
    """The part of a call that a person edits: its text, and the ending of a file's name for editors' colours."""

    text: str
    suffix: str
    #: Which argument it is. None: all of them, as JSON.
    argument: str | None = None

    @property
    def is_short(self) -> bool:
        """Return whether it can be edited on the line of the prompt."""
        return self.argument == "command" and "\n" not in self.text


EDITED_ARGUMENTS = {"execute_command": "command", "write_file": "content", "apply_diff": "diff"}


def draft_of(payload: Payload, *, is_plan: bool = False) -> Draft:
    """Return what is edited of a call or a plan. The exact text, not what people are shown."""
    if is_plan:
        keys = ("id", "description", "agent", "dependencies", "estimated_time")
        subtasks = [{key: each[key] for key in keys if key in each} for each in payload.get("subtasks") or ()]
        return Draft(json.dumps(subtasks, ensure_ascii=False, indent=2) + "\n", ".json")
    arguments = payload.get("arguments") or {}
    name = EDITED_ARGUMENTS.get(str(payload.get("tool")))
    if name and isinstance(arguments.get(name), str):
        suffix = PurePosixPath(str(arguments.get("path", ""))).suffix if name == "content" else f".{name}"
        return Draft(arguments[name], suffix, name)
    return Draft(json.dumps(arguments, ensure_ascii=False, indent=2) + "\n", ".json")


def edited_arguments(payload: Payload, draft: Draft, text: str) -> Any:
    """Return all arguments of a call, or all sub-tasks of a plan, with what a person has written. Raises Failure."""
    if draft.argument:
        return {**(payload.get("arguments") or {}), draft.argument: text}
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failure(f"This is not JSON: {error}.", "Nothing was decided.") from error


@dataclass(frozen=True)
class Rule:
    """A standing rule for a session, before it is made."""

    tool: str
    subject: str
    folder: str = "."

    def __str__(self) -> str:
        return f"{self.tool} {self.subject}"

    def body(self, session_id: str) -> dict[str, str]:
        """Return it as `POST /api/v1/rules` takes it."""
        return {
            "effect": "allow",
            "tool": self.tool,
            "subject": self.subject,
            "folder": self.folder,
            "session_id": session_id,
        }


def propose_rule(payload: Payload) -> Rule:
    """Return the narrowest rule that covers the call and those like it."""
    tool, arguments = str(payload.get("tool")), payload.get("arguments") or {}
    if tool == "execute_command":
        command = str(arguments.get("command", ""))
        folder = str(arguments.get("cwd") or ".")
        # No pattern covers such a command: a rule for it is its exact text.
        if payload.get("rule") == "opaque command":
            return Rule(tool, command, folder)
        return Rule(tool, f"{_first_words(command)} *", folder)
    path = str(arguments.get("path") or arguments.get("to") or "")
    if not path:
        return Rule(tool, "*")
    parent = PurePosixPath(path).parent
    return Rule(tool, f"{parent}/**" if str(parent) != "." else path)


def _first_words(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    count = 1
    if words[:1] and (words[0] in WITH_SUBCOMMANDS or words[0].startswith("python")):
        count = 3 if words[1:2] == ["-m"] else 2
    return " ".join(words[:count])


def parse_rule(text: str, proposed: Rule) -> Rule:
    """Return the rule that a person has written over the proposed one: a tool and a subject. Raises Failure."""
    tool, _, subject = text.strip().partition(" ")
    if not tool or not subject.strip():
        raise Failure("A rule is the name of a tool and a pattern, such as `write_file src/**`.", "No rule was made.")
    return Rule(tool, subject.strip(), proposed.folder)

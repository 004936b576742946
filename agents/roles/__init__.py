"""The agents as data: each is one file of this folder, and a new one is a new file.

A file `NAME.md` begins with its facts in TOML between two lines `+++`; the rest is its prompt, a Jinja2 template
(`agents.prompts`). All files are read and checked when this is imported: a broken one stops the process at its start.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agents import prompts
from agents.prompts import Peer, Workspace
from agents.tools import TOOLS

#: What the original's clients show before a session has an agent.
UNASSIGNED = "orchestrator"

BUILT_IN = Path(__file__).parent

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
KEYWORD = re.compile(r"\w[\w '-]*\w\*?")

type Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\n]+$")]


class Role(BaseModel):
    """An agent's facts and prompt; the fields are those of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    #: The name of the file.
    name: str
    #: What people see.
    title: Annotated[Line, Field(max_length=40)]
    emoji: Annotated[str, Field(max_length=8)] = "🤖"
    #: For people, for other agents, and for the model that chooses between agents.
    description: Line
    #: Names of the tools that it may ask for; the policy refuses all others.
    tools: Annotated[tuple[str, ...], Field(strict=False)]
    #: Patterns of the files that it may change (agents.paths.matches).
    writes: Annotated[tuple[Line, ...], Field(strict=False)] = ("**",)
    #: Models it prefers, the best first; empty: the server's.
    models: Annotated[tuple[Line, ...], Field(strict=False)] = ()
    #: Words of messages that are for it, where no model can be asked; `*` at the end for any ending (agents.routing).
    keywords: Annotated[tuple[str, ...], Field(strict=False)] = ()
    #: Whether messages and sub-tasks may be given to it, and other agents may hand over to it.
    routed: bool = True
    #: Smaller numbers come first where agents are listed, and win where keywords are equal.
    order: int = 100
    #: The template of its prompt.
    prompt: Annotated[str, Field(min_length=1)]

    @field_validator("tools")
    @classmethod
    def _known_tools(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in TOOLS:
                raise ValueError(f"tool {name!r} does not exist; choose from {', '.join(TOOLS)}")
        if len(set(names)) < len(names):
            raise ValueError("a tool is named twice")
        return names

    @field_validator("keywords")
    @classmethod
    def _keywords_of_letters(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not KEYWORD.fullmatch(word) or word != word.lower():
                raise ValueError(f"{word!r} is no keyword: small letters, and at most one * at the end")
            if word.endswith("*") and len(word) < 5:
                raise ValueError(f"{word!r} would fit too many words; give at least four letters before the *")
        return words

    @field_validator("prompt")
    @classmethod
    def _working_template(cls, source: str) -> str:
        if problem := prompts.problem(source):
            raise ValueError(problem)
        return source

    def models_with(self, default: str) -> tuple[str, tuple[str, ...] | None]:
        """Return the model to ask, and those that stand in for it; None: those that the catalog names."""
        preferred, *others = dict.fromkeys((*self.models, default))
        return preferred, tuple(others) or None

    def instructions(
        self,
        *,
        tools: Iterable[str],
        agents: Iterable[Role] = (),
        mode: str = "ask",
        workspace: Workspace | None = None,
        plan: str = "",
        subtask: str = "",
    ) -> str:
        """Render the system prompt. `tools` are those really offered, `agents` those it may hand over to."""
        text = prompts.compiled(self.prompt).render(
            role={"name": self.name, "title": self.title, "description": self.description},
            tools=list(tools),
            agents=[Peer(name=each.name, description=each.description) for each in agents if each.name != self.name],
            writes=[] if "**" in self.writes else list(self.writes),
            mode=mode,
            workspace=workspace,
            plan=plan,
            subtask=subtask,
        )
        return prompts.tidy(text)


class RoleError(Exception):
    """A role's file cannot be used; the message names the file, the field and what to mend."""

    def __init__(self, file: Path, field: str, reason: str) -> None:
        super().__init__(f"The role in {file} cannot be used: {field}: {reason}.")
        self.file = file
        self.field = field


def load(*folders: Path) -> dict[str, Role]:
    """Read the roles of this folder and of others, by name, in order. A later file replaces one of the same name.

    Raises RoleError.
    """
    found: dict[str, Role] = {}
    for folder in (BUILT_IN, *folders):
        if not folder.is_dir():
            raise RoleError(folder, "folder", "it does not exist")
        for file in sorted(folder.glob("*.md")):
            found[file.stem] = _read(file)
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


def _read(file: Path) -> Role:
    if not NAME.fullmatch(file.stem):
        raise RoleError(file, "name", "a role is named by small letters, digits, - and _, at most 32")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RoleError(file, "file", f"it cannot be read as UTF-8 ({type(error).__name__})") from None
    parts = re.fullmatch(r"\ufeff?\+\+\+\r?\n(.*?)^\+\+\+\s*?$(.*)", text, re.DOTALL | re.MULTILINE)
    if parts is None:
        raise RoleError(file, "header", "it must begin with TOML between two lines +++")
    try:
        facts: dict[str, Any] = tomllib.loads(parts[1])
    except tomllib.TOMLDecodeError as error:
        raise RoleError(file, "header", str(error)) from None
    for given in ("name", "prompt"):
        if given in facts:
            raise RoleError(file, given, "it is not given in the header")
    try:
        return Role.model_validate({**facts, "name": file.stem, "prompt": parts[2].strip()})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "header"
        raise RoleError(file, field, str(first.get("ctx", {}).get("error", first["msg"]))) from None


ROLES: Mapping[str, Role] = load()
UNIVERSAL = ROLES["universal"]


def role_of(name: str) -> Role:
    """Return a role by its name; a session without one gets the universal agent."""
    return ROLES.get(name, UNIVERSAL)


def routed(roles: Mapping[str, Role] = ROLES) -> tuple[Role, ...]:
    """Return the agents that may be given a message or a sub-task, in order."""
    return tuple(role for role in roles.values() if role.routed)

"""The agents as data: each is one file of this folder.

A file `NAME.md` begins with facts in TOML between two lines `+++`; the rest is its prompt, a Jinja2 template
(`agents.prompts`). Importing this module reads and checks all files, so a broken one stops the process at its start.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agents import prompts
from agents.prompts import Peer, Workspace
from agents.tools import TOOLS, ToolKind

#: The original's clients show this agent before a session has one.
UNASSIGNED = "orchestrator"

BUILT_IN_FOLDER = Path(__file__).parent

NAME_PATTERN = re.compile(r"[a-z][a-z0-9_-]{0,31}")
KEYWORD_PATTERN = re.compile(r"\w[\w '-]*\w\*?")

type Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\n]+$")]


class Role(BaseModel):
    """An agent's facts and prompt; the fields are those of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    #: The name of the file.
    name: str
    #: The name that users see.
    title: Annotated[Line, Field(max_length=40)]
    emoji: Annotated[str, Field(max_length=8)] = "🤖"
    #: For users, other agents, and the model that chooses between agents.
    description: Line
    #: Names of the tools that it may ask for; the policy refuses all others.
    tools: Annotated[tuple[str, ...], Field(strict=False)]
    #: Patterns of the files that it may change (agents.paths.matches).
    writes: Annotated[tuple[Line, ...], Field(strict=False)] = ("**",)
    #: Preferred models, the best first; empty: the server's.
    models: Annotated[tuple[Line, ...], Field(strict=False)] = ()
    #: Words in messages for it, used if no model answers; `*` at the end for any ending (agents.keywords).
    keywords: Annotated[tuple[str, ...], Field(strict=False)] = ()
    #: Whether it may get messages and sub-tasks, and other agents may hand over to it.
    routed: bool = True
    #: Smaller numbers come first in lists of agents, and win if keywords tie.
    order: int = 100
    #: The template of its prompt.
    prompt: Annotated[str, Field(min_length=1)]

    @field_validator("tools")
    @classmethod
    def _check_tools(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in TOOLS:
                raise ValueError(f"tool {name!r} does not exist; choose from {', '.join(TOOLS)}")
        if len(set(names)) < len(names):
            raise ValueError("a tool is listed twice")
        return names

    @field_validator("keywords")
    @classmethod
    def _check_keywords(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not KEYWORD_PATTERN.fullmatch(word) or word != word.lower():
                raise ValueError(f"{word!r} is not a keyword: use lower case, and at most one * at the end")
            if word.endswith("*") and len(word) < 5:
                raise ValueError(f"{word!r} would match too many words; give at least four letters before the *")
        return words

    @field_validator("prompt")
    @classmethod
    def _check_template(cls, source: str) -> str:
        if problem := prompts.find_problem(source):
            raise ValueError(problem)
        return source

    def may_use(self, kind: ToolKind) -> bool:
        """Return whether it gets tools of this kind that a client defines.

        A role with tools of the kind does. One whose files are limited gets none that edit, because the paths in their
        arguments are not known. What is not known at all is for roles that run commands.
        """
        kinds = {TOOLS[name].kind for name in self.tools}
        match kind:
            case ToolKind.EDIT:
                return kind in kinds and "**" in self.writes
            case ToolKind.OTHER:
                return ToolKind.COMMAND in kinds
        return kind in kinds

    def choose_models(self, default: str) -> tuple[str, tuple[str, ...] | None]:
        """Return the model to ask and its fallbacks; None: those of the catalog."""
        preferred, *others = dict.fromkeys((*self.models, default))
        return preferred, tuple(others) or None

    def instructions(
        self,
        *,
        tools: Iterable[str],
        agents: "Iterable[Role]" = (),
        mode: str = "ask",
        workspace: Workspace | None = None,
        plan: str = "",
        subtask: str = "",
    ) -> str:
        """Render the system prompt. `tools` are those that the model gets, `agents` those it may hand over to."""
        return _render(
            self.prompt,
            name=self.name,
            title=self.title,
            description=self.description,
            tools=tuple(tools),
            agents=tuple((each.name, each.description) for each in agents if each.name != self.name),
            writes=() if "**" in self.writes else self.writes,
            mode=mode,
            workspace=workspace,
            plan=plan,
            subtask=subtask,
        )


# Each step of a turn has the same instructions. Few are remembered: the rules of a project may be long.
@lru_cache(maxsize=64)
def _render(
    template: str,
    *,
    name: str,
    title: str,
    description: str,
    tools: tuple[str, ...],
    agents: tuple[tuple[str, str], ...],
    writes: tuple[str, ...],
    **facts: str | Workspace | None,
) -> str:
    text = prompts.compile_template(template).render(
        role={"name": name, "title": title, "description": description},
        tools=list(tools),
        agents=[Peer(name=each, description=text) for each, text in agents],
        writes=list(writes),
        **facts,
    )
    return prompts.collapse_blank_lines(text)


class RoleError(Exception):
    """A role's file is not valid; the message names the file, the field and the problem."""

    def __init__(self, file: Path, field: str, reason: str) -> None:
        super().__init__(f"The role in {file} cannot be used: {field}: {reason}.")
        self.file = file
        self.field = field


def load(*folders: Path) -> dict[str, Role]:
    """Return the roles of this folder and of others, by name, in their order. A later file replaces one of its name.

    Raises RoleError.
    """
    roles: dict[str, Role] = {}
    for folder in (BUILT_IN_FOLDER, *folders):
        if not folder.is_dir():
            raise RoleError(folder, "folder", "it does not exist")
        for file in sorted(folder.glob("*.md")):
            roles[file.stem] = _load_file(file)
    return dict(sorted(roles.items(), key=lambda item: (item[1].order, item[0])))


def _load_file(file: Path) -> Role:
    if not NAME_PATTERN.fullmatch(file.stem):
        raise RoleError(file, "name", "use at most 32 lower-case letters, digits, - and _")
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
    for field in ("name", "prompt"):
        if field in facts:
            raise RoleError(file, field, "it does not belong in the header")
    try:
        return Role.model_validate({**facts, "name": file.stem, "prompt": parts[2].strip()})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "header"
        raise RoleError(file, field, str(first.get("ctx", {}).get("error", first["msg"]))) from None


ROLES: Mapping[str, Role] = load()
UNIVERSAL = ROLES["universal"]


def role_of(name: str) -> Role:
    """Return a role by its name, or the universal agent for an unknown name."""
    return ROLES.get(name, UNIVERSAL)


def routed_roles(roles: Mapping[str, Role] = ROLES) -> tuple[Role, ...]:
    """Return the agents that may get a message or a sub-task, in order."""
    return tuple(role for role in roles.values() if role.routed)


def models_in_use(default: str) -> frozenset[str]:
    """Return the models that agents are configured to use; `default` is the server's."""
    return frozenset({default}.union(*(role.models for role in ROLES.values())))

"""Tools that a client defines itself, such as those of MCP servers: what it says of them, and what it may not say.

A definition comes from outside: names, sizes and schemas are checked here, all at once, before anything is stored. What
a client calls a tool decides only what its kind allows (`agents.policy`); a client can never widen a mode or a rule.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from agents.argument_schemas import find_argument_problem, find_schema_problem
from agents.tools import TOOLS, InvalidArguments, ToolKind
from llm.types import Tool

#: Tools that one client defines, and characters of all definitions as JSON text: each model call has them.
MAX_TOOLS, MAX_ALL_CHARACTERS = 100, 128_000
MAX_DESCRIPTION_CHARACTERS = 8_000
#: Of a description, for people who are asked about a call.
MAX_SHOWN_CHARACTERS = 1_000
#: What all providers accept.
NAME_PATTERN = r"^[a-zA-Z0-9_-]{1,64}$"
NO_ARGUMENTS = {"type": "object", "properties": {}}


class Approval(StrEnum):
    """What a client says about questions to its user."""

    #: Ask about each call, in every mode.
    ASK = "ask"
    #: The client needs no question. It does not count for edits and commands, which the mode decides about.
    NEVER = "never"


class ToolDefinition(BaseModel):
    """A tool that the client defines and runs. The model gets name, description and parameters as they are."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: Of an MCP server's tool: `mcp__SERVER__TOOL`.
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    description: Annotated[str | None, Field(max_length=MAX_DESCRIPTION_CHARACTERS)] = None
    #: JSON Schema of the arguments, an object. Without it the tool takes none.
    parameters: dict[str, Any] | None = None
    #: What the tool can do. `other`: not known, so the user is asked in every mode.
    kind: Literal["read", "edit", "command", "other"] | None = None
    #: Without it the kind and the mode decide.
    approval: Approval | None = None


@dataclass(frozen=True)
class ClientTool:
    """A checked definition."""

    name: str
    description: str
    parameters: dict[str, Any]
    kind: ToolKind
    approval: Approval | None = None

    @classmethod
    def of(cls, definition: ToolDefinition) -> Self:
        """Return a definition with its defaults."""
        return cls(
            name=definition.name,
            description=definition.description or "",
            parameters=definition.parameters or NO_ARGUMENTS,
            kind=ToolKind(definition.kind or "other"),
            approval=definition.approval,
        )

    @cached_property
    def digest(self) -> str:
        """Return a hash of all that the client has said of the tool."""
        return hashlib.sha256(_dump(self.fields, sort_keys=True).encode()).hexdigest()

    @property
    def fields(self) -> dict[str, Any]:
        """Return the definition as a client writes it."""
        fields = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {**fields, "kind": str(self.kind), **({"approval": str(self.approval)} if self.approval else {})}

    @property
    def shown(self) -> dict[str, str]:
        """Return what people see beside a call, and the hash that an approval covers."""
        text = self.description
        description = text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[: MAX_SHOWN_CHARACTERS - 1]}…"
        return {"kind": str(self.kind), "description": description, "digest": self.digest}

    @property
    def for_model(self) -> Tool:
        """Return the tool as a model is offered it."""
        return Tool(name=self.name, description=self.description, parameters=self.parameters)

    def parse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments as they are when they fit the schema. Raises InvalidArguments."""
        if problem := find_argument_problem(self._schema, arguments):
            names = ", ".join(self.parameters.get("properties", ())) or "none"
            raise InvalidArguments(
                f"{self.name} was not run: {problem}. Its arguments are: {names[:500]}. Correct them and call it again."
            )
        return arguments

    @cached_property
    def _schema(self) -> str:
        return _dump(self.parameters)


class InvalidTools(ValueError):
    """Definitions that cannot be used; the message says which one, and why."""


def check(definitions: Sequence[ToolDefinition], names: Sequence[str]) -> tuple[ClientTool, ...]:
    """Return the tools that a client defines beside the `names` it can run. Raises InvalidTools."""
    if len(definitions) > MAX_TOOLS:
        raise InvalidTools(f"A client may define at most {MAX_TOOLS} tools, and these are {len(definitions)}.")
    ours, others = "a tool of this server", "another tool of this client"
    taken = {name.casefold(): others for name in names} | {name.casefold(): ours for name in TOOLS}
    tools = []
    for definition in definitions:
        tool = ClientTool.of(definition)
        if owner := taken.get(tool.name.casefold()):
            raise InvalidTools(f"Tool `{tool.name}`: the name belongs to {owner}. Choose another one.")
        taken[tool.name.casefold()] = others
        if problem := find_schema_problem(tool.parameters):
            raise InvalidTools(f"Tool `{tool.name}`: the schema in `parameters` {problem.removesuffix('.')}.")
        tools.append(tool)
    if (size := len(dump(tools))) > MAX_ALL_CHARACTERS:
        raise InvalidTools(f"The definitions have {size:,} characters together; at most {MAX_ALL_CHARACTERS:,} fit.")
    return tuple(tools)


def dump(tools: Sequence[ClientTool]) -> str:
    """Return definitions as the text that is stored: keys stay in the client's order."""
    return _dump([tool.fields for tool in tools])


# The steps of a session read the same text again and again.
@lru_cache(maxsize=64)
def load(text: str) -> dict[str, ClientTool]:
    """Return stored definitions by their names."""
    tools = (ClientTool.of(ToolDefinition.model_validate(fields)) for fields in json.loads(text))
    return {tool.name: tool for tool in tools}


def _dump(value: Any, *, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)

"""The tools a model may ask for: where they run, what they can do, and what their arguments must be.

Names and arguments are those that the original's clients can run (docs/agents.md, docs/protocol.md). Only
`agents.policy` decides whether a call may run.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from agents import arguments as types
from agents.arguments import Arguments
from agents.paths import UnsafePath
from agents.schemas import schema_of
from llm.types import Tool


class RunsOn(StrEnum):
    """Where a tool runs."""

    CLIENT = "client"
    SERVER = "server"


class ToolKind(StrEnum):
    """What a tool can do; session modes allow calls by it."""

    READ = "read"
    EDIT = "edit"
    COMMAND = "command"
    #: Steers the conversation and touches nothing in the workspace.
    CONTROL = "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as the server knows it."""

    name: str
    description: str
    arguments: type[Arguments]
    kind: ToolKind
    runs_on: RunsOn = RunsOn.CLIENT
    #: Arguments that are paths in the workspace, by their names in the call.
    paths: tuple[str, ...] = ()

    @property
    def writes(self) -> tuple[str, ...]:
        """Return the path arguments that the call changes, to which a role's file patterns apply."""
        return self.paths if self.kind is ToolKind.EDIT else ()


class InvalidArguments(ValueError):
    """Invalid arguments of a tool; the message tells the model what to correct."""

    def __init__(self, message: str, *, unsafe_path: bool = False) -> None:
        super().__init__(message)
        self.unsafe_path = unsafe_path


#: Tools that the server runs itself.
ATTEMPT_COMPLETION = "attempt_completion"
ASK_FOLLOWUP_QUESTION = "ask_followup_question"
SWITCH_MODE = "switch_mode"
CREATE_PLAN = "create_plan"
CALCULATOR = "calculator"

TOOLS: dict[str, ToolSpec] = {
    spec.name: spec
    for spec in (
        ToolSpec(
            name="read_file",
            description="Read a text file, or some of its lines.",
            arguments=types.ReadFile,
            kind=ToolKind.READ,
            paths=("path",),
        ),
        ToolSpec(
            name="list_files",
            description="List a folder.",
            arguments=types.ListFiles,
            kind=ToolKind.READ,
            paths=("path",),
        ),
        ToolSpec(
            name="search_in_code",
            description="Search the files of the workspace for a text; returns file names and lines.",
            arguments=types.SearchInCode,
            kind=ToolKind.READ,
            paths=("path",),
        ),
        ToolSpec(
            name="write_file",
            description="Create a file or replace its whole content. For small changes of a file use apply_diff.",
            arguments=types.WriteFile,
            kind=ToolKind.EDIT,
            paths=("path",),
        ),
        ToolSpec(
            name="apply_diff",
            description="Change parts of a file that you have read. Each SEARCH part must match exactly one place.",
            arguments=types.ApplyDiff,
            kind=ToolKind.EDIT,
            paths=("path",),
        ),
        ToolSpec(
            name="create_directory",
            description="Create a folder.",
            arguments=types.CreateDirectory,
            kind=ToolKind.EDIT,
            paths=("path",),
        ),
        ToolSpec(
            name="delete_file",
            description="Delete a file or an empty folder.",
            arguments=types.DeleteFile,
            kind=ToolKind.EDIT,
            paths=("path",),
        ),
        ToolSpec(
            name="move_file",
            description="Move or rename a file or folder.",
            arguments=types.MoveFile,
            kind=ToolKind.EDIT,
            paths=("from", "to"),
        ),
        ToolSpec(
            name="execute_command",
            description=(
                "Run one program and read its output and exit code. It must end by itself and must not ask anything."
            ),
            arguments=types.ExecuteCommand,
            kind=ToolKind.COMMAND,
            paths=("cwd",),
        ),
        ToolSpec(
            name="git_diff",
            description="Show uncommitted changes.",
            arguments=types.GitDiff,
            kind=ToolKind.READ,
            paths=("path",),
        ),
        # A commit runs the hooks of the repository, so it is a command and not an edit.
        ToolSpec(
            name="git_commit",
            description="Commit changes. Only when the user has asked for a commit.",
            arguments=types.GitCommit,
            kind=ToolKind.COMMAND,
            paths=("paths",),
        ),
        ToolSpec(
            name=ATTEMPT_COMPLETION,
            description="Say that the task is finished, once you have checked that it is.",
            arguments=types.AttemptCompletion,
            kind=ToolKind.CONTROL,
            runs_on=RunsOn.SERVER,
        ),
        ToolSpec(
            name=ASK_FOLLOWUP_QUESTION,
            description="Ask the user about what you cannot find out yourself, and wait for the answer.",
            arguments=types.AskFollowupQuestion,
            kind=ToolKind.CONTROL,
            runs_on=RunsOn.SERVER,
        ),
        ToolSpec(
            name=SWITCH_MODE,
            description="Hand the conversation to another agent, because the task is not one for you.",
            arguments=types.SwitchMode,
            kind=ToolKind.CONTROL,
            runs_on=RunsOn.SERVER,
        ),
        ToolSpec(
            name=CREATE_PLAN,
            description="Propose a plan of sub-tasks for a larger task. The user approves it before it starts.",
            arguments=types.CreatePlan,
            kind=ToolKind.CONTROL,
            runs_on=RunsOn.SERVER,
        ),
        ToolSpec(
            name=CALCULATOR,
            description="Calculate: + - * / // % **, parentheses, sqrt, log, round and the like.",
            arguments=types.Calculate,
            kind=ToolKind.CONTROL,
            runs_on=RunsOn.SERVER,
        ),
    )
}

#: Every known client can run these. A client may announce more; one that announces nothing gets these.
BASELINE_TOOLS = frozenset(
    {"read_file", "list_files", "search_in_code", "write_file", "create_directory", "execute_command"}
)

MAX_PROBLEMS = 5


def offer(names: Iterable[str], *, agents: Sequence[str] = ()) -> tuple[Tool, ...]:
    """Describe tools for a model, in the order given; `agents` are the names that switch_mode and create_plan take."""
    return tuple(_describe(name, tuple(agents)) for name in names)


# Each step of each turn offers the same tools; a schema takes a millisecond to make.
@lru_cache(maxsize=1000)
def _describe(name: str, agents: tuple[str, ...]) -> Tool:
    spec = TOOLS[name]
    return Tool(name=name, description=spec.description, parameters=schema_of(spec.arguments, agents=agents))


def parse(name: str, arguments: dict[str, Any], *, agents: Collection[str] | None = None) -> dict[str, Any]:
    """Return a call's arguments in their canonical form: JSON types, normalized paths, no defaults.

    The user, the hash and the client get this form. Raises InvalidArguments; KeyError for an unknown tool.
    """
    try:
        valid = TOOLS[name].arguments.model_validate(arguments, context={"agents": agents})
    except ValidationError as error:
        raise _invalid(name, error) from None
    return valid.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def complete(name: str, arguments: dict[str, Any]) -> Arguments:
    """Return parsed arguments with their defaults, as a typed object."""
    return TOOLS[name].arguments.model_validate(arguments)


def paths_of(name: str, arguments: dict[str, Any], *, writes_only: bool = False) -> tuple[str, ...]:
    """Return the paths in parsed arguments, defaults included; with `writes_only`, those that the call changes."""
    spec = TOOLS[name]
    whole = complete(name, arguments).model_dump(by_alias=True)
    values = [whole[argument] for argument in (spec.writes if writes_only else spec.paths)]
    return tuple(path for value in values if value for path in (value if isinstance(value, list) else [value]))


def _invalid(name: str, error: ValidationError) -> InvalidArguments:
    problems: list[str] = []
    unsafe_path = False
    for detail in error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]:
        where = ".".join(str(part) for part in detail["loc"])
        cause = detail.get("ctx", {}).get("error")
        unsafe_path = unsafe_path or isinstance(cause, UnsafePath)
        match detail["type"]:
            case "missing":
                problems.append(f"`{where}` is missing")
            case "extra_forbidden":
                problems.append(f"`{where[:100]}` is not an argument of this tool")
            case "value_error":
                problems.append(f"`{where}`: {cause}" if where else str(cause))
            case _:
                problems.append(f"`{where}`: {detail['msg'][0].lower()}{detail['msg'][1:]}")
    names = ", ".join(field.alias or key for key, field in TOOLS[name].arguments.model_fields.items())
    return InvalidArguments(
        f"{name} was not run: {'; '.join(problems)}. Its arguments are: {names}. Correct them and call it again.",
        unsafe_path=unsafe_path,
    )

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
from llm.key_order import arrange
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
    #: Of a tool that a client defines (agents.client_tools): not known.
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the server knows it."""

    name: str
    kind: ToolKind
    arguments: type[Arguments]
    description: str
    #: Arguments that are paths in the workspace, by their names in the call.
    paths: tuple[str, ...] = ()

    @property
    def runs_on(self) -> RunsOn:
        """Return who runs it: the client, unless it touches nothing in the workspace."""
        return RunsOn.SERVER if self.kind is ToolKind.CONTROL else RunsOn.CLIENT

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
        ToolSpec("read_file", ToolKind.READ, types.ReadFile, "Read a text file, or some of its lines.", ("path",)),
        ToolSpec("list_files", ToolKind.READ, types.ListFiles, "List a folder.", ("path",)),
        ToolSpec(
            "search_in_code",
            ToolKind.READ,
            types.SearchInCode,
            "Search the files of the workspace for a text; returns file names and lines.",
            ("path",),
        ),
        ToolSpec(
            "write_file",
            ToolKind.EDIT,
            types.WriteFile,
            "Create a file or replace its whole content. For small changes of a file use apply_diff.",
            ("path",),
        ),
        ToolSpec(
            "apply_diff",
            ToolKind.EDIT,
            types.ApplyDiff,
            "Change parts of a file that you have read. Each SEARCH part must match exactly one place.",
            ("path",),
        ),
        ToolSpec("create_directory", ToolKind.EDIT, types.CreateDirectory, "Create a folder.", ("path",)),
        ToolSpec("delete_file", ToolKind.EDIT, types.DeleteFile, "Delete a file or an empty folder.", ("path",)),
        ToolSpec("move_file", ToolKind.EDIT, types.MoveFile, "Move or rename a file or folder.", ("from", "to")),
        ToolSpec(
            "execute_command",
            ToolKind.COMMAND,
            types.ExecuteCommand,
            "Run one program and read its output and exit code. It must end by itself and must not ask anything.",
            ("cwd",),
        ),
        ToolSpec("git_diff", ToolKind.READ, types.GitDiff, "Show uncommitted changes.", ("path",)),
        # A commit runs the hooks of the repository, so it is a command and not an edit.
        ToolSpec(
            "git_commit",
            ToolKind.COMMAND,
            types.GitCommit,
            "Commit changes. Only when the user has asked for a commit.",
            ("paths",),
        ),
        ToolSpec(
            ATTEMPT_COMPLETION,
            ToolKind.CONTROL,
            types.AttemptCompletion,
            "Say that the task is finished, once you have checked that it is.",
        ),
        ToolSpec(
            ASK_FOLLOWUP_QUESTION,
            ToolKind.CONTROL,
            types.AskFollowupQuestion,
            "Ask the user about what you cannot find out yourself, and wait for the answer.",
        ),
        ToolSpec(
            SWITCH_MODE,
            ToolKind.CONTROL,
            types.SwitchMode,
            "Hand the conversation to another agent, because the task is not one for you.",
        ),
        ToolSpec(
            CREATE_PLAN,
            ToolKind.CONTROL,
            types.CreatePlan,
            "Propose a plan of sub-tasks for a larger task. The user approves it before it starts.",
        ),
        ToolSpec(
            CALCULATOR,
            ToolKind.CONTROL,
            types.Calculate,
            "Calculate: + - * / // % **, parentheses, sqrt, log, round and the like.",
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
    """Return a call's arguments in their canonical form: JSON types, normalized paths, no defaults, the caller's order.

    The user, the hash and the client get this form. Raises InvalidArguments; KeyError for an unknown tool.
    """
    try:
        valid = TOOLS[name].arguments.model_validate(arguments, context={"agents": agents})
    except ValidationError as error:
        raise _invalid(name, error) from None
    values = valid.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    canonical: dict[str, Any] = arrange(values, arguments)
    return canonical


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

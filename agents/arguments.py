"""The arguments of each tool, as types. Names, defaults and limits are those that the original's clients know.

The model gets their JSON Schema, and a sentence it can act on when a call breaks it. Only one spelling of a path is
accepted (`agents.paths`), so the user, the hash and the client all get the same text.
"""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from agents import globs, paths

#: A call with a text of this length fits into one frame of 1 MiB to the client.
MAX_CONTENT_CHARACTERS = 250_000
MAX_TEXT_CHARACTERS = 20_000
MAX_PATTERN_CHARACTERS = 500


class Arguments(BaseModel):
    """The arguments of one tool."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_agent(name: str, info: ValidationInfo) -> str:
    agents = (info.context or {}).get("agents")
    if agents is not None and name not in agents:
        raise ValueError(f"agent {name[:40]!r} does not exist; choose one of {', '.join(agents)}")
    return name


def _number_to_text(value: Any) -> Any:
    # Models send numbers even where the schema asks for strings.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


type Path = Annotated[str, AfterValidator(paths.normalize), Field(description="Path relative to the workspace.")]
#: Models send "" for no value.
type OptionalPath = Annotated[Path | None, BeforeValidator(lambda value: value or None)]
#: In a schema, the names of the agents replace the format.
type AgentName = Annotated[str, AfterValidator(_check_agent), Field(json_schema_extra={"format": "agent"})]
type Content = Annotated[str, Field(max_length=MAX_CONTENT_CHARACTERS)]
type Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
type Pattern = Annotated[str, Field(max_length=MAX_PATTERN_CHARACTERS), AfterValidator(globs.check)]
type Label = Annotated[str, BeforeValidator(_number_to_text), Field(min_length=1, max_length=100)]
type Encoding = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,39}$")]


class ReadFile(Arguments):
    path: Path
    encoding: Encoding = "utf-8"
    start_line: Annotated[int | None, Field(ge=1, description="First line to read, counted from 1.")] = None
    end_line: Annotated[int | None, Field(ge=1, description="Last line to read.")] = None

    @model_validator(mode="after")
    def _check_line_order(self) -> Self:
        if self.start_line and self.end_line and self.end_line < self.start_line:
            raise ValueError("`end_line` is before `start_line`")
        return self


class WriteFile(Arguments):
    path: Path
    content: Annotated[Content, Field(description="The whole new content, nothing left out.")]
    encoding: Encoding = "utf-8"
    create_dirs: Annotated[bool, Field(description="Create missing folders.")] = False
    backup: Annotated[bool, Field(description="Keep a copy of the old file.")] = True


class ApplyDiff(Arguments):
    path: Path
    diff: Annotated[
        Content,
        Field(
            min_length=1,
            description=(
                "One or more blocks:\n<<<<<<< SEARCH\nlines as they are, exactly\n=======\nnew lines\n>>>>>>> REPLACE"
            ),
        ),
    ]

    @model_validator(mode="after")
    def _check_blocks(self) -> Self:
        marks = [line.rstrip() for line in self.diff.splitlines()]
        order = [mark for mark in marks if mark in ("<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE")]
        blocks = [order[place : place + 3] for place in range(0, len(order), 3)]
        if not blocks or any(block != ["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"] for block in blocks):
            raise ValueError("`diff` must be blocks of <<<<<<< SEARCH, =======, >>>>>>> REPLACE, each on its own line")
        return self


class ListFiles(Arguments):
    path: Path
    recursive: bool = False
    include_hidden: bool = False
    pattern: Annotated[Pattern | None, Field(description="Names to list, such as *.py.")] = None


class SearchInCode(Arguments):
    query: Annotated[str, Field(min_length=1, max_length=1000, description="Text to find.")]
    path: Path = "."
    file_pattern: Annotated[Pattern | None, Field(description="Names of files to search, such as *.py.")] = None
    case_sensitive: bool = False
    regex: Annotated[bool, Field(description="Take the query as a regular expression.")] = False
    max_results: Annotated[int, Field(ge=1, le=1000)] = 100


class CreateDirectory(Arguments):
    path: Path
    recursive: Annotated[bool, Field(description="Create missing parents.")] = True


class DeleteFile(Arguments):
    path: Path

    @model_validator(mode="after")
    def _check_path(self) -> Self:
        if self.path == ".":
            raise ValueError("`path` is the workspace itself, which cannot be deleted")
        return self


class MoveFile(Arguments):
    source: Annotated[Path, Field(alias="from")]
    target: Annotated[Path, Field(alias="to", description="New path, with the file's name.")]

    @model_validator(mode="after")
    def _check_paths(self) -> Self:
        if "." in (self.source, self.target) or self.target == self.source:
            raise ValueError("`from` and `to` must be two different files or folders in the workspace")
        if self.target.startswith(f"{self.source}/"):
            raise ValueError("`to` is inside `from`")
        return self


class ExecuteCommand(Arguments):
    command: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS, description="Command line.")]
    cwd: Annotated[OptionalPath, Field(description="Folder to run it in. Default: the workspace.")] = None
    timeout: Annotated[int, Field(ge=1, le=300, description="Seconds.")] = 60
    shell: Annotated[bool, Field(description="Run it in a shell, for pipes and variables.")] = False


class GitDiff(Arguments):
    path: Path = "."
    staged: Annotated[bool, Field(description="Show what is staged instead.")] = False


class GitCommit(Arguments):
    message: Text
    paths: Annotated[
        list[Path] | None, Field(max_length=200, description="Files to stage and commit. Default: what is staged.")
    ] = None


class AttemptCompletion(Arguments):
    result: Annotated[Text, Field(description="What was done, how it was checked, what is left.")]


class AskFollowupQuestion(Arguments):
    question: Text
    suggestions: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=500)]] | None,
        Field(min_length=2, max_length=4, description="2 to 4 possible answers."),
    ] = None


class SwitchMode(Arguments):
    mode: Annotated[AgentName, Field(description="The agent that takes over.")]
    reason: Annotated[str, Field(max_length=1000, description="Why, in one sentence.")] = ""


class ProposedSubTask(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Annotated[Label, Field(description="Short and unique.")]
    description: Annotated[str, Field(min_length=1, max_length=4000, description="What to do and how to verify it.")]
    agent: AgentName
    dependencies: Annotated[
        list[Label], BeforeValidator(lambda value: value or []), Field(description="Ids that come first.")
    ] = []
    estimated_time: Annotated[Label | None, Field(description="Such as 10 min.")] = None


class CreatePlan(Arguments):
    goal: Annotated[str, Field(max_length=2000, description="What the plan achieves, in one sentence.")] = ""
    subtasks: Annotated[list[ProposedSubTask], Field(min_length=1, max_length=30)]


class Calculate(Arguments):
    expr: Annotated[str, Field(min_length=1, max_length=500, description="Such as (2 + 3) ** 4 / sqrt(2).")]

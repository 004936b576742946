"""The arguments of each tool with their defaults (docs/protocol.md, "Tools that the client runs").

The server sends only what the model gave, and has checked it. What does not fit here is an error for the model, not a
crash of the client.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from codelab_cli.outcome import ToolFailed

MAX_CONTENT_CHARACTERS = 1_000_000


class Arguments(BaseModel):
    """The arguments of one tool. Unknown ones are ignored, so that a newer server can add some."""

    model_config = ConfigDict(extra="ignore", frozen=True)


type Line = Annotated[int, Field(ge=1)]
type Pattern = Annotated[str, Field(max_length=500)]
type Content = Annotated[str, Field(max_length=MAX_CONTENT_CHARACTERS)]


class ReadFile(Arguments):
    path: str
    encoding: str = "utf-8"
    start_line: Line | None = None
    end_line: Line | None = None


class ListFiles(Arguments):
    path: str
    recursive: bool = False
    include_hidden: bool = False
    pattern: Pattern | None = None


class SearchInCode(Arguments):
    query: Annotated[str, Field(min_length=1, max_length=1000)]
    path: str = "."
    file_pattern: Pattern | None = None
    case_sensitive: bool = False
    regex: bool = False
    max_results: Annotated[int, Field(ge=1, le=1000)] = 100


class WriteFile(Arguments):
    path: str
    content: Content
    encoding: str = "utf-8"
    create_dirs: bool = False
    backup: bool = True


class ApplyDiff(Arguments):
    path: str
    diff: Content


class CreateDirectory(Arguments):
    path: str
    recursive: bool = True


class DeleteFile(Arguments):
    path: str


class MoveFile(Arguments):
    source: Annotated[str, Field(alias="from")]
    target: Annotated[str, Field(alias="to")]


class ExecuteCommand(Arguments):
    command: Annotated[str, Field(min_length=1, max_length=100_000)]
    cwd: str | None = None
    timeout: Annotated[int, Field(ge=1, le=300)] = 60
    shell: bool = False


class GitDiff(Arguments):
    path: str = "."
    staged: bool = False


class GitCommit(Arguments):
    message: Annotated[str, Field(min_length=1, max_length=100_000)]
    paths: Annotated[list[str], Field(max_length=1000)] | None = None


def parse[Type: Arguments](kind: type[Type], arguments: dict[str, Any]) -> Type:
    """Return the arguments of a call with their defaults. Raises ToolFailed."""
    try:
        # A model's null means that it gives no value.
        return kind.model_validate({name: value for name, value in arguments.items() if value is not None})
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise ToolFailed(f"`{where}`: {detail['msg'][0].lower()}{detail['msg'][1:]}") from None

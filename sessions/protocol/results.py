"""The results that clients send for the server's tools, as open types: a client may add fields.

They are for authors of clients. A result of another shape is taken, too, because the tool has run. `make schema`
generates docs/protocol/tool-results.json from them. A tool without a type here, such as one that a client defines, may
answer anything.
"""

from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import ConfigDict, Field, TypeAdapter, with_config

#: Clients may add fields.
open_type = with_config(ConfigDict(extra="allow"))

Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]


@open_type
class FoundItem(TypedDict):
    """A file or a folder."""

    name: str
    path: str
    type: Literal["file", "directory"]
    #: In bytes.
    size: NotRequired[int]
    modified: NotRequired[str]


@open_type
class FoundLine(TypedDict):
    """A line that has what was searched for."""

    file: str
    #: Counted from 1.
    line: int
    text: str


@open_type
class ReadFileResult(TypedDict):
    """The lines that were asked for, with their line ends."""

    success: bool
    content: str
    lines_read: int


@open_type
class ListFilesResult(TypedDict):
    """What is in a folder."""

    success: bool
    path: str
    items: list[FoundItem]
    total_count: int


@open_type
class SearchInCodeResult(TypedDict):
    """Where a text is; `total_matches` counts also those that are not listed."""

    query: str
    matches: list[FoundLine]
    total_matches: int
    truncated: bool


@open_type
class Edit(TypedDict):
    """A change of a file: its hashes before (none of a new file) and after (none of a deleted one), a unified diff."""

    success: bool
    path: NotRequired[str]
    sha256_before: NotRequired[Sha256 | None]
    sha256_after: NotRequired[Sha256 | None]
    diff: NotRequired[str]


@open_type
class WriteFileResult(Edit):
    """A file was written."""

    bytes_written: int
    backup_path: NotRequired[str | None]


@open_type
class ApplyDiffResult(Edit):
    """Parts of a file were replaced."""

    blocks_applied: int


@open_type
class DeleteFileResult(Edit):
    """A file or an empty folder was deleted."""


#: The keyword `from` cannot be the name of a field of a class.
MovedPaths = TypedDict("MovedPaths", {"from": str, "to": str})


@open_type
class MoveFileResult(Edit, MovedPaths):
    """A file or a folder was moved."""


@open_type
class CreateDirectoryResult(TypedDict):
    """A folder exists."""

    success: bool
    path: str
    created: bool
    already_exists: bool


@open_type
class ExecuteCommandResult(TypedDict):
    """A command has ended, with whatever exit code."""

    command: str
    exit_code: int
    stdout: str
    stderr: str
    duration_ms: NotRequired[float]
    timed_out: NotRequired[bool]


@open_type
class GitDiffResult(TypedDict):
    """Changes that are not committed."""

    success: bool
    diff: str


@open_type
class GitCommitResult(TypedDict):
    """A commit was made."""

    success: bool
    #: Its hash.
    commit: str


class ToolResults(TypedDict, total=False):
    """The `result` of a call, by the name of its tool."""

    read_file: ReadFileResult
    list_files: ListFilesResult
    search_in_code: SearchInCodeResult
    write_file: WriteFileResult
    apply_diff: ApplyDiffResult
    create_directory: CreateDirectoryResult
    delete_file: DeleteFileResult
    move_file: MoveFileResult
    execute_command: ExecuteCommandResult
    git_diff: GitDiffResult
    git_commit: GitCommitResult


TOOL_RESULTS: TypeAdapter[ToolResults] = TypeAdapter(ToolResults)

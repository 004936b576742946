"""What a client says of the user's workspace. It is data, and every part of it is bounded.

A client sends it whole each time. The server stores it once for each user by its hash.
"""

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sessions.protocol.codes import ErrorCode, FrameError

#: Bytes of a workspace as JSON: with it a frame stays below its own limit.
MAX_WORKSPACE_BYTES = 200 * 1024
#: Characters of a name, of a path, and of a text.
MAX_NAME_LENGTH, MAX_PATH_LENGTH, MAX_TEXT_LENGTH = 300, 1024, 20_000
MAX_TREE_ENTRIES, MAX_OPEN_FILES, MAX_INSTRUCTIONS = 1000, 200, 20
MAX_INSTRUCTIONS_LENGTH = 65_536
MAX_LINE_NUMBER = 2**31 - 1

# Not `type` statements: their names would stand in the schemas.
Name = Annotated[str, Field(max_length=MAX_NAME_LENGTH)]
Path = Annotated[str, Field(max_length=MAX_PATH_LENGTH)]
Text = Annotated[str, Field(max_length=MAX_TEXT_LENGTH)]
Line = Annotated[int, Field(ge=1, le=MAX_LINE_NUMBER)]


class WorkspacePart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Git(WorkspacePart):
    """The state of the repository."""

    branch: Name | None = None
    #: The commit that is checked out, as people name it.
    head: Name | None = None
    #: As `git status --short` prints it; empty when nothing has changed.
    status: Text | None = None


class Selection(WorkspacePart):
    """What the user has selected in the editor. Lines are counted from 1 and inclusive."""

    path: Path | None = None
    start_line: Line | None = None
    end_line: Line | None = None
    text: Text | None = None


class Instructions(WorkspacePart):
    """A file with the project's own rules for agents: AGENTS.md, or CLAUDE.md where it is missing."""

    path: Path
    text: str = Field(max_length=MAX_INSTRUCTIONS_LENGTH)


class Workspace(WorkspacePart):
    """The project and the machine that a client works on. All fields are optional."""

    #: The name of the root folder.
    name: Name | None = None
    #: The operating system, such as "Linux 6.8".
    system: Name | None = None
    shell: Name | None = None
    #: The user's date, and the time zone it is in, such as "Europe/Berlin".
    date: Name | None = None
    time_zone: Name | None = None
    git: Git | None = None
    #: Paths at the top of the tree; folders end with "/".
    tree: list[Path] | None = Field(None, max_length=MAX_TREE_ENTRIES)
    open_files: list[Path] | None = Field(None, max_length=MAX_OPEN_FILES)
    selection: Selection | None = None
    #: Of the root first, then those of the folders that are worked in.
    instructions: list[Instructions] | None = Field(None, max_length=MAX_INSTRUCTIONS)

    def stored(self) -> dict[str, Any]:
        """Return the fields that were sent."""
        return self.model_dump(exclude_none=True)


def hash_of(workspace: Workspace) -> str:
    """Return the SHA-256 of a workspace, in hexadecimal. Raises FrameError when it is too large."""
    text = json.dumps(workspace.stored(), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) > MAX_WORKSPACE_BYTES:
        reason = f"The workspace has more than {MAX_WORKSPACE_BYTES // 1024} KiB. Send fewer or shorter instructions."
        raise FrameError(ErrorCode.INVALID_WORKSPACE, reason)
    return hashlib.sha256(text).hexdigest()


def summary_of(workspace: Workspace, digest: str) -> dict[str, Any]:
    """Return what the event `workspace_changed` and the snapshot say of a workspace."""
    return {
        "hash": digest,
        "name": workspace.name or "",
        "system": workspace.system or "",
        "branch": (workspace.git and workspace.git.branch) or "",
        "instructions": [each.path for each in workspace.instructions or ()],
    }

"""The configuration of MCP servers: the `mcp.json` that other clients use, too, of the user and of the workspace.

A file of the workspace can come with a repository, and a server of it is a program that starts. So a person must have
trusted exactly this server before; the user's own file is trusted.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from platformdirs import user_config_path, user_state_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

#: In the workspace, the first counts for a name.
WORKSPACE_FILES = (".mcp.json", "mcp.json")
MAX_FILE_BYTES = 256 * 1024
MAX_SERVERS = 16

_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}")


class _Entry(BaseModel):
    """One server, as it stands in a file."""

    model_config = ConfigDict(extra="ignore")

    command: Annotated[str, Field(max_length=4096)] | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: Annotated[str, Field(max_length=4096)] | None = None
    headers: dict[str, str] = {}
    disabled: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    servers: Annotated[dict[str, Any], Field(alias="mcpServers")] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An MCP server: a program, or an address of streamable HTTP."""

    name: str
    #: The file that names it.
    source: Path
    is_of_workspace: bool = False
    command: str | None = None
    args: tuple[str, ...] = ()
    #: Values can be secrets, like those of headers: show only `description`.
    env: dict[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str | None = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def description(self) -> str:
        """Return what would be started or called, for a question to a person."""
        if self.command is None:
            return (self.url or "").partition("?")[0]
        return " ".join([*(f"{name}=…" for name in self.env), self.command, *self.args])

    @property
    def digest(self) -> str:
        """Return a hash of all that the server is; trust is in exactly this."""
        parts = [self.name, self.command, self.args, sorted(self.env.items()), self.cwd, self.url]
        return hashlib.sha256(json.dumps([*parts, sorted(self.headers.items())]).encode()).hexdigest()


def read_servers(root: Path, user_file: Path | None = None) -> tuple[list[Server], list[str]]:
    """Return the servers of the user's file and of the workspace, and sentences about what cannot be used."""
    mine = user_file or user_config_path("codelab") / "mcp.json"
    servers: dict[str, Server] = {}
    problems: list[str] = []
    for path, is_of_workspace in ((mine, False), *((root / name, True) for name in WORKSPACE_FILES)):
        for server in _read_file(path, root, problems, is_of_workspace=is_of_workspace):
            servers.setdefault(server.name, server)
    if len(servers) > MAX_SERVERS:
        problems.append(f"More than {MAX_SERVERS} MCP servers are configured; the others are left out.")
    return list(servers.values())[:MAX_SERVERS], problems


def _read_file(path: Path, root: Path, problems: list[str], *, is_of_workspace: bool) -> Iterable[Server]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            problems.append(f"{path} is too large.")
            return
        entries = _File.model_validate_json(content).servers
    except FileNotFoundError:
        return
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it must have an object `mcpServers`"
        problems.append(f"{path} cannot be read: {reason}.")
        return
    for name, given in entries.items():
        try:
            entry = _Entry.model_validate(given)
            if entry.disabled:
                continue
            if (entry.command is None) == (entry.url is None):
                raise ValueError("it needs either `command` or `url`")
            yield _server(name, entry, path, root, is_of_workspace=is_of_workspace)
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False)[0]
            problems.append(f"MCP server {name[:80]} in {path}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}.")
        except ValueError as error:
            problems.append(f"MCP server {name[:80]} in {path}: {error}.")


def _server(name: str, entry: _Entry, source: Path, root: Path, *, is_of_workspace: bool) -> Server:
    if entry.url is not None and not entry.url.startswith(("http://", "https://")):
        raise ValueError("`url` must begin with https:// or http://")
    return Server(
        name=name,
        source=source,
        is_of_workspace=is_of_workspace,
        command=None if entry.command is None else _expand(entry.command),
        args=tuple(map(_expand, entry.args)),
        env={key: _expand(value) for key, value in entry.env.items()},
        cwd=str(root / _expand(entry.cwd or ".")),
        url=None if entry.url is None else _expand(entry.url),
        headers={key: _expand(value) for key, value in entry.headers.items()},
    )


def _expand(text: str) -> str:
    """Return a text with `${NAME}` and `${NAME:-default}` replaced. Raises ValueError for an unset variable."""

    def value_of(variable: re.Match[str]) -> str:
        name, default = variable.groups()
        if name.startswith("CODELAB_"):
            raise ValueError(f"the variable {name} is the client's own")
        value = os.environ.get(name, default)
        if value is None:
            raise ValueError(f"the variable {name} is not set")
        return value

    return _VARIABLE.sub(value_of, text)


class Trust:
    """The servers of workspaces that a person has trusted."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or user_state_path("codelab") / "trusted_mcp_servers"

    def has(self, server: Server) -> bool:
        """Return whether a server may start: it is of the user's own file, or was trusted as it is."""
        return not server.is_of_workspace or self._line(server) in self._lines()

    def add(self, server: Server) -> None:
        """Trust a server in this workspace, as it is now."""
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._file.open("a") as file:
            file.write(f"{self._line(server)}\n")

    def _lines(self) -> set[str]:
        try:
            return set(self._file.read_text().splitlines())
        except FileNotFoundError:
            return set()

    def _line(self, server: Server) -> str:
        return f"{server.digest} {hashlib.sha256(str(server.source).encode()).hexdigest()}"

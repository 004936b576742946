"""The real programs that `make clients` runs, and how: their packages, their settings, their command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.programs.packages import install_from_npm, install_from_pypi
from tests.programs.provider import TAG, Task

SCRIPTS = Path(__file__).parent / "scripts"
#: What the model has written into FILE at the end.
FILE, CONTENT = "hello.txt", "Hello from a model.\n"
RUN_SECONDS = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a program runs, and what it needs to reach the service."""

    #: Of the packages.
    folder: Path
    #: Where it works; its HOME is beside it.
    workspace: Path
    #: Of its own programs.
    programs: Path
    base_url: str
    api_key: str
    model: str
    prompt: str

    @property
    def home(self) -> Path:
        """Return a home folder without anything of the user's."""
        return self.workspace.parent / "home"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program, and the way to give it one task."""

    name: str
    packages: tuple[str, ...]
    #: Returns the command; may write the program's settings first.
    command: Callable[[Place], list[str | Path]]
    #: What it does with the service, for people.
    way: str
    #: The tool that the model asks for, and its arguments; empty: the program reads changes from the text.
    tool: str = "write_file"
    path_argument: str = "path"
    text: str = ""
    is_node: bool = False

    def task(self, suffix: str) -> Task:
        """Return what the model does for this program."""
        arguments = {self.path_argument: FILE, "content": CONTENT} if self.tool else {}
        return Task(f"{self.name}-{suffix}", self.tool, arguments, self.text)

    def install(self, folder: Path) -> Path:
        """Install it in a folder; return the folder of its commands. Raises PackagesUnavailable."""
        return (install_from_npm if self.is_node else install_from_pypi)(folder, self.packages)

    def run(self, place: Place) -> str:
        """Run it in its workspace; return its output. Raises AssertionError."""
        place.workspace.mkdir(parents=True)
        place.home.mkdir()
        environment = {
            "PATH": f"{place.programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(place.home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "BASE_URL": place.base_url,
            "API_KEY": place.api_key,
        }
        done = subprocess.run(
            self.command(place),
            cwd=place.workspace,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_SECONDS,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"it ended with {done.returncode}: {output[-1500:]}"
        written = place.workspace / FILE
        # In some forms of answer the last line break is lost.
        assert written.exists(), f"no {FILE}: {output[-1500:]}"
        assert written.read_text().strip() == CONTENT.strip(), f"another text in {FILE}: {output[-1500:]}"
        return output


def prompt(task: str) -> str:
    """Return what a user says for a task."""
    return f"Write the file {FILE}. {TAG.format(name=task)}"


def _python_script(name: str) -> Callable[[Place], list[str | Path]]:
    return lambda place: [place.programs / "python", SCRIPTS / name, place.model, place.prompt]


def _node_script(name: str) -> Callable[[Place], list[str | Path]]:
    def command(place: Place) -> list[str | Path]:
        # Node.js looks for packages beside the script.
        script = Path(shutil.copy(SCRIPTS / name, place.folder))
        return ["node", script, place.model, place.prompt]

    return command


def _aider(place: Place) -> list[str | Path]:
    (place.workspace / FILE).write_text("Old text.\n")
    subprocess.run(["git", "init", "--quiet"], cwd=place.workspace, check=True)
    for name, value in (("name", "Alice"), ("email", "alice@example.com")):
        subprocess.run(["git", "config", f"user.{name}", value], cwd=place.workspace, check=True)
    return [
        *(place.programs / "aider", "--model", f"openai/{place.model}"),
        *("--openai-api-base", place.base_url, "--openai-api-key", place.api_key),
        *("--edit-format", "diff", "--yes-always", "--no-check-update", "--no-analytics", "--no-show-model-warnings"),
        *("--no-show-release-notes", "--no-pretty", "--no-fancy-input", "--message", place.prompt, FILE),
    ]


def _llm(place: Place) -> list[str | Path]:
    folder = place.home / ".config" / "io.datasette.llm"
    folder.mkdir(parents=True)
    model = {
        "model_id": "codelab",
        "model_name": place.model,
        "api_base": place.base_url,
        "api_key_name": "codelab",
        "supports_tools": True,
    }
    # JSON is YAML.
    (folder / "extra-openai-models.yaml").write_text(json.dumps([model]))
    function = (
        "def write_file(path: str, content: str) -> str:\n"
        "    'Write a file.'\n"
        "    open(path, 'w').write(content)\n"
        "    return 'written'\n"
    )
    return [
        *(place.programs / "llm", "--model", "codelab", "--key", place.api_key),
        *("--functions", function, place.prompt),
    ]


def _pi(place: Place) -> list[str | Path]:
    folder = place.home / ".pi" / "agent"
    folder.mkdir(parents=True)
    provider = {
        "baseUrl": place.base_url,
        "api": "openai-completions",
        "apiKey": place.api_key,
        "models": [{"id": place.model}],
    }
    (folder / "models.json").write_text(json.dumps({"providers": {"codelab": provider}}))
    return [
        *(place.programs / "pi", "--offline", "--provider", "codelab", "--model", place.model),
        *("--no-session", "--print", place.prompt),
    ]


def _opencode(place: Place) -> list[str | Path]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "CodeLab",
        "options": {"baseURL": place.base_url, "apiKey": place.api_key},
        "models": {place.model: {"name": "A model"}},
    }
    settings = {"provider": {"codelab": provider}, "autoupdate": False, "share": "disabled"}
    (place.workspace / "opencode.json").write_text(json.dumps(settings))
    return [place.programs / "opencode", "run", "--model", f"codelab/{place.model}", place.prompt]


EDIT_BLOCK = f"""{FILE}
```
<<<<<<< SEARCH
Old text.
=======
{CONTENT}>>>>>>> REPLACE
```
"""

PROGRAMS = (
    Program(
        name="openai-python",
        packages=("openai==3.57.0",),
        command=_python_script("with_openai.py"),
        way="a stream with a tool",
    ),
    Program(
        name="langchain-openai",
        packages=("langchain-openai==1.7.4",),
        command=_python_script("with_langchain_openai.py"),
        way="`bind_tools`, streamed, with usage",
    ),
    Program(
        name="pydantic-ai",
        packages=("pydantic-ai-slim[openai]==2.68.0",),
        command=_python_script("with_pydantic_ai.py"),
        way="an agent with a tool",
    ),
    Program(name="llm", packages=("llm==0.36",), command=_llm, way="`llm --functions`"),
    Program(
        name="aider",
        packages=("aider-chat==0.86.2",),
        command=_aider,
        way="edits and commits a file, format `diff`",
        tool="",
        text=EDIT_BLOCK,
    ),
    Program(
        name="openai-node",
        packages=("openai@6.49.0",),
        command=_node_script("with_openai.mjs"),
        way="`runTools`, streamed",
        is_node=True,
    ),
    Program(
        name="ai-sdk",
        packages=("ai@6.0.326", "@ai-sdk/openai-compatible@2.0.92", "zod@4"),
        command=_node_script("with_ai_sdk.mjs"),
        way="`streamText` with a tool, several steps",
        is_node=True,
    ),
    Program(
        name="pi",
        packages=("@mariozechner/pi-coding-agent@0.73.1",),
        command=_pi,
        way="`pi --print`, tool `write`",
        tool="write",
        is_node=True,
    ),
    Program(
        name="opencode",
        packages=("opencode-ai@1.18.33",),
        command=_opencode,
        way="`opencode run`, tool `write`",
        tool="write",
        path_argument="filePath",
        is_node=True,
    ),
)

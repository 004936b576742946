"""The real programs that `make clients` runs, and how: their packages, their settings, their command."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.programs.program import CONTENT, FILE, SHELL_COMMAND, Place, Program

SCRIPTS = Path(__file__).parent / "scripts"


def _python_script(name: str, *arguments: str) -> Callable[[Place], list[str | Path]]:
    return lambda place: [place.programs / "python", SCRIPTS / name, place.model, place.prompt, *arguments]


def _node_script(name: str, *arguments: str) -> Callable[[Place], list[str | Path]]:
    def command(place: Place) -> list[str | Path]:
        # Node.js looks for packages beside the script.
        script = Path(shutil.copy(SCRIPTS / name, place.folder))
        return ["node", script, place.model, place.prompt, *arguments]

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


def _codex(place: Place) -> list[str | Path]:
    folder = place.home / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text(
        f"""
model = "{place.model}"
model_provider = "codelab"

[model_providers.codelab]
name = "CodeLab"
base_url = "{place.base_url}"
env_key = "CODELAB_API_KEY"
wire_api = "responses"
supports_websockets = false
"""
    )
    # The machine of a test may have no sandbox, and the model's only command is ours.
    return [
        *(place.programs / "codex", "exec", "--json", "--skip-git-repo-check"),
        *("--dangerously-bypass-approvals-and-sandbox", place.prompt),
    ]


def _claude(place: Place) -> list[str | Path]:
    return [
        *(place.programs / "claude", "--print", "--model", place.model, "--allowedTools", "Bash"),
        *("--output-format", "stream-json", "--verbose", "--include-partial-messages", place.prompt),
    ]


def _claude_environment(place: Place) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": place.url,
        "ANTHROPIC_AUTH_TOKEN": place.api_key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


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
        arguments={"filePath": FILE, "content": CONTENT},
        is_node=True,
    ),
    Program(
        name="codex",
        packages=("@openai/codex@0.171.0",),
        command=_codex,
        way="Responses: `codex exec`, tool `exec_command`",
        tool="exec_command",
        arguments={"cmd": SHELL_COMMAND},
        environment=lambda place: {"CODELAB_API_KEY": place.api_key},
        is_node=True,
    ),
    Program(
        name="openai-agents",
        packages=("openai-agents==0.24.0",),
        command=_python_script("with_openai_agents.py"),
        way="Responses, its default: an agent with a tool, streamed",
    ),
    Program(
        name="langchain-responses",
        packages=("langchain-openai==1.7.4",),
        command=_python_script("with_langchain_openai.py", "responses"),
        way="Responses: `use_responses_api=True`, streamed, with usage",
    ),
    Program(
        name="ai-sdk-openai",
        packages=("ai@7.0.173", "@ai-sdk/openai@4.0.118", "zod@4"),
        command=_node_script("with_ai_sdk_providers.mjs", "@ai-sdk/openai"),
        way="Responses, its default: `streamText` with a tool, several steps",
        is_node=True,
    ),
    Program(
        name="claude-code",
        packages=("@anthropic-ai/claude-code@2.1.332",),
        command=_claude,
        way="Messages: `claude --print`, tool `Bash`",
        tool="Bash",
        arguments={"command": SHELL_COMMAND, "description": "Write a file"},
        environment=_claude_environment,
        is_node=True,
    ),
    Program(
        name="claude-agent-sdk",
        packages=("claude-agent-sdk==0.2.184",),
        command=_python_script("with_claude_agent_sdk.py"),
        way="Messages: `query` with a tool of its own process, streamed",
        tool="mcp__files__write_file",
        environment=_claude_environment,
    ),
    Program(
        name="ai-sdk-anthropic",
        packages=("ai@7.0.173", "@ai-sdk/anthropic@4.0.105", "zod@4"),
        command=_node_script("with_ai_sdk_providers.mjs", "@ai-sdk/anthropic"),
        way="Messages: `streamText` with a tool, several steps",
        is_node=True,
    ),
)

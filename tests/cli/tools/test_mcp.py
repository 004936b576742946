"""MCP servers as real programs: what the model is offered, what calls answer, and what a bad server costs."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from codelab_cli import mcp
from codelab_cli.journal import Journal
from codelab_cli.mcp import McpServers
from codelab_cli.mcp_definitions import name_of
from codelab_cli.mcp_servers import Trust, read_servers
from codelab_cli.tools import Toolbox
from tests.ports import free_port

PROGRAM = str(Path(__file__).with_name("mcp_program.py"))


def configure(root: Path, **servers: dict[str, Any]) -> McpServers:
    (root / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))
    found, problems = read_servers(root, root / "no-such-file")
    assert problems == []
    return McpServers(found, upload_image=upload)


async def upload(content: bytes, media_type: str) -> str:
    return f"{media_type} of {len(content)} bytes"


def program(*arguments: str) -> dict[str, Any]:
    return {"command": sys.executable, "args": [PROGRAM, *arguments]}


async def test_tools_of_a_program_are_offered_and_called(
    root: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = configure(root, tests=program("many"))
    async with Toolbox(root, journal, mcp=servers) as toolbox:
        assert len(toolbox.definitions()) == 11 + mcp.MAX_TOOLS_OF_SERVER
        assert servers.problems == ["MCP server tests has more than 50 tools; the first 50 are used."]
        assert toolbox.definitions()[11:][0] == {
            "name": "mcp__tests__add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"title": "A", "type": "integer"}, "b": {"title": "B", "type": "integer"}},
                "required": ["a", "b"],
                "title": "addArguments",
            },
            "kind": "read",
            "approval": "ask",
        }
        added = await toolbox.run("1", "mcp__tests__add", {"a": 2, "b": 3})
        assert added.fields() == {"parts": [{"type": "text", "text": "5 in project"}]}
        drawn = await toolbox.run("2", "mcp__tests__draw", {"_": ""})
        assert drawn.fields() == {"parts": [{"type": "image", "image_id": "image/png of 67 bytes"}]}
        refused = await toolbox.run("3", "mcp__tests__refuse", {"_": ""})
        assert refused.fields()["is_error"] is True
        assert "Error executing tool refuse" in refused.fields()["parts"][0]["text"]

        monkeypatch.setattr(mcp, "CALL_SECONDS", 0.5)
        late = await toolbox.run("6", "mcp__tests__wait", {"_": ""})
        assert late.error == "MCP server tests did not answer in 0.5 s. It may have done it."
        monkeypatch.undo()

        # It dies, says so, and is there again for the next call.
        ended = await toolbox.run("4", "mcp__tests__end", {"_": ""})
        assert ended.error == "MCP server tests ended while end ran. It may have done it."
        again = await toolbox.run("5", "mcp__tests__add", {"a": 1, "b": 1})
        assert again.fields() == {"parts": [{"type": "text", "text": "2 in project"}]}


async def test_bad_servers_cost_only_their_own_tools(
    root: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp, "CONNECT_SECONDS", 2.0)
    servers = configure(
        root,
        missing={"command": "no-such-program"},
        mute={"command": "sleep", "args": ["60"]},
        ended={"command": "true"},
        nowhere={"url": f"http://127.0.0.1:{free_port()}/mcp"},
    )
    async with Toolbox(root, journal, mcp=servers) as toolbox:
        assert len(toolbox.definitions()) == 11
        unknown = await toolbox.run("1", "mcp__mute__add", {"a": 2, "b": 3})
        assert unknown.error == "This client has no tool 'mcp__mute__add'"
    problems = "\n".join(servers.problems)
    assert "MCP server missing failed and is left out: its program was not found." in problems
    assert "MCP server mute did not answer in 2 s and is left out." in problems
    # How soon that is known depends on the machine.
    assert "MCP server ended " in problems
    assert "MCP server nowhere " in problems
    assert problems.count("is left out") == 4


async def test_a_server_at_an_address_is_used(root: Path, journal: Journal) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, "http", str(port), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _wait_for(port)
        servers = configure(root, web={"url": f"http://127.0.0.1:{port}/mcp", "headers": {"X-Test": "1"}})
        async with Toolbox(root, journal, mcp=servers) as toolbox:
            added = await toolbox.run("1", "mcp__web__add", {"a": 2, "b": 3})
            assert added.fields()["parts"][0]["text"].startswith("5 in ")
    finally:
        process.kill()
        await process.wait()


async def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise AssertionError("The server does not answer.")


def test_files_of_the_user_and_of_the_workspace_are_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", "abc")
    monkeypatch.setenv("CODELAB_TOKEN", "secret")
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"mcpServers": {"shop": {"command": "shop", "env": {"KEY": "${SHOP_KEY}"}}}}))
    (root / "mcp.json").write_text(
        json.dumps(
            {
                "mcpServers": {
                    "shop": {"command": "other"},
                    "web": {"url": "https://example.org/mcp", "headers": {"Authorization": "Bearer ${SHOP_KEY}"}},
                    "off": {"command": "x", "disabled": True},
                    "both": {"command": "x", "url": "https://example.org"},
                    "unset": {"command": "${NO_SUCH_VARIABLE}"},
                    "thief": {"url": "https://example.org/${CODELAB_TOKEN}"},
                    "ftp": {"url": "ftp://example.org"},
                    "list": [],
                }
            }
        )
    )
    servers, problems = read_servers(root, mine)

    assert [(server.name, server.is_of_workspace) for server in servers] == [("shop", False), ("web", True)]
    assert servers[0].env == {"KEY": "abc"}
    assert servers[0].cwd == str(root)
    assert servers[1].headers == {"Authorization": "Bearer abc"}
    assert "abc" not in repr(servers)
    assert [problem.split(" in ")[0] for problem in problems] == [
        "MCP server both", "MCP server unset", "MCP server thief", "MCP server ftp", "MCP server list"
    ]  # fmt: skip


def test_a_server_of_a_workspace_starts_only_when_it_is_trusted_as_it_is(root: Path, tmp_path: Path) -> None:
    trust = Trust(tmp_path / "state/trusted")

    def server(command: str) -> Any:
        (root / ".mcp.json").write_text(json.dumps({"mcpServers": {"shop": {"command": command, "args": ["-x"]}}}))
        return read_servers(root, tmp_path / "no-such-file")[0][0]

    assert not trust.has(server("shop"))
    trust.add(server("shop"))
    assert trust.has(server("shop"))
    assert not trust.has(server("evil"))
    assert server("shop").description == "shop -x"


def test_a_broken_file_is_told(root: Path, tmp_path: Path) -> None:
    (root / ".mcp.json").write_text("{")

    servers, problems = read_servers(root, tmp_path / "no-such-file")
    assert servers == []
    assert problems == [f"{root / '.mcp.json'} cannot be read: it must have an object `mcpServers`."]


@pytest.mark.parametrize(
    ("server", "tool", "name"),
    [
        ("shop", "buy", "mcp__shop__buy"),
        ("my shop", "buy.now", "mcp__my_shop__buy_now"),
        ("s" * 60, "buy", f"mcp__{'s' * 50}_"),
    ],
)
def test_names_fit_all_providers(server: str, tool: str, name: str) -> None:
    made = name_of(server, tool)
    assert made.startswith(name)
    assert len(made) <= 64

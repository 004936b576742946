"""What `codelab mcp` prints: the servers that are configured, what they may do, and their tools."""

import json
import sys
from pathlib import Path
from typing import Any

from codelab_cli.connecting import workspace_root
from codelab_cli.failures import ExitCode, Failure
from codelab_cli.mcp import McpServers
from codelab_cli.mcp_definitions import name_of
from codelab_cli.mcp_servers import Server, Trust, read_servers
from codelab_cli.settings import Settings
from codelab_cli.visible import one_line, visible


def trust_server(folder: Path, name: str) -> None:
    """Let a server of the workspace start, exactly as it is now. Raises Failure."""
    servers, _ = read_servers(workspace_root(folder))
    server = next((each for each in servers if each.name == name), None)
    if server is None:
        names = ", ".join(each.name for each in servers) or "none"
        raise Failure(f"No MCP server is called `{name}`.", f"Configured are: {names}.", code=ExitCode.USAGE)
    Trust().add(server)


async def list_servers(settings: Settings, folder: Path, *, is_json: bool) -> None:
    """Start the servers that may start and print all with their tools. Raises Failure."""
    servers, problems = read_servers(workspace_root(folder))
    trust = Trust()
    trusted = [each for each in servers if trust.has(each)]
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    running = McpServers(trusted, log=settings.state_dir / "mcp.log")
    try:
        await running.start()
        rows = [_row(server, running, is_trusted=server in trusted) for server in servers]
    finally:
        await running.close()
    problems += running.problems
    if is_json:
        sys.stdout.write(json.dumps({"servers": rows, "problems": problems}, ensure_ascii=False, indent=2) + "\n")
        return
    if not rows:
        sys.stdout.write("No MCP servers are configured: write them into mcp.json (docs/cli.md).\n")
    for row in rows:
        hint = "" if row["trusted"] else f"  (not trusted; `codelab mcp --trust {row['name']}` lets it start)"
        sys.stdout.write(f"{row['name']}: {one_line(row['description'])}{hint}\n")
        for tool in row["tools"]:
            sys.stdout.write(f"  {tool['name']}  {one_line(tool['description'], 100)}\n")
    for problem in problems:
        sys.stderr.write(f"{visible(problem)}\n")


def _row(server: Server, running: McpServers, *, is_trusted: bool) -> dict[str, Any]:
    prefix = name_of(server.name, "")
    tools = [
        {"name": each["name"], "description": each.get("description", "")}
        for each in running.definitions()
        if each["name"].startswith(prefix)
    ]
    return {
        "name": server.name,
        "source": str(server.source),
        "description": server.description,
        "trusted": is_trusted,
        "tools": tools if is_trusted else [],
    }

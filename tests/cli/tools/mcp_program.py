"""An MCP server for tests. Its first argument says what is odd about it."""

from __future__ import annotations

import os
import sys
import time

from mcp.server.mcpserver import Image, MCPServer
from mcp_types import ToolAnnotations

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001e221bc330000"
    "000049454e44ae426082"
)

oddity = sys.argv[1] if len(sys.argv) > 1 else ""
server = MCPServer("tests")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return f"{a + b} in {os.path.basename(os.getcwd())}"  # noqa: PTH109, PTH119


@server.tool()
def draw() -> Image:
    """Draw a picture."""
    return Image(data=PNG, format="png")


@server.tool()
def refuse() -> str:
    """Fail."""
    raise ValueError("no such shop")


@server.tool()
def end() -> str:
    """End the server in the middle of a call."""
    os._exit(3)


@server.tool()
def wait() -> str:
    """Answer too late."""
    time.sleep(5)
    return "late"


if oddity == "many":
    for number in range(500):
        server.add_tool(lambda: "x", name=f"tool_{number}", description="One of many.")

server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2])) if oddity == "http" else server.run()

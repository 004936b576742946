"""The Claude Agent SDK with one tool of this process, streamed. It runs the Claude Code that its package has."""

import asyncio
import sys
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, StreamEvent, create_sdk_mcp_server, query, tool


def write(path, content):
    Path(path).write_text(content)


@tool("write_file", "Write a file.", {"path": str, "content": str})
async def write_file(arguments):
    write(**arguments)
    return {"content": [{"type": "text", "text": "written"}]}


async def main(model: str, prompt: str) -> None:
    options = ClaudeAgentOptions(
        model=model,
        # Without its own tools.
        tools=[],
        mcp_servers={"files": create_sdk_mcp_server("files", tools=[write_file])},
        allowed_tools=["mcp__files__write_file"],
        include_partial_messages=True,
    )
    text = ""
    async for message in query(prompt=prompt, options=options):
        if isinstance(message, StreamEvent) and message.event["type"] == "content_block_delta":
            text += message.event["delta"].get("text", "")
        if isinstance(message, ResultMessage):
            assert not message.is_error, message.result
            assert text.endswith(message.result), (text, message.result)
            print(message.result, message.usage)


asyncio.run(main(*sys.argv[1:]))

"""The tools a model may ask for. They run in the client; `requires_approval` says which ones a person must allow first.

Names and arguments are those that the original's clients can run (docs/protocol.md). A tool that is not listed here
needs approval: what nobody has judged harmless is not harmless.
"""

from __future__ import annotations

from dataclasses import dataclass

from llm.types import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTool:
    """A tool and whether a person must allow each call of it."""

    tool: Tool
    requires_approval: bool


def _tool(name: str, description: str, *, requires_approval: bool, optional: str = "", **arguments: str) -> ClientTool:
    """Describe a tool whose arguments are strings, all required but those named in `optional`."""
    return ClientTool(
        tool=Tool(
            name=name,
            description=description,
            parameters={
                "type": "object",
                "properties": {key: {"type": "string", "description": text} for key, text in arguments.items()},
                "required": [key for key in arguments if key not in optional.split()],
            },
        ),
        requires_approval=requires_approval,
    )


_PATH = "Path relative to the workspace."

TOOLS = {
    known.tool.name: known
    for known in (
        _tool("read_file", "Read a text file of the workspace.", requires_approval=False, path=_PATH),
        _tool("list_files", "List a folder of the workspace.", requires_approval=False, path=_PATH),
        _tool(
            "search_in_code",
            "Search the files of the workspace for a text.",
            requires_approval=False,
            optional="path",
            query="What to search for.",
            path=_PATH,
        ),
        _tool(
            "write_file",
            "Create or overwrite a file of the workspace.",
            requires_approval=True,
            path=_PATH,
            content="The whole new content.",
        ),
        _tool("create_directory", "Create a folder in the workspace.", requires_approval=True, path=_PATH),
        _tool(
            "execute_command",
            "Run a command in the workspace and read its output.",
            requires_approval=True,
            command="The command line.",
        ),
    )
}


def requires_approval(name: str) -> bool:
    """Say whether a person must allow this tool before the client runs it."""
    known = TOOLS.get(name)
    return known is None or known.requires_approval

"""Tool calls as the plugin runs them: other names, other arguments, and a uuid for each.

Its tools are few: it reads files, lists folders and runs one program with its words. What cannot be said so is sent as
it is, and its refusal goes back to the model.
"""

from __future__ import annotations

from typing import Any

from agents import commands
from agents.commands import Risk
from agents.tools import TOOLS, ToolKind
from sessions.models import ToolCall

#: The tools of ours that the plugin can run; the model is offered no others in its sessions.
CLIENT_TOOLS = ("read_file", "list_files", "execute_command")
NAMES = {"list_files": "list_directory"}
#: What is asked for in the plugin's words.
RISKS = {ToolKind.READ: "LOW", ToolKind.EDIT: "MEDIUM", ToolKind.COMMAND: "HIGH", ToolKind.CONTROL: "LOW"}
#: Seconds until its dialog rejects by itself.
DIALOG = 300


def approval_request(call: ToolCall) -> dict[str, Any]:
    """Return the question whether a call may run; the approval has the id of its call."""
    spec = TOOLS.get(call.tool)
    return {
        "approval_id": str(call.pk),
        "risk_level": RISKS[spec.kind] if spec else "HIGH",
        "timeout_seconds": DIALOG,
        "description": call.reason,
        "params": parameters(call),
        **_named(call),
    }


def execution_signal(call: ToolCall) -> dict[str, Any]:
    """Return the order to run a call. Whatever comes here may run: its user, a rule of theirs or the mode has said so.

    The plugin drops silently what is not approved, so that is what this says.
    """
    return {"args": parameters(call), "execution_context": {"user_approved": True}, **_named(call)}


def _named(call: ToolCall) -> dict[str, Any]:
    return {
        "tool_id": str(call.pk),
        "tool_name": NAMES.get(call.tool, call.tool),
        "tool_params": parameters(call),
        "session_id": str(call.turn.session_id),
    }


def parameters(call: ToolCall) -> dict[str, Any]:
    """Return a call's arguments as the plugin takes them."""
    arguments: dict[str, Any] = call.arguments
    match call.tool:
        case "read_file":
            return {**arguments, "encoding": "utf-8"}
        case "execute_command":
            return _command(arguments)
    return arguments


def _command(arguments: dict[str, Any]) -> dict[str, Any]:
    text = arguments["command"]
    command = commands.parse(text, shell=bool(arguments.get("shell")))
    # It starts a program without a shell: words that nobody can tell apart stay together, and it refuses them.
    program, *words = [text] if command.risk is Risk.OPAQUE else command.argv
    milliseconds = arguments.get("timeout", 60) * 1000
    where = {"cwd": arguments["cwd"]} if arguments.get("cwd") else {}
    return {"command": program, "args": words, "timeout": milliseconds, **where}

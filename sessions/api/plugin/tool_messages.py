"""Translates tool calls for the plugin, whose tools have other names and arguments, and a uuid for each call.

It reads files, lists folders and runs one program with arguments. Other commands are sent unchanged; the plugin refuses
them, and the model receives the refusal.
"""

from typing import Any

from agents import commands
from agents.tools import TOOLS, ToolKind
from sessions.models import ToolCall

#: The client tools that the plugin can run; its sessions offer no others to the model.
CLIENT_TOOLS = ("read_file", "list_files", "execute_command")
PLUGIN_NAMES = {"list_files": "list_directory"}
#: Risk levels of the plugin.
RISK_LEVELS = {ToolKind.READ: "LOW", ToolKind.EDIT: "MEDIUM", ToolKind.COMMAND: "HIGH", ToolKind.CONTROL: "LOW"}
#: After this time the plugin's dialog rejects the call.
DIALOG_TIMEOUT_SECONDS = 300


def approval_request(call: ToolCall) -> dict[str, Any]:
    """Return the request to approve a call; the approval's id is that of its call."""
    spec = TOOLS.get(call.tool)
    return {
        "approval_id": str(call.pk),
        "risk_level": RISK_LEVELS[spec.kind] if spec else "HIGH",
        "timeout_seconds": DIALOG_TIMEOUT_SECONDS,
        "description": call.reason,
        "params": parameters(call),
        **_call_fields(call),
    }


def execution_signal(call: ToolCall) -> dict[str, Any]:
    """Return the order to run a call that its user, a rule or the mode has approved."""
    # The plugin silently drops a call without `user_approved`.
    return {"args": parameters(call), "execution_context": {"user_approved": True}, **_call_fields(call)}


def _call_fields(call: ToolCall) -> dict[str, Any]:
    return {
        "tool_id": str(call.pk),
        "tool_name": PLUGIN_NAMES.get(call.tool, call.tool),
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
    # The plugin starts programs without a shell. It refuses a command that stays one word because it cannot be parsed.
    program, *words = command.argv or [text]
    milliseconds = arguments.get("timeout", 60) * 1000
    where = {"cwd": arguments["cwd"]} if arguments.get("cwd") else {}
    return {"command": program, "args": words, "timeout": milliseconds, **where}

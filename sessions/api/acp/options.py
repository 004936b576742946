"""What a client can choose in a session: the agent, as a mode and as an option, and what runs unasked. Pure."""

from typing import Any

from agents.policy import Mode
from agents.roles import ROLES

#: The ids of the options.
AGENT_OPTION, APPROVALS_OPTION = "agent", "approvals"
APPROVAL_NAMES = {
    Mode.ASK: ("Ask", "Files are read without approval; everything else is asked about."),
    Mode.AUTO_READ: ("Read", "Commands that only show something run without approval, too."),
    Mode.AUTO_EDIT: ("Edit", "Files are changed without approval, too."),
    Mode.FULL: ("Full", "Commands run without approval, too, where they are one program with plain words."),
}


def modes(agent: str) -> dict[str, Any]:
    """Return the agents as modes, and the current one."""
    available = [{"id": role.name, "name": role.title, "description": role.description} for role in ROLES.values()]
    return {"currentModeId": agent, "availableModes": available}


def options(agent: str, mode: str) -> list[dict[str, Any]]:
    """Return the options with their values. Clients that know options ignore modes, so the agent is one, too."""
    agents = [{"value": role.name, "name": role.title, "description": role.description} for role in ROLES.values()]
    approvals = [
        {"value": str(value), "name": name, "description": description}
        for value, (name, description) in APPROVAL_NAMES.items()
    ]
    return [
        _select(AGENT_OPTION, "Agent", "mode", agent, agents),
        _select(APPROVALS_OPTION, "Approvals", "_approvals", mode, approvals),
    ]


def commands() -> list[dict[str, Any]]:
    """Return the slash commands: one for each agent, which then answers."""
    return [
        {"name": role.name, "description": f"{role.title}: {role.description}", "input": {"hint": "what to do"}}
        for role in ROLES.values()
    ]


def _select(id_: str, name: str, category: str, value: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": id_, "name": name, "category": category, "type": "select", "currentValue": value, "options": choices}

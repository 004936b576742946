"""Agents over REST: the list, the agent of a session, and choosing another one."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from agents.roles import ROLES
from tests.clients import editor
from tests.sessions.api.rest.conftest import Http, opened

pytestmark = pytest.mark.django_db(transaction=True)


async def test_the_agents_are_listed_as_the_original_describes_them(as_alice: Http) -> None:
    answer = await as_alice.ok("GET", "/api/v1/agents")
    agents = {agent["type"]: agent for agent in answer["agents"]}
    assert answer["total"] == len(agents) == len(ROLES)
    assert {"orchestrator", "coder", "architect", "debug", "ask"} <= set(agents)
    assert agents["architect"]["has_file_restrictions"] is True
    assert agents["coder"]["has_file_restrictions"] is False
    assert "read_file" in agents["ask"]["allowed_tools"]
    assert (agents["debug"]["emoji"], agents["debug"]["name"]) == ("🐛", "Debug")
    assert all(agent["description"] for agent in agents.values())


async def test_switching_is_counted_and_remembered(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    before = await as_alice.ok("GET", "/api/v1/agents/s/current")
    assert editor.current_agent(before)["switch_count"] == 0
    assert before["context"]["last_switch_at"] is None
    for agent, reason in (("coder", "Code, please."), ("coder", None), ("debug", None)):
        after = await as_alice.ok("POST", "/api/v1/agents/s/switch", {"target_agent": agent, "reason": reason})
        assert after["context"]["current_agent"] == agent
    shown = editor.current_agent(after)
    # Choosing the current agent is not a switch.
    assert shown["switch_count"] == after["context"]["switch_count"] == 2
    assert [(each["from"], each["to"]) for each in shown["agent_history"]] == [
        ("orchestrator", "coder"),
        ("coder", "debug"),
    ]
    assert shown["agent_history"][0]["reason"] == "Code, please."
    assert after["context"]["id"] == str(session.pk)
    assert after["context"]["switch_history"][-1]["timestamp"] == after["context"]["last_switch_at"]


async def test_an_unknown_agent_is_refused_by_name(as_alice: Http, alice: User) -> None:
    await opened(alice)
    status, code = await as_alice.refused("POST", "/api/v1/agents/s/switch", {"target_agent": "wizard"})
    assert (status, code) == (400, "unknown_agent")
    assert await as_alice.refused("POST", "/api/v1/agents/s/switch", {}) == (400, "invalid_field")

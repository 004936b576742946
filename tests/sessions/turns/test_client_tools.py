"""Tools that the client of a session defines: offered, asked about, run by that client, and bound to what was shown."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.client_tools import ToolDefinition
from agents.context import Window
from llm.types import ModelToolCall, Tool
from sessions.api.websocket.snapshot import snapshot
from sessions.events import log
from sessions.models import Approval, EventKind, PolicyRule, Session, ToolCall, ToolDefinitions, Via
from sessions.protocol.codes import Rejected
from sessions.results import Change, ToolOutput
from sessions.turns import approvals, call_offers, tool_calls
from sessions.turns.approvals import Decision
from sessions.turns.client_tools import set_client_tools
from sessions.turns.deletion import delete_piece, delete_session
from sessions.worker import prompt
from tests.sessions import story

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
ISSUE = "mcp__github__issue"
HERE = uuid.uuid4()


changes: list[Change] = []


def define(session: Session, *names: str, **fields: Any) -> frozenset[str]:
    """Say hello with these tools; return the hashes by which this client gets their calls."""
    entry = {"name": ISSUE, "description": "Opens an issue.", "parameters": SCHEMA, **fields}
    change, digests = set_client_tools(session.pk, names, [ToolDefinition.model_validate(entry)])
    changes.append(change)
    return digests


def call(call_id: str = "i", **arguments: Any) -> ModelToolCall:
    return ModelToolCall(id=call_id, name=ISSUE, arguments=arguments or {"title": "It hurts"})


def decide(session: Session, call_id: str = "i", **more: Any) -> Any:
    return approvals.decide(
        session.pk, call_id, Decision(**{"approve": True, "by": session.owner_id, "via": Via.REST, **more})
    )


def offered(turn_id: uuid.UUID, agent: str = "universal") -> list[Tool]:
    """The tools that a model gets in a turn."""
    return list(prompt.model_input(turn_id, agent, Window(tokens=100_000))[1])


def offer(session: Session, runner: str, definitions: Collection[str] = ()) -> list[str]:
    """The calls that a client gets."""
    calls, _ = call_offers.offer(
        session.pk, runner, HERE, new_approvals=["i"], takes_over=True, definitions=definitions
    )
    return [call.call_id for call in calls]


def row(call_id: str = "i") -> ToolCall:
    return ToolCall.objects.get(call_id=call_id)


def events(session: Session, kind: EventKind) -> list[dict[str, Any]]:
    return [event.payload for event in log.since(session.pk, 0) if event.kind == kind]


def test_the_model_is_offered_the_tools_as_the_client_says_them(session: Session) -> None:
    schema = {"type": "object", "properties": {"zebra": {}, "a": {}, "title": {}}}
    define(session, "read_file", parameters=schema)
    *_, tool = offered(story.begin(session).turn_id)
    assert (tool.name, tool.description) == (ISSUE, "Opens an issue.")
    assert json.dumps(tool.parameters) == json.dumps(schema)


def test_a_role_is_offered_the_kinds_it_may_use(session: Session) -> None:
    define(session, kind="command")
    turn = story.begin(session).turn_id
    names = [[tool.name for tool in offered(turn, agent)] for agent in ("coder", "debug", "ask")]
    assert [ISSUE in each for each in names] == [True, True, False]


def test_a_refused_hello_leaves_the_one_before(session: Session) -> None:
    define(session, "read_file")
    bad = [{"name": "read_file"}, {"name": "x", "parameters": {"type": "object", "required": 1}}]
    for entry in bad:
        with pytest.raises(Rejected) as caught:
            set_client_tools(session.pk, ["write_file"], [ToolDefinition.model_validate(entry)])
        assert caught.value.code == "invalid_tools"
    session.refresh_from_db()
    assert session.client_tools == ["read_file"]
    assert offered(story.begin(session).turn_id)[-1].name == ISSUE


def test_a_hello_that_names_tools_only_takes_the_others_away(session: Session) -> None:
    define(session)
    set_client_tools(session.pk, ["read_file"])
    assert ISSUE not in [tool.name for tool in offered(story.begin(session).turn_id)]


def test_a_call_is_asked_about_with_what_the_client_says_of_the_tool(session: Session) -> None:
    define(session, description="Opens an issue. " * 200)
    story.request(session, call())
    (asked,) = events(session, EventKind.TOOL_CALL_REQUESTED)
    assert (asked["requires_approval"], asked["rule"]) == (True, "client tools")
    assert asked["client_tool"]["kind"] == "other"
    assert len(asked["client_tool"]["description"]) == 1000
    assert snapshot(session.pk)["tool_calls"] == [asked]


def test_only_a_client_that_has_defined_the_tool_gets_its_calls(session: Session) -> None:
    mine = define(session, kind="read")
    story.request(session, call())
    assert offer(session, "editor") == []
    assert offer(session, "other", {"x"}) == []
    assert offer(session, "mine", mine) == ["i"]


def test_an_approval_with_edited_arguments_is_checked_by_the_schema(session: Session) -> None:
    define(session)
    story.request(session, call())
    with pytest.raises(Rejected, match='`title`: 5 is not of type "string"'):
        decide(session, arguments={"title": 5})
    decide(session, arguments={"title": "It hurts less"})
    assert (row().status, row().arguments, row().edited) == ("waiting", {"title": "It hurts less"}, True)


def test_a_rule_with_a_wildcard_denies(session: Session) -> None:
    PolicyRule.objects.create(owner_id=session.owner_id, effect="deny", tool="mcp__github__*")
    define(session, kind="read", approval="never")
    story.request(session, call())
    assert (row().status, row().rule) == ("failed", "rule: deny mcp__github__* *")


def test_a_tool_that_changes_ends_the_question_about_it(session: Session) -> None:
    define(session)
    turn = story.request(session, call()).turn_id
    define(session)
    assert row().status == "asked", "the same definition changes nothing"
    define(session, description="Deletes the repository.")
    assert (row().status, Approval.objects.get().status) == ("failed", "withdrawn")
    assert row().result.startswith(f"Error: {ISSUE} was not run. The client has changed this tool since the call.")
    assert changes[-1].ready == turn, "the model goes on"
    with pytest.raises(Rejected) as caught:
        decide(session)
    assert caught.value.code == "tool_call_finished"
    assert snapshot(session.pk)["tool_calls"] == []


def test_an_approved_call_is_not_run_by_a_tool_that_has_changed_since(session: Session) -> None:
    define(session)
    story.request(session, call())
    decide(session)
    define(session, parameters={"type": "object"})
    assert row().status == "failed"


def test_a_call_that_a_client_runs_keeps_its_result_whatever_the_tool_is_now(session: Session) -> None:
    mine = define(session, kind="read")
    story.request(session, call())
    offer(session, "mine", mine)
    define(session, kind="edit")
    tool_calls.record_output(session.pk, "i", ToolOutput(text="done", failed=False, has_run=True))
    assert (row().status, row().result) == ("completed", "done")


def test_an_unknown_call_of_a_changed_tool_does_not_run_again(session: Session) -> None:
    define(session)
    story.request(session, call())
    # As another client's hello leaves it that knows nothing of the call.
    ToolDefinitions.objects.update(text=ToolDefinitions.objects.get().text.replace("Opens", "Burns"))
    for arguments in (None, {"title": "x"}):
        with pytest.raises(Rejected, match="The client has changed the tool"):
            decide(session, arguments=arguments)
    decide(session, approve=False, feedback="No.")
    assert row().status == "rejected"


def test_a_session_without_definitions_pays_nothing(session: Session) -> None:
    turn = story.begin(session).turn_id
    offered(turn)
    with CaptureQueriesContext(connection) as queries:
        offered(turn)
    assert not [query for query in queries if "tooldefinitions" in query["sql"]]
    define(session, "read_file")
    with CaptureQueriesContext(connection) as more:
        offered(turn)
    assert len(more) == len(queries) + 1


def test_they_are_deleted_with_the_session(session: Session) -> None:
    define(session)
    delete_session(session.pk)
    while delete_piece(session.pk):
        pass
    assert not ToolDefinitions.objects.exists()

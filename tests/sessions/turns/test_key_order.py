"""Arguments of calls keep the order of the model's keys, wherever they are stored and read."""

from __future__ import annotations

import json
from typing import Any

from llm.types import ModelToolCall
from sessions.api.rest import history as rest
from sessions.api.websocket.snapshot import snapshot
from sessions.events import compaction, log
from sessions.models import Completion, EventKind, Message, Session, ToolCall, Via
from sessions.turns import approvals, attempts, completions
from sessions.turns.approvals import Decision
from sessions.turns.completions import CompletionRequest
from tests.sessions.story import claim, history, request

#: PostgreSQL would put the path first.
ARGUMENTS = {"content": "x" * 100, "path": "a.txt"}
EDITED = {"content": "y", "path": "b.txt"}
WRITE = ModelToolCall(id="c1", name="write_file", arguments=ARGUMENTS)
KEYS = ["zeta", "b", "reasoning", "a"]


def keys_of(session: Session, kind: str) -> list[list[str]]:
    """Return the keys of all arguments in the session's events of a kind."""
    payloads = [event.payload for event in log.since(session.pk, 0) if event.kind == kind]
    calls = [call for payload in payloads for call in payload.get("tool_calls", [payload])]
    return [list(call["arguments"]) for call in calls if "arguments" in call]


def test_clients_and_the_model_read_arguments_in_the_models_order(session: Session) -> None:
    turn = request(session, WRITE)
    wanted = list(ARGUMENTS)
    assert list(ToolCall.objects.get().arguments) == wanted
    assert [list(call.arguments) for message in history(turn.turn_id) for call in message.tool_calls] == [wanted]
    state = snapshot(session.pk)
    assert [list(call["arguments"]) for call in state["tool_calls"]] == [wanted]
    assert [list(call["arguments"]) for m in state["messages"] for call in m.get("tool_calls", ())] == [wanted]
    (message,) = (rest._message(row, {}) for row in Message.objects.filter(role="assistant"))
    assert message.tool_calls is not None
    assert list(message.tool_calls[0]["function"]["arguments"]) == wanted
    assert keys_of(session, EventKind.MESSAGE_ADDED) == keys_of(session, EventKind.TOOL_CALL_REQUESTED) == [wanted]
    attempts.cancel(session.pk, turn.turn_id)
    compaction.compact(turn.turn_id)
    assert keys_of(session, EventKind.MESSAGE_ADDED) == [wanted]


def test_edited_arguments_have_the_order_of_the_user(session: Session) -> None:
    request(session, ModelToolCall(id="c1", name="write_file", arguments={"path": "a.txt", "content": "x"}))
    decision = Decision(approve=True, arguments=EDITED, by=session.owner_id, via=Via.REST)
    approvals.decide(session.pk, "c1", decision)
    assert list(ToolCall.objects.get().arguments) == list(EDITED)
    assert keys_of(session, EventKind.APPROVAL_DECIDED) == [list(EDITED)]


def test_an_order_of_arguments_that_were_replaced_changes_nothing(session: Session) -> None:
    request(session, WRITE)
    # As the version before does, which does not know of the order.
    ToolCall.objects.update(arguments={"path": "b.txt", "encoding": "utf-8"})
    assert ToolCall.objects.get().arguments == {"path": "b.txt", "encoding": "utf-8"}


def test_a_request_keeps_its_order(session: Session) -> None:
    values: dict[str, Any] = dict.fromkeys(KEYS, 1)
    schema = {"type": "object", "properties": {key: {"type": "integer"} for key in KEYS}}
    call = {"id": "c", "name": "f", "arguments": values}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "r", "tool_call_id": "c"},
    ]
    tools = [{"name": "f", "description": "", "parameters": schema}]
    options = {"response_format": {"type": "json_schema", "json_schema": {"name": "out", "schema": schema}}}
    accepted = completions.accept(
        session.owner_id, CompletionRequest(model="m", messages=messages, tools=tools, options=options)
    )
    row = Completion.objects.get(turn=accepted.turn_id)
    stored = {"messages": row.messages, "tools": row.tools, "options": row.options}
    assert json.dumps(stored["options"]) == json.dumps(options)
    assert list(stored["tools"][0]["parameters"]["properties"]) == KEYS
    assert list(stored["messages"][1]["tool_calls"][0]["arguments"]) == KEYS
    # Rows of the version before have no order.
    Completion.objects.update(key_order=None)
    assert Completion.objects.get().tools == tools
    assert claim(accepted.turn_id)

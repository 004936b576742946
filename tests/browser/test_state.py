"""The reducer of the JavaScript client (`state.js`), run in a browser: a snapshot and later events equal all events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page
from websockets.sync.client import connect

from tests.live.service import Frame, Service

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("by_hand")]

REPLAY = """async ([snapshot, events]) => {
  const { apply, fromSnapshot, EMPTY_STATE } = await import("/static/client/state.js");
  const freeze = (value) => {
    if (value && typeof value === "object") Object.values(Object.freeze(value)).forEach(freeze);
    return value;
  };
  return events.reduce((state, event) => apply(freeze(state), event), snapshot ? fromSnapshot(snapshot) : EMPTY_STATE);
}"""
ENDS = {"turn_completed", "turn_failed", "turn_cancelled"}


def replay(page: Page, events: list[Frame], snapshot: dict[str, Any] | None = None) -> dict[str, Any]:
    return dict(page.evaluate(REPLAY, [snapshot, events]))


def snapshot_part(state: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a state that a snapshot has: no ends, outcomes of calls, switches of agents or numbers."""
    messages = [{key: value for key, value in one.items() if key != "number"} for one in state["messages"]]
    messages.sort(key=lambda one: state["order"].index(one["turn_id"]))
    order = [turn for turn in state["order"] if turn in {one["turn_id"] for one in messages}]
    plans = {call: plan for call, plan in state["plans"].items() if plan["status"] in ("draft", "in_progress")}
    rest = {key: value for key, value in state.items() if key not in ("ends", "outcomes", "switches")}
    return {**rest, "messages": messages, "order": order, "plans": plans}


def events(*payloads: tuple[str, dict[str, Any]]) -> list[Frame]:
    return [{"number": i, "kind": kind, "payload": payload} for i, (kind, payload) in enumerate(payloads, 1)]


def message(turn: str, content: str, role: str = "user", **more: Any) -> tuple[str, dict[str, Any]]:
    return "message_added", {"message_id": f"{role} {turn}", "turn_id": turn, "role": role, "content": content, **more}


def queued(turn: str) -> tuple[str, dict[str, Any]]:
    return "turn_queued", {"turn_id": turn}


def started(turn: str, attempt: int = 1, *replaces: str) -> tuple[str, dict[str, Any]]:
    return "turn_started", {"turn_id": turn, "attempt": attempt, "model": "m", "replaces": list(replaces)}


def text_delta(turn: str, text: str, message_id: str = "a") -> tuple[str, dict[str, Any]]:
    return "text_delta", {"turn_id": turn, "message_id": message_id, "text": text}


class Follower:
    """A client of `codelab.v2` that collects all events of a session."""

    def __init__(self, service: Service, key: str) -> None:
        self.url = f"ws://127.0.0.1:{service.port}/ws/{key}"
        self.events: list[Frame] = []

    def snapshot(self) -> dict[str, Any]:
        with connect(self.url, subprotocols=["codelab.v2"], proxy=None) as socket:  # type: ignore[list-item]
            socket.send('{"type": "hello"}')
            return dict(json.loads(socket.recv(20))["snapshot"])

    @contextmanager
    def connected(self) -> Iterator[Follower]:
        with connect(self.url, subprotocols=["codelab.v2"], proxy=None) as socket:  # type: ignore[list-item]
            self.socket = socket
            self.send({"type": "hello", "after": 0, "plans": True})
            yield self

    def send(self, frame: Frame) -> None:
        self.socket.send(json.dumps(frame))

    def say(self, content: str) -> None:
        self.send({"type": "user_message", "content": content})

    def plan(self, snapshots: list[dict[str, Any]]) -> None:
        """Propose, edit and run a plan, and take a snapshot of each stage."""
        self.send({"type": "switch_agent", "agent_type": "architect"})
        wait: dict[str, Any] = {"id": "a", "description": '/call read_file {"path": "x"}\n/say a', "agent": "coder"}
        subtasks = [wait, {"id": "b", "description": "/say b", "agent": "ask", "dependencies": ["a"]}]
        self.say(f"/call create_plan {json.dumps({'goal': 'g', 'subtasks': subtasks})}")
        self.until("turn_waiting")
        snapshots.append(self.snapshot())
        plan_id = snapshots[-1]["plan"]["plan_id"]
        edited = [{**subtask, "estimated_time": "1 min"} for subtask in subtasks]
        frame = {"type": "plan_decision", "plan_id": plan_id, "decision": "edit", "modified_subtasks": edited}
        self.send(frame)
        self.until("turn_waiting")
        snapshots.append(self.snapshot())
        self.send({"type": "tool_result", "call_id": snapshots[-1]["tool_calls"][0]["call_id"], "result": 1})
        self.until("plan_finished")
        self.until("turn_completed")

    def until(self, *kinds: str) -> None:
        """Collect events until one of these kinds."""
        while True:
            frame = json.loads(self.socket.recv(20))
            if frame["type"] == "event":
                self.events.append(frame)
                if frame["kind"] in kinds:
                    return

    def up_to(self, number: int) -> list[Frame]:
        while not self.events or self.events[-1]["number"] < number:
            frame = json.loads(self.socket.recv(20))
            if frame["type"] == "event":
                self.events.append(frame)
        return [event for event in self.events if event["number"] <= number]


def test_a_snapshot_and_later_events_equal_all_events(page: Page, service: Service) -> None:
    with Follower(service, "reduced").connected() as follower:
        snapshots = []
        follower.say(
            '/say Let me look.\n/call read_file {"path": "README.md"}\n'
            '/call create_directory {"path": "a"}\n/say Thank you.'
        )
        follower.until("turn_waiting")
        snapshots.append(follower.snapshot())
        follower.say("/say waits")
        asked = next(call for call in snapshots[0]["tool_calls"] if call["requires_approval"])
        follower.send({"type": "hitl_decision", "call_id": asked["call_id"], "decision": "approve"})
        follower.until("approval_decided")
        snapshots.append(follower.snapshot())
        for text in ("steers", "is withdrawn"):
            follower.send({"type": "user_message", "content": f"/say {text}", "when": "steer"})
            follower.until("message_added")
        snapshots.append(follower.snapshot())
        follower.send({"type": "withdraw_message", "message_id": snapshots[-1]["messages"][-2]["message_id"]})
        follower.until("message_withdrawn")
        for call in snapshots[0]["tool_calls"]:
            follower.send({"type": "tool_result", "call_id": call["call_id"], "result": 1})
            follower.until("tool_call_finished")
            snapshots.append(follower.snapshot())
        follower.until("turn_completed")
        follower.until("turn_completed")
        follower.send({"type": "workspace", "workspace": {"name": "shop", "git": {"branch": "main"}}})
        follower.until("workspace_changed")
        snapshots.append(follower.snapshot())
        follower.send({"type": "workspace", "workspace": {"name": "shop", "git": {"branch": "next"}}})
        follower.until("workspace_changed")
        follower.say("/tokens 400 200")
        follower.until("text_delta")
        follower.send({"type": "user_message", "content": "/say has a turn of its own", "when": "steer"})
        follower.until("message_added")
        snapshots.append(follower.snapshot())
        follower.send({"type": "cancel"})
        follower.until("turn_cancelled")
        snapshots.append(follower.snapshot())
        follower.until("turn_completed")
        follower.say("/wait 30")
        follower.until("turn_started")
        for text in ("first", "second", "third"):
            follower.say(f"/say {text}")
            follower.until("turn_queued")
        snapshots.append(follower.snapshot())
        first, second, third = (one["message_id"] for one in snapshots[-1]["messages"][-3:])
        follower.send({"type": "edit_message", "message_id": first, "content": "/say edited"})
        follower.until("message_edited")
        snapshots.append(follower.snapshot())
        follower.send({"type": "withdraw_message", "message_id": second})
        follower.until("turn_cancelled")
        (turn,) = (one["turn_id"] for one in snapshots[-1]["messages"] if one["message_id"] == third)
        follower.send({"type": "cancel", "turn_id": turn})
        follower.until("turn_cancelled")
        follower.say("/say between")
        follower.until("turn_queued")
        follower.send({"type": "user_message", "content": "/say half\n/fail rate_limited", "interrupt": True})
        follower.until("queue_changed")
        snapshots.append(follower.snapshot())
        follower.until("turn_failed")
        follower.until("turn_completed")
        follower.until("turn_completed")
        follower.plan(snapshots)
        snapshots.append(follower.snapshot())
        begun = next(one for one in reversed(snapshots[-1]["messages"]) if one["role"] == "user")
        follower.send({"type": "user_message", "content": "/say instead", "replaces": begun["message_id"]})
        follower.until("turn_completed")
        assert any(event["kind"] == "turn_replaced" for event in follower.events)
        last = follower.snapshot()
        assert last["messages"][-1]["agent"] == last["session"]["current_agent"]
        assert last["usage"]["output_tokens"] > 0

        whole = follower.up_to(last["number"])
        for snapshot in snapshots:
            before = follower.up_to(snapshot["number"])
            assert snapshot_part(replay(page, before)) == snapshot_part(replay(page, [], snapshot))
            after = whole[len(before) :]
            assert snapshot_part(replay(page, after, snapshot)) == snapshot_part(replay(page, [], last))
    assert snapshot_part(replay(page, whole)) == snapshot_part(replay(page, [], last))


def test_a_new_attempt_replaces_the_text_of_the_previous_one(page: Page) -> None:
    begun = [message("t", "hi"), queued("t"), started("t"), text_delta("t", "one "), text_delta("t", "two")]
    state = replay(page, events(*begun))
    assert [text["text"] for text in state["texts"].values()] == ["one two"]

    again = [*begun, queued("t"), started("t", 2, "a"), text_delta("t", "one", "b")]
    state = replay(page, events(*again))
    assert [(text["message_id"], text["text"]) for text in state["texts"].values()] == [("b", "one")]


def test_a_failed_turn_keeps_its_error(page: Page) -> None:
    failed = {"turn_id": "t", "error": "No.", "error_code": "model_error"}
    state = replay(
        page, events(message("t", "hi"), queued("t"), started("t"), text_delta("t", "x"), ("turn_failed", failed))
    )
    assert (state["turns"], state["texts"]) == ({}, {})
    assert state["ends"] == {"t": {"status": "failed", "error": "No.", "code": "model_error"}}


def test_tokens_and_costs_of_turns_are_added_exactly(page: Page) -> None:
    used = {"input_tokens": 10, "output_tokens": 2, "cached_tokens": 4}
    turns = [
        ("turn_completed", {"turn_id": "a", **used, "cost": "0.1"}),
        ("turn_failed", {"turn_id": "b", "error": "No.", "error_code": "model_error", **used, "cost": "0.20000001"}),
        ("turn_cancelled", {"turn_id": "c", **used}),
    ]
    begun = [fact for turn in "abc" for fact in (message(turn, "hi"), queued(turn), started(turn))]
    answer = message("a", "ok", "assistant", context={"used": 12, "window": 1000})
    state = replay(page, events(*begun, answer, *turns))
    sums = {"input_tokens": 30, "output_tokens": 6, "cached_tokens": 12, "cost": "0.30000001", "unpriced_turns": 1}
    assert state["usage"] == {**sums, "context": {"used": 12, "window": 1000}}
    assert state["ends"]["a"] == {"status": "completed", **used, "cost": "0.1"}


def test_waiting_messages_are_edited_withdrawn_and_reordered(page: Page) -> None:
    turns = [fact for turn in "abc" for fact in (message(turn, turn), queued(turn))]
    edited = ("message_edited", {"message_id": "user b", "turn_id": "b", "content": "new"})
    moved = ("queue_changed", {"turn_ids": ["a", "c", "b"]})
    state = replay(page, events(*turns, started("a"), edited, moved))
    assert state["order"] == ["a", "c", "b"]
    assert [one["content"] for one in state["messages"]] == ["a", "new", "c"]

    withdrawn = [("message_withdrawn", {"message_id": "user c", "turn_id": "c"}), ("turn_cancelled", {"turn_id": "c"})]
    state = replay(page, events(*turns, started("a"), edited, moved, *withdrawn))
    assert [one["content"] for one in state["messages"]] == ["a", "new"]
    assert set(state["turns"]) == {"a", "b"}


def test_an_unknown_kind_only_advances_the_number(page: Page) -> None:
    state = replay(page, events(message("t", "hi"), ("of the future", {})))
    assert state["number"] == 2
    assert len(state["messages"]) == 1

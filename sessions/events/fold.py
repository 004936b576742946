"""The state of a session as its events say it: the fold of all events up to a number equals the snapshot then.

A test holds both against each other after every kind of event. Reads no database, and takes events of unknown kinds.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sessions.events.log import LoggedEvent
from sessions.models import EventKind


@dataclass(slots=True)
class FoldedSession:
    """A session at one of its events. Messages, calls and texts are as in their events."""

    agent: str
    number: int = 0
    #: Ids of turns, in the order in which they run.
    order: list[str] = field(default_factory=list)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: The turns that have not ended.
    turns: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Messages that are begun and not stored.
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Calls without a result.
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    plan: dict[str, Any] | None = None
    workspace: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None
    mode: str = "ask"
    #: What the turns that have ended used.
    usage: dict[str, Any] = field(
        default_factory=lambda: {
            "input_tokens": 0,
            "output_tokens": 0,
            "cached_tokens": 0,
            "unpriced_turns": 0,
            "cost": "0",
        }
    )

    def apply(self, event: LoggedEvent) -> None:
        """Take one more event. Events come in the order of their numbers."""
        self.number = event.number
        if change := _CHANGES.get(event.kind):
            change(self, event.payload)

    def ordered_messages(self) -> list[dict[str, Any]]:
        """Return the messages as models read them."""
        place = {turn_id: i for i, turn_id in enumerate(self.order)}
        return sorted(self.messages.values(), key=lambda message: place.get(message["turn_id"], len(place)))

    def open_turns(self) -> list[dict[str, Any]]:
        """Return the turns that have not ended, the current one first."""
        return [self.turns[turn_id] for turn_id in self.order if turn_id in self.turns]


def fold(events: Iterable[LoggedEvent], *, agent: str) -> FoldedSession:
    """Return the state after events, which begin with the session's first. `agent` is the one that it began with."""
    state = FoldedSession(agent)
    for event in events:
        state.apply(event)
    return state


type _Change = Callable[[FoldedSession, dict[str, Any]], object]


def _message_added(state: FoldedSession, p: dict[str, Any]) -> None:
    state.messages[p["message_id"]] = {**p}
    if "context" in p:
        state.usage["context"] = p["context"]
    state.texts.pop(p["message_id"], None)


def _piece(part: str) -> _Change:
    def add(state: FoldedSession, p: dict[str, Any]) -> None:
        names = {key: p[key] for key in ("turn_id", "message_id")}
        text = state.texts.setdefault(p["message_id"], {**names, "text": ""})
        text[part] = text.get(part, "") + p["text"]

    return add


def _message_edited(state: FoldedSession, p: dict[str, Any]) -> None:
    state.messages[p["message_id"]] |= {"content": p["content"]}


def _turn_replaced(state: FoldedSession, p: dict[str, Any]) -> None:
    state.messages = {key: each for key, each in state.messages.items() if each["turn_id"] != p["turn_id"]}
    state.summary = p.get("summary", state.summary)


def _queue_changed(state: FoldedSession, p: dict[str, Any]) -> None:
    state.order = [turn_id for turn_id in state.order if turn_id not in p["turn_ids"]] + p["turn_ids"]


def _turn_queued(state: FoldedSession, p: dict[str, Any]) -> None:
    turn_id = p["turn_id"]
    if turn_id not in state.turns and turn_id not in state.order:
        state.order.append(turn_id)
    for message_id in p.get("messages", ()):
        state.messages[message_id] |= {"turn_id": turn_id}
    before = state.turns.get(turn_id, {"attempt": 0})
    # A turn that was put off is queued in the same moment.
    retry: dict[str, Any] = {name: before[name] for name in ("error_code", "retry_at", "retry_after") if name in before}
    state.turns[turn_id] = {"turn_id": turn_id, "status": "queued", "attempt": before["attempt"], **retry}


def _turn_started(state: FoldedSession, p: dict[str, Any]) -> None:
    state.turns[p["turn_id"]] = {"turn_id": p["turn_id"], "status": "running", "attempt": p["attempt"]}
    for message_id in p["replaces"]:
        state.texts.pop(message_id, None)
    for message_id in p.get("reads", ()):
        state.messages[message_id] = {**state.messages.pop(message_id), "read": True}


def _approval_decided(state: FoldedSession, p: dict[str, Any]) -> None:
    changed: dict[str, Any] = {"requires_approval": False, "arguments": p["arguments"]}
    if p["status"] == "edited":
        changed["edited"] = True
        _edit_messages(state, p)
    if p["call_id"] in state.calls:
        state.calls[p["call_id"]] = {**state.calls[p["call_id"]], **changed}


def _edit_messages(state: FoldedSession, p: dict[str, Any]) -> None:
    """Show the arguments that a person has edited in the message that asked for the call."""
    for message_id, message in state.messages.items():
        if any(call["id"] == p["call_id"] for call in message.get("tool_calls", ())):
            state.messages[message_id] = {
                **message,
                "tool_calls": [
                    {"id": call["id"], "name": call["name"], "arguments": p["arguments"], "edited": True}
                    if call["id"] == p["call_id"]
                    else call
                    for call in message["tool_calls"]
                ],
            }


def _plan_decided(state: FoldedSession, p: dict[str, Any]) -> None:
    if state.plan and p["decision"] != "reject":
        state.plan |= {"status": "in_progress"} | {key: p[key] for key in ("goal", "subtasks") if key in p}


def _plan_updated(state: FoldedSession, p: dict[str, Any]) -> None:
    if state.plan:
        change = {"status": p["status"], "result": p["result"]}
        tasks = state.plan["subtasks"]
        state.plan["subtasks"] = [{**each, **change} if each["id"] == p["subtask_id"] else each for each in tasks]


def _plan_finished(state: FoldedSession, _: dict[str, Any]) -> None:
    state.plan = None


def _turn_ended(state: FoldedSession, p: dict[str, Any]) -> None:
    state.turns.pop(p["turn_id"], None)
    _count_use(state.usage, p)
    for open_ones in (state.calls, state.texts):
        for key in [key for key, each in open_ones.items() if each["turn_id"] == p["turn_id"]]:
            del open_ones[key]


def _count_use(usage: dict[str, Any], p: dict[str, Any]) -> None:
    """Add what a turn used. Events of older versions do not say all of it."""
    for name in ("input_tokens", "output_tokens", "cached_tokens"):
        usage[name] += p.get(name, 0)
    usage["cost"] = f"{(Decimal(usage['cost']) + Decimal(p.get('cost', '0'))).normalize():f}"
    usage["unpriced_turns"] += "cost" not in p


def _set(name: str) -> _Change:
    return lambda state, p: setattr(state, name, {**p})


_CHANGES: dict[str, _Change] = {
    EventKind.SESSION_CHANGED: lambda state, p: setattr(state, "mode", p["mode"]),
    EventKind.WORKSPACE_CHANGED: _set("workspace"),
    EventKind.AGENT_SWITCHED: lambda state, p: setattr(state, "agent", p["to_agent"]),
    EventKind.MESSAGE_ADDED: _message_added,
    EventKind.TEXT_DELTA: _piece("text"),
    EventKind.REASONING_DELTA: _piece("reasoning"),
    EventKind.MESSAGE_EDITED: _message_edited,
    EventKind.MESSAGE_WITHDRAWN: lambda state, p: state.messages.pop(p["message_id"], None),
    EventKind.TURN_REPLACED: _turn_replaced,
    EventKind.QUEUE_CHANGED: _queue_changed,
    EventKind.TURN_QUEUED: _turn_queued,
    EventKind.TURN_STARTED: _turn_started,
    EventKind.TURN_WAITING: lambda state, p: state.turns[p["turn_id"]].update(status="waiting"),
    EventKind.RETRY_SCHEDULED: lambda state, p: state.turns[p["turn_id"]].update(
        {key: p[key] for key in ("error_code", "retry_at", "retry_after")}
    ),
    EventKind.TOOL_CALL_REQUESTED: lambda state, p: state.calls.update({p["call_id"]: {**p}}),
    EventKind.APPROVAL_DECIDED: _approval_decided,
    EventKind.TOOL_CALL_FINISHED: lambda state, p: state.calls.pop(p["call_id"], None),
    EventKind.SUMMARY_ADDED: _set("summary"),
    EventKind.PLAN_PROPOSED: _set("plan"),
    EventKind.PLAN_DECIDED: _plan_decided,
    EventKind.PLAN_UPDATED: _plan_updated,
    EventKind.PLAN_FINISHED: _plan_finished,
    EventKind.TURN_COMPLETED: _turn_ended,
    EventKind.TURN_FAILED: _turn_ended,
    EventKind.TURN_CANCELLED: _turn_ended,
}

"""What a session tells: its events, and the tool calls that this client has to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from codelab_client.types import EventFrame

type Json = dict[str, Any]

#: The kind of the event that replaces all events before it: its payload is the state of the session.
SNAPSHOT = "snapshot"

#: The tool by which a model proposes a plan. A plan has decisions of its own.
CREATE_PLAN = "create_plan"

#: Kinds of the events that end a turn.
TURN_ENDS = frozenset({"turn_completed", "turn_failed", "turn_cancelled"})


@dataclass(frozen=True, slots=True)
class Event:
    """A fact of a session. `codelab_client.types` has the fields of each payload.

    `number` is one more than that of the event before it. A compacted event stands for all numbers from `first` on.
    """

    number: int
    kind: str
    payload: Json
    first: int

    @property
    def turn_id(self) -> str | None:
        """Return the id of its turn, if it has one."""
        return self.payload.get("turn_id")

    @property
    def frame(self) -> EventFrame:
        """Return it as its frame: type checkers know the payload when they know the kind. Not for a snapshot."""
        fields: Any = {"type": "event", "number": self.number, "kind": self.kind, "payload": self.payload}
        return cast("EventFrame", fields)

    @classmethod
    def of_frame(cls, frame: Mapping[str, Any]) -> Self:
        """Read a frame `event`."""
        return cls(frame["number"], frame["kind"], frame["payload"], frame.get("first", frame["number"]))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call that is approved and is to run now, exactly with these arguments."""

    call_id: str
    name: str
    arguments: Json
    turn_id: str | None = None
    #: A person has changed the model's arguments.
    edited: bool = False

    @classmethod
    def of_frame(cls, frame: Mapping[str, Any]) -> Self:
        """Read a frame `tool_call`. A call without arguments comes with `_`, for clients of the original."""
        arguments = {name: value for name, value in frame["arguments"].items() if name != "_"}
        return cls(frame["call_id"], frame["tool_name"], arguments, frame.get("turn_id"), bool(frame.get("edited")))


@dataclass(frozen=True, slots=True)
class Message:
    """A message that the server has stored."""

    message_id: str
    turn_id: str
    #: The server had it already: an answer was lost, and the client sent it again.
    repeated: bool = False
    #: Of the event that queued its turn.
    number: int = 1


@dataclass(frozen=True, slots=True)
class Approval:
    """A question for a person: may this call run? `arguments` are shown as `display` says, where that differs.

    Of a plan the tool is `create_plan`, and `arguments` are its `goal` and `subtasks`.
    """

    call_id: str
    tool: str
    arguments: Json
    reason: str
    display: Json
    turn_id: str | None = None
    #: A client was told to run it and went away, so it may have run.
    unknown: bool = False
    plan_id: str | None = None

    @classmethod
    def of_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Read the payload of `tool_call_requested`."""
        return cls(
            call_id=payload["call_id"],
            tool=payload["tool"],
            arguments=payload["arguments"],
            reason=payload.get("reason", ""),
            display=payload.get("display") or payload["arguments"],
            turn_id=payload.get("turn_id"),
            unknown=bool(payload.get("unknown")),
        )

    @classmethod
    def of_plan(cls, payload: Mapping[str, Any]) -> Self:
        """Read the payload of `plan_proposed`."""
        plan = {"goal": payload["goal"], "subtasks": payload["subtasks"]}
        return cls(
            call_id=payload["call_id"],
            tool=CREATE_PLAN,
            arguments=plan,
            reason="A plan waits for approval.",
            display=plan,
            turn_id=payload["turn_id"],
            plan_id=payload["plan_id"],
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to an approval."""

    decision: str
    arguments: Json | None = None
    feedback: str | None = None


#: Run it; or not.
APPROVE = Decision("approve")
REJECT = Decision("reject")


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool did: a value, or parts, or an error that says what could not be done."""

    value: Any = None
    error: str | None = None
    parts: Sequence[Json] | None = None
    is_error: bool = False

    def fields(self) -> Json:
        """Return the fields of the frame `tool_result`."""
        frame: Json = {"result": self.value, "error": self.error}
        frame = {name: value for name, value in frame.items() if value is not None}
        if self.parts is not None:
            frame["parts"] = list(self.parts)
        return frame | ({"is_error": True} if self.is_error else {})


@dataclass(slots=True)
class Answer:
    """The end of a turn: its text, and the tokens that it took."""

    text: str = ""
    turn_id: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    #: What happened on the way.
    events: list[Event] = field(default_factory=list)

"""What can be shown of a session: messages, questions, changes, and notes about what happened."""

from dataclasses import dataclass
from typing import Any

type Payload = dict[str, Any]

PLAN_MARKS = {"pending": "○", "in_progress": "◐", "completed": "●", "failed": "✗", "skipped": "–"}


@dataclass
class Speech:
    """A message of the assistant, and how much of it people have seen."""

    message_id: str
    turn_id: str = ""
    text: str = ""
    #: What stands on the screen for good. Of a repeated attempt: what stands there of the one before.
    shown: str = ""

    @property
    def pending(self) -> str:
        """Return the text that has not been shown. Nothing while a repeated attempt says what was shown before."""
        return self.text[len(self.shown) :] if self.text.startswith(self.shown) else ""

    @property
    def is_other_text(self) -> bool:
        """Return whether a repeated attempt says something else than what was shown."""
        return not (self.text.startswith(self.shown) or self.shown.startswith(self.text))


@dataclass(frozen=True)
class SpeechEnded:
    """A message of the assistant is complete."""

    speech: Speech


@dataclass(frozen=True)
class UserMessage:
    """A message of a user, from this client or another one."""

    text: str
    message_id: str
    is_steer: bool = False
    images: int = 0


@dataclass(frozen=True)
class Note:
    """A line about what happened. `style` is `info`, `good`, `bad` or `plan`."""

    text: str
    style: str = "info"


@dataclass(frozen=True)
class Question:
    """A call or a plan waits for a person's decision."""

    key: str
    payload: Payload
    is_plan: bool = False


@dataclass(frozen=True)
class Change:
    """A file was changed by a call that was not shown as a question."""

    tool: str
    diff: str


type Item = SpeechEnded | UserMessage | Note | Question | Change


@dataclass
class Shown:
    """What another run of this client has shown already."""

    number: int = 0
    message_id: str = ""
    text: str = ""


def describe_call(payload: Payload) -> str:
    """Return a call in a few words, as people are shown it."""
    tool = str(payload.get("tool") or payload.get("tool_name") or "")
    arguments = payload.get("display") or payload.get("arguments") or {}
    for name in ("command", "path", "query", "message"):
        if isinstance(arguments.get(name), str):
            return f"{tool} {arguments[name]}"
    if "from" in arguments:
        return f"{tool} {arguments['from']} → {arguments.get('to')}"
    return tool

"""The body of a request in pieces, so that what one request repeats of another needs to be kept once."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json


@dataclass(frozen=True, slots=True)
class BodyPieces:
    """The JSON text of a request to a model: `head`, the messages between commas, `tail`."""

    head: str
    messages: tuple[str, ...]
    tail: str
    #: Ids of the session's images in the messages, by their data URLs.
    images: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: str,
        messages: Iterable[Mapping[str, Any]],
        parameters: Mapping[str, Any],
        images: Mapping[str, str] | None = None,
    ) -> "BodyPieces":
        """Return the pieces of a request. `parameters` are all other fields of it, at least one."""
        head = f'{{"model":{_dump(model)},"messages":['
        return cls(head, tuple(map(_dump, messages)), f"],{_dump(parameters)[1:]}", images or {})

    def join(self) -> bytes:
        """Return the body."""
        return f"{self.head}{','.join(self.messages)}{self.tail}".encode(errors="replace")


def _dump(value: object) -> str:
    try:
        return to_json(value).decode()
    except ValueError:
        # Half a surrogate pair. Python's own encoder passes it on, and takes eight times as long.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


#: Receives each request before it is sent.
type SendObserver = Callable[[BodyPieces], object]


def ignore_sent(body: BodyPieces) -> None:
    """Do nothing."""

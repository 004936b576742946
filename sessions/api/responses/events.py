"""Writes the pieces of one answer as events of the Responses API.

An event's number must not depend on how a text was cut into pieces, because a stream that goes on after a number reads
the same text in other pieces. So a piece of text counts as many as it has characters, and every other event counts one.

An item is done only when the whole answer is: a client keeps the items that are done when it loses its stream, and
sends them back with its next try.
"""

import json
from collections.abc import Mapping
from typing import Any

from sessions.api.completions.errors import ANSWER_RESTARTED, CompletionError, of_error
from sessions.api.completions.turn_follower import End, Piece, Retracted, Text
from sessions.api.responses.resource import Response, sealed_of, text_part

#: Keeps proxies and impatient clients from taking silence for the end.
COMMENT = ": still here\n\n"
#: Where the numbers begin after an answer was begun again. No answer has as many characters.
RESTART_NUMBERS = 1_000_000_000
RESTARTED = "The answer had to be begun again, after a part of it was sent. Send the request again."


class _Item:
    """An item of the output that is being written."""

    def __init__(self, index: int, ordinal: int, item_id: str) -> None:
        self.index, self.ordinal, self.id = index, ordinal, item_id
        #: The texts of its parts; thoughts that text has interrupted go on in the next part.
        self.parts: list[list[str]] = []
        self.is_open = False

    @property
    def text(self) -> str:
        """Return the text of the newest part."""
        return "".join(self.parts[-1])


class EventWriter:
    """Writes one answer, or what follows the event number `after`."""

    heartbeat = COMMENT
    #: What fails after the request was taken is an event, `response.failed`: clients read more from it than a status.
    begins_at_once = True

    def __init__(self, response: Response, *, after: int = -1) -> None:
        self._response = response
        self._after = after
        self._number = -1
        self._restarts = 0
        self._items: dict[tuple[str, bool], _Item] = {}
        self._ordinals: dict[str, int] = {}
        self._newest: _Item | None = None
        self._count = 0

    async def begin(self) -> str:
        """Return the first events."""
        state = self._response.state("in_progress")
        return self._event("response.created", response=state) + self._event("response.in_progress", response=state)

    def write(self, piece: Piece) -> str:
        """Return a piece as events. Raises CompletionError where text that was sent would have to be taken back."""
        match piece:
            case Text(message_id, text, is_reasoning):
                return self._text(message_id, text, is_reasoning=is_reasoning) if text else ""
            case Retracted(message_ids):
                self._restarts += 1
                start = self._restarts * RESTART_NUMBERS
                # Text that was left out of the log has numbers that only its client knows.
                if not self._ordinals.keys().isdisjoint(message_ids) or self._number < self._after < start:
                    raise CompletionError(ANSWER_RESTARTED, RESTARTED, status=503)
                self._number = start
                return ""
            case _:
                return self._end(piece)

    def fail(self, error: Exception) -> str:
        """Return the last event of an answer that fails."""
        return self._last("response.failed", self._response.failed(of_error(error)))

    def _text(self, message_id: str, text: str, *, is_reasoning: bool) -> str:
        lines = ""
        item = self._items.get((message_id, is_reasoning))
        if item is None:
            ordinal = self._ordinals.setdefault(message_id, len(self._ordinals))
            item, lines = self._add(message_id, ordinal, is_reasoning=is_reasoning)
        if self._newest is not item:
            lines += self._interrupt()
            self._newest = item
        if not item.is_open:
            lines += self._open(item, is_reasoning=is_reasoning)
        item.parts[-1].append(text)
        name = "response.reasoning_summary_text.delta" if is_reasoning else "response.output_text.delta"
        fields: dict[str, Any] = {} if is_reasoning else {"logprobs": []}
        return lines + self._delta(name, text, **_place(item, is_reasoning=is_reasoning), **fields)

    def _add(self, message_id: str, ordinal: int, *, is_reasoning: bool) -> tuple[_Item, str]:
        if is_reasoning:
            empty = {**self._response.reasoning(ordinal, [], ""), "status": "in_progress"}
        else:
            empty = self._response.empty_message(ordinal)
        item = self._items[message_id, is_reasoning] = _Item(self._count, ordinal, empty["id"])
        return item, self._added(empty)

    def _added(self, item: Mapping[str, Any]) -> str:
        self._count += 1
        return self._event("response.output_item.added", output_index=self._count - 1, item=item)

    def _open(self, item: _Item, *, is_reasoning: bool) -> str:
        """Begin a part."""
        item.is_open = True
        item.parts.append([])
        name = "response.reasoning_summary_part.added" if is_reasoning else "response.content_part.added"
        part = {"type": "summary_text", "text": ""} if is_reasoning else text_part("")
        return self._event(name, **_place(item, is_reasoning=is_reasoning), part=part)

    def _interrupt(self) -> str:
        """End the part of thoughts that another text follows."""
        newest = self._newest
        return self._close_thoughts(newest) if newest and newest.is_open and newest.id.startswith("rs_") else ""

    def _close_thoughts(self, item: _Item) -> str:
        item.is_open = False
        place, text = _place(item, is_reasoning=True), item.text
        done = self._event("response.reasoning_summary_text.done", **place, text=text)
        part = {"type": "summary_text", "text": text}
        return done + self._event("response.reasoning_summary_part.done", **place, part=part)

    def _end(self, end: End) -> str:
        lines: list[str] = []
        output: list[dict[str, Any]] = []
        sealed, last = sealed_of(end), len(self._ordinals) - 1
        for (_, is_reasoning), item in self._items.items():
            if is_reasoning:
                own = sealed if item.ordinal == last else ""
                sealed = "" if own else sealed
                if item.is_open:
                    lines.append(self._close_thoughts(item))
                done = self._response.reasoning(item.ordinal, ["".join(part) for part in item.parts], own)
            else:
                place, text = _place(item, is_reasoning=False), item.text
                lines.append(self._event("response.output_text.done", **place, text=text, logprobs=[]))
                lines.append(self._event("response.content_part.done", **place, part=text_part(text)))
                done = self._response.message(item.ordinal, text, end.reason)
            output.append(done)
            lines.append(self._event("response.output_item.done", output_index=item.index, item=done))
        if sealed:
            # The provider shows no thoughts, and wants them back.
            thoughts = self._response.reasoning(max(last, 0), [], sealed)
            output.append(thoughts)
            lines.append(self._added(thoughts))
            lines.append(self._event("response.output_item.done", output_index=self._count - 1, item=thoughts))
        for call in self._response.calls(end):
            output.append(call)
            lines.append(self._call(call))
        state = self._response.ended(end, output)
        lines.append(self._last(f"response.{state['status']}", state))
        return "".join(lines)

    def _call(self, call: Mapping[str, Any]) -> str:
        """Return the events of a call, which comes whole."""
        is_custom = call["type"] == "custom_tool_call"
        field = "input" if is_custom else "arguments"
        kind = "custom_tool_call_input" if is_custom else "function_call_arguments"
        place = {"item_id": call["id"], "output_index": self._count}
        name = {} if is_custom else {"name": call["name"]}
        added = self._added({**call, field: "", "status": "in_progress"})
        delta = self._delta(f"response.{kind}.delta", call[field], **place) if call[field] else ""
        done = self._event(f"response.{kind}.done", **place, **name, **{field: call[field]})
        index = place["output_index"]
        return added + delta + done + self._event("response.output_item.done", output_index=index, item=call)

    def _last(self, name: str, state: Mapping[str, Any]) -> str:
        """Return the last event, also for a client that names a number beyond it: a stream has an end."""
        self._number += 1
        return _line(name, self._number, response=state) if self._number != self._after else ""

    def _delta(self, name: str, text: str, /, **fields: Any) -> str:
        """Return an event with the part of a text that the client has not seen; empty if it has seen all of it."""
        start, self._number = self._number, self._number + len(text)
        if self._number <= self._after:
            return ""
        return _line(name, self._number, delta=text[max(self._after - start, 0) :], **fields)

    def _event(self, name: str, /, **fields: Any) -> str:
        self._number += 1
        return _line(name, self._number, **fields) if self._number > self._after else ""


def _place(item: _Item, *, is_reasoning: bool) -> dict[str, Any]:
    """Return where a part is."""
    index = "summary_index" if is_reasoning else "content_index"
    return {"item_id": item.id, "output_index": item.index, index: max(len(item.parts) - 1, 0)}


def _line(name: str, number: int, /, **fields: Any) -> str:
    body = {"type": name, "sequence_number": number, **fields}
    return f"event: {name}\ndata: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"

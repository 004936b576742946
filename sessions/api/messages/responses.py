"""Answers in Anthropic's words: the events of a stream, or one message.

A block ends before the next one begins, so in a stream thoughts end before it is known what their provider wants back
of them. That follows in a block of its own, which clients return as it is.
"""

import json
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sessions.api.completions.errors import ANSWER_RESTARTED, CompletionError, of_error
from sessions.api.completions.sealed import seal, signature_of
from sessions.api.completions.turn_follower import End, Piece, Retracted, Text
from sessions.api.messages.blocks import UNSIGNED
from sessions.api.messages.errors import body_of
from sessions.turns.completions import TurnResult

#: Anthropic's words for why an answer ended.
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
#: How Anthropic wants arguments that a model has broken: an input is an object.
BROKEN_INPUT = "INVALID_JSON"


def event(name: str, **fields: Any) -> str:
    """Return an event of a stream; JSON has no raw line breaks, so one data line is enough."""
    body = json.dumps({"type": name, **fields}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {body}\n\n"


class MessageWriter:
    """Writes the pieces of one answer as events."""

    heartbeat = event("ping")
    begins_at_once = False

    def __init__(self, turn_id: uuid.UUID, model: str, *, input_tokens: Awaitable[int], shows_thinking: bool) -> None:
        self._turn_id, self._model = turn_id, model
        self._input_tokens, self._shows_thinking = input_tokens, shows_thinking
        self._message_ids: set[str] = set()
        #: The number of the next block, and the type of the open one.
        self._index, self._open = 0, ""

    async def begin(self) -> str:
        """Return the first event, with the tokens of the input as far as they are known."""
        usage = {
            "input_tokens": await self._input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        }
        head = {**_head(self._turn_id, self._model), "content": [], "stop_reason": None, "stop_sequence": None}
        return event("message_start", message={**head, "usage": usage})

    def write(self, piece: Piece) -> str:
        """Return a piece as events. Raises CompletionError where text that was sent would have to be taken back."""
        match piece:
            case Text(message_id, text, is_reasoning):
                if is_reasoning and not self._shows_thinking:
                    return ""
                self._message_ids.add(message_id)
                return self._thought(text) if is_reasoning else self._text(text)
            case Retracted(message_ids):
                if not self._message_ids.isdisjoint(message_ids):
                    text = "The answer had to be begun again, after a part of it was sent. Send the request again."
                    raise CompletionError(ANSWER_RESTARTED, text, status=503)
                return ""
            case End():
                return self._end(piece)

    def fail(self, error: Exception) -> str:
        """Return the last event of a stream that fails."""
        return event("error", **body_of(of_error(error)))

    def _text(self, text: str) -> str:
        start = "" if self._open == "text" else self._begin({"type": "text", "text": ""})
        return start + self._delta({"type": "text_delta", "text": text})

    def _thought(self, text: str) -> str:
        start = ""
        if self._open != "thinking":
            start = self._begin({"type": "thinking", "thinking": "", "signature": ""})
        return start + self._delta({"type": "thinking_delta", "thinking": text})

    def _end(self, end: End) -> str:
        lines = [self._close()]
        if sealed := _sealed(end):
            lines += [self._begin(sealed), self._close()]
        for call in end.calls:
            block = _tool_use(call)
            lines.append(self._begin({**block, "input": {}}))
            text = json.dumps(block["input"], ensure_ascii=False)
            lines += [self._delta({"type": "input_json_delta", "partial_json": piece}) for piece in ("", text)]
            lines.append(self._close())
        lines.append(event("message_delta", delta=_stop(end), usage=usage(end.result)))
        lines.append(event("message_stop"))
        return "".join(lines)

    def _begin(self, block: Mapping[str, Any]) -> str:
        """Return the end of the open block, and the beginning of the next one."""
        end, self._open = self._close(), block["type"]
        return end + event("content_block_start", index=self._index, content_block=block)

    def _delta(self, delta: Mapping[str, Any]) -> str:
        return event("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> str:
        """Return the end of the open block."""
        if not self._open:
            return ""
        signed = ""
        if self._open == "thinking":
            signed = self._delta({"type": "signature_delta", "signature": UNSIGNED})
        stop = event("content_block_stop", index=self._index)
        self._open, self._index = "", self._index + 1
        return signed + stop


def message(texts: Sequence[Text], end: End, turn_id: uuid.UUID, model: str, *, shows_thinking: bool) -> dict[str, Any]:
    """Return a whole answer."""
    content = [*_blocks(texts, end, shows_thinking=shows_thinking), *map(_tool_use, end.calls)]
    return {**_head(turn_id, model), "content": content, **_stop(end), "usage": usage(end.result)}


def usage(result: TurnResult) -> dict[str, Any]:
    """Return the tokens used, as Anthropic counts them: `input_tokens` are those beside the cache."""
    return {
        "input_tokens": max(result.input_tokens - result.cached_tokens - result.cache_write_tokens, 0),
        "cache_creation_input_tokens": result.cache_write_tokens,
        "cache_read_input_tokens": result.cached_tokens,
        "output_tokens": result.output_tokens,
        "output_tokens_details": {"thinking_tokens": result.reasoning_tokens},
    }


def _blocks(texts: Sequence[Text], end: End, *, shows_thinking: bool) -> list[dict[str, Any]]:
    """Return texts and thoughts as blocks. The last thoughts have the signature of all that their provider wants."""
    shown = [piece for piece in texts if shows_thinking or not piece.is_reasoning]
    blocks: list[dict[str, Any]] = []
    for is_thought, pieces in groupby(shown, key=lambda piece: piece.is_reasoning):
        text = "".join(piece.text for piece in pieces)
        thought = {"type": "thinking", "thinking": text, "signature": UNSIGNED}
        blocks.append(thought if is_thought else {"type": "text", "text": text})
    last = next((block for block in reversed(blocks) if block["type"] == "thinking"), None)
    if last:
        last["signature"] = signature_of(end.origin, end.extra, last["thinking"]) or UNSIGNED
    elif sealed := _sealed(end):
        blocks.append(sealed)
    return blocks


def _sealed(end: End) -> dict[str, Any]:
    """Return the block with what the provider wants back, if it wants something: without calls none does."""
    data = seal(end.origin, end.extra) if end.calls else ""
    return {"type": "redacted_thinking", "data": data} if data else {}


def _stop(end: End) -> dict[str, Any]:
    if end.result.stop and end.reason == "stop":
        return {"stop_reason": "stop_sequence", "stop_sequence": end.result.stop}
    return {"stop_reason": STOP_REASONS.get(end.reason, "end_turn"), "stop_sequence": None}


def _head(turn_id: uuid.UUID, model: str) -> dict[str, Any]:
    return {"id": f"msg_{turn_id.hex}", "type": "message", "role": "assistant", "model": model}


def _tool_use(call: Mapping[str, Any]) -> dict[str, Any]:
    arguments = call["arguments"]
    # A model may have written a text that is not JSON.
    given = arguments if isinstance(arguments, dict) else {BROKEN_INPUT: arguments}
    return {"type": "tool_use", "id": call["id"], "name": call["name"], "input": given}

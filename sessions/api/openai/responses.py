"""Answers in OpenAI's words: the chunks of a stream, or one object."""

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from llm.types import unpack
from sessions.api.completions.errors import ANSWER_RESTARTED, CompletionError
from sessions.api.completions.turn_follower import End, Piece, Retracted, Text
from sessions.api.openai.errors import body_of
from sessions.turns.completions import TurnResult

DONE = "data: [DONE]\n\n"
#: Keeps proxies and impatient clients from taking silence for the end.
COMMENT = ": still here\n\n"


def data(body: dict[str, Any]) -> str:
    """Return an event of a stream; JSON has no raw line breaks, so one data line is enough."""
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"


class ChunkWriter:
    """Writes the pieces of one answer as chunks."""

    heartbeat = COMMENT
    begins_at_once = False

    def __init__(self, turn_id: uuid.UUID, model: str, *, include_usage: bool) -> None:
        self._head = _head(turn_id, model, "chat.completion.chunk")
        self._include_usage = include_usage
        self._message_ids: set[str] = set()

    async def begin(self) -> str:
        """Return the first chunk."""
        return self._chunk({"role": "assistant", "content": ""})

    def write(self, piece: Piece) -> str:
        """Return a piece as chunks. Raises CompletionError where text that was sent would have to be taken back."""
        match piece:
            case Text(message_id, text, is_reasoning):
                self._message_ids.add(message_id)
                return self._chunk({"reasoning_content" if is_reasoning else "content": text})
            case Retracted(message_ids):
                if not self._message_ids.isdisjoint(message_ids):
                    text = "The answer had to be begun again, after a part of it was sent. Send the request again."
                    raise CompletionError(ANSWER_RESTARTED, text, status=503)
                return ""
            case End(reason, result, calls):
                # The whole of one call before the next begins: clients put them together in this order.
                lines = [self._call(index, call) for index, call in enumerate(calls)]
                lines.append(self._chunk({}, reason))
                if self._include_usage:
                    lines.append(data({**self._head, "choices": [], "usage": usage(result)}))
                return "".join([*lines, DONE])

    def fail(self, error: Exception) -> str:
        """Return the last event of a stream that fails."""
        return data(body_of(error))

    def _call(self, index: int, call: dict[str, Any]) -> str:
        first = {"index": index, **_tool_call(call, "")}
        rest = {"index": index, "function": {"arguments": _arguments(call)}}
        return self._chunk({"tool_calls": [first]}) + self._chunk({"tool_calls": [rest]})

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return data({**self._head, "choices": [choice]})


def completion(texts: Sequence[Text], end: End, turn_id: uuid.UUID, model: str) -> dict[str, Any]:
    """Return a whole answer."""
    content = "".join(each.text for each in texts if not each.is_reasoning)
    reasoning = "".join(each.text for each in texts if each.is_reasoning)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if end.calls and not content else content,
        "refusal": None,
    }
    if reasoning:
        message["reasoning_content"] = reasoning
    if end.calls:
        message["tool_calls"] = [_tool_call(call, _arguments(call)) for call in end.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": end.reason}
    return {**_head(turn_id, model, "chat.completion"), "choices": [choice], "usage": usage(end.result)}


def embeddings(result: TurnResult, model: str, *, packed: bool) -> bytes:
    """Return an answer of embeddings as JSON, as numbers or packed as they are stored. Call it off the event loop.

    There may be a million numbers. Each vector is written on its own: all threads wait for a call of `json`.
    """
    items = (
        b'{"object":"embedding","index":%d,"embedding":%b}'
        % (index, json.dumps(vector if packed else unpack(vector)).encode())
        for index, vector in enumerate(result.result)
    )
    counts = {"prompt_tokens": result.input_tokens, "total_tokens": result.input_tokens}
    end = json.dumps({"model": model, "usage": counts})
    return b'{"object":"list","data":[' + b",".join(items) + b"]," + end[1:].encode()


def usage(result: TurnResult) -> dict[str, Any]:
    """Return the tokens used, as OpenAI counts them."""
    return {
        "prompt_tokens": result.input_tokens,
        "completion_tokens": result.output_tokens,
        "total_tokens": result.input_tokens + result.output_tokens,
        "prompt_tokens_details": {"cached_tokens": result.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": result.reasoning_tokens},
    }


def _head(turn_id: uuid.UUID, model: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{turn_id.hex}", "object": kind, "created": int(time.time()), "model": model}


def _tool_call(call: dict[str, Any], arguments: str) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": arguments}
    return {**call.get("extra", {}), "id": call["id"], "type": "function", "function": function}


def _arguments(call: dict[str, Any]) -> str:
    arguments = call["arguments"]
    # A model may have written a text that is not JSON.
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)

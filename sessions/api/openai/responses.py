"""Answers in OpenAI's words: the chunks of a stream, or one object."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from llm.types import unpack
from sessions.api.openai.errors import ANSWER_RESTARTED, OpenAIError
from sessions.api.openai.turn_stream import Calls, End, Piece, Replaced, Text
from sessions.turns.completions import TurnResult

DONE = "data: [DONE]\n\n"
#: Keeps proxies and impatient clients from taking silence for the end.
COMMENT = ": still here\n\n"


def data(body: dict[str, Any]) -> str:
    """Return an event of a stream; JSON has no raw line breaks, so one data line is enough."""
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"


class Chunks:
    """Writes the pieces of one answer as chunks."""

    def __init__(self, turn_id: uuid.UUID, model: str, *, include_usage: bool) -> None:
        self._head = {
            "id": f"chatcmpl-{turn_id.hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._include_usage = include_usage
        self._sent: set[str] = set()

    def begin(self) -> str:
        """Return the first chunk."""
        return self._chunk({"role": "assistant", "content": ""})

    def write(self, piece: Piece) -> str:
        """Return what a piece makes. Raises OpenAIError where what was sent would have to be taken back."""
        match piece:
            case Text(message_id, text, thought):
                self._sent.add(message_id)
                return self._chunk({"reasoning_content" if thought else "content": text})
            case Replaced(message_ids):
                if not self._sent.isdisjoint(message_ids):
                    text = "The answer had to be begun again, after a part of it was sent. Send the request again."
                    raise OpenAIError(ANSWER_RESTARTED, text, status=503)
                return ""
            case Calls(calls):
                # The whole of one call before the next begins: clients put them together in this order.
                return "".join(self._call(index, call) for index, call in enumerate(calls))
            case End(reason, outcome):
                last = self._chunk({}, reason)
                if self._include_usage:
                    last += data({**self._head, "choices": [], "usage": usage(outcome)})
                return last + DONE

    def _call(self, index: int, call: dict[str, Any]) -> str:
        function = {"name": call["name"], "arguments": ""}
        first = {"index": index, "id": call["id"], "type": "function", "function": function}
        rest = {"index": index, "function": {"arguments": _arguments(call)}}
        return self._chunk({"tool_calls": [first]}) + self._chunk({"tool_calls": [rest]})

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return data({**self._head, "choices": [choice]})


class Whole:
    """Puts the pieces of one answer together."""

    def __init__(self, turn_id: uuid.UUID, model: str) -> None:
        self._turn_id, self._model = turn_id, model
        self._texts: dict[str, list[str]] = {}
        self._thoughts: dict[str, list[str]] = {}
        self._calls: list[dict[str, Any]] = []

    def read(self, piece: Piece) -> dict[str, Any] | None:
        """Take a piece; return the answer when it was the last one."""
        match piece:
            case Text(message_id, text, thought):
                (self._thoughts if thought else self._texts).setdefault(message_id, []).append(text)
            case Replaced(message_ids):
                for message_id in message_ids:
                    self._texts.pop(message_id, None)
                    self._thoughts.pop(message_id, None)
            case Calls(calls):
                self._calls = [
                    {
                        "id": call["id"],
                        "type": "function",
                        "function": {"name": call["name"], "arguments": _arguments(call)},
                    }
                    for call in calls
                ]
            case End(reason, outcome):
                return self._answer(reason, outcome)
        return None

    def _answer(self, reason: str, outcome: TurnResult) -> dict[str, Any]:
        text = "".join("".join(texts) for texts in self._texts.values())
        thought = "".join("".join(texts) for texts in self._thoughts.values())
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if self._calls and not text else text,
            "refusal": None,
        }
        if thought:
            message["reasoning_content"] = thought
        if self._calls:
            message["tool_calls"] = self._calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        return {
            "id": f"chatcmpl-{self._turn_id.hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._model,
            "choices": [choice],
            "usage": usage(outcome),
        }


def embeddings(outcome: TurnResult, model: str, *, packed: bool) -> dict[str, Any]:
    """Return an answer of embeddings, as numbers or packed as they are stored."""
    vectors = [vector if packed else unpack(vector) for vector in outcome.result]
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)],
        "model": model,
        "usage": {"prompt_tokens": outcome.input_tokens, "total_tokens": outcome.input_tokens},
    }


def usage(outcome: TurnResult) -> dict[str, Any]:
    """Return what was used, as OpenAI counts it."""
    return {
        "prompt_tokens": outcome.input_tokens,
        "completion_tokens": outcome.output_tokens,
        "total_tokens": outcome.input_tokens + outcome.output_tokens,
        "prompt_tokens_details": {"cached_tokens": outcome.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": outcome.reasoning_tokens},
    }


def _arguments(call: dict[str, Any]) -> str:
    return json.dumps(call["arguments"], ensure_ascii=False)

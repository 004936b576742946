"""A response as its clients read it: what was asked, how far it is, and what came of it."""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sessions.api.completions.errors import CompletionError
from sessions.api.completions.sealed import seal
from sessions.api.completions.turn_follower import End, Text
from sessions.api.openai.errors import body_of
from sessions.api.responses.tools import call_item, describe
from sessions.protocol.codes import ErrorCode
from sessions.turns.completions import CompletionRequest, TurnResult

PREFIX = "resp_"
#: Why a response is incomplete, by how its model has ended.
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
#: What a response says of a field that its request has left out.
DEFAULTS: dict[str, Any] = {
    "previous_response_id": None,
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "max_tool_calls": None,
    "max_output_tokens": None,
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
    "user": None,
    "reasoning": {"effort": None, "summary": None},
    "truncation": "disabled",
    "service_tier": "default",
}


class Response:
    """One response: its facts, and its states as objects."""

    def __init__(self, turn_id: uuid.UUID, request: CompletionRequest, *, key: str = "") -> None:
        #: Ends the ids of the response and its items.
        self.key = key or turn_id.hex
        self.id = f"{PREFIX}{self.key}"
        self.client_tools: Mapping[str, Any] = request.details.get("tools", {})
        text = request.details.get("text", {})
        self._fields = {
            "id": self.id,
            "object": "response",
            # The id has the time in milliseconds, so it is the same each time.
            "created_at": (turn_id.int >> 80) // 1000,
            "model": request.model,
            "instructions": request.messages[0]["content"] if request.details.get("has_instructions") else None,
            **{name: request.details.get(name, default) for name, default in DEFAULTS.items()},
            "text": {"format": {"type": "text"}, **text},
            "tools": describe(request.tools, self.client_tools),
            "store": request.is_stored,
            "background": request.is_background,
        }

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        """Return the response in a state."""
        empty: dict[str, Any] = {
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }
        return {**self._fields, "status": status, **empty, **fields}

    def ended(self, end: End, output: Sequence[dict[str, Any]], *, at: float | None = None) -> dict[str, Any]:
        """Return the response with its output, complete or incomplete."""
        fields: dict[str, Any] = {"output": list(output), "usage": usage(end.result)}
        if reason := INCOMPLETE.get(end.reason):
            return self.state("incomplete", incomplete_details={"reason": reason}, **fields)
        return self.state("completed", completed_at=int(at or time.time()), **fields)

    def failed(self, error: CompletionError) -> dict[str, Any]:
        """Return the response without an answer."""
        status = "cancelled" if error.code == ErrorCode.CANCELLED else "failed"
        return self.state(status, error=error_of(error))

    def output(self, texts: Sequence[Text], end: End) -> list[dict[str, Any]]:
        """Return the items of a whole answer: thoughts and text of each message, then the calls."""
        written: dict[str, dict[bool, str]] = {}
        for piece in texts:
            message = written.setdefault(piece.message_id, {})
            message[piece.is_reasoning] = message.get(piece.is_reasoning, "") + piece.text
        sealed = sealed_of(end)
        items: list[dict[str, Any]] = []
        for ordinal, message in enumerate(written.values()):
            is_last = ordinal == len(written) - 1
            if True in message or (is_last and sealed):
                items.append(self.reasoning(ordinal, [message.get(True, "")], sealed if is_last else ""))
            if False in message:
                items.append(self.message(ordinal, message[False], end.reason))
        if sealed and not written:
            items.append(self.reasoning(0, [], sealed))
        return [*items, *self.calls(end)]

    def reasoning(self, ordinal: int, texts: Sequence[str], sealed: str) -> dict[str, Any]:
        """Return the thoughts of a message; `sealed` is what only its provider understands."""
        summary = [{"type": "summary_text", "text": text} for text in texts if text]
        item = {"type": "reasoning", "id": f"rs_{self.key}_{ordinal}", "summary": summary, "status": "completed"}
        return {**item, "encrypted_content": sealed} if sealed else item

    def message(self, ordinal: int, text: str, reason: str) -> dict[str, Any]:
        """Return the text of a message."""
        status = "incomplete" if reason in INCOMPLETE else "completed"
        return {**self.empty_message(ordinal), "status": status, "content": [text_part(text)]}

    def empty_message(self, ordinal: int) -> dict[str, Any]:
        """Return a message that has only begun."""
        item = {"type": "message", "id": f"msg_{self.key}_{ordinal}", "role": "assistant"}
        return {**item, "status": "in_progress", "content": []}

    def calls(self, end: End) -> list[dict[str, Any]]:
        """Return the calls of the client's tools."""
        return [call_item(call, self.client_tools, f"{self.key}_{index}") for index, call in enumerate(end.calls)]


def sealed_of(end: End) -> str:
    """Return what only the provider of an answer understands of it, empty if that is nothing."""
    return seal(end.origin, end.extra)


def text_part(text: str) -> dict[str, Any]:
    """Return the only part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def error_of(error: CompletionError) -> dict[str, Any]:
    """Return an error as a response has it. Codex waits as long as the sentence of a limit says."""
    problem = body_of(error)["error"]
    text = problem["message"]
    if problem["code"] == "rate_limit_exceeded" and error.retry_after is not None:
        text = f"{text} Please try again in {error.retry_after}s."
    return {"code": problem["code"], "message": text}


def usage(result: TurnResult) -> dict[str, Any]:
    """Return the tokens used, as the Responses API counts them."""
    return {
        "input_tokens": result.input_tokens,
        "input_tokens_details": {
            "cached_tokens": result.cached_tokens,
            "cache_write_tokens": result.cache_write_tokens,
        },
        "output_tokens": result.output_tokens,
        "output_tokens_details": {"reasoning_tokens": result.reasoning_tokens},
        "total_tokens": result.input_tokens + result.output_tokens,
    }

"""What strict providers refuse in a request, all of them together.

Mistral: ids, nothing but an answer behind results, the user or a result last. Anthropic and Bedrock: alphabets, blank
texts, the result of each call right behind it. Templates of vLLM: users and assistants in turn, one system message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")
MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")
#: Which roles may follow a role.
NEXT_ROLES = {
    "": {"system", "user"},
    "system": {"user"},
    "user": {"assistant"},
    "assistant": {"user"},
    "calls": {"tool"},
    "tool": {"tool", "assistant"},
}


def problems(body: dict[str, Any]) -> list[str]:
    """Return why a strict provider refuses a request."""
    is_mistral = "mistral" in body["model"]
    return [*_in_order(body["messages"]), *_in_calls(body["messages"], MISTRAL_ID if is_mistral else CALL_ID)]


def _in_order(messages: list[dict[str, Any]]) -> Iterator[str]:
    before = ""
    for place, message in enumerate(messages):
        role = "calls" if message.get("tool_calls") else message["role"]
        if message["role"] not in NEXT_ROLES[before]:
            yield f"{place}: {role} behind {before or 'nothing'}"
        if (role != "calls" or message["content"] is not None) and not _has_words(message["content"]):
            yield f"{place}: {role} without words: {message['content']!r}"
        if role == "calls" and message["role"] != "assistant":
            yield f"{place}: calls of {message['role']}"
        before = role
    if before not in ("user", "tool"):
        yield f"it ends with {before}"


def _has_words(content: Any) -> bool:
    if isinstance(content, str):
        return bool(content.strip())
    return bool(content) and all(part["type"] != "text" or part["text"].strip() for part in content)


def _in_calls(messages: list[dict[str, Any]], possible_id: re.Pattern[str]) -> Iterator[str]:
    ids: set[str] = set()
    unanswered: list[str] = []
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            if not unanswered or message["tool_call_id"] != unanswered.pop(0):
                yield f"{place}: a result out of order"
            continue
        if unanswered:
            yield f"{place}: calls without a result"
        unanswered = []
        for call in message.get("tool_calls", ()):
            if call["id"] in ids or not possible_id.fullmatch(call["id"]):
                yield f"{place}: the id {call['id']!r}"
            if not NAME.fullmatch(call["function"]["name"]):
                yield f"{place}: the name {call['function']['name']!r}"
            if not isinstance(json.loads(call["function"]["arguments"]), dict):
                yield f"{place}: arguments that are not an object"
            ids.add(call["id"])
            unanswered.append(call["id"])
    if unanswered:
        yield "a call without a result at the end"

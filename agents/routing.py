"""Which agent a message is for: by a short model call, by words where no model answers, or nobody for small talk.

The text of a message is data here. What comes out is the name of an agent that was offered, never anything else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agents import prompts
from agents.keywords import scores_of
from agents.prompts import Peer, fenced
from agents.roles import UNASSIGNED, Role
from agents.smalltalk import is_continuation, small_talk
from llm.errors import ModelError
from llm.types import ModelMessage, ModelStream, TextChunk

#: Seconds for the model's choice; people wait for it before anything happens.
TIMEOUT = 8.0

#: Characters of a message that the model sees: its begin and its end say what it is about.
MAX_HEAD, MAX_TAIL = 3000, 1000

#: Characters of an answer that are looked at.
MAX_ANSWER = 4_000

#: Who gets a message that nothing speaks for.
DEFAULT = "coder"

FALLBACK = "Fallback classification due to LLM error"


class Confidence(StrEnum):
    """How sure a choice is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The agent that is to go on, and why, as clients are told."""

    agent: str
    confidence: Confidence
    reason: str


async def choose(
    text: str,
    *,
    agents: Sequence[Role],
    call: Callable[[tuple[ModelMessage, ...]], ModelStream],
    current: str = "",
    seconds: float = TIMEOUT,
) -> Route:
    """Choose the agent for a message by one call of a model, or by words if it fails or takes too long.

    `call` makes a model's stream of messages, without tools; `current` is the agent that the session is with.
    """
    try:
        async with asyncio.timeout(seconds), aclosing(call(question(text, agents=agents, current=current))) as chunks:
            answer = "".join([chunk.text async for chunk in chunks if isinstance(chunk, TextChunk)])
        return read_answer(answer, agents=agents)
    except (ModelError, TimeoutError, ValueError):
        return by_words(text, agents=agents)


def question(text: str, *, agents: Sequence[Role], current: str = "") -> tuple[ModelMessage, ...]:
    """Return the messages that ask a model for the agent."""
    peers = [Peer(name=role.name, description=role.description) for role in agents]
    known = current if any(role.name == current for role in agents) else ""
    shown = text if len(text) <= MAX_HEAD + MAX_TAIL else f"{text[:MAX_HEAD]}\n[…]\n{text[-MAX_TAIL:]}"
    return (
        ModelMessage(role="system", content=prompts.render("routing.md", agents=peers, current=known)),
        ModelMessage(role="user", content=fenced(shown, "message")),
    )


def answer_schema(agents: Sequence[Role]) -> dict[str, Any]:
    """Return the JSON Schema of the answer, for providers that can be held to one."""
    return {
        "type": "object",
        "properties": {
            "agent": {"type": "string", "enum": [role.name for role in agents]},
            "confidence": {"type": "string", "enum": [str(each) for each in Confidence]},
            "reasoning": {"type": "string"},
        },
        "required": ["agent", "confidence", "reasoning"],
    }


def read_answer(answer: str, *, agents: Sequence[Role]) -> Route:
    """Read a model's answer, whatever stands around the JSON. An agent that there is not becomes the default.

    Raises ValueError when there is no answer in it.
    """
    for given in _objects(answer[:MAX_ANSWER]):
        name = given.get("agent")
        if isinstance(name, str):
            reason = " ".join(str(given.get("reasoning") or given.get("reason") or "").split())[:300]
            name = name.strip().lower()
            if any(role.name == name for role in agents):
                return Route(agent=name, confidence=_confidence(given.get("confidence")), reason=reason)
            return Route(agent=_default(agents), confidence=Confidence.LOW, reason=reason or "Unknown agent chosen")
    raise ValueError("the model's answer names no agent")


def by_words(text: str, *, agents: Sequence[Role]) -> Route:
    """Choose by the keywords of the roles; the earlier role wins where they are equal."""
    scores = scores_of(text, agents)
    best = max(scores.values(), default=0)
    name = next((name for name, score in scores.items() if score == best > 0), _default(agents))
    return Route(agent=name, confidence=Confidence.LOW, reason=FALLBACK)


def may_have_changed(text: str, *, current: str, agents: Sequence[Role], answering: bool = False) -> bool:
    """Judge whether a later message may begin a task for another agent, so that it is worth a model call.

    `answering` says that the agent had asked something. Cheap and careful: a wrong yes costs a call, a wrong no leaves
    the message with an agent that can still hand it over.
    """
    if current == UNASSIGNED:
        return True
    if answering or all(role.name != current for role in agents) or small_talk(text) or is_continuation(text):
        return False
    scores = scores_of(text, agents)
    best = max(scores.values())
    if best == 0:
        # No word that we know; in another language only a model can tell. Short ones are most often a remark.
        return len(text.split()) >= 25
    return scores[current] < best


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a text, the outer ones."""
    decoder = json.JSONDecoder()
    place = text.find("{")
    while place >= 0:
        try:
            found, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            if isinstance(found, dict):
                yield found
        place = text.find("{", end)


def _confidence(given: object) -> Confidence:
    if isinstance(given, int | float) and not isinstance(given, bool):
        return Confidence.HIGH if given >= 0.8 else Confidence.MEDIUM if given >= 0.5 else Confidence.LOW
    try:
        return Confidence(str(given).strip().lower())
    except ValueError:
        return Confidence.MEDIUM


def _default(agents: Sequence[Role]) -> str:
    return next((role.name for role in agents if role.name == DEFAULT), agents[0].name)

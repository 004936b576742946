"""Chooses the agent for a message by a short model call, or by keywords if no model answers.

The message is only data here. The result is always the name of one of the given agents.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agents import prompts
from agents.keywords import score_agents
from agents.prompts import Peer, fence
from agents.roles import UNASSIGNED, Role
from agents.smalltalk import is_continuation, reply_to
from llm.errors import ModelError
from llm.types import ModelMessage, ModelStream, TextChunk

#: Users wait for the model's choice before anything happens.
CHOICE_TIMEOUT_SECONDS = 8.0

#: The model sees the beginning and the end of a message: they say what it is about.
MAX_HEAD_CHARACTERS, MAX_TAIL_CHARACTERS = 3000, 1000

MAX_ANSWER_CHARACTERS = 4_000

#: Gets a message that has no keyword.
DEFAULT_AGENT = "coder"

FALLBACK_REASON = "Fallback classification due to LLM error"


class Confidence(StrEnum):
    """How sure a choice is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The chosen agent and the reason, which clients get."""

    agent: str
    confidence: Confidence
    reason: str


async def choose(
    text: str,
    *,
    agents: Sequence[Role],
    call: Callable[[tuple[ModelMessage, ...]], ModelStream],
    current: str = "",
    seconds: float = CHOICE_TIMEOUT_SECONDS,
) -> Route:
    """Choose the agent for a message by one model call, or by keywords if it fails or takes too long.

    `call` calls a model with messages and without tools; `current` is the session's agent.
    """
    try:
        async with asyncio.timeout(seconds), aclosing(call(question(text, agents=agents, current=current))) as chunks:
            answer = "".join([chunk.text async for chunk in chunks if isinstance(chunk, TextChunk)])
        return parse_answer(answer, agents=agents)
    except (ModelError, TimeoutError, ValueError):
        return choose_by_keywords(text, agents=agents)


def question(text: str, *, agents: Sequence[Role], current: str = "") -> tuple[ModelMessage, ...]:
    """Return the messages that ask a model for the agent."""
    peers = [Peer(name=role.name, description=role.description) for role in agents]
    if all(role.name != current for role in agents):
        current = ""
    if len(text) > MAX_HEAD_CHARACTERS + MAX_TAIL_CHARACTERS:
        text = f"{text[:MAX_HEAD_CHARACTERS]}\n[…]\n{text[-MAX_TAIL_CHARACTERS:]}"
    return (
        ModelMessage(role="system", content=prompts.render("routing.md", agents=peers, current=current)),
        ModelMessage(role="user", content=fence(text, "message")),
    )


def parse_answer(answer: str, *, agents: Sequence[Role]) -> Route:
    """Return the choice in a model's answer, ignoring text around the JSON. An unknown agent becomes the default.

    Raises ValueError for an answer without a choice.
    """
    for choice in _json_objects(answer[:MAX_ANSWER_CHARACTERS]):
        name = choice.get("agent")
        if isinstance(name, str):
            reason = " ".join(str(choice.get("reasoning") or choice.get("reason") or "").split())[:300]
            name = name.strip().lower()
            if any(role.name == name for role in agents):
                return Route(agent=name, confidence=_parse_confidence(choice.get("confidence")), reason=reason)
            default = _default_agent(agents)
            return Route(agent=default, confidence=Confidence.LOW, reason=reason or "Unknown agent chosen")
    raise ValueError("the model's answer names no agent")


def choose_by_keywords(text: str, *, agents: Sequence[Role]) -> Route:
    """Choose by the keywords of the roles; the earlier role wins a tie."""
    scores = score_agents(text, agents)
    best = max(scores.values(), default=0)
    name = next((name for name, score in scores.items() if score == best > 0), _default_agent(agents))
    return Route(agent=name, confidence=Confidence.LOW, reason=FALLBACK_REASON)


def needs_choice(text: str, *, current: str, agents: Sequence[Role], is_answer: bool = False) -> bool:
    """Return whether a message may begin a task for another agent, so that it is worth a model call.

    `is_answer` means that the agent has asked the user something. This check is cheap: a false positive costs a model
    call, and after a false negative the current agent can still hand over.
    """
    if current == UNASSIGNED:
        return True
    if is_answer or all(role.name != current for role in agents) or reply_to(text) or is_continuation(text):
        return False
    scores = score_agents(text, agents)
    best = max(scores.values())
    if best == 0:
        # Without a keyword, for example in another language, only a model can tell. Short texts are mostly remarks.
        return len(text.split()) >= 25
    return scores[current] < best


def _json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the outermost JSON objects in a text."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            if isinstance(value, dict):
                yield value
        start = text.find("{", end)


def _parse_confidence(value: object) -> Confidence:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Confidence.HIGH if value >= 0.8 else Confidence.MEDIUM if value >= 0.5 else Confidence.LOW
    try:
        return Confidence(str(value).strip().lower())
    except ValueError:
        return Confidence.MEDIUM


def _default_agent(agents: Sequence[Role]) -> str:
    return next((role.name for role in agents if role.name == DEFAULT_AGENT), agents[0].name)

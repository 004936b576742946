"""What an agent can say while it works on one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llm.types import ModelToolCall, Usage

#: End markers that mean "I had more to say": the provider cut the answer, so the last tool call may be half a call.
CUT_REASONS = frozenset({"length", "max_tokens", "content_filter"})


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, to be shown at once."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of what the model thinks. To be shown apart from the answer, and never sent back as a part of it."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """The whole of one model call; always the last event of a step. Tool calls mean that the turn goes on later."""

    text: str
    #: In the model's order; ids are unique within the step. All are answered, those in `broken` by their sentence.
    tool_calls: tuple[ModelToolCall, ...]
    usage: Usage = field(default_factory=Usage)
    reasoning: str = ""
    #: Calls that must not be run because they cannot be read: id to the sentence that the model gets as the result.
    #: Their `arguments` are empty.
    broken: Mapping[str, str] = field(default_factory=dict)
    #: The provider's own end marker.
    reason: str = field(default="", compare=False)


type AgentEvent = TextDelta | ReasoningDelta | StepFinished

"""The events of one step of an agent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm.finish import Finish
from llm.types import ModelToolCall, TokenUsage

#: End markers of an answer that the provider cut, so that its last tool call may be incomplete: why, for the model.
CUT_REASONS: dict[str, str] = {
    Finish.LENGTH: "the answer reached its length limit within this call. Make the call shorter",
    Finish.FILTER: "the provider's filter ended the answer within this call. Ask for something else",
}


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, for clients to show at once."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the model's reasoning. Clients show it apart from the answer; no model gets it back."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """The complete answer of one model call; always the last event of a step. With tool calls, the turn continues."""

    text: str
    #: In the model's order; ids are unique within the step. All get a result, those in `broken` the sentence there.
    tool_calls: tuple[ModelToolCall, ...]
    usage: TokenUsage = field(default_factory=TokenUsage)
    reasoning: str = ""
    #: Unreadable calls, which must not run: id to the sentence that the model gets as the result. Their `arguments` are
    #: empty.
    broken: Mapping[str, str] = field(default_factory=dict)
    #: Why the answer ended, in OpenAI's words.
    reason: str = field(default="", compare=False)
    #: See `llm.types.EndChunk.stop`.
    stop: str = field(default="", compare=False)
    #: See `llm.types.EndChunk.extra`.
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_withheld(self) -> bool:
        """Return whether the provider's filter has left nothing of the answer."""
        return self.reason == Finish.FILTER and not self.text.strip() and not self.tool_calls


type AgentEvent = TextDelta | ReasoningDelta | StepFinished

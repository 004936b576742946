"""What an agent can say while it works on one step."""

from __future__ import annotations

from dataclasses import dataclass

from llm.types import ToolCall


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, to be shown at once."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """The whole of one model call; always the last event of a step. Tool calls mean that the turn goes on later."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    input_tokens: int
    output_tokens: int


type AgentEvent = TextDelta | StepFinished

"""What goes into a model and what comes out of it, independent of any provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal

type Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A complete request of a model to run a tool."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One entry of the conversation that a model is shown."""

    role: Role
    content: str
    #: Calls that an assistant message asked for.
    tool_calls: tuple[ToolCall, ...] = ()
    #: The call that a tool message answers.
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that a model may ask for."""

    name: str
    description: str
    #: JSON Schema of the arguments, an object.
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One call of a model."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    #: Seconds to the first piece of content.
    first_token_timeout: float = 60
    #: Seconds between two pieces of content.
    idle_timeout: float = 30


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A piece of the answer; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningChunk:
    """A piece of what the model thinks, from providers that show it; never empty, never a part of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallChunk:
    """A piece of a tool call; id and name come with the first piece of an index."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndChunk:
    """The provider's own end marker: without it a stream was cut. Always the last chunk."""

    reason: str
    input_tokens: int = 0
    output_tokens: int = 0


type Chunk = TextChunk | ReasoningChunk | ToolCallChunk | EndChunk

#: Calls a model: the chunks of its answer, in order, the last one an EndChunk; raises `llm.errors.ModelError`.
type ModelStream = AsyncGenerator[Chunk]

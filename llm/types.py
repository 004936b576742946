"""What goes into a model and what comes out of it, independent of any provider."""

from __future__ import annotations

import base64
import re
import struct
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from uuid_utils.compat import uuid7

type ModelRole = Literal["system", "user", "assistant", "tool"]

#: The images that providers of all kinds read, by value or at an address that the provider fetches itself.
IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}|https://[^\s\"<>]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelToolCall:
    """A complete request of a model to run a tool."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelImage:
    """A picture in a user's message: a data URL (png, jpeg, gif, webp), or an https URL. Raises ValueError."""

    url: str
    #: How closely it is to be looked at, in OpenAI's words; empty: as the provider does it.
    detail: str = ""
    #: Characters of the message's text that come before it; None: all of them.
    at: int | None = None

    def __post_init__(self) -> None:
        if not IMAGE.fullmatch(self.url):
            raise ValueError("an image is a data URL of a png, jpeg, gif or webp in base64, or an https URL")

    @property
    def is_remote(self) -> bool:
        """Say whether somebody has to fetch it."""
        return self.url.startswith("https:")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMessage:
    """One entry of the conversation that a model is shown."""

    role: ModelRole
    content: str
    #: Calls that an assistant message asked for.
    tool_calls: tuple[ModelToolCall, ...] = ()
    #: The call that a tool message answers.
    tool_call_id: str = ""
    #: Pictures of a user's message, in their order. A model that takes none is told how many there were.
    images: tuple[ModelImage, ...] = ()
    #: Who says it, where several of a role do.
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that a model may ask for."""

    name: str
    description: str
    #: JSON Schema of the arguments, an object.
    parameters: dict[str, Any]
    #: Whether the arguments must be exactly so, where the caller says anything about it.
    strict: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A caller's own address and key instead of this server's. At an address of theirs a key of ours is never used."""

    #: Of an OpenAI-compatible server, `https://host/v1`; empty: where the operator's settings point to.
    api_base: str = ""
    #: Empty: none. A key without an address is used instead of ours.
    api_key: str = field(default="", repr=False)
    #: The operator allows addresses of this machine and its networks.
    allow_private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One answer that is wanted of a model. It may take several calls; `llm.calls` says when."""

    model: str
    messages: tuple[ModelMessage, ...]
    tools: tuple[Tool, ...] = ()
    #: Further parameters in OpenAI's words (`temperature`, `tool_choice` …), from a list of the caller's own.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Tokens the answer may have; None: what the provider allows.
    max_output_tokens: int | None = None
    endpoint: Endpoint | None = None
    #: Models to ask in turn when this one fails before its first output; None: those of the catalog.
    fallbacks: tuple[str, ...] | None = None
    #: Calls of each model at most, the first one included.
    tries: int = 3
    #: Seconds from a call to its first piece of content.
    first_token_timeout: float = 60
    #: Seconds between two pieces of content.
    idle_timeout: float = 30
    #: Seconds of one whole call.
    call_timeout: float = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The tokens of one call."""

    #: All that was read, cached tokens included.
    input_tokens: int = 0
    #: All that was said, reasoning included.
    output_tokens: int = 0
    #: The part of the input that the provider had cached.
    cached_tokens: int = 0
    #: The part of the output that was thought.
    reasoning_tokens: int = 0
    #: The provider told no count, because the call was cut or it never does: four bytes of text are one token here.
    estimated: bool = False


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
    #: None: the provider told no count; `llm.calls` puts an estimate there.
    usage: Usage | None = None


type Chunk = TextChunk | ReasoningChunk | ToolCallChunk | EndChunk

#: Calls a model: the chunks of its answer, in order, the last one an EndChunk; raises `llm.errors.ModelError`.
type ModelStream = AsyncGenerator[Chunk]


#: A text, or its tokens as the model counts them.
type Text = str | Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """Texts of which embeddings are wanted."""

    model: str
    inputs: tuple[Text, ...]
    #: Numbers of a vector; None: as the model makes them.
    dimensions: int | None = None
    endpoint: Endpoint | None = None
    #: Seconds of the call.
    call_timeout: float = 60


@dataclass(frozen=True, slots=True)
class Vectors:
    """One vector for each text, in order."""

    vectors: Sequence[Sequence[float]]
    usage: Usage

    def packed(self) -> list[str]:
        """Return the vectors as OpenAI packs them: 32-bit floats, little-endian, in base64."""
        return [base64.b64encode(struct.pack(f"<{len(each)}f", *each)).decode() for each in self.vectors]


def unpacked(vector: str) -> list[float]:
    """Return the numbers of a packed vector."""
    data = base64.b64decode(vector)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


class CallOutcome(StrEnum):
    """How a call ended."""

    COMPLETED = "completed"
    #: Before the first output.
    FAILED = "failed"
    #: After it: what arrived was shown.
    TRUNCATED = "truncated"
    #: Its caller went away.
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call of a model that has ended."""

    #: LiteLLM's name of the model that was called.
    model: str
    #: Which call of the request it was, from 1, over all models.
    attempt: int
    outcome: CallOutcome
    #: The code of the ModelError; empty without one.
    error_code: str
    #: For the worker's log alone: the provider's own words.
    detail: str
    usage: Usage
    #: US dollars that this server owes for it; None where the price is unknown.
    cost: Decimal | None
    #: It went to an endpoint of the caller's own, who pays for it.
    own_endpoint: bool
    started_at: datetime
    #: Seconds.
    duration: float
    #: Seconds from the start to the first piece of content; None where none came.
    time_to_first_token: float | None
    #: Makes a record that is written twice recognisable. Sorts by the time of the call's end.
    id: uuid.UUID = field(default_factory=uuid7)

    @property
    def first_token_at(self) -> datetime | None:
        """When the first piece of content came."""
        if self.time_to_first_token is None:
            return None
        return self.started_at + timedelta(seconds=self.time_to_first_token)


#: Receives each call when it has ended, before its EndChunk is passed on. Must neither wait nor raise.
type Observer = Callable[[CallRecord], object]

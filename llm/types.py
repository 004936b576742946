"""Requests to models and their answers, independent of any provider."""

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

from llm.wire.pieces import BodyPieces

type ModelRole = Literal["system", "user", "assistant", "tool"]

#: Images that all providers read, as data or at an address that the provider fetches itself.
IMAGE_URL_PATTERN = re.compile(
    r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}|https://[^\s\"<>]+", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelToolCall:
    """A complete request of a model to run a tool."""

    id: str
    name: str
    arguments: dict[str, Any]
    #: What the model wrote where that is not a JSON object, or one that cannot be stored; `arguments` are empty then.
    raw_arguments: str = ""
    #: Fields that only the call's provider understands, such as a signature. They go back to it unchanged.
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelImage:
    """A picture in a message: a data URL (png, jpeg, gif, webp), or an https URL. Raises ValueError."""

    url: str
    #: The level of detail, in OpenAI's words; empty: the provider's default.
    detail: str = ""
    #: Characters of the message's text that come before it; None: all of them.
    at: int | None = None
    #: Of an image of a session.
    id: str = ""

    def __post_init__(self) -> None:
        if not IMAGE_URL_PATTERN.fullmatch(self.url):
            raise ValueError("an image is a data URL of a png, jpeg, gif or webp in base64, or an https URL")

    @property
    def is_remote(self) -> bool:
        """Return whether the provider must fetch it."""
        return self.url.startswith("https:")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMessage:
    """One message of the conversation that a model gets."""

    role: ModelRole
    content: str
    #: Facts beside a user's message, which are not the user's words. They follow the text.
    surroundings: str = ""
    #: Calls in an assistant message.
    tool_calls: tuple[ModelToolCall, ...] = ()
    #: The call whose result a tool message has.
    tool_call_id: str = ""
    #: Images in a message of a user or a tool, in their order. A model that reads none gets their number.
    images: tuple[ModelImage, ...] = ()
    #: The speaker, if several have the same role.
    name: str = ""
    #: Fields of an answer that only its provider understands, such as thoughts. They go back to it unchanged.
    extra: Mapping[str, Any] = field(default_factory=dict)
    #: That provider (`llm.origins`), also of the `extra` of calls. No other one gets them.
    origin: str = ""
    #: Whether a caller wants the prefix that ends here in the provider's cache, if that takes marks.
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that a model may ask for."""

    name: str
    description: str
    #: JSON Schema of the arguments, an object.
    parameters: dict[str, Any]
    #: Whether the arguments must match exactly, if the caller says so.
    strict: bool | None = None
    #: As of a message.
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A caller's own address and key. A caller's address never gets the operator's key."""

    #: Of an OpenAI-compatible server, `https://host/v1`; empty: the operator's.
    api_base: str = ""
    #: Empty: none. Without an address it replaces the operator's key.
    api_key: str = field(default="", repr=False)
    #: Whether the operator allows addresses of this machine and its networks.
    allow_private: bool = False
    #: Whether the caller pays for its calls: not where the key goes to a server of the operator's.
    is_callers_expense: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A request for one answer of a model. It may take several calls (`llm.calls`)."""

    model: str
    messages: tuple[ModelMessage, ...]
    tools: tuple[Tool, ...] = ()
    #: Further parameters in OpenAI's words (`temperature`, `tool_choice` …). The caller limits which.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: None: the provider's limit.
    max_output_tokens: int | None = None
    #: Fields of the wire format that the provider refuses, in OpenAI's words; they are not sent.
    omitted: frozenset[str] = frozenset()
    endpoint: Endpoint | None = None
    #: The model that a caller wrote the messages for, which gets them as they are. Empty: they are a session's, and
    #: what strict providers refuse in them is repaired (`llm.wire.history`).
    written_for: str = ""
    #: Whether the caller wrote in the words of an API that few providers speak: then messages are repaired as well, and
    #: options for thinking translated or left out (`llm.wire.thinking`).
    is_translated: bool = False
    #: Models to call in turn when this one fails before its first output; None: those of the catalog.
    fallbacks: tuple[str, ...] | None = None
    #: The most calls of each model, the first one included.
    tries: int = 3
    #: Seconds: after a provider that asks for a longer wait the next model is called.
    max_retry_delay: float = 10
    #: Seconds from a call to its first piece of content.
    first_token_timeout: float = 60
    #: Seconds between two pieces of content.
    idle_timeout: float = 30
    #: Seconds of one complete call.
    call_timeout: float = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """The tokens of one call."""

    #: Includes cached tokens.
    input_tokens: int = 0
    #: Includes reasoning.
    output_tokens: int = 0
    #: The part of the input that the provider had cached.
    cached_tokens: int = 0
    #: The part of the input that the provider has added to its cache, which some charge more for.
    cache_write_tokens: int = 0
    #: The part of the output that is reasoning.
    reasoning_tokens: int = 0
    #: Whether the counts are estimates, at four bytes a token, because the provider reported none.
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A piece of the answer; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningChunk:
    """A piece of the model's reasoning, if the provider shows it; never empty, never a part of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallChunk:
    """A piece of a tool call. Each index is one call, even where the provider numbers calls in another way.

    Names and arguments are pieces to be joined, and come once.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    #: Fields that only the provider understands, such as a signature. They go back to it unchanged.
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndChunk:
    """The provider's own end marker, always the last chunk. A stream without it was cut."""

    #: One of OpenAI's words (`llm.finish`), whatever the provider's own is.
    reason: str
    #: The stop text of the request that ended the answer, if the provider says so.
    stop: str = ""
    #: None: the provider reported none. `llm.calls` replaces it with an estimate.
    usage: TokenUsage | None = None
    #: What the provider wants back unchanged with the message: thoughts by its own name for them, and signatures.
    extra: Mapping[str, Any] = field(default_factory=dict)


type Chunk = TextChunk | ReasoningChunk | ToolCallChunk | EndChunk

#: The chunks of a model's answer, in order, the last one an EndChunk. Raises `llm.errors.ModelError`.
type ModelStream = AsyncGenerator[Chunk]


#: A text, or its tokens as the model counts them.
type Text = str | Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """A request for embeddings of texts."""

    model: str
    inputs: tuple[Text, ...]
    #: The length of a vector; None: the model's own.
    dimensions: int | None = None
    endpoint: Endpoint | None = None
    #: In seconds.
    call_timeout: float = 60


@dataclass(frozen=True, slots=True)
class Vectors:
    """One vector for each text, in order."""

    vectors: Sequence[Sequence[float]]
    usage: TokenUsage

    def pack(self) -> list[str]:
        """Return the vectors in OpenAI's packed form: 32-bit floats, little-endian, in base64."""
        return [base64.b64encode(struct.pack(f"<{len(each)}f", *each)).decode() for each in self.vectors]


def unpack(vector: str) -> list[float]:
    """Return the numbers of a packed vector."""
    data = base64.b64decode(vector)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


class CallOutcome(StrEnum):
    """How a call ended."""

    COMPLETED = "completed"
    #: Before the first output.
    FAILED = "failed"
    #: After the first output, which users have seen.
    TRUNCATED = "truncated"
    #: By its caller.
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One finished call of a model."""

    #: LiteLLM's name.
    model: str
    #: The number of the call within its request, from 1, over all models.
    attempt: int
    outcome: CallOutcome
    #: The code of the ModelError; empty without one.
    error_code: str
    #: The provider's own words, only for staff: they may repeat what a user wrote.
    detail: str
    usage: TokenUsage
    #: US dollars that this server owes for it; None: unknown.
    cost: Decimal | None
    #: Whether it went to the caller's own endpoint, so that the caller pays for it.
    own_endpoint: bool
    started_at: datetime
    #: Seconds.
    duration: float
    #: The provider that answered (`llm.origins`).
    origin: str = ""
    #: The request as it was sent. None: the call has ended before.
    sent: BodyPieces | None = field(default=None, repr=False)
    #: Seconds from the start to the first piece of content, if there was one.
    time_to_first_token: float | None
    #: Identifies a record that is written twice. Sorts by the time of the call's end.
    id: uuid.UUID = field(default_factory=uuid7)

    @property
    def first_token_at(self) -> datetime | None:
        """Return when the first piece of content arrived."""
        if self.time_to_first_token is None:
            return None
        return self.started_at + timedelta(seconds=self.time_to_first_token)


#: Receives each finished call before its EndChunk is passed on. Must neither wait nor raise.
type Observer = Callable[[CallRecord], object]

"""Requests of the Responses API, as pydantic reads them.

Items and tools are of many types, and clients send new ones before servers know them. So one class has the fields of
all items, and the translation decides by their type. Null means left out, as typed clients write it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sessions.api.completions.bounds import MAX_MESSAGES, MAX_OUTPUT_TOKENS, MAX_PARTS, MAX_TOOLS
from sessions.protocol.codes import MAX_CALL_ID_LENGTH

MAX_ID_LENGTH = 128
MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE = 16, 64, 512


def _require_no_truth(value: Any) -> Any:
    """Return what may be a number. Python's own conversion takes true for 1."""
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def check_input(items: Any) -> Any:
    """Return an input as it is. Raises ValueError for another type, too many items, or too many parts in them."""
    if not isinstance(items, str | list):
        raise ValueError("should be a text or a list of items")
    if isinstance(items, list):
        if len(items) > MAX_MESSAGES:
            raise ValueError(f"at most {MAX_MESSAGES:,} items")
        contents = (each.get(name) for each in items if isinstance(each, dict) for name in ("content", "output"))
        if sum(len(content) for content in contents if isinstance(content, list)) > MAX_PARTS:
            raise ValueError(f"at most {MAX_PARTS:,} parts in all items")
    return items


type _Number = Annotated[int | float, BeforeValidator(_require_no_truth)]
type _Integer = Annotated[int, BeforeValidator(_require_no_truth)]
type _Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
type _Id = Annotated[str, Field(max_length=MAX_ID_LENGTH)]
type _CallId = Annotated[str, Field(max_length=MAX_CALL_ID_LENGTH)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


class Part(_Input):
    """A part of a message, of a tool's output, or of reasoning."""

    type: str = ""
    text: str = ""
    refusal: str = ""
    #: An address or data. Some clients write the object of chat completions.
    image_url: Any = None
    detail: Any = None
    file_data: str = ""
    filename: str = ""


def _read_part(part: Any) -> Any:
    return {"type": "input_text", "text": part} if isinstance(part, str) else part


type _Parts = list[Annotated[Part, BeforeValidator(_read_part)]]


class Tool(_Input):
    """A tool: a function, a custom tool, a namespace of both, or one that OpenAI runs itself."""

    type: str
    name: _Name | None = None
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: dict[str, Any] | None = None
    tools: Annotated[list["Tool"], Field(max_length=MAX_TOOLS)] | None = None


class Item(_Input):
    """An item of the input. `model_extra` has the fields that only some types have."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    type: str = ""
    id: _Id = ""
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | _Parts | None = None
    call_id: _CallId = ""
    name: Annotated[str, Field(max_length=128)] = ""
    namespace: Annotated[str, Field(max_length=128)] = ""
    arguments: Any = None
    input: Any = None
    output: Any = None
    encrypted_content: str = ""
    tools: Annotated[list[Tool], Field(max_length=MAX_TOOLS)] | None = None

    @property
    def kind(self) -> str:
        """Return the type. A message may leave it out, and so may a reference, which has nothing but its id."""
        return self.type or ("message" if self.role else "item_reference" if self.id else "")


class Reasoning(_Input):
    """How the model should think."""

    effort: Annotated[str, Field(max_length=32)] | None = None
    summary: Annotated[str, Field(max_length=32)] | None = None


class TextFormat(_Input):
    """The form of the answer's text."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: Annotated[str, Field(max_length=64)] = "answer"
    description: str | None = None
    json_schema: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class TextConfig(_Input):
    """What the answer's text should be like."""

    format: TextFormat | None = None
    verbosity: Annotated[str, Field(max_length=32)] | None = None


def _check_metadata(value: Any) -> Any:
    """Return metadata as it is. Raises ValueError for more than OpenAI takes."""
    if isinstance(value, dict):
        if len(value) > MAX_METADATA:
            raise ValueError(f"at most {MAX_METADATA} pairs")
        for key, text in value.items():
            if len(key) > MAX_METADATA_KEY or (isinstance(text, str) and len(text) > MAX_METADATA_VALUE):
                raise ValueError(f"keys have at most {MAX_METADATA_KEY} characters, values {MAX_METADATA_VALUE}")
    return value


class ResponsesRequest(_Input):
    """A request for a response. `model_extra` has fields that are not supported."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    model: Annotated[str, Field(min_length=1, max_length=200)]
    input: Annotated[str | list[Item], BeforeValidator(check_input)] = Field(default_factory=list)
    instructions: str | None = None
    previous_response_id: _Id | None = None
    include: Annotated[list[str], Field(max_length=32)] | None = None
    tools: Annotated[list[Tool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[_Integer, Field(ge=1, lt=2**31)] | None = None
    max_output_tokens: Annotated[_Integer, Field(ge=1, le=MAX_OUTPUT_TOKENS)] | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    temperature: _Number | None = None
    top_p: _Number | None = None
    presence_penalty: _Number | None = None
    frequency_penalty: _Number | None = None
    top_logprobs: _Integer | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: Annotated[dict[str, str] | None, BeforeValidator(_check_metadata)] = None
    safety_identifier: Annotated[str, Field(max_length=512)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=512)] | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    store: bool = True
    background: bool = False
    stream: bool = False

    @property
    def items(self) -> list[Item]:
        """Return the input as items; a text is a user's message."""
        if isinstance(self.input, str):
            return [Item(type="message", role="user", content=self.input)]
        return self.input

"""Requests in OpenAI's words, as pydantic reads them.

Typed clients write null for what they leave out, so null means that everywhere. Unknown fields are ignored, as by other
servers.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from llm.sizes import MAX_CALLS, MAX_DIMENSIONS
from sessions.api.completions.bounds import MAX_MESSAGES, MAX_OUTPUT_TOKENS, MAX_TOOLS, check_inputs, check_parts
from sessions.protocol.codes import MAX_CALL_ID_LENGTH

#: Types of parts of a message that are texts, and that are images. Some servers take the names of the Responses API.
TEXT_TYPES = ("text", "refusal", "input_text", "output_text")
IMAGE_TYPES = ("image_url", "input_image")
#: Types of parts that models write for themselves. Clients send them back, and other providers could not read them.
THOUGHT_TYPES = ("thinking", "reasoning", "redacted_thinking")


def _require_no_truth(value: Any) -> Any:
    """Return what may be a number, also one in a text. Python's own conversion takes true for 1."""
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def _read_limit(limit: Any) -> Any:
    """Return a limit of tokens; for many servers 0 and -1 mean none."""
    return None if _require_no_truth(limit) in (0, -1, "0", "-1") else limit


#: How a model's tokens are numbered.
type _Token = Annotated[int, Field(ge=0, lt=2**31)]
type _Limit = Annotated[Annotated[int, Field(gt=0, le=MAX_OUTPUT_TOKENS)] | None, BeforeValidator(_read_limit)]
type _Integer = Annotated[int, BeforeValidator(_require_no_truth)]
type _Number = Annotated[int | float, BeforeValidator(_require_no_truth)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


class Part(_Input):
    """A part of a message: a text or an image."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Any = None
    detail: Any = None

    @property
    def words(self) -> str:
        """Return the text."""
        return self.text or self.refusal or ""


def _read_part(part: Any) -> Any:
    return {"type": "text", "text": part} if isinstance(part, str) else part


type _Content = list[Annotated[Part, BeforeValidator(_read_part)]]


class CalledFunction(_Input):
    """What a model called. The arguments are a text, which need not be JSON; some servers write the object itself."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: str | dict[str, Any] = ""


class Call(_Input):
    """A call of a tool in an assistant's message."""

    id: Annotated[str, Field(min_length=1, max_length=MAX_CALL_ID_LENGTH)]
    function: CalledFunction
    #: Signatures, by the names of several servers (`llm.wire.thoughts`). Only the provider that made them reads them.
    extra_content: dict[str, Any] | None = None
    provider_specific_fields: dict[str, Any] | None = None
    signature: str | None = None
    thought_signature: str | None = None

    @property
    def extra(self) -> dict[str, Any]:
        """Return the signatures that the call has."""
        names = Call.model_fields.keys() - {"id", "function"}
        return {name: value for name in sorted(names) if (value := getattr(self, name)) is not None}


def _only[T](kind: type[T]) -> BeforeValidator:
    """Return a validator that leaves out values of another type: they were ignored before, and nothing is lost."""
    return BeforeValidator(lambda value: value if isinstance(value, kind) else None)


class ChatMessage(_Input):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | _Content | None = None
    name: Annotated[str, Field(max_length=128)] | None = None
    tool_calls: Annotated[list[Call], Field(max_length=MAX_CALLS)] | None = None
    tool_call_id: Annotated[str, Field(max_length=MAX_CALL_ID_LENGTH)] = ""
    #: Thoughts, by the names of several servers. Some refuse the next request of a tool loop without them.
    reasoning_content: Annotated[str | None, _only(str)] = None
    reasoning_details: Annotated[list[Any] | None, _only(list)] = None
    thinking_blocks: Annotated[list[Any] | None, _only(list)] = None
    #: Of the API before tools. Only its absence can be used.
    function_call: Any = None

    @property
    def thoughts(self) -> dict[str, Any]:
        """Return the thoughts that an answer came with, by the names of their fields."""
        names = ("reasoning_content", "reasoning_details", "thinking_blocks")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def parts(self) -> list[Part]:
        """Return the parts of the content, if it has parts."""
        return self.content if isinstance(self.content, list) else []

    @property
    def text(self) -> str:
        """Return the text, with its parts put together."""
        if isinstance(self.content, list):
            return "\n".join(part.words for part in self.content if part.type in TEXT_TYPES)
        return self.content or ""


class ToolFunction(_Input):
    """The function of a tool."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ChatTool(_Input):
    """A tool that the caller can run."""

    type: Literal["function"] = "function"
    function: ToolFunction


class _StreamOptions(_Input):
    include_usage: bool = False


class Options(_Input):
    """Parameters that are passed to the model as they are."""

    frequency_penalty: _Number | None = None
    logit_bias: dict[str, _Number] | None = None
    parallel_tool_calls: bool | None = None
    presence_penalty: _Number | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, Any] | None = None
    seed: _Integer | None = None
    stop: str | list[str] | None = None
    temperature: _Number | None = None
    tool_choice: str | dict[str, Any] | None = None
    top_p: _Number | None = None
    user: str | None = None
    verbosity: str | None = None

    # What many servers and clients know besides, and OpenAI itself refuses.
    chat_template_kwargs: dict[str, Any] | None = None
    enable_thinking: bool | None = None
    grammar: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    guided_json: str | dict[str, Any] | None = None
    guided_regex: str | None = None
    min_p: _Number | None = None
    min_tokens: _Integer | None = None
    reasoning: dict[str, Any] | None = None
    repeat_penalty: _Number | None = None
    repetition_penalty: _Number | None = None
    stop_token_ids: list[_Token] | None = None
    structured_outputs: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    top_a: _Number | None = None
    top_k: _Integer | None = None
    typical_p: _Number | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Return those that the request has."""
        return {name: value for name in Options.model_fields if (value := getattr(self, name)) is not None}


class ChatRequest(Options):
    """A request for an answer."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES), BeforeValidator(check_parts)]
    tools: Annotated[list[ChatTool], Field(max_length=MAX_TOOLS)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: _Limit = None
    max_completion_tokens: _Limit = None
    n: _Integer | None = None

    @property
    def include_usage(self) -> bool:
        """Return whether a stream ends with the tokens used."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def tool_names(self) -> list[str]:
        """Return the names of the tools that the caller can run."""
        return [tool.function.name for tool in self.tools or ()]


class EmbeddingsBody(_Input):
    """A request for the embeddings of texts, or of texts that are tokens already."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    input: Annotated[str | list[str] | list[_Token] | list[list[_Token]], BeforeValidator(check_inputs)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(gt=0, le=MAX_DIMENSIONS)] | None = None
    user: str | None = None

    @property
    def inputs(self) -> list[Any]:
        """Return the texts one by one, or the lists of tokens."""
        if isinstance(self.input, str):
            return [self.input]
        if self.input and isinstance(self.input[0], int):
            return [self.input]
        return list(self.input)

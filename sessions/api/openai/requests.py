"""Requests in OpenAI's words, as pydantic reads them, and what they mean here.

Unknown fields are ignored, as by other servers. A field that would change the answer and is not supported is an error.
"""

import json
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from llm.sizes import MAX_CALLS, MAX_DIMENSIONS
from llm.types import ModelImage
from sessions.api.openai.bounds import (
    MAX_INPUTS,
    MAX_MESSAGES,
    MAX_NUMBERS,
    MAX_OUTPUT_TOKENS,
    MAX_TOOLS,
    check_inputs,
    check_parts,
    require_bounded,
    require_stops,
)
from sessions.api.openai.errors import UNSUPPORTED_PARAMETER, UNSUPPORTED_VALUE, invalid
from sessions.api.openai.models import agent_of
from sessions.models import CompletionKind
from sessions.protocol.codes import MAX_CALL_ID_LENGTH
from sessions.turns.completions import CompletionRequest

#: Parameters that are passed to the model as they are.
OPTIONS = (
    "frequency_penalty",
    "logit_bias",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "temperature",
    "tool_choice",
    "top_p",
    "user",
    "verbosity",
)
#: Types of parts of a message that are texts.
TEXT_TYPES = ("text", "refusal")
#: How a model's tokens are numbered.
type _Token = Annotated[int, Field(ge=0, lt=2**31)]
type _Limit = Annotated[int, Field(gt=0, le=MAX_OUTPUT_TOKENS)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Part(_Input):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: dict[str, Any] | None = None

    @property
    def words(self) -> str:
        return self.text or self.refusal or ""


class _Function(_Input):
    name: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: str = ""


class _Call(_Input):
    id: Annotated[str, Field(min_length=1, max_length=MAX_CALL_ID_LENGTH)]
    function: _Function


class ChatMessage(_Input):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    name: Annotated[str, Field(max_length=128)] | None = None
    tool_calls: Annotated[list[_Call], Field(max_length=MAX_CALLS)] | None = None
    tool_call_id: Annotated[str, Field(max_length=MAX_CALL_ID_LENGTH)] = ""

    @property
    def text(self) -> str:
        """Return the text, with its parts put together."""
        if isinstance(self.content, list):
            return "\n".join(part.words for part in self.content if part.type in TEXT_TYPES)
        return self.content or ""


class _ToolFunction(_Input):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(_Input):
    type: Literal["function"]
    function: _ToolFunction


class _StreamOptions(_Input):
    include_usage: bool = False


class ChatRequest(_Input):
    """A request for an answer. The fields in OPTIONS have the types that the provider wants."""

    model_config = ConfigDict(extra="allow", frozen=True)

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES), BeforeValidator(check_parts)]
    tools: Annotated[list[_Tool], Field(max_length=MAX_TOOLS)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: _Limit | None = None
    max_completion_tokens: _Limit | None = None
    n: int | None = None

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


def chat(request: ChatRequest) -> CompletionRequest:
    """Return the completion that a request asks for. Raises OpenAIError."""
    agent = agent_of(request.model)
    require_supported(request)
    extra = request.model_extra or {}
    options = {name: extra[name] for name in OPTIONS if extra.get(name) is not None}
    for name, option in options.items():
        require_bounded(option, name)
    if "stop" in options:
        require_stops(options["stop"])
    tools = [_tool(tool.function) for tool in request.tools or ()]
    require_bounded(tools, "tools")
    if limit := request.max_completion_tokens or request.max_tokens:
        options["max_tokens"] = limit
    return CompletionRequest(
        model=request.model,
        agent=agent,
        messages=[storable(_message(each, place)) for place, each in enumerate(request.messages)],
        tools=storable(tools),
        options=storable(options),
    )


def embeddings(request: EmbeddingsBody) -> CompletionRequest:
    """Return the embeddings that a request asks for. Raises OpenAIError."""
    if agent_of(request.model):
        raise invalid("model", "An agent makes no embeddings; name a model for that.")
    inputs = request.inputs
    if not 0 < len(inputs) <= MAX_INPUTS or not all(inputs):
        raise invalid("input", f"Send 1 to {MAX_INPUTS} texts at once, none of them empty.")
    if len(inputs) * (request.dimensions or 0) > MAX_NUMBERS:
        raise invalid("dimensions", f"At most {MAX_NUMBERS:,} numbers at once: send fewer texts.")
    options = {"dimensions": request.dimensions} if request.dimensions else {}
    return CompletionRequest(
        kind=CompletionKind.EMBEDDINGS, model=request.model, messages=storable(inputs), options=dict(options)
    )


def require_supported(request: ChatRequest) -> None:
    """Raise OpenAIError for fields that would change the answer and are not supported."""
    extra = request.model_extra or {}
    if request.n not in (None, 1):
        raise invalid("n", "One answer for each request: leave `n` out, or send 1.", UNSUPPORTED_VALUE)
    for name in ("logprobs", "top_logprobs", "audio", "functions", "function_call", "web_search_options"):
        if extra.get(name):
            raise invalid(name, f"`{name}` is not supported here; leave it out.", UNSUPPORTED_PARAMETER)
    if extra.get("modalities") not in (None, ["text"]):
        raise invalid("modalities", "Answers are text here.", UNSUPPORTED_VALUE)


def _message(message: ChatMessage, place: int) -> dict[str, Any]:
    where = f"messages.{place}"
    role = "system" if message.role == "developer" else message.role
    row: dict[str, Any] = {"role": role, "content": message.text}
    if message.name:
        row["name"] = message.name
    if images := images_of(message, where):
        if role != "user":
            raise invalid(f"{where}.content", "Only a user's message has images.")
        row["images"] = [{k: v for k, v in asdict(image).items() if v not in ("", None)} for image in images]
    if message.tool_calls and role == "assistant":
        row["tool_calls"] = [_call(call, where) for call in message.tool_calls]
    if role == "tool":
        if not message.tool_call_id:
            raise invalid(f"{where}.tool_call_id", "A tool's message names the call that it answers.")
        row["tool_call_id"] = message.tool_call_id
    return row


def images_of(message: ChatMessage, where: str) -> list[ModelImage]:
    """Return the images of a message, as data or addresses. Raises OpenAIError.

    An image between texts has its position in `text`, one behind all text has none.
    """
    images: list[tuple[_Part, int]] = []
    position = -1
    for part in message.content if isinstance(message.content, list) else ():
        if part.type in TEXT_TYPES:
            position += 1 + len(part.words)
        else:
            images.append((part, max(position, 0)))
    return [_image(part, None if at == len(message.text) else at, where) for part, at in images]


def _image(part: _Part, at: int | None, where: str) -> ModelImage:
    image = part.image_url or {}
    url, detail = image.get("url"), image.get("detail") or ""
    if part.type != "image_url" or not isinstance(url, str) or not isinstance(detail, str):
        raise invalid(f"{where}.content", "The parts of a message are texts and images (`text`, `image_url`) here.")
    try:
        return ModelImage(url, detail, at)
    except ValueError as error:
        raise invalid(f"{where}.content", f"{str(error).capitalize()}.") from None


def _call(call: _Call, where: str) -> dict[str, Any]:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise invalid(f"{where}.tool_calls", f"The arguments of the call `{call.id}` are not a JSON object.")
    require_bounded(arguments, f"{where}.tool_calls")
    return {"id": call.id, "name": call.function.name, "arguments": arguments}


def _tool(function: _ToolFunction) -> dict[str, Any]:
    parameters = function.parameters or {"type": "object", "properties": {}}
    tool = {"name": function.name, "description": function.description, "parameters": parameters}
    return tool if function.strict is None else {**tool, "strict": function.strict}


def storable(value: Any) -> Any:
    """Return JSON without what neither PostgreSQL nor UTF-8 can hold: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [storable(each) for each in value]
    if isinstance(value, dict):
        return {storable(name): storable(each) for name, each in value.items()}
    return value

"""What requests in OpenAI's words mean here.

A field that would change the answer and cannot be served is an error that names it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from llm.types import ModelImage
from sessions.api.completions.bounds import MAX_INPUTS, MAX_NUMBERS, require_bounded, require_stops, storable
from sessions.api.completions.errors import UNSUPPORTED_PARAMETER, UNSUPPORTED_VALUE, invalid
from sessions.api.completions.models import agent_of
from sessions.api.completions.rows import image_of, image_row, read_arguments
from sessions.api.openai.schemas import (
    IMAGE_TYPES,
    TEXT_TYPES,
    THOUGHT_TYPES,
    Call,
    ChatMessage,
    ChatRequest,
    EmbeddingsBody,
    ToolFunction,
)
from sessions.models import CompletionKind
from sessions.turns.completions import CompletionRequest

#: Replaces the images of tools' results: only a user's message has images, and so they follow the results.
IMAGES_FOLLOW = "[Its images follow in the next message of the user.]"
IMAGES_OF_RESULTS = "[Images of the tools' results above.]"
#: Options that mean something only with tools.
TOOL_OPTIONS = ("tool_choice", "parallel_tool_calls")


def chat(request: ChatRequest, *, in_session: bool = False) -> CompletionRequest:
    """Return the completion that a request asks for. Raises CompletionError.

    A session keeps the images of a tool's result with the result.
    """
    agent = agent_of(request.model)
    _require_supported(request)
    tools = [_tool(tool.function) for tool in request.tools or ()]
    require_bounded(tools, "tools")
    messages = _messages(request.messages)
    return CompletionRequest(
        model=request.model,
        agent=agent,
        messages=[storable(row) for row in (messages if in_session else _place_images(messages))],
        tools=storable(tools),
        options=storable(_options(request)),
    )


def embeddings(request: EmbeddingsBody) -> CompletionRequest:
    """Return the embeddings that a request asks for. Raises CompletionError."""
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


def _require_supported(request: ChatRequest) -> None:
    """Raise CompletionError for fields that would change the answer and are not supported."""
    extra = request.model_extra or {}
    if request.n not in (None, 1):
        raise invalid("n", "One answer for each request: leave `n` out, or send 1.", UNSUPPORTED_VALUE)
    if extra.get("function_call") not in (None, "auto", "none"):
        raise invalid("function_call", "Send `tools` and `tool_choice` instead.", UNSUPPORTED_PARAMETER)
    if extra.get("functions"):
        raise invalid("functions", "Send `tools` instead.", UNSUPPORTED_PARAMETER)
    for name in ("logprobs", "top_logprobs", "audio", "web_search_options"):
        if extra.get(name):
            raise invalid(name, f"`{name}` is not supported here; leave it out.", UNSUPPORTED_PARAMETER)
    if extra.get("modalities") not in (None, [], ["text"]):
        raise invalid("modalities", "Answers are text here.", UNSUPPORTED_VALUE)


def _options(request: ChatRequest) -> dict[str, Any]:
    options = request.options
    for name, option in options.items():
        require_bounded(option, name)
    if "stop" in options:
        require_stops(options["stop"])
        if not (options["stop"] and any(options["stop"])):
            del options["stop"]
    names, choice = request.tool_names, options.get("tool_choice")
    if not names and choice not in (None, "auto", "none"):
        raise invalid("tool_choice", "The request has no `tools` to choose from.")
    function = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(function, dict) and function.get("name") not in names:
        raise invalid("tool_choice", "The request has no tool of this name.")
    if not names:
        # Providers refuse them.
        options = {name: option for name, option in options.items() if name not in TOOL_OPTIONS}
    if limit := request.max_completion_tokens or request.max_tokens:
        options["max_tokens"] = limit
    return options


def _messages(messages: list[ChatMessage]) -> Iterator[dict[str, Any]]:
    """Yield messages as they are stored. Raises CompletionError."""
    last = max((place for place, message in enumerate(messages) if message.role == "user"), default=-1)
    for place, message in enumerate(messages):
        row = _message(message, place)
        if message.role == "assistant" and message.thoughts and (message.tool_calls or place > last):
            # Behind the loop of an answer nothing needs its thoughts, and some servers refuse them.
            require_bounded(message.thoughts, f"messages.{place}")
            row["extra"] = message.thoughts
        yield row


def _place_images(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield messages with the images of tools' results in a message of the user behind them."""
    images: list[dict[str, Any]] = []
    for row in rows:
        if row["role"] == "tool" and (own := row.pop("images", [])):
            images += [{name: each for name, each in image.items() if name != "at"} for image in own]
            row["content"] = f"{row['content']}\n{IMAGES_FOLLOW}".lstrip("\n")
        elif row["role"] != "tool" and images:
            yield {"role": "user", "content": IMAGES_OF_RESULTS, "images": images}
            images = []
        yield row
    if images:
        yield {"role": "user", "content": IMAGES_OF_RESULTS, "images": images}


def _message(message: ChatMessage, place: int) -> dict[str, Any]:
    where = f"messages.{place}"
    role = "system" if message.role == "developer" else message.role
    row: dict[str, Any] = {"role": role, "content": message.text}
    if message.name:
        row["name"] = message.name
    if message.function_call:
        raise invalid(f"{where}.function_call", "Send `tool_calls` instead.", UNSUPPORTED_PARAMETER)
    if images := images_of(message, where):
        if role not in ("user", "tool"):
            raise invalid(f"{where}.content", "Only messages of users and tools have images.")
        row["images"] = list(map(image_row, images))
    if message.tool_calls and role == "assistant":
        row["tool_calls"] = [_call(call, where) for call in message.tool_calls]
    if role == "tool":
        if not message.tool_call_id:
            raise invalid(f"{where}.tool_call_id", "A tool's message names the call that it answers.")
        row["tool_call_id"] = message.tool_call_id
    return row


def images_of(message: ChatMessage, where: str) -> list[ModelImage]:
    """Return the images of a message, as data or addresses. Raises CompletionError.

    An image between texts has its position in `text`, one behind all text has none.
    """
    images: list[tuple[ModelImage, int]] = []
    position = -1
    for part in message.parts:
        if part.type in TEXT_TYPES:
            position += 1 + len(part.words)
        elif part.type in IMAGE_TYPES:
            images.append((image_of(part.image_url, part.detail, f"{where}.content"), max(position, 0)))
        elif part.type not in THOUGHT_TYPES:
            kind = part.type[:40]
            text = f"Parts of the type `{kind}` cannot be used: send texts and images (`text`, `image_url`)."
            raise invalid(f"{where}.content", text)
    end = len(message.text)
    return [ModelImage(image.url, image.detail, None if at == end else at) for image, at in images]


def _call(call: Call, where: str) -> dict[str, Any]:
    arguments = read_arguments(call.function.arguments)
    require_bounded(arguments, f"{where}.tool_calls")
    require_bounded(call.extra, f"{where}.tool_calls")
    row = {"id": call.id, "name": call.function.name, "arguments": arguments}
    return {**row, "extra": call.extra} if call.extra else row


def _tool(function: ToolFunction) -> dict[str, Any]:
    parameters = function.parameters or {"type": "object", "properties": {}}
    tool = {"name": function.name, "description": function.description, "parameters": parameters}
    return tool if function.strict is None else {**tool, "strict": function.strict}

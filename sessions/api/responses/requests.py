"""What requests of the Responses API mean here.

A field that would change the answer and cannot be served is an error that names it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from sessions.api.completions.bodies import MAX_BYTES
from sessions.api.completions.bounds import MAX_MESSAGES, require_bounded, storable
from sessions.api.completions.errors import UNSUPPORTED_PARAMETER, UNSUPPORTED_VALUE, invalid
from sessions.api.completions.models import agent_of
from sessions.api.responses.conversation import Conversation
from sessions.api.responses.schemas import Item, ResponsesRequest, TextFormat
from sessions.api.responses.tools import read_choice, read_tools
from sessions.models import CompletionApi
from sessions.turns.completions import CompletionRequest

#: Fields that would change the answer.
UNSUPPORTED = ("conversation", "prompt", "moderation")
LOGPROBS = "message.output_text.logprobs"
#: Items that bring tools of their own.
TOOL_ITEMS = ("additional_tools", "tool_search_output")
ITEM_NOT_FOUND = "item_not_found"
TOO_LONG = f"With what the request refers to, the conversation is longer than {MAX_BYTES:,} bytes: send a shorter one."
#: Fields that a response repeats as they were.
REPEATED = (
    "previous_response_id",
    "tool_choice",
    "parallel_tool_calls",
    "max_tool_calls",
    "max_output_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "user",
)


@dataclass(frozen=True, slots=True)
class Known:
    """What a request refers to: the conversation so far, and items by their ids."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    #: The output of the response before, which follows the rows.
    output: list[dict[str, Any]] = field(default_factory=list)
    items: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    #: A live session has the conversation: whatever a request refers to is an answer there.
    is_live: bool = False


LIVE = Known(is_live=True)
#: Stands for an item of a session, behind which the new ones begin.
EARLIER_ANSWER = Item(type="message", role="assistant", content="(An earlier answer.)")


def references(body: ResponsesRequest) -> list[str]:
    """Return the ids of the items that a request only names."""
    return [item.id for item in body.items if item.kind == "item_reference"]


def translate(body: ResponsesRequest, known: Known) -> CompletionRequest:
    """Return the completion that a request asks for. Raises CompletionError."""
    agent = agent_of(body.model)
    _require_supported(body)
    extra_tools = [tool for item in body.items if item.kind in TOOL_ITEMS for tool in item.tools or ()]
    tools, client_tools = read_tools([*(body.tools or ()), *extra_tools])
    choice, tools = read_choice(body.tool_choice, tools)
    messages = _messages(body, known)
    return CompletionRequest(
        api=CompletionApi.RESPONSES,
        model=body.model,
        agent=agent,
        messages=storable(messages),
        tools=storable(tools),
        options=storable(_options(body, choice, has_tools=bool(tools))),
        details=storable({**_details(body), "tools": client_tools}),
        is_background=body.background,
        is_stored=body.store,
    )


def _messages(body: ResponsesRequest, known: Known) -> list[dict[str, Any]]:
    conversation = Conversation()
    conversation.rows += known.rows
    free = MAX_BYTES - (len(to_json([known.rows, known.output])) if known.rows or known.output else 0)
    if free < 0:
        raise invalid("previous_response_id", TOO_LONG)
    for earlier in known.output:
        conversation.add(Item.model_validate(earlier), "previous_response_id")
    for where, item in _resolved(body.items, known, free):
        conversation.add(item, where)
    messages = conversation.finished()
    if not messages:
        raise invalid("input", "The request has no `input`.")
    if len(messages) > MAX_MESSAGES:
        raise invalid("input", f"At most {MAX_MESSAGES:,} messages.")
    # Those of the response before do not count any more.
    return [{"role": "system", "content": body.instructions}, *messages] if body.instructions else messages


def _resolved(items: Iterable[Item], known: Known, free: int) -> Iterator[tuple[str, Item]]:
    """Yield items with their places, and in place of references what they refer to, up to so many bytes in all.

    A reference is short, and may be repeated.
    """
    for place, item in enumerate(items):
        where = f"input.{place}"
        if item.kind != "item_reference":
            yield where, item
        elif known.is_live:
            yield where, EARLIER_ANSWER
        elif found := known.items.get(item.id):
            free -= len(to_json(found))
            if free < 0:
                raise invalid(where, TOO_LONG)
            yield where, Item.model_validate(found)
        else:
            raise invalid(f"{where}.id", "The item is not stored here: send the item itself.", ITEM_NOT_FOUND)


def _require_supported(body: ResponsesRequest) -> None:
    for name in UNSUPPORTED:
        if (body.model_extra or {}).get(name):
            raise invalid(name, f"`{name}` is not supported here; leave it out.", UNSUPPORTED_PARAMETER)
    if body.top_logprobs or LOGPROBS in (body.include or ()):
        name = "top_logprobs" if body.top_logprobs else "include"
        raise invalid(name, "Probabilities of tokens are not supported here.", UNSUPPORTED_VALUE)
    if body.background and not body.store:
        raise invalid("background", "A response in the background is stored: leave `store` out.", UNSUPPORTED_VALUE)


def _options(body: ResponsesRequest, choice: Any, *, has_tools: bool) -> dict[str, Any]:
    """Return the options in chat's words."""
    options: dict[str, Any] = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "max_tokens": body.max_output_tokens,
        "user": body.user,
    }
    if has_tools:
        # Providers refuse them without tools.
        options |= {"tool_choice": choice, "parallel_tool_calls": body.parallel_tool_calls}
    if body.reasoning:
        options["reasoning_effort"] = body.reasoning.effort
    if body.text:
        options |= {"verbosity": body.text.verbosity, "response_format": _format(body.text.format)}
    return {name: value for name, value in options.items() if value is not None}


def _format(form: TextFormat | None) -> dict[str, Any] | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return {"type": "json_object"}
    if form.json_schema is None:
        raise invalid("text.format.schema", "A format of the type `json_schema` has its `schema`.")
    require_bounded(form.json_schema, "text.format.schema")
    described = {"name": form.name, "description": form.description, "schema": form.json_schema, "strict": form.strict}
    return {"type": "json_schema", "json_schema": {k: v for k, v in described.items() if v is not None}}


def _details(body: ResponsesRequest) -> dict[str, Any]:
    """Return what the response repeats of its request, as far as the completion has it nowhere else."""
    require_bounded(body.tool_choice, "tool_choice")
    details = {name: value for name in REPEATED if (value := getattr(body, name)) is not None}
    if body.instructions:
        # They are the first message.
        details["has_instructions"] = True
    if body.reasoning:
        details["reasoning"] = {"effort": body.reasoning.effort, "summary": body.reasoning.summary}
    if body.text:
        details["text"] = body.text.model_dump(by_alias=True, exclude_none=True)
    return details

"""What requests in Anthropic's words mean here.

A field that would change the answer and cannot be served is an error that names it. What Claude Code sends to every
server, and Anthropic's alone can use, is left out: tools of its servers, `context_management`, fields of betas.
"""

import re
from dataclasses import replace
from typing import Any

from sessions.api.completions.anthropic_models import resolve
from sessions.api.completions.bounds import MAX_STOP_CHARACTERS, MAX_STOPS, require_bounded, storable
from sessions.api.completions.errors import invalid
from sessions.api.messages.blocks import rows_of
from sessions.api.messages.schemas import CustomTool, MessagesRequest, OutputFormat, Prompt, TextBlock
from sessions.models import CompletionApi
from sessions.turns.completions import CompletionRequest

#: Claude Code's line about itself, before its instructions: its version, and a mark that changes.
ATTRIBUTION = re.compile(r"x-anthropic-billing-header:[^\n]*\n*")
#: Wishes that providers know. Another one is left out: a new level must not stop a client.
EFFORTS = ("low", "medium", "high", "xhigh", "max")
#: What `thinking` becomes.
THINKING = {"adaptive": "adaptive", "between_tools": "adaptive", "enabled": "enabled", "disabled": "disabled"}
#: The smallest budget for thoughts that Anthropic takes.
MIN_BUDGET_TOKENS = 1024
TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
FORMAT_NAME = "answer"


def completion(request: MessagesRequest) -> CompletionRequest:
    """Return the completion that a request asks for. Raises CompletionError."""
    wanted = prompt(request)
    options: dict[str, Any] = {"max_tokens": request.max_tokens}
    if stops := [each for each in request.stop_sequences if each]:
        if len(stops) > MAX_STOPS or any(len(each) > MAX_STOP_CHARACTERS for each in stops):
            limit = f"at most {MAX_STOPS} texts of {MAX_STOP_CHARACTERS:,} characters"
            raise invalid("stop_sequences", f"`stop_sequences` are {limit}.")
        options["stop"] = stops
    for name in ("temperature", "top_p", "top_k"):
        if (value := getattr(request, name)) is not None:
            options[name] = value
    return replace(wanted, options=storable({**wanted.options, **options}))


def prompt(request: Prompt) -> CompletionRequest:
    """Return what the model reads, without the parameters of its answer. Raises CompletionError."""
    model, agent = resolve(request.model)
    rows = list(_instructions(request.system))
    for place, message in enumerate(request.messages):
        rows += rows_of(message, f"messages.{place}")
    if all(row["role"] == "system" for row in rows):
        raise invalid("messages", "The conversation has neither a text, an image nor the result of a tool.")
    _drop_old_thoughts(rows)
    return CompletionRequest(
        api=CompletionApi.MESSAGES,
        model=model,
        agent=agent,
        messages=[storable(row) for row in rows],
        tools=storable(_tools(request)),
        options=storable(_options(request)),
    )


def tool_names(request: Prompt) -> list[str]:
    """Return the names of the tools that the caller can run."""
    return [tool.name for tool in request.tools if isinstance(tool, CustomTool)]


def _instructions(system: str | list[TextBlock]) -> list[dict[str, Any]]:
    """Return the rows of the instructions. The line about the client is left out: no provider could cache the rest."""
    blocks = [TextBlock(type="text", text=system)] if isinstance(system, str) else system
    rows: list[dict[str, Any]] = []
    for place, block in enumerate(blocks):
        if text := ATTRIBUTION.sub("", block.text, count=1) if place == 0 and _is_attributed(block) else block.text:
            rows.append({"role": "system", "content": text, **({"cached": True} if block.cache_control else {})})
    return rows


def _is_attributed(block: TextBlock) -> bool:
    return ATTRIBUTION.match(block.text) is not None


def _drop_old_thoughts(rows: list[dict[str, Any]]) -> None:
    """Leave out thoughts that nothing needs, and some servers refuse: those of answers without calls.

    Anthropic decides about its own, and a prefix without them would not be in its cache.
    """
    last = max((place for place, row in enumerate(rows) if row["role"] == "user"), default=-1)
    for row in rows[: last + 1]:
        if "extra" in row and not row.get("tool_calls") and "thinking_blocks" not in row["extra"]:
            del row["extra"], row["origin"]


def _tools(request: Prompt) -> list[dict[str, Any]]:
    tools = []
    names: set[str] = set()
    for place, tool in enumerate(request.tools):
        if not isinstance(tool, CustomTool):
            continue
        if tool.name in names:
            raise invalid(f"tools.{place}.name", "Tool names must be unique.")
        names.add(tool.name)
        row: dict[str, Any] = {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.input_schema or {"type": "object", "properties": {}},
        }
        if tool.strict is not None:
            row["strict"] = tool.strict
        if tool.cache_control:
            row["cached"] = True
        tools.append(row)
    require_bounded(tools, "tools")
    return tools


def _options(request: Prompt) -> dict[str, Any]:
    options = _tool_choice(request)
    if thinking := request.thinking:
        options |= _thinking(thinking.type, thinking.budget_tokens)
    config = request.output_config
    if config and config.effort in EFFORTS:
        options["reasoning_effort"] = config.effort
    if chosen := (config.format if config else None) or request.output_format:
        options["response_format"] = _response_format(chosen)
    return options


def _thinking(kind: str, budget: int | None) -> dict[str, Any]:
    if kind not in THINKING:
        return {}
    if kind != "enabled":
        return {"thinking": {"type": THINKING[kind]}}
    if budget is None or budget < MIN_BUDGET_TOKENS:
        raise invalid("thinking.budget_tokens", f"The budget for thoughts is at least {MIN_BUDGET_TOKENS:,} tokens.")
    return {"thinking": {"type": kind, "budget_tokens": budget}}


def _response_format(chosen: OutputFormat) -> dict[str, Any]:
    require_bounded(chosen.schema_, "output_config.format")
    form: dict[str, Any] = {"name": FORMAT_NAME, "schema": chosen.schema_}
    if _is_closed(chosen.schema_):
        form["strict"] = True
    return {"type": "json_schema", "json_schema": form}


def _is_closed(schema: Any) -> bool:
    """Return whether all objects have exactly the fields of a schema. OpenAI refuses other schemas as strict ones."""
    if isinstance(schema, list):
        return all(map(_is_closed, schema))
    if not isinstance(schema, dict):
        return True
    fields = schema.get("properties")
    if isinstance(fields, dict) or schema.get("type") == "object":
        required = schema.get("required") or []
        if schema.get("additionalProperties") is not False or not isinstance(required, list):
            return False
        if any(name not in required for name in fields or {}):
            return False
    return all(map(_is_closed, schema.values()))


def _tool_choice(request: Prompt) -> dict[str, Any]:
    choice, names = request.tool_choice, tool_names(request)
    if choice is None:
        return {}
    if not request.tools and choice.type in ("any", "tool"):
        raise invalid("tool_choice", "The request has no `tools` to choose from.")
    if choice.type == "tool" and choice.name not in [tool.name for tool in request.tools]:
        raise invalid("tool_choice.name", "The request has no tool of this name.")
    if not names or (choice.type == "tool" and choice.name not in names):
        # Providers refuse a choice without tools, and a tool of Anthropic's is left out.
        return {}
    wanted = TOOL_CHOICES.get(choice.type) or {"type": "function", "function": {"name": choice.name}}
    return {"tool_choice": wanted, **({"parallel_tool_calls": False} if choice.disable_parallel_tool_use else {})}

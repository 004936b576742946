"""Tools of the Responses API as the functions that all providers know, and their calls as the client knows them.

A custom tool takes a text: here it is a function with one text. A namespace is a group of tools: here their names begin
with the namespace's. OpenAI's servers run other tools themselves; those do not exist here and are left out.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from sessions.api.completions.bounds import MAX_TOOLS, require_bounded
from sessions.api.completions.errors import UNSUPPORTED_VALUE, invalid
from sessions.api.responses.schemas import Tool

#: The only argument of a custom tool.
INPUT = "input"
INPUT_SCHEMA = {
    "type": "object",
    "properties": {INPUT: {"type": "string", "description": "The whole input of the tool, as plain text."}},
    "required": [INPUT],
    "additionalProperties": False,
}
GRAMMAR = "\n\nThe input must follow this {syntax} grammar:\n{definition}"
#: Longer names are refused by providers.
MAX_NAME_LENGTH = 64
EMPTY_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}


def provider_name(name: str, namespace: str = "") -> str:
    """Return the name by which models know a tool. It does not depend on the other tools of a request."""
    if not namespace:
        return name
    joined = f"{namespace}__{name}"
    if len(joined) <= MAX_NAME_LENGTH:
        return joined
    end = f"_{sha256(joined.encode()).hexdigest()[:8]}"
    return joined[: MAX_NAME_LENGTH - len(end)] + end


def read_tools(tools: Iterable[Tool]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return tools as they are stored, and by their names what the client calls those that are not plain functions.

    Raises CompletionError.
    """
    rows: dict[str, dict[str, Any]] = {}
    client_tools: dict[str, Any] = {}
    for tool, namespace in _flat(tools):
        name = provider_name(tool.name or "", namespace)
        rows[name] = _row(tool, name)
        if tool.type == "custom" or namespace:
            fields = {"type": tool.type, "name": tool.name, "namespace": namespace, "format": tool.format}
            client_tools[name] = {k: v for k, v in fields.items() if v}
            if tool.type == "custom":
                client_tools[name]["description"] = tool.description
    if len(rows) > MAX_TOOLS:
        raise invalid("tools", f"At most {MAX_TOOLS} tools.")
    require_bounded(list(rows.values()), "tools")
    require_bounded(client_tools, "tools")
    return list(rows.values()), client_tools


def _flat(tools: Iterable[Tool], namespace: str = "") -> Iterator[tuple[Tool, str]]:
    """Yield functions and custom tools with their namespaces."""
    for tool in tools:
        if tool.type == "namespace" and not namespace:
            yield from _flat(tool.tools or (), tool.name or "")
        elif tool.type in ("function", "custom"):
            if not tool.name:
                raise invalid("tools", "A tool has a `name`.")
            yield tool, namespace


def _row(tool: Tool, name: str) -> dict[str, Any]:
    if tool.type == "custom":
        form = tool.format or {}
        description = tool.description
        if form.get("type") == "grammar" and isinstance(form.get("definition"), str):
            description += GRAMMAR.format(syntax=form.get("syntax", ""), definition=form["definition"])
        return {"name": name, "description": description, "parameters": INPUT_SCHEMA}
    row = {"name": name, "description": tool.description, "parameters": tool.parameters or EMPTY_SCHEMA}
    return row if tool.strict is None else {**row, "strict": tool.strict}


def read_choice(choice: Any, rows: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """Return which tool the model has to call, in chat's words, and those that it may call. Raises CompletionError."""
    if choice is None or choice in ("auto", "none", "required"):
        if choice == "required" and not rows:
            raise invalid("tool_choice", "The request has no `tools` to choose from.")
        return choice, rows
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind in ("function", "custom"):
        name = _named(choice, rows)
        return {"type": "function", "function": {"name": name}}, rows
    if kind == "allowed_tools" and isinstance(allowed := choice.get("tools"), list):
        calls = [each for each in allowed if isinstance(each, dict) and each.get("type") in ("function", "custom")]
        names = {_named(each, rows) for each in calls}
        mode = choice.get("mode")
        return mode if mode in ("none", "required") else "auto", [row for row in rows if row["name"] in names]
    raise invalid("tool_choice", "Choose `auto`, `none`, `required`, or a tool of the request.", UNSUPPORTED_VALUE)


def _named(choice: Mapping[str, Any], rows: list[dict[str, Any]]) -> str:
    name, namespace = choice.get("name"), choice.get("namespace") or ""
    if isinstance(name, str) and isinstance(namespace, str):
        known = provider_name(name, namespace)
        if any(row["name"] == known for row in rows):
            return known
    raise invalid("tool_choice", "The request has no tool of this name.")


def describe(rows: Iterable[Mapping[str, Any]], client_tools: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tools of a request as the client has sent them, without those that were left out."""
    described: list[dict[str, Any]] = []
    namespaces: dict[str, dict[str, Any]] = {}
    for row in rows:
        own = client_tools.get(row["name"], {})
        if own.get("type") == "custom":
            tool = {k: own[k] for k in ("type", "name", "description", "format") if k in own}
        else:
            tool = {
                "type": "function",
                "name": own.get("name", row["name"]),
                "description": row["description"] or None,
                "parameters": row["parameters"],
                "strict": row.get("strict"),
            }
        if not (namespace := own.get("namespace")):
            described.append(tool)
        elif namespace in namespaces:
            namespaces[namespace]["tools"].append(tool)
        else:
            namespaces[namespace] = {"type": "namespace", "name": namespace, "description": "", "tools": [tool]}
            described.append(namespaces[namespace])
    return described


def custom_arguments(text: str) -> dict[str, Any]:
    """Return the input of a custom tool as a function's arguments."""
    return {INPUT: text}


def call_item(call: Mapping[str, Any], client_tools: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a call as an item of the output; `key` ends its id. A custom tool gets the text that the model wrote."""
    own = client_tools.get(call["name"], {})
    arguments = call["arguments"]
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    names = {"call_id": call["id"], "name": own.get("name", call["name"])}
    if "namespace" in own:
        names["namespace"] = own["namespace"]
    if own.get("type") == "custom":
        text = arguments.get(INPUT) if isinstance(arguments, dict) else None
        item = {"type": "custom_tool_call", "id": f"ctc_{key}", **names}
        return {**item, "input": text if isinstance(text, str) else written, "status": "completed"}
    return {"type": "function_call", "id": f"fc_{key}", **names, "arguments": written, "status": "completed"}

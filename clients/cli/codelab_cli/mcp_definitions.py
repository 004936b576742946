"""What a tool of an MCP server becomes: an entry of `hello.tools`, which the server of CodeLab takes."""

import hashlib
import json
import re
from typing import Any

import jsonschema
import mcp_types as types

from codelab_cli.tools import texts

MAX_DESCRIPTION_CHARACTERS = 2_000
MAX_SCHEMA_BYTES = 20_000
MAX_NAME_CHARACTERS = 64


def define(server: str, tool: types.Tool) -> tuple[dict[str, Any] | None, str]:
    """Return an entry of `hello.tools`, or None and why there is none."""
    schema = tool.input_schema
    if problem := _find_schema_problem(schema):
        return None, problem
    reads = bool(tool.annotations and tool.annotations.read_only_hint)
    description = tool.description or (tool.annotations.title if tool.annotations else None) or tool.title or tool.name
    return {
        "name": name_of(server, tool.name),
        "description": texts.cut(description, MAX_DESCRIPTION_CHARACTERS),
        "parameters": schema,
        # A server says of itself that it only reads, so a person is asked all the same.
        "kind": "read" if reads else "other",
        "approval": "ask",
    }, ""


def name_of(server: str, tool: str) -> str:
    """Return the name by which the model knows a tool: letters that all providers take, and no more than they take."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", f"mcp__{server}__{tool}")
    if len(name) <= MAX_NAME_CHARACTERS:
        return name
    digest = hashlib.sha256(f"{server}\n{tool}".encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME_CHARACTERS - 9]}_{digest}"


def _find_schema_problem(schema: dict[str, Any]) -> str:
    """Return why the server of CodeLab would refuse a schema, and all tools with it; or an empty text."""
    try:
        text = json.dumps(schema)
        if len(text) > MAX_SCHEMA_BYTES:
            return "its schema is too large"
        if schema.get("type") != "object" or not isinstance(schema.get("properties", {}), dict):
            return "its schema is not one of an object"
        if re.search(r'"\$(ref|schema|id)": "(?!#|https?://json-schema\.org/)', text):
            return "its schema refers to another document"
        jsonschema.validators.validator_for(schema).check_schema(schema)
        for pattern in re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', text):
            re.compile(json.loads(f'"{pattern}"'))
    except (jsonschema.SchemaError, re.error, ValueError, RecursionError):
        return "its schema is invalid"
    return ""

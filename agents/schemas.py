"""JSON Schemas of arguments as every provider takes them: no references, no unions with null, no rare keywords.

Providers refuse or ignore different parts of JSON Schema; what is left here is what all of them read. The rest is
still checked when a call arrives.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

KEPT = frozenset(
    {"type", "description", "enum", "items", "properties", "required"}
    | {"minimum", "maximum"}
    | {"minItems", "maxItems"}
)


def schema_of(model: type[BaseModel], *, agents: Sequence[str] = ()) -> dict[str, Any]:
    """Return a model's schema; where it takes an agent, the names given are the choice."""
    whole = model.model_json_schema(by_alias=True)
    return _simple(whole, whole.get("$defs", {}), agents)


def _simple(node: dict[str, Any], definitions: dict[str, Any], agents: Sequence[str]) -> dict[str, Any]:
    node = _resolved(node, definitions)
    simple = {key: value for key, value in node.items() if key in KEPT}
    if node.get("format") == "agent" and agents:
        simple["enum"] = list(agents)
    default = node.get("default")
    if default not in (None, "", []):
        simple["description"] = f"{simple.get('description', '')} Default: {json.dumps(default)}.".strip()
    if "items" in simple:
        simple["items"] = _simple(simple["items"], definitions, agents)
    if "properties" in simple:
        simple["properties"] = {name: _simple(each, definitions, agents) for name, each in simple["properties"].items()}
    return simple


def _resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Put what a reference or an optional value stands for in its place; what stands beside it wins."""
    while True:
        if "$ref" in node:
            beside = {key: value for key, value in node.items() if key != "$ref"}
            node = {**definitions[node["$ref"].rpartition("/")[2]], **beside}
        elif "anyOf" in node or "allOf" in node:
            word = "anyOf" if "anyOf" in node else "allOf"
            (meant,) = [choice for choice in node[word] if choice.get("type") != "null"]
            node = {**meant, **{key: value for key, value in node.items() if key != word}}
        else:
            return node

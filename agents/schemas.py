"""JSON Schemas of arguments that every provider accepts: no references, no unions with null, no rare keywords.

Providers refuse or ignore different parts of JSON Schema. Constraints that are left out here are still checked when a
call arrives.
"""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

PORTABLE_KEYWORDS = frozenset(
    {"type", "description", "enum", "items", "properties", "required"}
    | {"minimum", "maximum"}
    | {"minItems", "maxItems"}
)


def schema_of(model: type[BaseModel], *, agents: Sequence[str] = ()) -> dict[str, Any]:
    """Return a model's schema, in which `agents` are the choices for every agent's name."""
    schema = model.model_json_schema(by_alias=True)
    return _simplify(schema, schema.get("$defs", {}), agents)


def _simplify(node: dict[str, Any], definitions: dict[str, Any], agents: Sequence[str]) -> dict[str, Any]:
    node = _resolve(node, definitions)
    simple = {key: value for key, value in node.items() if key in PORTABLE_KEYWORDS}
    if node.get("format") == "agent" and agents:
        simple["enum"] = list(agents)
    default = node.get("default")
    if default not in (None, "", []):
        simple["description"] = f"{simple.get('description', '')} Default: {json.dumps(default)}.".strip()
    if "items" in simple:
        simple["items"] = _simplify(simple["items"], definitions, agents)
    if "properties" in simple:
        properties = simple["properties"].items()
        simple["properties"] = {name: _simplify(each, definitions, agents) for name, each in properties}
    return simple


def _resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Replace a reference or an optional value with its target; keywords beside it take precedence."""
    while True:
        if "$ref" in node:
            siblings = {key: value for key, value in node.items() if key != "$ref"}
            node = {**definitions[node["$ref"].rpartition("/")[2]], **siblings}
        elif "anyOf" in node or "allOf" in node:
            keyword = "anyOf" if "anyOf" in node else "allOf"
            (target,) = [choice for choice in node[keyword] if choice.get("type") != "null"]
            node = {**target, **{key: value for key, value in node.items() if key != keyword}}
        else:
            return node

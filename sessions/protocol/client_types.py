"""The types of the clients: frames, events and the snapshot in TypeScript and in Python, from the JSON Schemas.

`make schema` writes them to clients/. They describe what this version sends and reads, so they have no `unknown` rest;
clients ignore fields and kinds that they do not know. This module imports no client.
"""

import keyword
import re
from collections.abc import Callable, Iterable
from graphlib import TopologicalSorter
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from sessions.protocol.client import CLIENT_FRAME
from sessions.protocol.events import PAYLOADS
from sessions.protocol.server import Accepted, Error, EventFrame, ToolCallRequest, Welcome

NOTE = "Generated from the server's schemas by `make schema`. Do not edit."
#: Line length of generated Python, as of all Python here.
LINE_LENGTH = 120
REFERENCE = re.compile(r"'(#/\$defs/\w+)'")
#: What the types are for. Clients of codelab.v2 get no other frames of the server than these.
ROOTS: dict[str, tuple[TypeAdapter[Any], JsonSchemaMode]] = {
    "ClientFrame": (CLIENT_FRAME, "validation"),
    "ServerFrame": (TypeAdapter(Welcome | Accepted | EventFrame | ToolCallRequest | Error), "serialization"),
}

type Schema = dict[str, Any]


def typescript() -> str:
    """Return the text of a TypeScript declaration file."""
    blocks = [f"/** The frames, events and snapshots of codelab.v2. {NOTE} */"]
    for name, schema in _definitions().items():
        comment = f"/** {_summary(name, schema)} */\n"
        if "properties" not in schema:
            blocks.append(f"{comment}export type {name} = {_typescript(schema)};")
            continue
        lines = [
            f"  {key}{'' if key in schema.get('required', ()) else '?'}: {_typescript(each)};"
            for key, each in schema["properties"].items()
        ]
        blocks.append("\n".join([f"{comment}export interface {name} {{", *lines, "}"]))
    kinds = [f"  {kind}: {payload.__name__};" for kind, payload in PAYLOADS.items()]
    blocks.append("\n".join(["/** The payload of each kind of event. */", "export interface Payloads {", *kinds, "}"]))
    return "\n\n".join(blocks) + "\n"


def _typescript(schema: Schema) -> str:
    match schema:
        case {"$ref": reference}:
            return _name(reference)
        case {"const": value}:
            return _literal(value, {True: "true", False: "false"})
        case {"enum": values}:
            return " | ".join(_literal(value, {}) for value in values)
        case {"oneOf": options} | {"anyOf": options}:
            return " | ".join(dict.fromkeys(map(_typescript, options)))
        case {"type": "array", "items": items}:
            return f"Array<{_typescript(items)}>"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"Record<string, {_typescript(values)}>"
        case {"type": str(kind)}:
            scalars = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean"}
            return {**scalars, "null": "null"}.get(kind, "Record<string, unknown>")
    return "unknown"


def python() -> str:
    """Return the text of a Python module."""
    blocks = [f'"""The frames, events and snapshots of codelab.v2. {NOTE}"""']
    blocks.append("from typing import Any, Literal, NotRequired, TypedDict")
    classes = []
    for name, schema in _definitions().items():
        if "properties" not in schema:
            blocks.append(_alias(name, _options(schema)))
            continue
        lines = [f"class {name}(TypedDict):", f'    """{_summary(name, schema)}"""', ""]
        for key, each in schema["properties"].items():
            if keyword.iskeyword(key):
                raise ValueError(f"{name}.{key}: a field of a TypedDict cannot have the name of a keyword.")
            hint = _python(each)
            lines.append(f"    {key}: {hint if key in schema.get('required', ()) else f'NotRequired[{hint}]'}")
        classes.append("\n".join(lines))
    kinds = [f'"{kind}"' for kind in PAYLOADS]
    blocks.append("#: The kinds of events.\ntype Kind = Literal[\n" + "".join(f"    {kind},\n" for kind in kinds) + "]")
    payloads = [payload.__name__ for payload in PAYLOADS.values()]
    blocks.append("#: What an event holds.\n" + _alias("Payload", payloads))
    return "\n\n".join(blocks[:2]) + "\n\n" + "\n".join(blocks[2:]) + "\n\n\n" + "\n\n\n".join(classes) + "\n"


def _alias(name: str, options: Iterable[str]) -> str:
    options = list(options)
    line = f"type {name} = {' | '.join(options)}"
    if len(line) <= LINE_LENGTH:
        return line
    return f"type {name} = (\n    " + "\n    | ".join(options) + "\n)"


def _options(schema: Schema) -> list[str]:
    return [_python(option) for option in schema.get("oneOf") or schema.get("anyOf") or [schema]]


def _python(schema: Schema) -> str:
    match schema:
        case {"$ref": reference}:
            return _name(reference)
        case {"const": value}:
            return f"Literal[{_literal(value, {})}]"
        case {"enum": values}:
            return f"Literal[{', '.join(_literal(value, {}) for value in values)}]"
        case {"oneOf": _} | {"anyOf": _}:
            return " | ".join(dict.fromkeys(_options(schema)))
        case {"type": "array", "items": items}:
            return f"list[{_python(items)}]"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"dict[str, {_python(values)}]"
        case {"type": str(kind)}:
            scalars = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
            return scalars.get(kind, "dict[str, Any]")
    return "Any"


def _summary(name: str, schema: Schema) -> str:
    return " ".join(schema.get("description", f"{name}.").split("\n\n")[0].split())


def _literal(value: Any, words: dict[Any, str]) -> str:
    return f'"{value}"' if isinstance(value, str) else words.get(value, str(value))


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _definitions() -> dict[str, Schema]:
    """Return all types by name: the roots, then each after the types that it mentions."""
    roots, shared = TypeAdapter.json_schemas([(name, mode, adapter) for name, (adapter, mode) in ROOTS.items()])
    types: dict[str, Schema] = {**shared["$defs"]}
    _hoist(types)
    named = {name: schema for (name, _), schema in roots.items()}
    for name, schema in named.items():
        # The same under its own name.
        named[name] = types.pop(_name(schema["$ref"])) if "$ref" in schema else schema
    _hoist(named)
    graph = {name: sorted({_name(each) for each in REFERENCE.findall(str(each))}) for name, each in types.items()}
    return named | {name: types[name] for name in TopologicalSorter(graph).static_order()}


def _hoist(definitions: dict[str, Schema]) -> None:
    """Replace objects inside others by references, because a type that is used once stands where it is used."""

    def visit(schema: Schema) -> Schema:
        for key, each in schema.items():
            if isinstance(each, dict):
                schema[key] = replaced(each) if key != "properties" else {n: replaced(p) for n, p in each.items()}
            elif isinstance(each, list):
                schema[key] = [replaced(one) if isinstance(one, dict) else one for one in each]
        return schema

    def replaced(schema: Schema) -> Schema:
        if "properties" not in schema:
            return visit(schema)
        definitions.setdefault(schema["title"], visit(schema))
        return {"$ref": f"#/$defs/{schema['title']}"}

    for schema in list(definitions.values()):
        visit(schema)


#: What is written, below clients/.
FILES: dict[str, Callable[[], str]] = {"javascript/types.d.ts": typescript, "python/codelab_client/types.py": python}

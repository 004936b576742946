"""Makes the JSON Schema of a function's parameters, for the usual types. For others give `parameters` yourself."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from codelab_client.events import Json

SCALARS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema_of(function: Callable[..., Any]) -> Json:
    """Return the schema of an object with a property for each parameter. Raises TypeError for other types."""
    hints = get_type_hints(function)
    properties: Json = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{function.__name__}: a tool has named parameters only, not *{name}.")
        given = name.removesuffix("_")
        properties[given] = _schema(hints.get(name, str))
        if parameter.default is parameter.empty:
            required.append(given)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _schema(hint: Any) -> Json:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in SCALARS:
        return {"type": SCALARS[hint]}
    if hint is Any:
        return {}
    if origin is Literal:
        return {"enum": list(arguments)}
    if hint is list or origin is list:
        return {"type": "array", "items": _schema(arguments[0]) if arguments else {}}
    if hint is dict or origin is dict:
        return {"type": "object"}
    if origin in (Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if one is type(None) else _schema(one) for one in arguments]}
    raise TypeError(f"{hint!r} has no schema here: pass `parameters` to the decorator.")

"""The socket's protocol as JSON Schema and AsyncAPI 3.0, for the tools of those who write clients.

The documents must come from the types of this package alone. `manage.py export_protocol` writes them to docs/protocol,
and a test fails when they differ.
"""

from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from sessions.protocol.client import CLIENT_FRAME, ClientFrame
from sessions.protocol.results import TOOL_RESULTS
from sessions.protocol.server import EVENT, AnyServerFrame, ServerFrame
from sessions.protocol.snapshot import SNAPSHOT

DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: The documents of one schema each: what it describes, and its type.
SCHEMAS: dict[str, tuple[str, TypeAdapter[Any], JsonSchemaMode]] = {
    "client-frame": ("A frame that a client sends", CLIENT_FRAME, "validation"),
    "server-frame": ("A frame that the server sends", TypeAdapter(AnyServerFrame), "serialization"),
    "event": ("An event of codelab.v2", EVENT, "serialization"),
    "tool-results": ("The results of the tools that clients run", TOOL_RESULTS, "validation"),
    "snapshot": ("The state of a session in codelab.v2", SNAPSHOT, "serialization"),
}


def asyncapi(version: str) -> dict[str, Any]:
    """Return the AsyncAPI document of the WebSocket."""
    client, server = ClientFrame.__subclasses__(), ServerFrame.__subclasses__()
    inputs: list[tuple[type[BaseModel], JsonSchemaMode]] = [(frame, "validation") for frame in client]
    outputs: list[tuple[type[BaseModel], JsonSchemaMode]] = [(frame, "serialization") for frame in server]
    _, schemas = models_json_schema([*inputs, *outputs], ref_template="#/components/schemas/{model}")
    messages = {frame.__name__: _message(frame) for frame in [*client, *server]}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "CodeLab AI Service: the socket of a session",
            "version": version,
            "description": "Text frames with one JSON object each. Unknown fields are ignored in both directions.",
        },
        "channels": {
            "session": _channel("/ws/{session_id}", "pieces of messages as they come (`?stream=tokens`)", messages),
            "sessionOfTheOriginal": _channel(
                "/api/v1/ws/{session_id}", "whole messages, and which agent answers (`?stream=messages`)", messages
            ),
        },
        "operations": {
            "send": _operation("receive", "session", [frame.__name__ for frame in client]),
            "follow": _operation("send", "session", [frame.__name__ for frame in server]),
        },
        "components": {"messages": messages, "schemas": schemas["$defs"]},
    }


def json_schemas() -> dict[str, Any]:
    """Return the JSON Schemas of the frames of both sides, of an event and of a snapshot."""
    return {
        name: {
            "$schema": DIALECT,
            "$id": f"urn:codelab:protocol:{name}",
            **adapter.json_schema(mode=mode),
            "title": title,
        }
        for name, (title, adapter, mode) in SCHEMAS.items()
    }


def _message(frame: type) -> dict[str, Any]:
    return {
        "name": frame.__name__,
        "summary": (frame.__doc__ or "").strip(),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{frame.__name__}"},
    }


def _channel(address: str, what: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": address,
        "description": f"One session; by default it streams {what}.",
        "parameters": {"session_id": {"description": "A name of the client's choice, at most 128 characters."}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }


def _operation(action: str, channel: str, names: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
    }

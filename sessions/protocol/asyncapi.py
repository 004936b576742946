"""The socket's frames as JSON Schema and AsyncAPI 3.0, for the tools of those who write clients.

The documents must come from the frame types alone. `manage.py export_protocol` writes them to docs/protocol, and a test
fails when they differ.
"""

from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from sessions.protocol.client import CLIENT_FRAME, ClientFrame
from sessions.protocol.server import AnyServerFrame, ServerFrame

SERVER_FRAME: TypeAdapter[Any] = TypeAdapter(AnyServerFrame)


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
    """Return the JSON Schemas of a frame from a client and of a frame from the server."""
    return {"client-frame": CLIENT_FRAME.json_schema(), "server-frame": SERVER_FRAME.json_schema(mode="serialization")}


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

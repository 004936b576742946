"""JSON-RPC 2.0 as the Agent Client Protocol uses it: decodes and encodes messages, knows codes of errors. Pure."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from pydantic_core import to_json

from sessions.protocol.client import ESCAPED_NUL, decode_json, require_clean_text
from sessions.protocol.codes import ErrorCode, Rejected

#: Bytes of one message of a client: a prompt may show an image of 5 MiB in base64.
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
#: Of an id of a request: those of prompts are kept until their turns end.
MAX_ID_LENGTH = 200

type RequestId = int | str | None


class Code(IntEnum):
    """The codes of errors that JSON-RPC and the Agent Client Protocol define."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    REQUEST_CANCELLED = -32800
    AUTH_REQUIRED = -32000
    RESOURCE_NOT_FOUND = -32002


class RpcError(Exception):
    """A message that cannot be served; `request_id` is that of the request, where it is known."""

    def __init__(
        self, code: int, text: str, *, request_id: RequestId = None, data: dict[str, Any] | None = None
    ) -> None:
        super().__init__(text)
        self.code, self.request_id, self.data = code, request_id, data


@dataclass(frozen=True, slots=True)
class Request:
    """A request, or a notification, which gets no answer."""

    method: str
    params: dict[str, Any]
    id: RequestId = None
    is_notification: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """A client's answer to a request of the server."""

    id: RequestId
    result: Any = None
    error: dict[str, Any] = field(default_factory=dict)


def decode(text: str) -> Request | Response:
    """Return a message. Raises RpcError, without an id where the message may be an answer."""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > MAX_MESSAGE_BYTES:
        raise RpcError(Code.INVALID_REQUEST, f"A message may have at most {MAX_MESSAGE_BYTES // 1024**2} MiB.")
    try:
        require_clean_text(text)
        message = decode_json(data)
    except (ValueError, Rejected) as error:
        raise RpcError(Code.PARSE_ERROR, f"The message is not JSON: {error}.") from None
    if isinstance(message, list):
        raise RpcError(Code.INVALID_REQUEST, "Batches are not part of the Agent Client Protocol: send one message.")
    if not isinstance(message, dict):
        raise RpcError(Code.INVALID_REQUEST, "A message is a JSON object with `jsonrpc`, `method` and `params`.")
    decoded = _message(message)
    # An answer may be the output of a tool, which may have any character.
    if isinstance(decoded, Request) and ESCAPED_NUL.search(data):
        text = "The message contains the character NUL, which cannot be stored."
        code = {"error_code": str(ErrorCode.INVALID_TEXT)}
        raise RpcError(Code.INVALID_PARAMS, text, request_id=decoded.id, data=code)
    return decoded


def _message(message: dict[str, Any]) -> Request | Response:
    method, request_id = message.get("method"), message.get("id")
    has_id = request_id is None or (isinstance(request_id, int | str) and not isinstance(request_id, bool))
    if not has_id:
        raise RpcError(Code.INVALID_REQUEST, "`id` must be a string, an integer or null.")
    if len(str(request_id)) > MAX_ID_LENGTH:
        raise RpcError(Code.INVALID_REQUEST, f"`id` may have at most {MAX_ID_LENGTH} characters.")
    if "method" not in message:
        if "id" not in message or ("result" not in message and not isinstance(message.get("error"), dict)):
            raise RpcError(Code.INVALID_REQUEST, "The message has no `method`, and is no answer either.")
        error = message.get("error")
        return Response(request_id, message.get("result"), error if isinstance(error, dict) else {})
    if message.get("jsonrpc") != "2.0":
        raise RpcError(Code.INVALID_REQUEST, '`jsonrpc` must be "2.0".', request_id=request_id)
    if not isinstance(method, str):
        raise RpcError(Code.INVALID_REQUEST, "`method` must be a string.", request_id=request_id)
    params = message.get("params")
    if params is not None and not isinstance(params, dict):
        raise RpcError(Code.INVALID_PARAMS, "`params` must be an object.", request_id=request_id)
    return Request(method, params or {}, request_id, is_notification="id" not in message)


def result(request_id: RequestId, value: Any) -> str:
    """Return an answer as JSON text."""
    return _encode({"id": request_id, "result": value})


def error(request_id: RequestId, code: int, text: str, data: dict[str, Any] | None = None) -> str:
    """Return an error as JSON text."""
    fields = {"code": int(code), "message": text, **({"data": data} if data else {})}
    return _encode({"id": request_id, "error": fields})


def notification(method: str, params: dict[str, Any]) -> str:
    """Return a notification as JSON text."""
    return _encode({"method": method, "params": params})


def request(request_id: int, method: str, params: dict[str, Any]) -> str:
    """Return a request as JSON text."""
    return _encode({"id": request_id, "method": method, "params": params})


def _encode(fields: dict[str, Any]) -> str:
    return to_json({"jsonrpc": "2.0", **fields}, inf_nan_mode="null").decode()

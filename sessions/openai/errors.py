"""Errors as OpenAI's clients read them: what went wrong, where, and whether another try is worth it."""

from __future__ import annotations

from typing import Any

from sessions.protocol import ErrorCode

#: Statuses of failed turns by their code; all others are faults of the server.
STATUS = {
    "model_not_found": 404,
    "model_rate_limited": 429,
    "model_context_too_long": 400,
    "model_refused": 400,
    "model_address_refused": 400,
    "model_unavailable": 503,
    "model_not_authorized": 502,
    "model_truncated": 502,
    "model_stalled": 504,
    "model_timed_out": 504,
    "model_took_too_long": 504,
    "model_broken_tool_call": 502,
    ErrorCode.TURN_TIMED_OUT: 504,
}
#: Codes that clients know by another name.
OPENAI_CODES = {
    "model_context_too_long": "context_length_exceeded",
    "model_rate_limited": "rate_limit_exceeded",
    ErrorCode.RATE_LIMITED: "rate_limit_exceeded",
    ErrorCode.NOT_SIGNED_IN: "invalid_api_key",
    ErrorCode.TOKEN_INVALID: "invalid_api_key",
    ErrorCode.TOKEN_EXPIRED: "invalid_api_key",
}
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

AGAIN = "The answer had to be begun again, after a part of it was sent. Send the request again."


class DoorError(Exception):
    """A request that cannot be served, or an answer that failed; the sentence is for people."""

    def __init__(
        self, status: int, code: str, text: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after

    @property
    def body(self) -> dict[str, Any]:
        """Return what is answered, or sent within a stream."""
        default = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": str(self),
                "type": TYPES.get(self.status, default),
                "param": self.param,
                "code": OPENAI_CODES.get(self.code, str(self.code)),
            }
        }


def of_turn(code: str, text: str, *, retry_after: int | None = None) -> DoorError:
    """Return the error of a turn that failed; after `retry_after` seconds it is worth another try."""
    return DoorError(STATUS.get(code, 500), code, text, retry_after=retry_after)


def no_model(name: str) -> DoorError:
    """Return the error for a model that is not there."""
    text = f"There is no model `{name[:200]}` here. GET /v1/models lists what there is."
    return DoorError(404, "model_not_found", text, param="model")


def invalid(param: str, text: str, code: str = ErrorCode.INVALID_FIELD) -> DoorError:
    """Return the error for a field that cannot be used."""
    return DoorError(400, code, text, param=param)

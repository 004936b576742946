"""Errors as OpenAI's clients read them: what went wrong, where, and whether another try is worth it."""

from __future__ import annotations

from typing import Any

from sessions.errors import Refusal
from sessions.protocol import ErrorCode

#: Statuses of failed turns by their code; all others are faults of the server.
STATUS = {
    "model_error": 502,
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
    ErrorCode.TOOL_TIMED_OUT: 504,
    ErrorCode.TOO_EXPENSIVE: 400,
    ErrorCode.TOO_MANY_STEPS: 400,
    ErrorCode.BUDGET_EXHAUSTED: 429,
    ErrorCode.PRICE_UNKNOWN: 400,
    ErrorCode.PROVIDER_KEY_REFUSED: 403,
    ErrorCode.PROVIDER_KEY_UNREADABLE: 403,
}
#: Failures that the same request meets again, or that it costs too much to meet again. By their statuses alone clients
#: would repeat it by themselves: the `openai` package does twice, and each time is a turn.
LASTING = frozenset(
    {
        "model_not_authorized",
        "model_took_too_long",
        ErrorCode.TURN_TIMED_OUT,
        ErrorCode.TOOL_TIMED_OUT,
        ErrorCode.TOO_MANY_ATTEMPTS,
        ErrorCode.BUDGET_EXHAUSTED,
    }
)
#: Codes that clients know by another name.
OPENAI_CODES = {
    "model_context_too_long": "context_length_exceeded",
    "model_rate_limited": "rate_limit_exceeded",
    ErrorCode.RATE_LIMITED: "rate_limit_exceeded",
    ErrorCode.BUDGET_EXHAUSTED: "insufficient_quota",
    ErrorCode.NOT_SIGNED_IN: "invalid_api_key",
    ErrorCode.TOKEN_INVALID: "invalid_api_key",
    ErrorCode.TOKEN_EXPIRED: "invalid_api_key",
}
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
TYPES_OF_CODES: dict[str, str] = {ErrorCode.BUDGET_EXHAUSTED: "insufficient_quota"}

AGAIN = "The answer had to be begun again, after a part of it was sent. Send the request again."


class DoorError(Exception):
    """A request that cannot be served, or an answer that failed; the sentence is for people."""

    def __init__(
        self,
        status: int,
        code: str,
        text: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        again: bool = True,
    ) -> None:
        super().__init__(text)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after
        #: Clients that repeat requests by themselves may do it with this one, if its status is one for that.
        self.again = again and code not in LASTING

    @property
    def body(self) -> dict[str, Any]:
        """Return what is answered, or sent within a stream."""
        default = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": str(self),
                "type": TYPES_OF_CODES.get(self.code) or TYPES.get(self.status, default),
                "param": self.param,
                "code": OPENAI_CODES.get(self.code, str(self.code)),
            }
        }

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of an answer that is this error."""
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if not self.again:
            # No standard, but OpenAI's own clients obey it.
            headers["X-Should-Retry"] = "false"
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="codelab"'
        return headers


def of_turn(failed: dict[str, Any], *, again: bool) -> DoorError:
    """Return the error of a turn, by the payload of its `turn_failed`; `again`: the request may be repeated."""
    code, retry_after = failed["error_code"], failed.get("retry_after")
    return DoorError(STATUS.get(code, 500), code, failed["error"], retry_after=retry_after, again=again)


def of_refusal(refusal: Refusal) -> DoorError:
    """Return the error of a caller who may not do this, or is nobody any more."""
    return DoorError(refusal.status, refusal.code, str(refusal), retry_after=refusal.retry_after)


def no_model(name: str) -> DoorError:
    """Return the error for a model that is not there."""
    text = f"There is no model `{name[:200]}` here. GET /v1/models lists what there is."
    return DoorError(404, "model_not_found", text, param="model")


def invalid(param: str, text: str, code: str = ErrorCode.INVALID_FIELD) -> DoorError:
    """Return the error for a field that cannot be used."""
    return DoorError(400, code, text, param=param)

"""Errors as OpenAI's clients read them: what went wrong, in which field, and whether to try again."""

from collections.abc import Mapping
from typing import Any

from sessions.api.completions.errors import of_error
from sessions.protocol.codes import ErrorCode

#: OpenAI's names for codes of ours.
OPENAI_CODES = {
    "model_context_too_long": "context_length_exceeded",
    "model_rate_limited": "rate_limit_exceeded",
    "model_out_of_credit": "insufficient_quota",
    ErrorCode.RATE_LIMITED: "rate_limit_exceeded",
    ErrorCode.BUDGET_EXHAUSTED: "insufficient_quota",
    ErrorCode.NOT_SIGNED_IN: "invalid_api_key",
    ErrorCode.TOKEN_INVALID: "invalid_api_key",
    ErrorCode.TOKEN_EXPIRED: "invalid_api_key",
}
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
TYPES_OF_CODES: dict[str, str] = {
    ErrorCode.BUDGET_EXHAUSTED: "insufficient_quota",
    "model_out_of_credit": "insufficient_quota",
}


def body_of(error: Exception) -> dict[str, Any]:
    """Return an error as the body of an answer, or of the last event of a stream."""
    answer = of_error(error)
    default = "server_error" if answer.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": str(answer),
            "type": TYPES_OF_CODES.get(answer.code) or TYPES.get(answer.status, default),
            "param": answer.param,
            "code": OPENAI_CODES.get(answer.code, str(answer.code)),
        }
    }


def headers_of(error: Exception) -> Mapping[str, str]:
    """Return the headers of an answer with an error."""
    return of_error(error).headers

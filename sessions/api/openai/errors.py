"""Errors as OpenAI's clients read them: what went wrong, in which field, and whether to try again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sessions.api.errors import STATUS, explain
from sessions.protocol.codes import ErrorCode, Rejected

#: Failures that a retry would hit again, or that are too expensive to retry. Because of their statuses clients would
#: repeat it by themselves: the `openai` package does so twice, and each time is a turn.
PERMANENT_CODES = frozenset(
    {
        "model_not_authorized",
        "model_answer_too_long",
        "model_took_too_long",
        "model_refused",
        "model_out_of_credit",
        "model_said_nothing",
        ErrorCode.TURN_TIMED_OUT,
        ErrorCode.TOOL_TIMED_OUT,
        ErrorCode.TOO_MANY_ATTEMPTS,
        ErrorCode.BUDGET_EXHAUSTED,
    }
)
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

#: Seconds after which clients may try again, where the error itself names none.
RETRY_AFTER_SECONDS: dict[str, int] = {ErrorCode.STORAGE_UNAVAILABLE: 2, ErrorCode.BROKER_UNAVAILABLE: 2}
#: OpenAI's codes that are not ours.
MODEL_NOT_FOUND, ANSWER_RESTARTED = "model_not_found", "answer_restarted"
UNSUPPORTED_VALUE, UNSUPPORTED_PARAMETER = "unsupported_value", "unsupported_parameter"


class OpenAIError(Exception):
    """An error in OpenAI's words. `status` is the code's (`sessions.api.errors`) unless it is given."""

    def __init__(
        self,
        code: str,
        text: str,
        *,
        status: int | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        can_retry: bool = True,
    ) -> None:
        super().__init__(text)
        self.status = status or STATUS.get(code, 500)
        self.code, self.param = code, param
        self.retry_after = retry_after or RETRY_AFTER_SECONDS.get(code)
        #: Clients that repeat requests by themselves may repeat this one, if its status allows it.
        self.can_retry = can_retry and self.status != 409 and code not in PERMANENT_CODES

    @property
    def body(self) -> dict[str, Any]:
        """Return the body of an answer, or of the last event of a stream."""
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
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if not self.can_retry:
            # Not a standard, but OpenAI's own clients obey it.
            headers["X-Should-Retry"] = "false"
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="codelab"'
        return headers


def of_error(error: Exception) -> OpenAIError:
    """Return any error in OpenAI's words."""
    if isinstance(error, OpenAIError):
        return error
    problem = explain(error)
    return OpenAIError(
        problem.code, problem.text, status=problem.status, param=problem.param, retry_after=problem.retry_after
    )


def no_model(name: str) -> OpenAIError:
    """Return the error for a model that does not exist."""
    text = f"There is no model `{name[:200]}` here. GET /v1/models lists what there is."
    return OpenAIError(MODEL_NOT_FOUND, text, param="model")


def invalid(param: str, text: str, code: str = ErrorCode.INVALID_FIELD) -> OpenAIError:
    """Return the error for a field that cannot be used."""
    return OpenAIError(code, text, status=400, param=param)


@contextmanager
def in_field(param: str) -> Iterator[None]:
    """Name a field of the request in errors from inside the block; their status is 400, whatever other APIs use."""
    try:
        yield
    except Rejected as error:
        raise invalid(param, str(error), error.code) from None

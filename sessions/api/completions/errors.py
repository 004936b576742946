"""Errors of completions, which each API writes in its own words."""

from collections.abc import Iterator
from contextlib import contextmanager

from sessions.api.errors import STATUS, explain
from sessions.protocol.codes import ErrorCode, Rejected

#: Failures that a retry would hit again, or that are too expensive to retry. Because of their statuses clients would
#: repeat it by themselves: the packages of OpenAI and Anthropic do so twice, and each time is a turn.
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
#: Seconds after which clients may try again, where the error itself names none.
RETRY_AFTER_SECONDS: dict[str, int] = {ErrorCode.STORAGE_UNAVAILABLE: 2, ErrorCode.BROKER_UNAVAILABLE: 2}
#: Codes that are these APIs' own.
MODEL_NOT_FOUND, ANSWER_RESTARTED, KEY_REUSED = "model_not_found", "answer_restarted", "idempotency_key_reused"
UNSUPPORTED_VALUE, UNSUPPORTED_PARAMETER = "unsupported_value", "unsupported_parameter"


class CompletionError(Exception):
    """Why a request has no answer. `status` is the code's (`sessions.api.errors`) unless it is given."""

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
        #: `param`: the field of the request that cannot be used.
        self.code, self.param = code, param
        self.retry_after = retry_after or RETRY_AFTER_SECONDS.get(code)
        #: By how many tokens a conversation is too long, where both are known.
        self.used: int | None = None
        self.window: int | None = None
        #: Clients that repeat requests by themselves may repeat this one, if its status allows it.
        self.can_retry = can_retry and self.status != 409 and code not in PERMANENT_CODES

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of an answer that says when to try again, if ever."""
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if not self.can_retry:
            # Not a standard, but the packages of OpenAI and Anthropic obey it.
            headers["X-Should-Retry"] = "false"
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="codelab"'
        return headers


def of_error(error: Exception) -> CompletionError:
    """Return any error as one of these. Log faults of the server."""
    if isinstance(error, CompletionError):
        return error
    problem = explain(error)
    return CompletionError(
        problem.code, problem.text, status=problem.status, param=problem.param, retry_after=problem.retry_after
    )


def no_model(name: str) -> CompletionError:
    """Return the error for a model that does not exist."""
    text = f"There is no model `{name[:200]}` here. GET /v1/models lists what there is."
    return CompletionError(MODEL_NOT_FOUND, text, param="model")


def invalid(param: str, text: str, code: str = ErrorCode.INVALID_FIELD) -> CompletionError:
    """Return the error for a field that cannot be used."""
    return CompletionError(code, text, status=400, param=param)


@contextmanager
def in_field(param: str) -> Iterator[None]:
    """Name a field of the request in errors from inside the block; their status is 400, whatever other APIs use."""
    try:
        yield
    except Rejected as error:
        raise invalid(param, str(error), error.code) from None

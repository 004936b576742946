"""Errors as Anthropic's clients read them: by status and type, and Claude Code also by the words of some."""

from typing import Any

from structlog.contextvars import get_contextvars

from sessions.api.completions.errors import CompletionError

#: Anthropic's statuses for those that it does not use.
STATUSES = {502: 500, 503: 529}
#: The type of each status.
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
OTHER_TYPE = "api_error"
CONTEXT_TOO_LONG = "model_context_too_long"


def status_of(error: CompletionError) -> int:
    """Return the status of an answer."""
    return STATUSES.get(error.status, error.status)


def body_of(error: CompletionError) -> dict[str, Any]:
    """Return the body of an answer, or the last event of a stream. `details` has this service's own code."""
    kind = TYPES.get(status_of(error), OTHER_TYPE)
    details = {"error_code": str(error.code), **({"param": error.param} if error.param else {})}
    body = {"type": "error", "error": {"type": kind, "message": _message(error), "details": details}}
    request_id = get_contextvars().get("request_id")
    return {**body, "request_id": request_id} if request_id else body


def _message(error: CompletionError) -> str:
    text = str(error)
    if error.code == CONTEXT_TOO_LONG:
        return _too_long(error.used or 0, error.window or 0, text)
    if error.param and error.param not in text:
        return f"{error.param}: {text}"
    return text


def _too_long(used: int, window: int, text: str) -> str:
    """Return the sentence that clients of Anthropic look for, and take the numbers from, to shorten a conversation."""
    if not window:
        return f"prompt is too long. {text}"
    # Providers count in their own ways, and some refuse a prompt that leaves no room for the answer.
    return f"prompt is too long: {max(used, window + 1)} tokens > {window} maximum"

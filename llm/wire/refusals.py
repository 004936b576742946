"""Reads what providers answer instead of an answer: which kind of error it is."""

import re
from collections.abc import Mapping
from typing import Any

from llm import errors

#: In the code or message of an error for a request that is longer than the model's window.
TOO_LONG_PATTERN = re.compile(
    r"context[_ ]?(length|window|size)|maximum context|prompt is too long|too many (input )?tokens", re.IGNORECASE
)

#: For errors within a stream, which have no status of their own.
STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "invalid_request_error": 400,
}


def parse_error(status: int, body: Any, headers: Mapping[str, str] | None = None) -> errors.ModelError:
    """Return the ModelError for a body in OpenAI's form, or any other one. The status is 0 within a stream."""
    error = body.get("error", body) if isinstance(body, dict) else body
    fields = error if isinstance(error, dict) else {"message": error}
    code, kind, message = (str(fields.get(name) or "") for name in ("code", "type", "message"))
    detail = f"HTTP {status}: {code} {kind} {message}"[:2000]
    if not status:
        status = int(code) if code.isascii() and code.isdigit() else 0
        status = status or STATUS_OF_CODE.get(code) or STATUS_OF_CODE.get(kind) or 500
    if status in {400, 413, 422, 500} and TOO_LONG_PATTERN.search(f"{code} {message}"):
        return errors.ModelContextTooLong(detail)
    error_class = errors.ERRORS_BY_STATUS.get(status, errors.ModelUnavailable)
    return error_class(detail, retry_after=errors.parse_retry_after(headers or {}))

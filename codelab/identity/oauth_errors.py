"""Errors of `/oauth/`: `error` and `error_description` as in RFC 6749 section 5.2, whatever went wrong.

The original's clients parse the bodies, so some statuses are the original's where the RFC has another one.
"""

from typing import Any

from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.http import HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError

from sessions.api.errors import explain
from sessions.protocol.codes import ErrorCode

#: What Django raises for a form that it cannot read.
UNREADABLE_FORM = (BadRequest, MultiPartParserError, SuspiciousOperation, UnreadablePostError)
#: OAuth's names for codes of ours; others are the client's fault or the server's, by their status.
NAMES: dict[str, str] = {
    ErrorCode.ORIGIN_NOT_ALLOWED: "origin_not_allowed",
    ErrorCode.STORAGE_UNAVAILABLE: "temporarily_unavailable",
    ErrorCode.SHUTTING_DOWN: "temporarily_unavailable",
}
#: Seconds after which a client may ask again, where the error itself names none.
RETRY_AFTER_SECONDS = 2


class OAuthError(Exception):
    """A request is refused; the attributes are the response. `detail` is the original's list of missing fields."""

    def __init__(
        self,
        status: int,
        error: str,
        description: str,
        *,
        retry_after: int = 0,
        detail: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(description)
        self.status, self.error, self.retry_after, self.detail = status, error, retry_after, detail

    def response(self) -> HttpResponse:
        body: dict[str, Any] = {"error": self.error, "error_description": str(self)}
        if self.detail is not None:
            body["detail"] = self.detail
        response = JsonResponse(body, status=self.status)
        response["Cache-Control"] = "no-store"
        response["Pragma"] = "no-cache"
        if self.retry_after:
            response["Retry-After"] = str(self.retry_after)
        if self.error == "invalid_client":
            response["WWW-Authenticate"] = 'Basic realm="codelab"'
        return response


def invalid_request(description: str) -> OAuthError:
    """Return the error of a request that cannot be understood."""
    return OAuthError(400, "invalid_request", description)


def invalid_client() -> OAuthError:
    """Return the error of a client that is unknown or has another secret."""
    return OAuthError(401, "invalid_client", "Invalid client credentials")


def missing_fields(names: list[str]) -> OAuthError:
    """Return the error of a request without these fields. The original answers 422 with a list of them."""
    text = f"Missing required parameters: {', '.join(names)}. Send them as a form, not as JSON."
    detail = [{"type": "missing", "loc": ["body", name], "msg": "Field required", "input": None} for name in names]
    return OAuthError(422, "invalid_request", text, detail=detail)


def of_error(error: Exception) -> OAuthError:
    """Return any error in OAuth's words."""
    if isinstance(error, OAuthError):
        return error
    if isinstance(error, UNREADABLE_FORM) and not isinstance(error, RequestDataTooBig):
        return invalid_request("The form cannot be read. Send application/x-www-form-urlencoded in UTF-8.")
    problem = explain(error)
    is_ours = problem.status >= 500
    retry_after = problem.retry_after or (RETRY_AFTER_SECONDS if problem.status == 503 else 0)
    name = NAMES.get(problem.code, "server_error" if is_ours else "invalid_request")
    return OAuthError(problem.status, name, problem.text, retry_after=retry_after)

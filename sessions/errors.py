"""Why a request is rejected. Each error has a code for clients and a sentence for people.

An error has a class of its own only where code tells it apart by type, or where several places raise it in the same
words. All others are a plain `Rejected(code, text)`.

    Rejected
    ├── FrameError          invalid_json, not_an_object, unknown_type, invalid_field, invalid_text, empty_message …
    │                       (in `sessions.protocol`)
    ├── AccessDenied        not_signed_in, TOKEN_EXPIRED, TOKEN_INVALID, insufficient_scope, rate_limited,
    │                       origin_not_allowed
    ├── ModelCallDenied     budget_exhausted, price_unknown, provider_key_unreadable, provider_key_refused
    ├── TurnFailed          the code of the turn's failure, also those of `llm.errors`
    ├── NotFound            session_not_found, project_not_found, rule_not_found, image_not_found, unknown_agent …
    ├── ToolCallRejected    unknown_tool_call, tool_call_finished, approval_decided, invalid_arguments, unknown_plan
    ├── NothingToCancel     nothing_to_cancel
    ├── BodyTooLarge        body_too_large
    ├── SessionDeleted      session_deleted
    ├── BrokerUnavailable   broker_unavailable
    ├── ShuttingDown        shutting_down
    └── InternalError       internal_error

`sessions.api.errors` has the status and the close code of each. `StaleAttempt` never reaches a client: a worker has
lost its turn. `database.TooLate` is a TimeoutError, which clients read as `storage_unavailable`.
"""

import uuid
from typing import Any

from sessions.protocol.codes import ErrorCode, Rejected


class StaleAttempt(Exception):
    """Another attempt has the turn, or the turn has ended. The worker stops and writes nothing more."""


class AccessDenied(Rejected):
    """A caller may not do this, or not now. With `ends_socket` it closes a socket; otherwise it rejects one frame."""

    def __init__(self, code: str, text: str, *, retry_after: int | None = None, ends_socket: bool = True) -> None:
        super().__init__(code, text, retry_after=retry_after)
        self.ends_socket = ends_socket


class ModelCallDenied(Rejected):
    """A model must not be called for a turn; the turn fails with it."""


class TurnFailed(Rejected):
    """The turn that a client waits for has failed; `details` are further fields of the answer."""

    def __init__(self, code: str, text: str, *, retry_after: int | None = None, **details: Any) -> None:
        super().__init__(code, text, retry_after=retry_after)
        self.details = details


class NotFound(Rejected):
    """The target of a path does not exist or belongs to another user; clients cannot tell the two apart."""


class ToolCallRejected(Rejected):
    """A tool result or a decision that no open call waits for."""


class NothingToCancel(Rejected):
    def __init__(self) -> None:
        super().__init__(ErrorCode.NOTHING_TO_CANCEL, "There is no open turn to cancel.")


class BodyTooLarge(Rejected):
    def __init__(self, limit: int) -> None:
        super().__init__(ErrorCode.BODY_TOO_LARGE, f"The body is larger than {limit // 1024**2} MiB.")


class SessionDeleted(Rejected):
    def __init__(self) -> None:
        super().__init__(ErrorCode.SESSION_DELETED, "The session was deleted.")


class BrokerUnavailable(Rejected):
    def __init__(self) -> None:
        text = "The server cannot start new work at the moment. Nothing was stored: send it again in a moment."
        super().__init__(ErrorCode.BROKER_UNAVAILABLE, text)


class ShuttingDown(Rejected):
    """The process is ending and takes no new work; another one does."""

    def __init__(self) -> None:
        text = "This server is shutting down. Nothing was stored: send it again in a moment."
        super().__init__(ErrorCode.SHUTTING_DOWN, text, retry_after=1)


class InternalError(Rejected):
    """A fault of the server; the log has the traceback under `error_id`."""

    def __init__(self, error_id: uuid.UUID) -> None:
        self.error_id = error_id
        text = f"Something went wrong on the server. Give its operator this number: {error_id}."
        super().__init__(ErrorCode.INTERNAL_ERROR, text)

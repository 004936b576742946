"""Why a request is refused."""

from __future__ import annotations

from sessions.protocol import CloseCode, ErrorCode


class StaleAttempt(Exception):
    """The turn is no longer held by this attempt; whoever gets this stops and writes nothing more."""


class NothingToCancel(Exception):
    """There is no such turn, or it has ended already."""


class MessageRefused(Exception):
    """A message that cannot be changed any more, or not be taken. `code` and the text are for the client."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class ImageRefused(Exception):
    """A picture that cannot be taken. `code` and the text are for the client."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class UnknownAgent(Exception):
    """There is no such agent to choose. `code` and the text are for the client."""

    code = ErrorCode.UNKNOWN_AGENT


class CallRefused(Exception):
    """A model must not be called for a turn, which ends with it. `code` and the text are for the client."""

    def __init__(self, code: ErrorCode, text: str, *, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        #: Seconds after which it is worth another try.
        self.retry_after = retry_after


class ToolCallRefused(Exception):
    """A tool result that belongs to no open call. `code` and the text are for the client."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class BrokerUnavailable(Exception):
    """The server cannot pass work on at the moment; nothing was taken. Send it again in a moment."""

    def __str__(self) -> str:
        return self.__doc__ or ""


class Refusal(Exception):
    """What a caller may not do, or not now; the sentence is for people."""

    def __init__(
        self,
        code: ErrorCode,
        text: str,
        *,
        status: int,
        close_code: CloseCode | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(text)
        #: The status of an answer to a request.
        self.status = status
        #: A socket is closed with it; without one the socket lives on.
        self.close_code = close_code
        #: Seconds after which it is worth another try.
        self.retry_after = retry_after
        self.code = code

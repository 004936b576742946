"""What can go wrong, each with the server's stable code and a sentence for people."""


class CodelabError(Exception):
    """The server refused something. `code` is one of the codes in the protocol's table of errors."""

    def __init__(self, code: str, text: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.code = code
        #: The HTTP status, of an answer to a request.
        self.status = status
        #: Seconds after which another try is worth it, where the server knows.
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


class SignInRequired(CodelabError):
    """The server does not know who calls, or the credential has ended and cannot be refreshed."""


class ServerUnreachable(CodelabError):
    """The server does not answer. Sessions try again by themselves; this is for requests."""

    def __init__(self, text: str) -> None:
        super().__init__("unreachable", text)


class SessionClosed(CodelabError):
    """The session cannot go on: it was deleted, or the server does not let this client in any more."""


class TurnFailed(CodelabError):
    """A turn ended without an answer: it failed, or was stopped (`cancelled`)."""

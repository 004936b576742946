"""HTTP requests of the web process: Daphne's with bounded memory, refused while the process drains.

`codelab.web_server` says which private names the classes override. Importing this module installs Twisted's reactor.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet import reactor as twisted_reactor

from codelab.body_limits import MAX_BODY_BYTES
from sessions.api.draining import drain

logger = structlog.get_logger(__name__)

reactor: Any = twisted_reactor

#: A client whose body was refused has this long to read why. What it still sends is discarded.
REFUSED_BODY_LINGER_SECONDS = 5.0
#: Paths that are answered to the end: they say that the process lives, and how it is.
ANSWERED_WHILE_DRAINING = (b"/live", b"/metrics")


class Writable(asyncio.Event):
    """Set while less than 64 KiB wait for a client. A producer of Twisted: the transport pauses and resumes it."""

    def __init__(self) -> None:
        super().__init__()
        self.set()

    def pauseProducing(self) -> None:  # noqa: N802 (this and the next two are Twisted's names)
        self.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self.set()

    def stopProducing(self) -> None:  # noqa: N802
        # The connection is gone and drops what is sent, so the application must not wait for it.
        self.set()


class Request(WebRequest):  # type: ignore[misc]
    """One HTTP request. A stream waits for its reader; a body too large for every path is refused while it arrives."""

    def __init__(self, *arguments: object, **options: object) -> None:
        self.writable = Writable()
        self._refused = False
        # Twisted would parse every form, and nothing uses that: a large one takes seconds and hundreds of MB.
        super().__init__(*arguments, **options, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:  # noqa: N802 (here and below: Twisted's names)
        """Begin a body; without a length it arrives in chunks."""
        if length is not None and length > MAX_BODY_BYTES:
            self._refuse()
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        if not self._refused and self.content.tell() + len(data) > MAX_BODY_BYTES:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        if self._refused:
            self._close()
        else:
            super().requestReceived(command, path, version)

    @property
    def is_under_way(self) -> bool:
        """Whether the application answers it."""
        return self.application_queue is not None

    def process(self) -> Any:
        """Start a request or a handshake, or refuse it while the server drains."""
        if not drain.is_draining or self.path in ANSWERED_WHILE_DRAINING:
            return super().process()
        # Imported here, as below: it needs Django's apps, which are loaded after the reactor.
        from codelab.path_errors import shutting_down

        # A proxy must open its next connection elsewhere.
        self._answer(shutting_down(self.path.decode("latin-1")), [(b"Connection", b"close")])
        return None

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:  # noqa: N802
        # Twisted does not know newer statuses, 422 for example.
        phrase = HTTPStatus(code).phrase.encode() if message is None and code in HTTPStatus else message
        super().setResponseCode(code, phrase)

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """Refuse what is not valid HTTP. Daphne would answer in HTML."""
        from codelab.path_errors import unreadable

        if status == HTTPStatus.BAD_REQUEST:
            self._answer(unreadable(self.path.decode("latin-1"), body))
        else:
            super().basic_error(status, status_text, body)

    def _answer(self, answer: Any, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Send a response of Django's without the application."""
        headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
        length = (b"Content-Length", str(len(answer.content)).encode())
        headers = [*headers, length, *more, *self._common_headers(self.path.decode("latin-1"), self._request_id())]
        self.handle_reply({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": answer.content})

    def _request_id(self) -> str:
        from codelab.request_log import HEADER, request_id_of

        sent = self.requestHeaders.getRawHeaders(HEADER)
        return request_id_of(sent[0] if sent else b"")

    def _common_headers(self, path: str, request_id: str) -> list[tuple[bytes, bytes]]:
        """Return the headers that the application gives every answer."""
        from codelab.cors import headers_for
        from codelab.request_log import id_headers

        origin = self.requestHeaders.getRawHeaders(b"origin")
        return [*id_headers(path, request_id), *headers_for(path, origin[0] if origin else None)]

    def _refuse(self) -> None:
        """Answer now, and close when the client has sent everything or its time is up.

        Closed at once, the kernel would reset the connection for the unread bytes, and the client might never see the
        answer.
        """
        from codelab.path_errors import body_too_large

        self._refused = True
        # Otherwise Twisted would send 100 Continue.
        self.requestHeaders.removeHeader(b"Expect")
        if self.content is not None:
            self.content.close()
        path, request_id = self.channel._path.decode("latin-1"), self._request_id()
        answer = body_too_large(path).content
        common = b"".join(name + b": " + value + b"\r\n" for name, value in self._common_headers(path, request_id))
        logger.warning("body_refused", request_id=request_id)
        head = (
            "HTTP/1.1 413 Content Too Large\r\nServer: codelab\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(answer)}\r\nConnection: close\r\n"
        )
        self.transport.write(head.encode() + common + b"\r\n" + answer)
        reactor.callLater(REFUSED_BODY_LINGER_SECONDS, self._close)

    def _close(self) -> None:
        if self.channel is not None:
            # Closes, and aborts after 15 s when the client does not read the answer.
            self.channel.timeoutConnection()

    def finish(self) -> None:
        if self.producer and self.channel:
            self.unregisterProducer()
        super().finish()

    def connectionLost(self, reason: object) -> None:  # noqa: N802
        self.writable.set()
        super().connectionLost(reason)


class RequestFactory(HTTPFactory):  # type: ignore[misc]
    """Builds connections whose requests are `Request`."""

    def buildProtocol(self, address: object) -> Any:  # noqa: N802 (Twisted's name)
        channel = super().buildProtocol(address)
        channel.requestFactory = Request
        return channel

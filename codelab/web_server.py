"""The web process's server: Daphne with bounded memory, reasons for closed sockets and a gradual shutdown.

Daphne itself buffers everything in memory, in both directions. Here each scope has `writable`, an event that is set
while the client reads: the application waits for it before it sends more. What a client sends is counted
(`codelab.flood`, `codelab.body_limits`). Importing this module installs Twisted's reactor, so only the web process does
it, before anything else of Twisted.

The classes override private names, read in daphne 4.2.3, autobahn 26.10.2 and twisted 26.10.0. After an upgrade read
them again; tests/deployment fails until this line names the locked versions. What breaks when they change:

* `Socket` (Daphne's `application_queue`, `serverSend`; Autobahn's `_fail_connection`, `_sendAutoPing`,
  `autoPingPending`): tests/live/test_slow_readers.py
* `SocketFactory` (Autobahn's `failByDrop`): tests/live/test_bad_input.py, frames beyond 1 MiB
* `Request` (Twisted's `gotLength`, `handleContentChunk`, `channel._path`): tests/live/test_bodies.py
* `WebServer` (Daphne's factory names, `connections`; Autobahn's `sendCloseFrame`): tests/live/test_outages.py, SIGTERM
"""

import asyncio
import random
import signal
import socket
import time
from typing import Any

import daphne.server
import structlog
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor as twisted_reactor

from codelab.body_limits import MAX_BODY_BYTES
from codelab.flood import TokenBucket
from sessions.protocol.codes import CloseCode, ErrorCode
from sessions.protocol.server import encode, error_frame

logger = structlog.get_logger(__name__)

reactor: Any = twisted_reactor

FLOOD_MESSAGE = (
    "You send faster than the server can answer. Frames without an answer may be lost: reconnect and send them slower."
)

#: "Service restart": the client should reconnect after a delay of its own choice.
SERVICE_RESTART_CODE = 1012
#: Sockets are closed over this time: all at once would make all clients reconnect in the same second.
CLOSE_SPREAD_SECONDS = 2.0
#: A client whose body was refused has this long to read why. What it still sends is discarded.
REFUSED_BODY_LINGER_SECONDS = 5.0
#: Unsent bytes that the kernel buffers for a client.
MAX_UNSENT_BYTES = 128 * 1024


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


class Socket(WebSocketProtocol):  # type: ignore[misc]
    """One WebSocket; its memory is bounded in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.writable = Writable()
        self._bucket = TokenBucket()

    def onConnect(self, request: object) -> Any:  # noqa: N802 (here and below: Autobahn's and Daphne's names)
        # Until now the producer was the HTTP connection that became this socket.
        self.transport.unregisterProducer()
        self.registerProducer(self.writable, True)
        return super().onConnect(request)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        waiting = self.application_queue.qsize()
        if self._bucket.consume(len(payload), waiting=waiting, now=time.monotonic()):
            super().onMessage(payload, isBinary)
        elif self.state == self.STATE_OPEN:
            self._end_flood()

    def _end_flood(self) -> None:
        """Send the reason, close the socket and drop what waits; Autobahn discards what still arrives."""
        # Imported here: the metrics need Django's apps, which are loaded after the reactor.
        from sessions import metrics

        metrics.frames_refused.labels(error_code=str(ErrorCode.TOO_MANY_FRAMES)).inc()
        logger.warning("flood_ended", waiting=self.application_queue.qsize())
        while not self.application_queue.empty():
            self.application_queue.get_nowait()
        self.serverSend(encode(error_frame(str(ErrorCode.TOO_MANY_FRAMES), FLOOD_MESSAGE)))
        self._fail_connection(CloseCode.TOO_MANY_FRAMES, "too many frames")

    def onPing(self, payload: bytes) -> None:  # noqa: N802
        # A client that pings and never reads would fill the memory with pongs. It may miss some.
        if self.writable.is_set():
            super().onPing(payload)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: N802, N803
        self.writable.set()
        super().onClose(wasClean, code, reason)

    def serverSend(self, content: Any, binary: bool = False) -> None:  # noqa: N802
        if self.state != self.STATE_OPEN:
            # The socket is closing, and the application does not know yet.
            return
        # `sendMessage` would apply the limit on clients' frames to ours, and an answer may be longer.
        self.sendFrame(opcode=2 if binary else 1, payload=content if binary else content.encode())

    def _sendAutoPing(self) -> None:  # noqa: N802
        # Autobahn would forget a ping that is still on its way to a slow reader, ignore its pong and drop the socket.
        if self.autoPingPending is None:
            super()._sendAutoPing()


class SocketFactory(WebSocketFactory):  # type: ignore[misc]
    """Closes a socket with a close frame that says why (1009 for a frame beyond 1 MiB) instead of dropping it."""

    protocol = Socket

    def setProtocolOptions(self, **options: object) -> None:  # noqa: N802
        # A client with much data in flight needs more than Autobahn's second to receive the close frame.
        super().setProtocolOptions(**options, failByDrop=False, closeHandshakeTimeout=5)


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

    def _refuse(self) -> None:
        """Answer now, and close when the client has sent everything or its time is up.

        Closed at once, the kernel would reset the connection for the unread bytes, and the client might never see the
        answer.
        """
        # Imported here: it needs Django's apps, which are loaded after the reactor.
        from codelab.rest_api import body_too_large

        self._refused = True
        # Otherwise Twisted would send 100 Continue.
        self.requestHeaders.removeHeader(b"Expect")
        if self.content is not None:
            self.content.close()
        answer = body_too_large(self.channel._path.decode("latin-1")).content
        logger.warning("body_refused")
        head = (
            "HTTP/1.1 413 Content Too Large\r\nServer: codelab\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(answer)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + answer)
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


class WebServer(daphne.server.Server):  # type: ignore[misc]
    """Daphne's server, which handles SIGTERM and SIGINT by draining."""

    def __init__(self, application: object, **options: Any) -> None:
        super().__init__(application, signal_handlers=False, **options)
        self._ports: list[Any] = []
        self._is_draining = False

    def run(self) -> None:
        """Serve until a signal arrives."""
        # Daphne has no option for its factories; it looks these names up.
        daphne.server.WebSocketFactory, daphne.server.HTTPFactory = SocketFactory, RequestFactory
        reactor.callWhenRunning(self._install_signal_handlers)
        reactor.callWhenRunning(self._watch_loop)
        super().run()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Run the application for a socket or a request, with `writable` in its scope."""
        if isinstance(protocol, Request):
            protocol.registerProducer(protocol.writable, True)
        return super().create_application(protocol, {**scope, "writable": protocol.writable})

    def listen_success(self, port: Any) -> None:
        # The kernel would buffer megabytes for a client that does not read, ahead of a ping or the end of an answer.
        # Connections inherit the option.
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
        self._ports.append(port)
        super().listen_success(port)

    def _install_signal_handlers(self) -> None:
        loop = asyncio.get_event_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.drain)

    def _watch_loop(self) -> None:
        # Imported here: the metrics need Django's apps, which are loaded after the reactor.
        from sessions.database import check_clock
        from sessions.watchdog import Watchdog

        self._watchdog = Watchdog(asyncio.get_event_loop())
        self._clock_check = asyncio.get_event_loop().create_task(check_clock())

    def drain(self) -> None:
        """Accept no more connections, close the sockets with 1012, then stop; a second signal stops at once."""
        sockets = [protocol for protocol in self.connections if isinstance(protocol, WebSocketProtocol)]
        if self._is_draining or not self.connections:
            reactor.stop()
            return
        self._is_draining = True
        logger.info("server_leaving", sockets=len(sockets))
        for port in self._ports:
            port.stopListening()
        for protocol in sockets:
            # `sendClose` accepts only codes of applications.
            reactor.callLater(random.uniform(0, CLOSE_SPREAD_SECONDS), protocol.sendCloseFrame, SERVICE_RESTART_CODE)
        reactor.callLater(CLOSE_SPREAD_SECONDS + 0.5, reactor.stop)

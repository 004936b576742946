"""Daphne, with manners: it waits for slow readers, ends floods, says why it ends a socket, and goes without a stampede.

Daphne itself puts everything into memory, in both directions. Here each scope has `writable`, an event that is set
while the client reads what it is sent: the application waits for it before it sends more. What a client sends is
counted (`codelab.flood`, `codelab.bodies`). Importing this module installs Twisted's reactor, so only the web process
does it, before anything else of Twisted.
"""

from __future__ import annotations

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

from codelab.bodies import MAX_BODY
from codelab.flood import Allowance
from sessions.protocol import CloseCode, ErrorCode, encode, error_frame

logger = structlog.get_logger(__name__)

reactor: Any = twisted_reactor

FLOOD = "You send faster than the server can answer. What had no answer may be lost: come back and send it slower."

#: "Service restart": the client should come back, after a moment of its own choice.
SERVICE_RESTART = 1012
#: Seconds over which the sockets are closed: all at once would make all clients come back in the same second.
SPREAD = 2.0
#: Seconds in which a client whose body was refused can read why. What it still sends is thrown away.
LINGER = 5.0
#: Bytes that the kernel takes for a client before they are on their way to it.
UNSENT = 128 * 1024


class Writable(asyncio.Event):
    """Set while a client reads: less than 64 KiB wait for it. A producer in Twisted's sense, told by the transport."""

    def __init__(self) -> None:
        super().__init__()
        self.set()

    def pauseProducing(self) -> None:  # noqa: N802 (this and the next two are Twisted's names)
        self.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self.set()

    def stopProducing(self) -> None:  # noqa: N802
        # The connection is gone. Nobody may wait for it: what is sent from here on is dropped.
        self.set()


class Socket(WebSocketProtocol):  # type: ignore[misc]
    """One WebSocket; its memory is bounded in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.writable = Writable()
        self._allowance = Allowance()

    def onConnect(self, request: object) -> Any:  # noqa: N802 (here and below: Autobahn's and Daphne's names)
        # The producer until now is the HTTP connection that the socket was made of.
        self.transport.unregisterProducer()
        self.registerProducer(self.writable, True)
        return super().onConnect(request)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        waiting = self.application_queue.qsize()
        if self._allowance.covers(len(payload), waiting=waiting, now=time.monotonic()):
            super().onMessage(payload, isBinary)
        elif self.state == self.STATE_OPEN:
            self._end_flood()

    def _end_flood(self) -> None:
        """Say why, close the socket, and forget what waits; Autobahn throws away what still comes."""
        # Not at the top: the metrics need Django's apps, and the reactor comes before those.
        from sessions import metrics

        metrics.frames_refused.labels(error_code=str(ErrorCode.TOO_MANY_FRAMES)).inc()
        logger.warning("flood_ended", waiting=self.application_queue.qsize())
        while not self.application_queue.empty():
            self.application_queue.get_nowait()
        self.serverSend(encode(error_frame(str(ErrorCode.TOO_MANY_FRAMES), FLOOD)))
        self._fail_connection(CloseCode.TOO_MANY_FRAMES, "too many frames")

    def onPing(self, payload: bytes) -> None:  # noqa: N802
        # A client that pings and never reads would fill the memory with answers. It may miss some.
        if self.writable.is_set():
            super().onPing(payload)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: N802, N803
        self.writable.set()
        super().onClose(wasClean, code, reason)

    def serverSend(self, content: Any, binary: bool = False) -> None:  # noqa: N802
        if self.state != self.STATE_OPEN:
            # It is being closed, and the application has not heard of it yet.
            return
        # Not `sendMessage`: it applies the limit for frames of clients to ours, and an answer may be longer.
        self.sendFrame(opcode=2 if binary else 1, payload=content if binary else content.encode())

    def _sendAutoPing(self) -> None:  # noqa: N802
        # Daphne pings every 30 s and would forget the ping that is still on its way to a slow reader: its answer
        # would count for nothing, and the socket be dropped.
        if self.autoPingPending is None:
            super()._sendAutoPing()


class SocketFactory(WebSocketFactory):  # type: ignore[misc]
    """Ends a socket with a close frame that says why (1009 for a frame beyond 1 MiB), not by dropping it."""

    protocol = Socket

    def setProtocolOptions(self, **options: object) -> None:  # noqa: N802
        # A client that has much under way needs more than the second that Autobahn gives it to hear why.
        super().setProtocolOptions(**options, failByDrop=False, closeHandshakeTimeout=5)


class Request(WebRequest):  # type: ignore[misc]
    """One HTTP request; a stream can wait for its reader, and a body too large for all paths is refused on its way."""

    def __init__(self, *arguments: object, **options: object) -> None:
        self.writable = Writable()
        self._refused = False
        # Twisted would take each form apart, for nobody: a large one takes seconds, and hundreds of MB.
        super().__init__(*arguments, **options, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:  # noqa: N802 (here and below: Twisted's names)
        """Begin a body; without a length it comes in chunks."""
        if length is not None and length > MAX_BODY:
            self._refuse()
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        if not self._refused and self.content.tell() + len(data) > MAX_BODY:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        if self._refused:
            self._part()
        else:
            super().requestReceived(command, path, version)

    def _refuse(self) -> None:
        """Answer now, and end the connection when the client has sent all or had its time.

        Closed at once, the connection would be reset for what is unread, and the client might never see the answer.
        """
        # Not at the top: it needs Django's apps, and the reactor comes before those.
        from codelab.rest_api import body_too_large

        self._refused = True
        # Otherwise Twisted tells the client to go on.
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
        reactor.callLater(LINGER, self._part)

    def _part(self) -> None:
        if self.channel is not None:
            # Closes, and aborts after 15 s where the client does not even take the answer.
            self.channel.timeoutConnection()

    def finish(self) -> None:
        if self.producer and self.channel:
            self.unregisterProducer()
        super().finish()

    def connectionLost(self, reason: object) -> None:  # noqa: N802
        self.writable.set()
        super().connectionLost(reason)


class RequestFactory(HTTPFactory):  # type: ignore[misc]
    """Makes our requests of connections."""

    def buildProtocol(self, address: object) -> Any:  # noqa: N802 (Twisted's name)
        channel = super().buildProtocol(address)
        channel.requestFactory = Request
        return channel


class Server(daphne.server.Server):  # type: ignore[misc]
    """Daphne's server; it takes SIGTERM and SIGINT itself."""

    def __init__(self, application: object, **options: Any) -> None:
        super().__init__(application, signal_handlers=False, **options)
        self._ports: list[Any] = []
        self._leaving = False

    def run(self) -> None:
        """Serve until a signal comes."""
        # Daphne takes its factories from these names and has no option for them.
        daphne.server.WebSocketFactory, daphne.server.HTTPFactory = SocketFactory, RequestFactory
        reactor.callWhenRunning(self._take_signals)
        super().run()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Run the application for a socket or a request; its scope says when the client reads."""
        if isinstance(protocol, Request):
            protocol.registerProducer(protocol.writable, True)
        return super().create_application(protocol, {**scope, "writable": protocol.writable})

    def listen_success(self, port: Any) -> None:
        # The kernel would take megabytes for a reader that does not read, and a ping or the end of an answer would
        # come behind them. Connections inherit it.
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        self._ports.append(port)
        super().listen_success(port)

    def _take_signals(self) -> None:
        loop = asyncio.get_event_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.leave)

    def leave(self) -> None:
        """Take no more connections, close the sockets with 1012, then stop; a second signal stops at once."""
        sockets = [protocol for protocol in self.connections if isinstance(protocol, WebSocketProtocol)]
        if self._leaving or not self.connections:
            reactor.stop()
            return
        self._leaving = True
        logger.info("server_leaving", sockets=len(sockets))
        for port in self._ports:
            port.stopListening()
        for protocol in sockets:
            # Not `sendClose`, which takes the codes of applications only.
            reactor.callLater(random.uniform(0, SPREAD), protocol.sendCloseFrame, SERVICE_RESTART)
        reactor.callLater(SPREAD + 0.5, reactor.stop)

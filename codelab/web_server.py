"""The web process's server: Daphne with bounded memory, reasons for closed sockets and a gradual shutdown.

Daphne itself buffers everything in memory, in both directions. Here each scope has `writable`, an event that is set
while the client reads: the application waits for it before it sends more. What a client sends is counted
(`codelab.flood`, `codelab.body_limits`). Importing this module installs Twisted's reactor, so only the web process does
it, before anything else of Twisted.

The classes override private names, read in daphne 4.2.3, autobahn 26.10.2 and twisted 26.10.0. After an upgrade read
them again; tests/deployment fails until this line names the locked versions. What breaks when they change:

* `Socket` (Daphne's `application_queue`, `serverSend`; Autobahn's `_fail_connection`, `_sendAutoPing`,
  `autoPingPending`, `sendData`, `send_queue`): tests/live/test_slow_readers.py
* `SocketFactory` (Autobahn's `failByDrop`): tests/live/test_bad_input.py, frames beyond 1 MiB
* `web_requests.Request` (Twisted's `gotLength`, `handleContentChunk`, `channel._path`): tests/live/test_bodies.py
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
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor as twisted_reactor

from codelab.environment import environment
from codelab.flood import TokenBucket
from codelab.web_requests import Request, RequestFactory, Writable
from sessions.api.acp.rpc import MAX_MESSAGE_BYTES as MAX_ACP_MESSAGE_BYTES
from sessions.api.acp.rpc import Code as RpcCode
from sessions.api.acp.rpc import error as rpc_error
from sessions.api.draining import CLOSE_SPREAD_SECONDS, drain
from sessions.protocol.codes import CloseCode, ErrorCode
from sessions.protocol.server import encode, error_frame

logger = structlog.get_logger(__name__)

reactor: Any = twisted_reactor

FLOOD_MESSAGE = (
    "You send faster than the server can answer. Frames without an answer may be lost: reconnect and send them slower."
)

#: The path of the Agent Client Protocol, whose messages are larger than frames.
ACP_PATH = "/acp"
TOO_MANY_FRAMES = str(ErrorCode.TOO_MANY_FRAMES)
#: "Service restart": the client should reconnect after a delay of its own choice.
SERVICE_RESTART_CODE = 1012
#: The port stays open for so long at first, so that proxies see at `/ready` what happens and send new work elsewhere.
NOTICE_SECONDS = 5.0
#: Sockets have this long to answer the close frame, and an answer to leave the process.
LINGER_SECONDS = 0.5
#: Unsent bytes that the kernel buffers for a client.
MAX_UNSENT_BYTES = 128 * 1024


class Socket(WebSocketProtocol):  # type: ignore[misc]
    """One WebSocket; its memory is bounded in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.writable = Writable()
        self._bucket = TokenBucket()
        self._is_acp = False
        self._accept_headers: dict[str, str] = {}

    def onConnect(self, request: Any) -> Any:  # noqa: N802 (here and below: Autobahn's and Daphne's names)
        self._is_acp = request.path == ACP_PATH
        if self._is_acp:
            # Its prompts hold their images.
            self.maxMessagePayloadSize = self.maxFramePayloadSize = MAX_ACP_MESSAGE_BYTES
            self._bucket.max_waiting_bytes = 2 * MAX_ACP_MESSAGE_BYTES
        # Until now the producer was the HTTP connection that became this socket.
        self.transport.unregisterProducer()
        self.registerProducer(self.writable, True)
        return super().onConnect(request)

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Keep the headers of the answer to the handshake, which Daphne would ignore."""
        headers = message.get("headers", ()) if message.get("type") == "websocket.accept" else ()
        self._accept_headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        super().handle_reply(message)

    def serverAccept(self, subprotocol: Any = None) -> None:  # noqa: N802
        super().serverAccept((subprotocol, self._accept_headers) if self._accept_headers else subprotocol)

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

        metrics.frames_refused.labels(error_code=TOO_MANY_FRAMES).inc()
        logger.warning("flood_ended", waiting=self.application_queue.qsize())
        while not self.application_queue.empty():
            self.application_queue.get_nowait()
        if self._is_acp:
            self.serverSend(rpc_error(None, RpcCode.INVALID_REQUEST, FLOOD_MESSAGE, {"error_code": TOO_MANY_FRAMES}))
        else:
            self.serverSend(encode(error_frame(TOO_MANY_FRAMES, FLOOD_MESSAGE)))
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

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:  # noqa: N802
        # Autobahn would put a coloured log line together for each frame, and drop it: most of what a frame costs.
        if sync or chopsize or self.send_queue:
            super().sendData(data, sync, chopsize)
        else:
            self.transport.write(data)

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


class WebServer(daphne.server.Server):  # type: ignore[misc]
    """Daphne's server, which handles SIGTERM and SIGINT by draining."""

    def __init__(self, application: object, **options: Any) -> None:
        super().__init__(application, signal_handlers=False, **options)
        self._ports: list[Any] = []

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
        """Accept no new work, close the sockets with 1012, answer what is under way, then stop.

        A second signal stops at once.
        """
        sockets = [protocol for protocol in self.connections if isinstance(protocol, WebSocketProtocol)]
        if drain.is_draining or not self.connections:
            self._stop()
            return
        drain.begin()
        logger.info("server_leaving", sockets=len(sockets), requests=self._count_requests())
        for protocol in sockets:
            # `sendClose` accepts only codes of applications.
            reactor.callLater(random.uniform(0, CLOSE_SPREAD_SECONDS), protocol.sendCloseFrame, SERVICE_RESTART_CODE)
        reactor.callLater(NOTICE_SECONDS, self._stop_listening)
        reactor.callLater(environment.drain_seconds, self._stop)
        reactor.callLater(CLOSE_SPREAD_SECONDS, self._stop_when_idle)

    def _stop_when_idle(self) -> None:
        if self._count_requests():
            reactor.callLater(0.1, self._stop_when_idle)
        else:
            reactor.callLater(LINGER_SECONDS, self._stop)

    def _count_requests(self) -> int:
        return sum(isinstance(protocol, Request) and protocol.is_under_way for protocol in self.connections)

    def _stop_listening(self) -> None:
        for port in self._ports:
            port.stopListening()

    def _stop(self) -> None:
        if left := self._count_requests():
            logger.warning("requests_cut_off", requests=left)
        if reactor.running:
            reactor.stop()

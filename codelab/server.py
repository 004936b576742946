"""Daphne, with manners: it says why it ends a socket, and on SIGTERM lets its clients go one after the other.

Importing this module installs Twisted's reactor, so only the web process does it, before anything else of Twisted.
"""

from __future__ import annotations

import asyncio
import random
import signal
from typing import Any

import daphne.server
import structlog
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor as twisted_reactor

logger = structlog.get_logger(__name__)

reactor: Any = twisted_reactor

#: "Service restart": the client should come back, after a moment of its own choice.
SERVICE_RESTART = 1012
#: Seconds over which the sockets are closed: all at once would make all clients come back in the same second.
SPREAD = 2.0


class Factory(WebSocketFactory):  # type: ignore[misc]
    """Ends a socket with a close frame that says why (1009 for a frame beyond 1 MiB), not by dropping it."""

    def setProtocolOptions(self, **options: object) -> None:  # noqa: N802 (Autobahn's name)
        super().setProtocolOptions(**options, failByDrop=False)


class Server(daphne.server.Server):  # type: ignore[misc]
    """Daphne's server; it takes SIGTERM and SIGINT itself."""

    def __init__(self, application: object, **options: Any) -> None:
        super().__init__(application, signal_handlers=False, **options)
        self._ports: list[Any] = []
        self._leaving = False

    def run(self) -> None:
        """Serve until a signal comes."""
        # Daphne takes its factory from this name and has no option for it.
        daphne.server.WebSocketFactory = Factory
        reactor.callWhenRunning(self._take_signals)
        super().run()

    def listen_success(self, port: Any) -> None:
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

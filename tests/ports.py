"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket

from codelab.local.operating_system import LOOPBACK

_dice = random.SystemRandom()


def free_port() -> int:
    """Return a port of the loopback interface that nothing uses, and that no client is given.

    The system gives the ports above these to whoever connects. Tests run side by side and open thousands of
    connections: one of them would take such a port before its server listens there, or while the server is away.
    """
    while True:
        port = _dice.randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port

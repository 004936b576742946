"""Finds ports for the servers that tests start."""

from __future__ import annotations

import random
import socket

from codelab.local.operating_system import LOOPBACK

# Not the generator that pytest-randomly seeds: two processes would draw the same ports.
_dice = random.SystemRandom()


def free_port() -> int:
    """Return an unused port of the loopback interface that the system gives to no client.

    Clients get the ports from 32768 on. Tests that run side by side open thousands of connections, and one of them
    could take the port of a server before that server listens, or while a test has stopped it.
    """
    while True:
        port = _dice.randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port

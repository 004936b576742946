"""Makes names below `slow.example` take 20 s to look up, in a process that has this folder in PYTHONPATH."""

import socket
import time

_look_up = socket.getaddrinfo


def getaddrinfo(host, *arguments, **options):  # type: ignore[no-untyped-def]
    if str(host).endswith(".slow.example"):
        time.sleep(20)
        raise socket.gaierror
    return _look_up(host, *arguments, **options)


socket.getaddrinfo = getaddrinfo

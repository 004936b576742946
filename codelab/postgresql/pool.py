"""Checks connections of the pool before they are used."""

from typing import Any

from django.db import connection as own_connection
from psycopg_pool import ConnectionPool


def check(connection: Any) -> None:
    """Check a connection; throw all idle ones away where it is dead, and raise the error.

    They have ended together, in a restart or a failover. The pool would find out one after the other, with a pause of
    a second before the third and two seconds before the fourth, until its caller's time is over.
    """
    try:
        ConnectionPool.check_connection(connection)
    except Exception:
        own_connection.pool.drain()  # type: ignore[attr-defined]  # only PostgreSQL's class has it
        raise

"""What PostgreSQL spends its time on, by statement: pg_stat_statements, which comes with it and is off by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from bench.product import Product

#: Milliseconds of all calls, calls, KiB written to the log of transactions, and the beginning of the text.
HOTTEST = """
SELECT total_exec_time + total_plan_time, calls, wal_bytes / 1024, left(regexp_replace(query, '\\s+', ' ', 'g'), 110)
FROM pg_stat_statements ORDER BY 1 DESC LIMIT 20
"""


def watch(product: Product) -> None:
    """Restart the product with a PostgreSQL that counts its statements."""
    with psycopg.connect(product.database, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    product.restart()
    with psycopg.connect(product.database, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def forget(product: Product) -> None:
    """Forget what was counted so far."""
    with psycopg.connect(product.database, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_statements_reset()")


def hottest(product: Product) -> list[str]:
    """Return a line for each of the statements that took longest, all calls together.

    What COMMIT writes and waits for is not part of it.
    """
    with psycopg.connect(product.database, autocommit=True) as connection:
        rows = connection.execute(HOTTEST).fetchall()
    return [f"{milliseconds:8.1f}  {calls:6}  {kib:7.0f}  {text}" for milliseconds, calls, kib, text in rows]

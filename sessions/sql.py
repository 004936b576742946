"""SQL by hand, for the few reads that every turn makes: to put one together takes the ORM longer than to run it.

Everything else uses the ORM. Values are always parameters, never parts of a statement.
"""

from __future__ import annotations

from typing import Any, LiteralString

from django.db import connection


def rows(statement: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

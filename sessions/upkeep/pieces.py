"""Deletes rows in pieces that several processes may share, and puts off the items that fail.

A piece is one short transaction. It skips rows that another process has locked. A row that cannot be deleted costs its
own piece once: then it waits in `PostponedItem` for minutes to a day, and the rows behind it are deleted without it.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from django.db import Error as DatabaseError
from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Now

from sessions.database import describe
from sessions.models import PostponedItem

logger = structlog.get_logger(__name__)

#: Rows that one transaction deletes.
PIECE_ROWS = 500
#: Before the second try. Each further one waits four times as long as the one before, up to a day.
FIRST_DELAY = timedelta(minutes=10)
MAX_DELAY = timedelta(days=1)
#: What did not fail again for this long is forgotten.
MEMORY = timedelta(days=7)


def delete_in_pieces(rows: models.QuerySet[Any], deadline: float, *, size: int = PIECE_ROWS) -> int:
    """Delete rows, in their order, until none is left or the deadline passes; return how many rows of all tables."""
    kind = rows.model._meta.label_lower
    skipped = postponed(kind)
    total = 0
    while time.monotonic() < deadline:
        try:
            with transaction.atomic():
                keys = _lock_piece(rows, size, skipped)
                total += _delete(rows, keys)
        except DatabaseError:
            with transaction.atomic():
                keys = _lock_piece(rows, size, skipped)
            total += _delete_one_by_one(rows, keys, deadline, kind, skipped)
        if len(keys) < size:
            break
    return total


def _lock_piece(rows: models.QuerySet[Any], size: int, skipped: set[str]) -> list[Any]:
    candidates = rows.select_for_update(skip_locked=True).values_list("pk", flat=True)[: size + len(skipped)]
    return [key for key in candidates if item_name(key) not in skipped][:size]


def _delete(rows: models.QuerySet[Any], keys: Sequence[Any]) -> int:
    return rows.model._default_manager.filter(pk__in=keys).delete()[0] if keys else 0


def _delete_one_by_one(
    rows: models.QuerySet[Any], keys: Sequence[Any], deadline: float, kind: str, skipped: set[str]
) -> int:
    total = 0
    for key in keys:
        if time.monotonic() > deadline:
            break
        try:
            with transaction.atomic():
                total += _delete(rows.filter(pk=key), [key])
        except DatabaseError as error:
            postpone(kind, key, error)
            skipped.add(item_name(key))
    return total


def item_name(key: Any) -> str:
    """Return a primary key as text."""
    return bytes(key).hex() if isinstance(key, bytes | memoryview) else str(key)


def postponed(kind: str) -> set[str]:
    """Return the names of the items of a kind that failed and are not due again."""
    rows = PostponedItem.objects.filter(kind=kind, retry_at__gt=Now())
    return set(rows.values_list("item", flat=True))


def postpone(kind: str, key: Any, error: Exception) -> None:
    """Put an item off after an error, for longer each time."""
    item, _ = PostponedItem.objects.get_or_create(kind=kind, item=item_name(key), defaults={"retry_at": Now()})
    delay = min(FIRST_DELAY * 4 ** min(item.failures, 10), MAX_DELAY)
    PostponedItem.objects.filter(pk=item.pk).update(
        failures=F("failures") + 1, retry_at=Now() + delay, error=type(error).__name__
    )
    logger.warning("upkeep_postponed", kind=kind, item=item_name(key), **describe(error))


def forget_postponed(deadline: float) -> int:
    """Delete postponed items that did not fail again."""
    return delete_in_pieces(PostponedItem.objects.filter(retry_at__lt=Now() - MEMORY).order_by("retry_at"), deadline)

"""Deletes what its time is over: sessions, images that no message shows, and workers that are gone.

Many small sessions go in one transaction; a large one is deleted by itself (`sessions.turns.deletion`). The database's
clock decides what is old.
"""

import time
import uuid
from contextlib import suppress
from datetime import timedelta

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import models, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from sessions.database import rows
from sessions.models import OPEN_STATUSES, Image, ModelCall, Session, Turn, Worker
from sessions.turns.deletion import delete_rows, delete_session
from sessions.turns.images import UNUSED_RETENTION
from sessions.upkeep import pieces

#: Sessions, and events in all of them, that one transaction deletes.
BATCH_SESSIONS, BATCH_EVENTS = 200, 10_000
#: An image has up to 5 MiB.
PIECE_IMAGES = 20
#: The words of a message of 100,000 characters take PostgreSQL some milliseconds.
PIECE_MESSAGES = 100
WORKER_RETENTION = timedelta(days=1)
#: Waits for no lock, so it may lock messages without their sessions.
_NAME_OWNERS = """
    UPDATE agent_sessions_message AS message SET owner_id = session.owner_id FROM (
        SELECT id, session_id FROM agent_sessions_message WHERE owner_id IS NULL AND role IN ('user', 'assistant')
        ORDER BY id DESC LIMIT %s FOR UPDATE SKIP LOCKED
    ) AS nameless JOIN agent_sessions_session AS session ON session.id = nameless.session_id
    WHERE message.id = nameless.id RETURNING message.id
"""


def delete_gone_workers(deadline: float) -> int:
    """Delete workers without a heartbeat for a day; each restart makes a new row."""
    workers = Worker.objects.filter(seen_at__lt=Now() - WORKER_RETENTION).order_by("seen_at")
    return pieces.delete_in_pieces(workers, deadline)


def delete_unused_images(deadline: float) -> int:
    """Delete old images that no message has ever shown."""
    images = Image.objects.filter(is_shown=False, uploaded_at__lt=Now() - UNUSED_RETENTION).order_by("uploaded_at")
    return pieces.delete_in_pieces(images, deadline, size=PIECE_IMAGES)


def delete_expired_sessions(deadline: float) -> int:
    """Delete sessions whose retention is over, the oldest first; return how many."""
    skipped = pieces.postponed("retention")
    completion_days, session_days = settings.CODELAB_COMPLETION_DAYS, settings.CODELAB_SESSION_DAYS
    if not session_days:
        return _delete_expired(expired_sessions(hidden=True, days=completion_days), deadline, skipped)
    completions = expired_sessions(hidden=True, days=min(completion_days, session_days))
    conversations = expired_sessions(hidden=False, days=session_days)
    return sum(_delete_expired(expired, deadline, skipped) for expired in (completions, conversations))


def expired_sessions(*, hidden: bool, days: int) -> models.QuerySet[Session]:
    """Return sessions that were not used for so many days and have no open turn, the oldest first."""
    open_turns = Turn.objects.filter(session=OuterRef("pk"), status__in=OPEN_STATUSES)
    old = Session.objects.filter(hidden=hidden, updated_at__lt=Now() - timedelta(days=days))
    return old.exclude(Exists(open_turns)).order_by("updated_at")


def _delete_expired(expired: models.QuerySet[Session], deadline: float, skipped: set[str]) -> int:
    deleted = 0
    while time.monotonic() < deadline:
        try:
            batch = _delete_batch(expired, deadline, skipped)
        except DatabaseError:
            batch = _delete_one_by_one(expired, deadline, skipped)
        if not batch:
            break
        deleted += batch
    return deleted


def _delete_batch(expired: models.QuerySet[Session], deadline: float, skipped: set[str]) -> int:
    """Delete the next sessions in one transaction, or the next one by itself when it is large."""
    with transaction.atomic():
        found = expired.exclude(pk__in=list(skipped)).select_for_update(skip_locked=True, of=("self",))
        batch: list[uuid.UUID] = []
        events = 0
        for key, last_number in found.values_list("pk", "last_number")[:BATCH_SESSIONS]:
            if batch and events + last_number > BATCH_EVENTS:
                break
            batch.append(key)
            events += last_number
        if events <= BATCH_EVENTS:
            # No turn is open, so there is nothing to cancel and nothing to publish.
            ModelCall.objects.filter(session__in=batch).update(session=None, detail="", prompt=None, answer=None)
            Session.objects.filter(pk__in=batch).delete()
            return len(batch)
    return _delete_one(batch[0], deadline, skipped)


def _delete_one_by_one(expired: models.QuerySet[Session], deadline: float, skipped: set[str]) -> int:
    deleted = 0
    for key in list(expired.exclude(pk__in=list(skipped)).values_list("pk", flat=True)[:BATCH_SESSIONS]):
        if time.monotonic() > deadline:
            break
        deleted += _delete_one(key, deadline, skipped)
    return deleted


def name_owners(deadline: float) -> int:
    """Say whose the messages of processes before the search are, the newest first: the search finds them then."""
    total, named = 0, PIECE_MESSAGES
    while named == PIECE_MESSAGES and time.monotonic() < deadline:
        named = len(rows(_NAME_OWNERS, PIECE_MESSAGES))
        total += named
    return total


def _delete_one(session_id: uuid.UUID, deadline: float, skipped: set[str]) -> int:
    try:
        with suppress(Session.DoesNotExist):
            delete_session(session_id)
        delete_rows(session_id, deadline)
    except DatabaseError as error:
        pieces.postpone("retention", session_id, error)
        skipped.add(str(session_id))
        return 0
    return 1

"""Finds a user's sessions by words of their titles and messages.

A search takes a bounded time: one index has the words of each user, results are counted up to a limit, and PostgreSQL
ends the statement that takes too long.
"""

import asyncio
import re
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import Error as DatabaseError
from django.db import connection, transaction

from sessions.api.rest import history
from sessions.database import in_thread, is_statement_timeout, rows
from sessions.models import Session
from sessions.models.words import words_of
from sessions.protocol.codes import ErrorCode, Rejected

MAX_QUERY_LENGTH, MAX_WORDS = 200, 12
MAX_FOUND = 1000
STATEMENT_TIMEOUT = "2s"
#: Of the threads that all requests of a process share.
MAX_THREADS = 2
#: The beginning of a word is enough at the end of a query, while it is typed. Of a shorter one too many words begin so.
MIN_PREFIX_LENGTH = 3
#: Of a message around the word that was found: characters before it, and in all.
EXCERPT_LEAD, EXCERPT_LENGTH = 60, 200

#: The sessions of a user whose title has all parts of a query, or one of whose messages has all of its words, and the
#: newest of these messages.
_SEARCH: Any = f"""
    WITH found AS (
        SELECT DISTINCT ON (session_id) session_id, id AS message_id FROM agent_sessions_message
        WHERE {words_of("owner_id", "content")} @@ (%s::tsquery && to_tsquery('simple', %s))
        AND owner_id = %s AND role IN ('user', 'assistant') AND NOT withdrawn
        ORDER BY session_id, number DESC
    )
    SELECT session.id, found.message_id FROM agent_sessions_session AS session
    LEFT JOIN found ON found.session_id = session.id
    WHERE session.owner_id = %s AND session.deleted_at IS NULL AND NOT session.hidden
    AND (found.session_id IS NOT NULL OR lower(session.title) LIKE ALL(%s))
    ORDER BY session.updated_at DESC, session.id DESC LIMIT %s
"""
#: A part of each message around a word.
_EXCERPTS = """
    SELECT id, substr(content, greatest(strpos(lower(content), %s) - %s, 1), %s) FROM agent_sessions_message
    WHERE id = ANY(%s)
"""

_free_threads = asyncio.Semaphore(MAX_THREADS)


async def search(owner_id: int, query: str, *, limit: int, offset: int) -> dict[str, Any]:
    """Return a page of the sessions that a query finds, the one used last first. Raises Rejected."""
    if len(query) > MAX_QUERY_LENGTH:
        text = f"The search is too long: use at most {MAX_QUERY_LENGTH} characters."
        raise Rejected(ErrorCode.INVALID_FIELD, text)
    async with _free_threads:
        return await in_thread(_search)(owner_id, query, limit, offset)


def _search(owner_id: int, query: str, limit: int, offset: int) -> dict[str, Any]:
    words = re.findall(r"[^\W_]+", query.lower())[:MAX_WORDS]
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [STATEMENT_TIMEOUT])
            titles = [f"%{_escaped(part)}%" for part in query.lower().split()]
            # Without a word, no message has all of them.
            owner = f"'@{owner_id}'" if words else "'@'"
            found = rows(_SEARCH, owner, _tsquery(words) or "x", owner_id, owner_id, titles, MAX_FOUND)
            page = dict(found[offset : offset + limit])
            excerpts = _excerpts(words, [message_id for message_id in page.values() if message_id])
            sessions = {session.pk: session for session in history.sessions_of(owner_id).filter(pk__in=page)}
    except DatabaseError as error:
        if not is_statement_timeout(error):
            raise
        text = "The search took too long. Use more words, or longer ones."
        raise Rejected(ErrorCode.SEARCH_TIMED_OUT, text) from None
    listed = [_found(sessions[pk], page[pk], excerpts) for pk in page if pk in sessions]
    return {"sessions": listed, "total": len(found), "limit": limit, "offset": offset}


def _tsquery(words: list[str]) -> str:
    """Return the words as PostgreSQL reads them; the last one may be the beginning of a word."""
    last = [f"{word}:*" if len(word) >= MIN_PREFIX_LENGTH else word for word in words[-1:]]
    return " & ".join([*words[:-1], *last])


def _escaped(part: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", part)


def _excerpts(words: list[str], message_ids: list[uuid.UUID]) -> dict[uuid.UUID, str]:
    if not message_ids:
        return {}
    found = rows(_EXCERPTS, words[0], EXCERPT_LEAD, EXCERPT_LENGTH, message_ids)
    return {message_id: " ".join(text.split()) for message_id, text in found}


def _found(session: Session, message_id: uuid.UUID | None, excerpts: Mapping[uuid.UUID, str]) -> Session:
    """Return the session with the message that was found, as the list shows it."""
    if message_id:
        session.found = {"message_id": message_id, "text": excerpts.get(message_id, "")}  # type: ignore[attr-defined]
    return session

"""A session as a JSON file for operators: what users can export by REST, and the rows behind it.

It is streamed, a few messages at a time, so that a session of any length takes little memory.
"""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import F

from sessions.database import in_thread
from sessions.models import Message, Session

#: Of a page in memory.
PAGE_MESSAGES = 100

SESSION_FIELDS = ("id", "key", "title", "current_agent", "mode", "created_at", "updated_at")
MESSAGE_FIELDS = (
    *("id", "turn_id", "number", "role", "content", "reasoning", "tool_calls", "tool_call_id", "withdrawn"),
    "created_at",
)


async def parts(session: Session) -> AsyncIterator[str]:
    """Yield the pieces of the file."""
    facts = await in_thread(Session.every.values(*SESSION_FIELDS, user=F("owner__username")).get)(pk=session.pk)
    yield f'{{"session": {_json(facts)}, "messages": ['
    separator, after = "\n", None
    while page := await in_thread(_page)(session.pk, after):
        after = page[-1]["id"]
        yield separator + ",\n".join(map(_json, page))
        separator = ",\n"
    yield "\n]}\n"


def _page(session_id: uuid.UUID, after: uuid.UUID | None) -> list[dict[str, Any]]:
    # Ids begin with the time.
    rows = Message.objects.filter(session=session_id).order_by("pk")
    return list((rows.filter(pk__gt=after) if after else rows).values(*MESSAGE_FIELDS)[:PAGE_MESSAGES])


def _json(value: object) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)

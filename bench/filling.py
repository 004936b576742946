"""Creates long sessions in seconds, through the same functions as the service, without a model or a worker.

Reads a list of sessions as JSON from the input and prints the number of each one's last event. A process of its own,
because Django reads its settings once, on import.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

QUESTION = "What does this function do, and what happens when its argument is empty? Show me an example. " * 2
WORD = "word%d "


def fill(*, key: str, turns: int, pieces: int, fold: bool) -> int:
    """Create a session of the demo user: turns with a question and an answer of about 200 characters each.

    Each answer is streamed in this many pieces (0: not streamed), which are folded or not. Return the number of the
    last event.
    """
    from django.conf import settings
    from django.contrib.auth.models import User

    from codelab.local.accounts import DEMO
    from sessions.events import compaction, log
    from sessions.events.log import Addition, NewEvent
    from sessions.models import EventKind, Session, new_id
    from sessions.results import StepResult
    from sessions.turns import attempts, inbox
    from sessions.turns.sessions import open_session

    session = open_session(User.objects.get(username=DEMO).pk, key)
    for _ in range(turns):
        accepted = inbox.accept_message(session.pk, QUESTION)
        # At once, because workers claim turns that were unclaimed for two seconds.
        claimed = attempts.claim(accepted.turn_id, worker="bench", model=settings.CODELAB_MODEL)
        assert claimed, "a worker has claimed the turn"
        claim, _ = claimed
        message_id = new_id()
        texts = [WORD % i for i in range(pieces)] or [QUESTION]
        if pieces:
            payload = {"turn_id": str(claim.turn_id), "message_id": str(message_id)}
            events = tuple(
                NewEvent(
                    kind=EventKind.TEXT_DELTA,
                    turn_id=claim.turn_id,
                    attempt=claim.attempt,
                    payload=payload | {"text": text},
                )
                for text in texts
            )
            log.append_all(
                [Addition(session_id=session.pk, turn_id=claim.turn_id, attempt=claim.attempt, events=events)]
            )
        attempts.complete(claim, StepResult(message_id=message_id, text="".join(texts)))
        if fold:
            compaction.compact(claim.turn_id)
    return Session.objects.get(pk=session.pk).last_number


def main(sessions: list[dict[str, Any]]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")
    import django

    django.setup()
    print(json.dumps([fill(**session) for session in sessions]))


if __name__ == "__main__":
    main(json.load(sys.stdin))

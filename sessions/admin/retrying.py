"""Retrying a failed turn: its messages are sent again, and take its place (`sessions.turns.replacement`)."""

import uuid

from sessions.models import MessageRole, Turn, TurnStatus
from sessions.protocol.codes import ErrorCode, Rejected
from sessions.results import Change
from sessions.turns.inbox import accept_message


def retry_turn(turn: Turn) -> Change:
    """Send the messages of a failed turn again. Raises Rejected when it is not the newest one, or has not failed.

    Messages that were steered into it follow the one that began it, as one text.
    """
    messages = list(turn.messages.filter(role=MessageRole.USER, withdrawn=False).order_by("number"))
    if turn.status != TurnStatus.FAILED or not messages:
        raise Rejected(ErrorCode.NOT_REPLACEABLE, f"Turn {turn.pk} has not failed, or was replaced already.")
    text = "\n\n".join(message.content for message in messages)
    images = [uuid.UUID(image["image_id"]) for message in messages for image in message.images or ()]
    return accept_message(turn.session_id, text, images=images, replaces=messages[0].pk, api_key=turn.api_key)

"""The event log of a session: what clients receive, in the order of commits."""

from django.db import models
from django.db.models import F, Q

from sessions.models.conversation import Session, Turn
from sessions.models.fields import new_id, one_of


class EventKind(models.TextChoices):
    """What can happen in a session; `sessions.protocol.events` has the payload of each."""

    SESSION_CHANGED = "session_changed"
    SESSION_DELETED = "session_deleted"
    WORKSPACE_CHANGED = "workspace_changed"
    AGENT_SWITCHED = "agent_switched"
    MESSAGE_ADDED = "message_added"
    MESSAGE_EDITED = "message_edited"
    MESSAGE_WITHDRAWN = "message_withdrawn"
    TURN_QUEUED = "turn_queued"
    QUEUE_CHANGED = "queue_changed"
    TURN_STARTED = "turn_started"
    TEXT_DELTA = "text_delta"
    REASONING_DELTA = "reasoning_delta"
    TOOL_CALL_REQUESTED = "tool_call_requested"
    APPROVAL_DECIDED = "approval_decided"
    TOOL_CALL_FINISHED = "tool_call_finished"
    PLAN_PROPOSED = "plan_proposed"
    PLAN_DECIDED = "plan_decided"
    PLAN_UPDATED = "plan_updated"
    PLAN_FINISHED = "plan_finished"
    TURN_WAITING = "turn_waiting"
    RETRY_SCHEDULED = "retry_scheduled"
    SUMMARY_ADDED = "summary_added"
    TURN_COMPLETED = "turn_completed"
    TURN_FAILED = "turn_failed"
    TURN_CANCELLED = "turn_cancelled"
    TURN_REPLACED = "turn_replaced"


#: Kinds that carry pieces of a message while the model is still writing it.
PIECES = (EventKind.TEXT_DELTA, EventKind.REASONING_DELTA)


class Event(models.Model):
    """One numbered fact of a session."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="events", db_index=False)
    # Rows are many and written often: the unique (session, number) is the only index besides the key. In all models
    # an index of the session alone would repeat the beginning of a constraint's own.
    # Deleting a session deletes its events. A query by turn alone would read the whole table.
    turn = models.ForeignKey(
        Turn, on_delete=models.DO_NOTHING, related_name="events", null=True, db_index=False, db_constraint=False
    )
    number = models.BigIntegerField()
    first = models.BigIntegerField(
        null=True, blank=True, help_text="Of a compacted event: the first of the numbers that it replaces."
    )
    kind = models.CharField(max_length=32, choices=EventKind)
    payload = models.JSONField(default=dict)
    attempt = models.PositiveIntegerField(default=0, help_text="Attempt of the turn that wrote it. 0: a client.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session", "number"], name="event_number_unique"),
            models.CheckConstraint(condition=Q(number__gt=0), name="event_number_positive"),
            models.CheckConstraint(
                condition=Q(first__isnull=True) | Q(first__lt=F("number")), name="event_stands_for_numbers_before_it"
            ),
            one_of("kind", EventKind, "event_kind_known"),
        ]
        indexes = [
            # Rare among all events; lists of a session's agents read only these.
            models.Index(
                fields=["session", "number"], condition=Q(kind=EventKind.AGENT_SWITCHED), name="event_agent_switched"
            )
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.kind}"

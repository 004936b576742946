"""What is stored: sessions, their messages, turns, tool calls and events, and which workers are alive.

Fields, constraints and names only; every change of a turn's state is in `sessions.lifecycle`. Ids are UUIDv7, so that
they sort by time of creation and new rows land at the end of each index. Columns that came later have a default in the
database, so that processes of the version before can go on writing while a new one is rolled out.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.policy import Effect, Mode


def new_id() -> uuid.UUID:
    """Return a new UUIDv7."""
    return uuid7()


def one_of(field: str, choices: type[models.TextChoices], name: str) -> models.CheckConstraint:
    """Return a constraint that keeps a text column within its choices, also for writers other than Django."""
    return models.CheckConstraint(condition=Q(**{f"{field}__in": choices.values}), name=name)


class TurnStatus(models.TextChoices):
    #: Accepted, waits for a worker or for earlier turns of its session.
    QUEUED = "queued"
    #: A worker holds a lease on it.
    RUNNING = "running"
    #: Waits for the client's tools or a person's decision; holds nothing but rows.
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class MessageRole(models.TextChoices):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class ToolCallStatus(models.TextChoices):
    """The journal of a call: it is asked for, allowed, out with a client, and has one result at most."""

    #: A person must allow it first.
    ASKED = "asked"
    #: It may run: out with the client, no result yet.
    WAITING = "waiting"
    COMPLETED = "completed"
    #: It ran and failed, or it was refused by a rule, a check or a person.
    FAILED = "failed"
    REJECTED = "rejected"
    #: Its turn ended while it was out: nobody can know whether it ran.
    UNKNOWN = "unknown"


class ApprovalStatus(models.TextChoices):
    PENDING = "pending"
    APPROVED = "approved"
    #: Approved with other arguments than the model's.
    EDITED = "edited"
    REJECTED = "rejected"
    #: Nobody answered in time.
    EXPIRED = "expired"
    #: Its turn ended before anybody answered.
    WITHDRAWN = "withdrawn"


class Via(models.TextChoices):
    """By which door an approval was answered."""

    SOCKET = "socket"
    #: The client asked its user itself and sent the result, as the original's editor does.
    RESULT = "result"
    REST = "rest"
    ADMIN = "admin"
    DEADLINE = "deadline"


class EventKind(models.TextChoices):
    """What can happen in a session; docs/protocol.md lists the payload of each."""

    AGENT_SWITCHED = "agent_switched"
    MESSAGE_ADDED = "message_added"
    MESSAGE_EDITED = "message_edited"
    MESSAGE_WITHDRAWN = "message_withdrawn"
    TURN_QUEUED = "turn_queued"
    QUEUE_CHANGED = "queue_changed"
    TURN_STARTED = "turn_started"
    TEXT_DELTA = "text_delta"
    TOOL_CALL_REQUESTED = "tool_call_requested"
    APPROVAL_DECIDED = "approval_decided"
    TOOL_CALL_FINISHED = "tool_call_finished"
    TURN_WAITING = "turn_waiting"
    TURN_COMPLETED = "turn_completed"
    TURN_FAILED = "turn_failed"
    TURN_CANCELLED = "turn_cancelled"


OPEN_STATUSES = (TurnStatus.QUEUED, TurnStatus.RUNNING, TurnStatus.WAITING)
OPEN_CALLS = (ToolCallStatus.ASKED, ToolCallStatus.WAITING)


MODES = [(mode.value, mode.value) for mode in Mode]


class Session(models.Model):
    """A conversation, named by its owner's client."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="agent_sessions")
    key = models.CharField(max_length=128, help_text="The name the client chose; unique for its owner.")
    title = models.CharField(max_length=200, blank=True)
    current_agent = models.CharField(max_length=64)
    pinned = models.BooleanField(
        default=False, db_default=False, help_text="Its user has chosen the agent; no message is routed."
    )
    mode = models.CharField(
        max_length=16,
        choices=MODES,
        default=Mode.ASK.value,
        db_default=Mode.ASK.value,
        help_text="What its agents may do unasked.",
    )
    client_tools = models.JSONField(
        null=True, blank=True, help_text="The tools that its client says it can run; empty: those every client can."
    )
    last_number = models.BigIntegerField(default=0, editable=False, help_text="Number of the newest event.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "key"], name="session_key_unique_for_owner"),
            models.CheckConstraint(condition=~Q(key=""), name="session_key_not_empty"),
            models.CheckConstraint(condition=Q(mode__in=[mode for mode, _ in MODES]), name="session_mode_known"),
        ]
        indexes = [models.Index(fields=["owner", "-updated_at"], name="session_by_owner_recent")]

    def __str__(self) -> str:
        return self.title or self.key


class Turn(models.Model):
    """One run of an agent: from a user's message to the answer, over as many model calls and attempts as it takes."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="turns", db_index=False)
    status = models.CharField(max_length=16, choices=TurnStatus, default=TurnStatus.QUEUED)
    position = models.BigIntegerField(
        help_text="Turns run in this order: by the number of the event that queued them, unless one was put first."
    )
    attempt = models.PositiveIntegerField(default=0, help_text="Grows with each claim; older attempts cannot write.")
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField(default=timezone.now, help_text="When it last began to wait for a worker.")
    worker = models.CharField(max_length=200, blank=True, help_text="Who runs it, or ran it last.")
    model = models.CharField(max_length=200, blank=True)
    lost_leases = models.PositiveIntegerField(default=0, help_text="Attempts in a row that ended without a word.")
    steps = models.PositiveIntegerField(default=0, help_text="Model calls that finished.")
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    error_code = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True, help_text="When its newest attempt began.")
    worked = models.DurationField(
        default=timedelta, db_default=timedelta(), help_text="Time its attempts took, without waiting for tools."
    )
    first_token_at = models.DateTimeField(null=True, blank=True)
    waiting_since = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    folded = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="Its pieces of text are few events now."
    )

    class Meta:
        constraints = [
            one_of("status", TurnStatus, "turn_status_known"),
            models.UniqueConstraint(fields=["session", "position"], name="turn_position_unique"),
            models.UniqueConstraint(
                fields=["session"],
                condition=Q(status__in=[TurnStatus.RUNNING, TurnStatus.WAITING]),
                name="turn_one_active_in_session",
            ),
            models.CheckConstraint(
                condition=Q(status=TurnStatus.RUNNING, lease_expires_at__isnull=False)
                | ~Q(status=TurnStatus.RUNNING) & Q(lease_expires_at__isnull=True),
                name="turn_lease_only_while_running",
            ),
            models.CheckConstraint(
                condition=Q(status__in=OPEN_STATUSES, finished_at__isnull=True)
                | ~Q(status__in=OPEN_STATUSES) & Q(finished_at__isnull=False),
                name="turn_finished_at_only_when_finished",
            ),
            models.CheckConstraint(
                condition=~Q(status=TurnStatus.FAILED) | ~Q(error_code=""), name="turn_failure_has_a_reason"
            ),
        ]
        indexes = [
            # The workers and the metrics ask only for open turns, which are few among millions.
            models.Index(fields=["status", "queued_at"], condition=Q(status__in=OPEN_STATUSES), name="turn_open"),
            models.Index(
                fields=["finished_at"], condition=Q(folded=False, finished_at__isnull=False), name="turn_to_fold"
            ),
        ]

    def __str__(self) -> str:
        return f"turn {self.id} ({self.status})"


class Message(models.Model):
    """One entry of the conversation, as the model and the people see it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="messages", db_index=False)
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="messages")
    role = models.CharField(max_length=16, choices=MessageRole)
    content = models.TextField(blank=True)
    tool_calls = models.JSONField(default=list, blank=True, help_text="Calls the assistant asked for in this message.")
    tool_call_id = models.CharField(max_length=128, blank=True, help_text="The call that a tool message answers.")
    client_message_id = models.CharField(
        max_length=128, blank=True, default="", help_text="The sender's own id; the same one again is the same message."
    )
    interrupted = models.BooleanField(default=False, help_text="The turn ended before the model had said everything.")
    withdrawn = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Its sender took it back before it was answered; neither model nor clients see it.",
    )
    number = models.BigIntegerField(help_text="Number of the event that announced it; orders the conversation.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            one_of("role", MessageRole, "message_role_known"),
            models.UniqueConstraint(fields=["session", "number"], name="message_number_unique"),
            models.UniqueConstraint(
                fields=["session", "client_message_id"],
                condition=~Q(client_message_id=""),
                name="message_client_id_unique",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} message {self.id}"


class ToolCall(models.Model):
    """A tool that the model asked for; it runs in the client, and its result is taken once."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="tool_calls")
    call_id = models.CharField(max_length=128, help_text="The id that model and client use for it.")
    tool = models.CharField(max_length=128)
    arguments = models.JSONField(default=dict)
    agent = models.CharField(max_length=64, blank=True, db_default="", help_text="The agent that asked for it.")
    requires_approval = models.BooleanField(default=True)
    rule = models.CharField(max_length=2200, blank=True, db_default="", help_text="What decided whether it may run.")
    reason = models.TextField(blank=True, db_default="", help_text="Why a person is asked.")
    digest = models.CharField(max_length=80, blank=True, db_default="", help_text="Hash of the tool and the arguments.")
    status = models.CharField(max_length=16, choices=ToolCallStatus, default=ToolCallStatus.WAITING)
    result = models.TextField(blank=True, help_text="What the model was told, as JSON text or as an error.")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            one_of("status", ToolCallStatus, "tool_call_status_known"),
            models.UniqueConstraint(fields=["turn", "call_id"], name="tool_call_id_unique_in_turn"),
            models.CheckConstraint(
                condition=Q(status__in=OPEN_CALLS, finished_at__isnull=True)
                | ~Q(status__in=OPEN_CALLS) & Q(finished_at__isnull=False),
                name="tool_call_finished_at_only_when_finished",
            ),
        ]
        indexes = [models.Index(fields=["turn"], condition=Q(status__in=OPEN_CALLS), name="tool_call_open")]

    def __str__(self) -> str:
        return f"{self.tool} ({self.status})"


class Approval(models.Model):
    """The question whether a call may run, and its one answer. It covers exactly what was shown: see `digest`."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    call = models.OneToOneField(ToolCall, on_delete=models.CASCADE, related_name="approval")
    status = models.CharField(max_length=16, choices=ApprovalStatus, default=ApprovalStatus.PENDING)
    digest = models.CharField(max_length=80, help_text="Hash of what was shown, or of the arguments it was edited to.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    via = models.CharField(max_length=16, choices=Via, blank=True)
    feedback = models.TextField(blank=True, help_text="What the model was told with a rejection.")

    class Meta:
        constraints = [
            one_of("status", ApprovalStatus, "approval_status_known"),
            models.CheckConstraint(
                condition=Q(status=ApprovalStatus.PENDING, decided_at__isnull=True)
                | ~Q(status=ApprovalStatus.PENDING) & Q(decided_at__isnull=False),
                name="approval_decided_at_only_when_decided",
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(status=ApprovalStatus.PENDING), name="approval_pending")
        ]

    def __str__(self) -> str:
        return f"approval of {self.call_id} ({self.status})"


class PolicyRule(models.Model):
    """A standing answer of a user, for one session or for all: always allow or always deny what fits its patterns."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="policy_rules")
    session = models.ForeignKey(Session, on_delete=models.CASCADE, null=True, blank=True, related_name="policy_rules")
    effect = models.CharField(max_length=8, choices=[(effect.value, effect.value) for effect in Effect])
    tool = models.CharField(max_length=1000, default="*")
    subject = models.CharField(max_length=1000, default="*", help_text="Paths, or the words of a command.")
    agent = models.CharField(max_length=1000, default="*")
    folder = models.CharField(max_length=1000, default=".", help_text="Where a command that is allowed may run.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(effect__in=[effect.value for effect in Effect]), name="policy_rule_effect_known"
            )
        ]

    def __str__(self) -> str:
        return f"{self.effect} {self.tool} {self.subject}"


class Event(models.Model):
    """One numbered fact of a session: what clients are told, in the order in which it became true."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="events", db_index=False)
    # Rows are many and written often: the unique (session, number) is the only index besides the key. In all models
    # an index of the session alone would repeat the beginning of a constraint's own.
    # The session takes its events along; asking for those of a turn alone would read the whole table.
    turn = models.ForeignKey(
        Turn, on_delete=models.DO_NOTHING, related_name="events", null=True, db_index=False, db_constraint=False
    )
    number = models.BigIntegerField()
    first = models.BigIntegerField(
        null=True, blank=True, help_text="For a folded event: it stands for the numbers from this one to its own."
    )
    kind = models.CharField(max_length=32, choices=EventKind)
    payload = models.JSONField(default=dict)
    attempt = models.PositiveIntegerField(default=0, help_text="The turn's attempt that wrote it; 0 for clients.")
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

    def __str__(self) -> str:
        return f"{self.number} {self.kind}"


class Worker(models.Model):
    """A worker process that reports that it is alive; how /health and the admin know that somebody runs turns."""

    name = models.CharField(primary_key=True, max_length=200)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)
    running_turns = models.PositiveIntegerField(default=0)

    #: A worker that has not been seen for this long is taken for dead.
    SILENCE = timedelta(seconds=15)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(seen_at__gte=F("started_at")), name="worker_seen_after_it_started")
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def alive(cls) -> models.QuerySet[Worker]:
        """Return the workers that reported lately."""
        return cls._default_manager.filter(seen_at__gt=timezone.now() - cls.SILENCE)

"""Tool calls, the approvals that some of them need, and the standing rules that answer for a user."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from agents.rules import MAX_LABEL_CHARACTERS, Effect
from sessions.models.conversation import Session, Turn
from sessions.models.fields import KeyOrderField, OrderedModel, new_id, one_of


class ToolCallStatus(models.TextChoices):
    """The life of a call: requested, allowed, sent to a client, and finished with at most one result."""

    #: Waits for approval.
    ASKED = "asked"
    #: Allowed to run; the client has not sent a result yet.
    WAITING = "waiting"
    COMPLETED = "completed"
    #: It ran and failed, or a rule or a check refused it.
    FAILED = "failed"
    #: A user refused it, or did not answer in time.
    REJECTED = "rejected"
    #: The turn ended, or the client went away, before the result came: whether it ran cannot be known.
    UNKNOWN = "unknown"


OPEN_CALLS = (ToolCallStatus.ASKED, ToolCallStatus.WAITING)


class ApprovalStatus(models.TextChoices):
    PENDING = "pending"
    APPROVED = "approved"
    #: Approved with arguments that the user changed.
    EDITED = "edited"
    REJECTED = "rejected"
    #: Not answered in time.
    EXPIRED = "expired"
    #: The turn ended before an answer.
    WITHDRAWN = "withdrawn"


class Via(models.TextChoices):
    """How an approval was answered."""

    SOCKET = "socket"
    #: The client asked the user itself and sent the result, as the original's editor does.
    RESULT = "result"
    REST = "rest"
    ADMIN = "admin"
    DEADLINE = "deadline"


class ToolCall(OrderedModel):
    """A tool call that the model requested. A client or the server runs it; its result is accepted once."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="tool_calls")
    call_id = models.CharField(max_length=128, help_text="Id that model and client use.")
    tool = models.CharField(max_length=128)
    arguments = models.JSONField(default=dict)
    key_order = KeyOrderField(of=("arguments",))
    edited = models.BooleanField(default=False, db_default=False, help_text="A user has changed the arguments.")
    agent = models.CharField(max_length=64, blank=True, db_default="", help_text="Agent that requested it.")
    requires_approval = models.BooleanField(default=True)
    rule = models.CharField(
        max_length=MAX_LABEL_CHARACTERS, blank=True, db_default="", help_text="What decided whether it may run."
    )
    reason = models.TextField(blank=True, db_default="", help_text="Why it needs approval.")
    digest = models.CharField(max_length=80, blank=True, db_default="", help_text="Hash of tool and arguments.")
    definition = models.JSONField(
        null=True,
        blank=True,
        help_text="What people see of a tool that the client has defined, and the hash of its definition.",
    )
    status = models.CharField(max_length=16, choices=ToolCallStatus, default=ToolCallStatus.WAITING)
    offered_to = models.CharField(
        max_length=128, blank=True, db_default="", help_text="Client that should run it, or ask its user about it."
    )
    offered_by = models.UUIDField(null=True, blank=True, help_text="Web process with that client's socket.")
    offered_until = models.DateTimeField(
        null=True, blank=True, help_text="The client is away; after this it counts as gone. Empty while connected."
    )
    shown_at = models.DateTimeField(
        null=True, blank=True, help_text="When that client was told to run it. No other client is ever told."
    )
    unknown_since = models.DateTimeField(
        null=True, blank=True, help_text="Its client went away, so the user decides whether it runs again."
    )
    result = models.TextField(
        blank=True, help_text="The whole result: JSON, a text or an error. The model gets long ones cut in the middle."
    )
    facts = models.JSONField(
        null=True, blank=True, help_text="What people are told of the result: exit code, hashes of a file, its diff."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    #: What `tool_calls.open_call` reads beside the row: whether other calls of the turn are open.
    has_open_neighbours = False

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
        indexes = [
            models.Index(fields=["turn"], condition=Q(status__in=OPEN_CALLS), name="tool_call_open"),
            # Workers and web processes look for clients that are gone.
            models.Index(
                fields=["offered_by"],
                condition=Q(status__in=OPEN_CALLS, offered_by__isnull=False, offered_until__isnull=True),
                name="tool_call_held",
            ),
            models.Index(
                fields=["offered_until"],
                condition=Q(status=ToolCallStatus.WAITING, shown_at__isnull=False),
                name="tool_call_away",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool} ({self.status})"

    @property
    def definition_digest(self) -> str:
        """Return the hash of the definition that people saw; empty for a tool of the server's."""
        return str(self.definition["digest"]) if self.definition else ""


class ToolDefinitions(models.Model):
    """The tools that the client of a session defines itself. The text keeps the order of keys."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.OneToOneField(Session, on_delete=models.CASCADE, related_name="+")
    text = models.TextField(help_text="JSON (`agents.client_tools`).")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "tool definitions"

    def __str__(self) -> str:
        return f"tools of {self.session_id}"


class Approval(models.Model):
    """The question whether a call may run, and its one answer. Covers exactly what was shown: see `digest`."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    call = models.OneToOneField(ToolCall, on_delete=models.CASCADE, related_name="approval")
    status = models.CharField(max_length=16, choices=ApprovalStatus, default=ApprovalStatus.PENDING)
    digest = models.CharField(max_length=80, help_text="Hash of what was shown, or of the edited arguments.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    via = models.CharField(max_length=16, choices=Via, blank=True)
    feedback = models.TextField(blank=True, help_text="Sent to the model with a rejection.")

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
    """A user's standing answer, for one session or for all: always allow or always deny matching calls."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="policy_rules")
    session = models.ForeignKey(Session, on_delete=models.CASCADE, null=True, blank=True, related_name="policy_rules")
    effect = models.CharField(max_length=8, choices=[(effect.value, effect.value) for effect in Effect])
    tool = models.CharField(max_length=1000, default="*")
    subject = models.CharField(max_length=1000, default="*", help_text="Paths, or the words of a command.")
    agent = models.CharField(max_length=1000, default="*")
    folder = models.CharField(max_length=1000, default=".", help_text="Where an allowed command may run.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(effect__in=[effect.value for effect in Effect]), name="policy_rule_effect_known"
            )
        ]

    def __str__(self) -> str:
        return f"{self.effect} {self.tool} {self.subject}"

"""Actions of operators: each needs a permission, is done by the verb that users' clients use, and is written down.

The record says who did what, when and why. An action that a row refuses changes nothing and is told in a sentence.
Events are not published: clients of sessions with an open turn read the log every 2 s, and the worker of a turn that it
has lost notices at its next write or renewal, within 3 s.
"""

from collections.abc import Callable, Iterable
from typing import Any

import structlog
from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from sessions import broker
from sessions.admin.display import column, escape_controls, show_time, text_column
from sessions.admin.pages import Admin, ReadOnlyAdmin
from sessions.database import describe
from sessions.protocol.codes import Rejected
from sessions.results import Change

logger = structlog.get_logger(__name__)

#: Longest reason, and most rows of one action: each is a transaction of its own.
MAX_REASON, MAX_ACTED_ROWS = 500, 100


class ReasonForm(ActionForm):
    """The actions of a list, with a word for the record."""

    reason = forms.CharField(label="Reason:", required=False, max_length=MAX_REASON)


def reason_of(request: HttpRequest) -> str:
    """Return the operator's reason as one bounded line."""
    return " ".join(str(request.POST.get("reason", "")).replace("\0", " ").split())[:MAX_REASON]


class ActingAdmin(Admin):
    """Runs actions on rows. `page_actions` of a row stand on its page, too."""

    action_form = ReasonForm
    #: Names of actions, with the words of their buttons.
    page_actions: dict[str, str] = {}

    def act(
        self, request: HttpRequest, rows: Iterable[Any], done: str, verb: Callable[[Any], Change | None]
    ) -> HttpResponseRedirect | None:
        """Run a verb on each row and record it. Return to the row's page when the action came from there."""
        reason, count, last = reason_of(request), 0, None
        for last in list(rows)[:MAX_ACTED_ROWS]:
            try:
                # No action without its record.
                with transaction.atomic():
                    change = verb(last)
                    self.log_change(request, last, f"{done}. Reason: {reason}" if reason else f"{done}.")
            except (Rejected, ObjectDoesNotExist, DatabaseError) as error:
                self.message_user(request, _why_not(last, error), messages.WARNING)
                continue
            count += 1
            if change and change.ready:
                broker.enqueue_turn(change.ready)
        if count:
            self.message_user(request, f"{done}: {count}.", messages.SUCCESS)
        if "from_page" in request.POST and last is not None:
            url = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
            return HttpResponseRedirect(reverse(url, args=[quote(last.pk)]))
        return None

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        """Add the buttons of the actions that this operator may run."""
        allowed = self.get_actions(request)
        context["page_actions"] = [(name, text) for name, text in self.page_actions.items() if name in allowed]
        response: HttpResponse = super().render_change_form(request, context, *args, **options)
        return response


def _why_not(row: Any, error: Exception) -> str:
    if isinstance(error, Rejected):
        return str(error)
    if isinstance(error, ObjectDoesNotExist):
        return f"{row._meta.verbose_name.capitalize()} {row.pk}: it, or its session, was deleted."
    logger.warning("action_not_done", row=str(row.pk), **describe(error))
    return f"{row._meta.verbose_name.capitalize()} {row.pk}: another transaction was in the way. Try again."


def what_was_done(entry: LogEntry) -> str:
    """Return what a record of an action says."""
    return escape_controls(entry.get_change_message() or entry.get_action_flag_display())


class LogEntryAdmin(ReadOnlyAdmin):
    """What operators did. Rows are never changed or deleted here."""

    list_display = ("time", "user", "what", "table", "row")
    list_filter = ("action_flag",)
    list_select_related = ("user", "content_type")
    search_fields = ("user__username", "object_id")
    search_help_text = "Name of an operator, or id of a row."
    sortable_by = ()
    fields = ("time", "user", "what", "table", "row", "object_id")
    time = column("time", lambda entry: show_time(entry.action_time))
    table = column("table", lambda entry: entry.content_type.name if entry.content_type else "–")
    what = column("what", what_was_done)
    row = text_column("object_repr")

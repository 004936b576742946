"""What all lists and pages of rows have in common: they are for reading, stay quick, and are found by an id or session.

The columns of each kind of row are elsewhere. Nothing here gives a permission to write, counts all rows of a table, or
searches the words of a conversation.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.safestring import SafeString

from sessions.admin.display import age, conversation_link, link, shortened
from sessions.models import Session, Turn

if TYPE_CHECKING:
    Admin = admin.ModelAdmin[Any]
else:
    Admin = admin.ModelAdmin

#: Rows of a list that are counted and can be paged to; who looks for older ones filters.
COUNTED_ROWS = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts a bounded number of rows, because PostgreSQL has to read all that it counts."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows that can be paged through."""
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        return rows.order_by().values("pk")[:COUNTED_ROWS].count()


class ReadOnlyAdmin(Admin):
    """Shows rows, the newest first, and changes none."""

    ordering = ("-pk",)
    list_per_page = 50
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count the whole table, once for each choice
    actions: Sequence[Any] | None = None

    class Media:
        css = {"all": ["sessions/admin.css"]}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows are made by `sessions.turns.attempts` alone."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What happened stays as it was."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A part of a session cannot go without the rest."""
        return False

    @admin.display(description="created", ordering="pk")
    def created(self, row: Any) -> SafeString:
        """Return the age; the ids sort by it."""
        return age(row.created_at)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return what the page of a row shows: all of it is for reading, also what is no column."""
        return [str(name) for name in self.fields or ()]


class SearchableAdmin(ReadOnlyAdmin):
    """Finds rows by an id, or by their session. The words of a conversation are not searched: they have no index."""

    #: Columns that hold an id and have an index.
    id_paths: Sequence[str] = ("pk", "session")
    session_path = "session"
    search_fields = ("pk",)  # Django shows the box when there is one
    search_help_text = "An id of a row or of its session, a part of the session's key, or the name of its owner."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Look an id up by index, and anything else among the sessions, which are few beside their rows."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = uuid.UUID(term)
        except ValueError:
            sessions = Session.objects.filter(Q(key__icontains=term) | Q(owner__username__iexact=term))
            return queryset.filter(**{f"{self.session_path}__in": sessions.values("pk")}), False
        ids: list[Any] = [(path, wanted) for path in self.id_paths]
        return queryset.filter(Q.create(ids, connector=Q.OR)), False

    @admin.display(description="session")
    def conversation_of(self, row: Any) -> SafeString | str:
        """Return a link to the conversation that the row is a part of."""
        return conversation_link(row.session)

    @admin.display(description="owner")
    def owner_of(self, row: Any) -> str:
        """Return whose session the row belongs to."""
        return shortened(row.session.owner.get_username())

    @admin.display(description="turn")
    def turn_of(self, row: Any) -> SafeString | str:
        """Return a link to the row's turn, without reading the turn."""
        return link(Turn(pk=row.turn_id), "turn") if row.turn_id else "–"

"""The base of all lists and pages of rows: read-only, fast, and searched by id or session.

Nothing here grants a permission to write, counts all rows of a table, or searches the text of a conversation.
"""

import re
import uuid
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.safestring import SafeString

from sessions.admin.display import conversation_link, link, shorten, show_time
from sessions.models import Session, Turn
from sessions.models.words import words_of

if TYPE_CHECKING:
    Admin = admin.ModelAdmin[Any]
else:
    Admin = admin.ModelAdmin

#: Rows of a list that are counted and can be paged to. Filters reach older ones.
MAX_COUNTED_ROWS = 10_000
#: Words of a search that count.
MAX_WORDS = 10


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts a bounded number of rows, because PostgreSQL reads every row that it counts."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows that can be paged to."""
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        return rows.order_by().values("pk")[:MAX_COUNTED_ROWS].count()


class ReadOnlyAdmin(Admin):
    """Shows rows, newest first, and changes none."""

    ordering = ("-pk",)
    list_per_page = 50
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # facets count the whole table, once per choice
    actions: Sequence[Any] | None = None

    class Media:
        css = {"all": ["sessions/admin.css"]}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: only `sessions.turns` creates rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: history does not change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a session is deleted as a whole."""
        return False

    @admin.display(description="created", ordering="pk")
    def created(self, row: Any) -> SafeString:
        return show_time(row.created_at)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return all fields, including those that are not columns."""
        return [str(name) for name in self.fields or ()]


#: Sessions with a message that has all words of a query, by the index of the list's search.
_SESSIONS_WITH_WORDS = f"""
    SELECT session_id FROM agent_sessions_message
    WHERE {words_of("owner_id", "content")} @@ to_tsquery('simple', %s)
    AND owner_id IS NOT NULL AND role IN ('user', 'assistant') AND NOT withdrawn LIMIT %s
"""


def _words_in(term: str) -> Q:
    """Return what a search finds: each word in the title or in a message, or the term in the key or name."""
    title = Q()
    for word in term.split()[:MAX_WORDS]:
        title &= Q(title__icontains=word)
    words = " & ".join(re.findall(r"[^\W_]+", term.lower())[:MAX_WORDS])
    if words:
        title |= Q(pk__in=RawSQL(_SESSIONS_WITH_WORDS, (words, MAX_COUNTED_ROWS)))
    return title | Q(key__icontains=term) | Q(owner__username__iexact=term)


class SearchableAdmin(ReadOnlyAdmin):
    """Finds rows by id or by session. The text of a conversation has no index and is not searched."""

    #: Columns that hold an id and have an index.
    id_paths: Sequence[str] = ("pk", "session")
    session_path = "session"
    search_fields = ("pk",)  # Django shows the search box if this is not empty
    search_help_text = (
        "Id of a row or its session, words of the session's title, part of its key, or name of its owner."
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find an id by index, and other terms among the sessions, which are few compared with their rows."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            row_id = uuid.UUID(term)
        except ValueError:
            sessions = Session.objects.filter(_words_in(term))
            return queryset.filter(**{f"{self.session_path}__in": sessions.values("pk")}), False
        ids: list[Any] = [(path, row_id) for path in self.id_paths]
        return queryset.filter(Q.create(ids, connector=Q.OR)), False

    def session_of(self, row: Any) -> Any:
        """Return the session that a row belongs to."""
        return attrgetter(self.session_path.replace("__", "."))(row)

    @admin.display(description="session")
    def conversation_of(self, row: Any) -> SafeString | str:
        session = self.session_of(row)
        return conversation_link(session) if session else "deleted"

    @admin.display(description="owner")
    def owner_of(self, row: Any) -> str:
        return shorten(self.session_of(row).owner.get_username())

    @admin.display(description="turn")
    def turn_of(self, row: Any) -> SafeString | str:
        # Without reading the turn.
        return link(Turn(pk=row.turn_id), "turn") if row.turn_id else "–"

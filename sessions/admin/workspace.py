"""The workspaces that clients have described. The page of one shows what its client said, for people to read."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sessions.admin.display import block, column, conversation_link, escape_controls, link, pretty, shorten, show_time
from sessions.admin.pages import ReadOnlyAdmin
from sessions.models import Session, Workspace

#: Sessions that the page of a workspace names.
MAX_SESSIONS = 20


def workspace_link(session: Session) -> SafeString | str:
    """Return a link to the workspace of a session; its text is the name and the branch."""
    row = Workspace.objects.filter(pk=session.workspace_id).defer("data").first() if session.workspace_id else None
    if row is None:
        return "–"
    names = [row.summary["name"], row.summary["branch"]]
    return link(row, format_html("<bdi>{}</bdi>", shorten(" · ".join(filter(None, names)) or row)))


class WorkspaceAdmin(ReadOnlyAdmin):
    list_display = ("the_name", "the_branch", "the_system", "the_owner", "last_use")
    list_select_related = ("owner",)
    ordering = ("-used_at",)
    sortable_by = ()
    fields = ("id", "the_owner", "sessions_of", "the_name", "facts", "instructions", "hash", "used_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Workspace]:
        """Leave out the data, which only the page of one workspace shows."""
        rows: QuerySet[Workspace] = super().get_queryset(request)
        return rows.defer("data")

    the_name = column("name", lambda row: format_html("<bdi>{}</bdi>", shorten(row.summary["name"]) or "–"))
    the_branch = column("branch", lambda row: format_html("<bdi>{}</bdi>", shorten(row.summary["branch"]) or "–"))
    the_system = column("system", lambda row: format_html("<bdi>{}</bdi>", shorten(row.summary["system"]) or "–"))
    the_owner = column("owner", lambda row: shorten(row.owner.get_username()))
    last_use = column("last sent", lambda row: show_time(row.used_at))
    facts = column(
        "facts", lambda row: block(pretty({key: row.data[key] for key in row.data if key != "instructions"}))
    )

    @admin.display(description="instructions")
    def instructions(self, row: Workspace) -> SafeString:
        files = ((shorten(each["path"]), escape_controls(each["text"])) for each in row.data.get("instructions", ()))
        shown = format_html_join("", '<p><bdi>{}</bdi></p><pre class="verbatim">{}</pre>', files)
        return shown or SafeString("–")

    @admin.display(description="sessions")
    def sessions_of(self, row: Workspace) -> SafeString:
        sessions = Session.objects.filter(workspace=row).order_by("-updated_at")[:MAX_SESSIONS]
        return format_html_join(", ", "{}", ((conversation_link(session),) for session in sessions)) or SafeString("–")

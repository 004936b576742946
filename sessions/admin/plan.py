"""Plans and their sub-tasks: what was proposed, who does what, and how far it is."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from sessions.admin.display import badge, block, conversation_link, link, pretty, seconds, shortened, shown, visible
from sessions.admin.filters import CreatedFilter
from sessions.admin.pages import SearchableAdmin
from sessions.models import Plan, SubTask, ToolCall


class PlanAdmin(SearchableAdmin):
    id_paths = ("pk", "session", "call")
    list_display = ("created", "state", "the_goal", "the_agent", "took", "conversation_of", "owner_of")
    list_filter = ("status", CreatedFilter)
    list_select_related = ("session__owner",)
    sortable_by = ("created",)
    fields = (
        *("id", "conversation_of", "owner_of", "state", "whole_goal", "the_agent", "proposal", "the_subtasks"),
        *("created_at", "approved_at", "finished_at"),
    )
    the_agent = shown("agent")

    @admin.display(description="status")
    def state(self, plan: Plan) -> SafeString:
        """Return the status."""
        return badge(plan.status)

    @admin.display(description="goal")
    def the_goal(self, plan: Plan) -> str:
        """Return how the goal begins."""
        return shortened(plan.goal) or "–"

    @admin.display(description="goal")
    def whole_goal(self, plan: Plan) -> SafeString:
        """Return the whole goal."""
        return block(visible(plan.goal))

    @admin.display(description="took")
    def took(self, plan: Plan) -> str:
        """Return how long it was carried out."""
        return seconds(plan.approved_at, plan.finished_at)

    @admin.display(description="proposal")
    def proposal(self, plan: Plan) -> SafeString:
        """Return a link to the call that proposed it, without reading the call."""
        return link(ToolCall(pk=plan.call_id), "call")

    @admin.display(description="sub-tasks")
    def the_subtasks(self, plan: Plan) -> SafeString:
        """Return its sub-tasks in their order, one a line."""
        rows = plan.subtasks.order_by("position")
        return block("\n".join(f"{row.status}: {shortened(row.key)} ({shortened(row.agent)})" for row in rows))


class SubTaskAdmin(SearchableAdmin):
    id_paths, session_path = ("pk", "plan"), "plan__session"
    search_help_text = "An id of a sub-task or its plan, a part of the session's key, or the name of its owner."
    list_display = (
        "begun",
        "state",
        "the_key",
        "beginning",
        "the_agent",
        "steps",
        "took",
        "plan_of",
        "conversation_of",
    )
    list_filter = ("status",)
    list_select_related = ("plan__session__owner",)
    sortable_by = ()
    fields = (
        *("id", "plan_of", "conversation_of", "owner_of", "state", "the_key", "position", "the_agent", "whole"),
        *("shown_dependencies", "the_estimated_time", "report", "steps", "took", "started_at", "finished_at"),
    )
    the_key = shown("key")
    the_agent = shown("agent")
    the_estimated_time = shown("estimated_time")

    @admin.display(description="begun")
    def begun(self, row: SubTask) -> str:
        """Return when it was begun."""
        return f"{row.started_at:%Y-%m-%d %H:%M:%S}" if row.started_at else "–"

    @admin.display(description="status")
    def state(self, row: SubTask) -> SafeString:
        """Return the status."""
        return badge(row.status)

    @admin.display(description="description")
    def beginning(self, row: SubTask) -> str:
        """Return how the description begins."""
        return shortened(row.description)

    @admin.display(description="description")
    def whole(self, row: SubTask) -> SafeString:
        """Return the whole description."""
        return block(visible(row.description))

    @admin.display(description="dependencies")
    def shown_dependencies(self, row: SubTask) -> SafeString:
        """Return what must be done first."""
        return block(pretty(row.dependencies))

    @admin.display(description="result")
    def report(self, row: SubTask) -> SafeString:
        """Return what its agent reported, or why it failed."""
        return block(visible(row.result))

    @admin.display(description="took")
    def took(self, row: SubTask) -> str:
        """Return how long it was at work, waiting included."""
        return seconds(row.started_at, row.finished_at)

    @admin.display(description="plan")
    def plan_of(self, row: SubTask) -> SafeString:
        """Return a link to the plan."""
        return link(row.plan, "plan")

    @admin.display(description="session")
    def conversation_of(self, row: SubTask) -> SafeString:
        """Return a link to the conversation that the plan is a part of."""
        return conversation_link(row.plan.session)

    @admin.display(description="owner")
    def owner_of(self, row: SubTask) -> str:
        """Return whose session the plan belongs to."""
        return shortened(row.plan.session.owner.get_username())

"""Plans and their sub-tasks, with their agents and progress."""

from django.contrib import admin
from django.utils.safestring import SafeString

from sessions.admin.display import (
    badge,
    block,
    column,
    escape_controls,
    format_duration,
    link,
    pretty,
    shorten,
    show_time,
    text_column,
)
from sessions.admin.filters import CreatedFilter
from sessions.admin.pages import SearchableAdmin
from sessions.models import Plan, ToolCall


class PlanAdmin(SearchableAdmin):
    id_paths = ("pk", "session", "call")
    list_display = ("created", "state", "the_goal", "the_agent", "duration", "conversation_of", "owner_of")
    list_filter = ("status", CreatedFilter)
    list_select_related = ("session__owner",)
    sortable_by = ("created",)
    fields = (
        *("id", "conversation_of", "owner_of", "state", "goal_block", "the_agent", "proposal", "subtasks_block"),
        *("created_at", "approved_at", "finished_at"),
    )
    the_agent = text_column("agent")
    state = column("status", lambda plan: badge(plan.status))
    the_goal = column("goal", lambda plan: shorten(plan.goal) or "–")
    goal_block = column("goal", lambda plan: block(escape_controls(plan.goal)))
    duration = column("duration", lambda plan: format_duration(plan.approved_at, plan.finished_at))
    proposal = column("proposal", lambda plan: link(ToolCall(pk=plan.call_id), "call"))

    @admin.display(description="sub-tasks")
    def subtasks_block(self, plan: Plan) -> SafeString:
        rows = plan.subtasks.order_by("position")
        return block("\n".join(f"{row.status}: {shorten(row.key)} ({shorten(row.agent)})" for row in rows))


class SubTaskAdmin(SearchableAdmin):
    id_paths, session_path = ("pk", "plan"), "plan__session"
    search_help_text = "Id of a sub-task or its plan, part of the session's key, or name of its owner."
    list_display = (
        "start",
        "state",
        "the_key",
        "excerpt",
        "the_agent",
        "steps",
        "duration",
        "plan_of",
        "conversation_of",
    )
    list_filter = ("status",)
    list_select_related = ("plan__session__owner",)
    sortable_by = ()
    fields = (
        *("id", "plan_of", "conversation_of", "owner_of", "state", "the_key", "position", "the_agent"),
        *(
            "description_block",
            "dependencies_block",
            "the_estimated_time",
            "result_block",
            "steps",
            "duration",
            "started_at",
            "finished_at",
        ),
    )
    the_key = text_column("key")
    the_agent = text_column("agent")
    the_estimated_time = text_column("estimated_time")
    start = column("started", lambda row: show_time(row.started_at) if row.started_at else "–")
    state = column("status", lambda row: badge(row.status))
    excerpt = column("description", lambda row: shorten(row.description))
    description_block = column("description", lambda row: block(escape_controls(row.description)))
    dependencies_block = column("dependencies", lambda row: block(pretty(row.dependencies)))
    result_block = column("result", lambda row: block(escape_controls(row.result)))
    duration = column("duration", lambda row: format_duration(row.started_at, row.finished_at))
    plan_of = column("plan", lambda row: link(row.plan, "plan"))

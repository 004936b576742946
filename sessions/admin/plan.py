"""Plans and their sub-tasks, with their agents and progress."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from sessions.admin.display import (
    badge,
    block,
    conversation_link,
    escape_controls,
    format_duration,
    format_utc,
    link,
    pretty,
    shorten,
    text_column,
)
from sessions.admin.filters import CreatedFilter
from sessions.admin.pages import SearchableAdmin
from sessions.models import Plan, SubTask, ToolCall


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

    @admin.display(description="status")
    def state(self, plan: Plan) -> SafeString:
        return badge(plan.status)

    @admin.display(description="goal")
    def the_goal(self, plan: Plan) -> str:
        return shorten(plan.goal) or "–"

    @admin.display(description="goal")
    def goal_block(self, plan: Plan) -> SafeString:
        return block(escape_controls(plan.goal))

    @admin.display(description="duration")
    def duration(self, plan: Plan) -> str:
        return format_duration(plan.approved_at, plan.finished_at)

    @admin.display(description="proposal")
    def proposal(self, plan: Plan) -> SafeString:
        return link(ToolCall(pk=plan.call_id), "call")

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

    @admin.display(description="started (UTC)")
    def start(self, row: SubTask) -> str:
        return format_utc(row.started_at) if row.started_at else "–"

    @admin.display(description="status")
    def state(self, row: SubTask) -> SafeString:
        return badge(row.status)

    @admin.display(description="description")
    def excerpt(self, row: SubTask) -> str:
        return shorten(row.description)

    @admin.display(description="description")
    def description_block(self, row: SubTask) -> SafeString:
        return block(escape_controls(row.description))

    @admin.display(description="dependencies")
    def dependencies_block(self, row: SubTask) -> SafeString:
        return block(pretty(row.dependencies))

    @admin.display(description="result")
    def result_block(self, row: SubTask) -> SafeString:
        return block(escape_controls(row.result))

    @admin.display(description="duration")
    def duration(self, row: SubTask) -> str:
        return format_duration(row.started_at, row.finished_at)

    @admin.display(description="plan")
    def plan_of(self, row: SubTask) -> SafeString:
        return link(row.plan, "plan")

    @admin.display(description="session")
    def conversation_of(self, row: SubTask) -> SafeString:
        return conversation_link(row.plan.session)

    @admin.display(description="owner")
    def owner_of(self, row: SubTask) -> str:
        return shorten(row.plan.session.owner.get_username())

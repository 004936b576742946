"""The admin, for operators: what happened in a session, and which turns failed and why.

Read-only, because `sessions.turns` is the only writer of sessions. Exceptions: operators manage budgets and answer
pending approvals, and a superuser may delete a session. Tables have millions of rows, and a page must never count or
search a whole table: lists are in order of their time-sorted ids, counts stop at a bound, and texts are not searched.

This module only registers the pages: Django imports it by its name when it starts.
"""

from django.contrib import admin
from django.contrib.admin.models import LogEntry

from sessions.admin.approval import ApprovalAdmin, PolicyRuleAdmin
from sessions.admin.budget import BudgetAdmin
from sessions.admin.completion import CompletionAdmin
from sessions.admin.event import EventAdmin
from sessions.admin.image import ImageAdmin
from sessions.admin.model_call import ModelCallAdmin
from sessions.admin.operators import LogEntryAdmin
from sessions.admin.plan import PlanAdmin, SubTaskAdmin
from sessions.admin.session import SessionAdmin
from sessions.admin.turn import MessageAdmin, ToolCallAdmin, TurnAdmin
from sessions.admin.worker import WorkerAdmin
from sessions.admin.workspace import WorkspaceAdmin
from sessions.models import (
    Approval,
    Budget,
    Completion,
    Event,
    Image,
    Message,
    ModelCall,
    Plan,
    PolicyRule,
    Session,
    SubTask,
    ToolCall,
    Turn,
    Worker,
    Workspace,
)

admin.site.register(LogEntry, LogEntryAdmin)
admin.site.register(Session, SessionAdmin)
admin.site.register(Turn, TurnAdmin)
admin.site.register(Message, MessageAdmin)
admin.site.register(Image, ImageAdmin)
admin.site.register(ToolCall, ToolCallAdmin)
admin.site.register(Approval, ApprovalAdmin)
admin.site.register(PolicyRule, PolicyRuleAdmin)
admin.site.register(Plan, PlanAdmin)
admin.site.register(SubTask, SubTaskAdmin)
admin.site.register(ModelCall, ModelCallAdmin)
admin.site.register(Completion, CompletionAdmin)
admin.site.register(Budget, BudgetAdmin)
admin.site.register(Event, EventAdmin)
admin.site.register(Worker, WorkerAdmin)
admin.site.register(Workspace, WorkspaceAdmin)

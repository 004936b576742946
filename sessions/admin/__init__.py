"""The admin, for operators: what happened in a session, and which turns failed and why.

It only shows. `sessions.turns` is the one writer of what happens in a session, so nothing can be added or changed here
but budgets; a superuser may delete a whole session, and approvals that wait can be answered. Tables have millions of
rows: a page must never count or search a whole one, so lists are ordered by their time-sorted ids, counts stop at a
bound, and texts are not searched.

This module says which rows have pages, and nothing else: Django imports it by its name when it starts.
"""

from __future__ import annotations

from django.contrib import admin

from sessions.admin.approval import ApprovalAdmin, PolicyRuleAdmin
from sessions.admin.budget import BudgetAdmin
from sessions.admin.completion import CompletionAdmin
from sessions.admin.event import EventAdmin
from sessions.admin.image import ImageAdmin
from sessions.admin.model_call import ModelCallAdmin
from sessions.admin.plan import PlanAdmin, SubTaskAdmin
from sessions.admin.session import SessionAdmin
from sessions.admin.turn import MessageAdmin, ToolCallAdmin, TurnAdmin
from sessions.admin.worker import WorkerAdmin
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
)

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

"""Workers: who runs turns, and who has fallen silent.

What it shows is what the workers report of themselves; it never asks or stops one.
"""

from __future__ import annotations

from django.contrib import admin
from django.utils import timezone

from sessions.admin.display import shown
from sessions.admin.pages import ReadOnlyAdmin
from sessions.models import Worker


class WorkerAdmin(ReadOnlyAdmin):
    ordering = ("-seen_at",)
    list_display = ("the_name", "is_alive", "seen_at", "running_turns", "started_at")
    search_fields = ("name",)
    fields = ("the_name", "is_alive", "seen_at", "running_turns", "started_at")
    the_name = shown("name")

    @admin.display(description="alive", boolean=True)
    def is_alive(self, worker: Worker) -> bool:
        """Say whether the worker reported lately."""
        return worker.seen_at > timezone.now() - Worker.SILENCE

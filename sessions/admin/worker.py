"""Workers: which ones run turns, and which ones lost their heartbeat.

Shows what the workers report; never contacts or stops one.
"""

from django.contrib import admin
from django.utils import timezone

from sessions.admin.display import text_column
from sessions.admin.pages import ReadOnlyAdmin
from sessions.models import Worker


class WorkerAdmin(ReadOnlyAdmin):
    ordering = ("-seen_at",)
    list_display = ("the_name", "is_alive", "seen_at", "running_turns", "started_at")
    search_fields = ("name",)
    fields = ("the_name", "is_alive", "seen_at", "running_turns", "started_at")
    the_name = text_column("name")

    @admin.display(description="alive", boolean=True)
    def is_alive(self, worker: Worker) -> bool:
        return worker.seen_at > timezone.now() - Worker.HEARTBEAT_TIMEOUT

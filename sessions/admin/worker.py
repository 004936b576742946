"""Workers: which ones run turns, and which ones lost their heartbeat.

Shows what the workers report; never contacts or stops one.
"""

from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from sessions.admin.display import column, format_skew, show_time, text_column, worker_link
from sessions.admin.pages import ReadOnlyAdmin
from sessions.models import Worker


class WorkerAdmin(ReadOnlyAdmin):
    ordering = ("-seen_at",)
    list_display = (
        *("the_name", "is_alive", "last_sign", "running_turns", "host", "version", "occupied", "start", "the_skew"),
        "in_flower",
    )
    search_fields = ("name",)
    fields = (
        *("the_name", "in_flower", "is_alive", "last_sign", "running_turns", "host", "version", "occupied", "start"),
        *("the_skew", "looked_at", "providers"),
    )
    the_name = text_column("name")
    in_flower = column("in Flower", lambda worker: worker_link(worker.name))
    last_sign = column("last sign", lambda worker: show_time(worker.seen_at))
    start = column("started", lambda worker: show_time(worker.started_at))
    occupied = column("memory", lambda worker: filesizeformat(worker.memory) if worker.memory else "–")
    the_skew = column("clock ahead by", lambda worker: format_skew(worker.clock_skew))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        """Return the workers, each with the time since its heartbeat by the database's clock."""
        workers: QuerySet[Worker] = super().get_queryset(request)
        return workers.annotate(silence=Now() - F("seen_at"))

    @admin.display(description="alive", boolean=True)
    def is_alive(self, worker: Any) -> bool:
        return bool(worker.silence < Worker.HEARTBEAT_TIMEOUT)

"""`/metrics`: the figures of all processes of this machine together, in the format of Prometheus."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import structlog
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

logger = structlog.get_logger(__name__)


def share_metrics(folder: Path | None) -> None:
    """Keep counters in files below `folder`, for all processes; must run before the first metric is made."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        # The process id alone is not enough: in containers that share the folder every process may be number 1.
        process = f"{socket.gethostname().replace('_', '-')}-{os.getpid()}"
        # A restarted container can have the name and the number of the one before it, and would go on with its gauges.
        mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
        values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]


def metrics(_request: HttpRequest) -> HttpResponse:
    """Answer a scrape; without the database the process's own figures still come."""
    from sessions.metrics import OpenTurns

    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry = REGISTRY
    text = generate_latest(registry)
    rows = CollectorRegistry()
    rows.register(OpenTurns())
    try:
        text += generate_latest(rows)
    except DatabaseError as error:
        logger.warning("metrics_without_database", error=type(error).__name__)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)

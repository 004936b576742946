"""`/metrics`: the metrics of all processes on this machine, in the Prometheus format."""

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
    """Keep counters in files in `folder`, shared by all processes. Call it before the first metric is created."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        # The process id alone is not unique: in containers that share the folder every process may have id 1.
        process = f"{socket.gethostname().replace('_', '-')}-{os.getpid()}"
        # A restarted container can have the same name and process id as before, and would continue its gauges.
        mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
        values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]


def metrics(_request: HttpRequest) -> HttpResponse:
    """Answer a scrape. Without the database it still contains the processes' own metrics."""
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

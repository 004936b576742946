"""`/metrics`: the metrics of all processes on this machine, in the Prometheus format."""

import os
import platform
import socket
from collections.abc import Iterator
from pathlib import Path

import structlog
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from codelab import metric_files
from codelab.environment import VERSION

logger = structlog.get_logger(__name__)

#: Where the processes share their metrics; None when this process keeps its own.
_folder: Path | None = None


class BuildInfo(Collector):
    """What runs here."""

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("build_info", "The version that runs, always 1", labels=["version", "python"])
        info.add_metric([VERSION, platform.python_version()], 1)
        yield info


def share_metrics(folder: Path | None) -> None:
    """Keep counters in files in `folder`, shared by all processes. Call it before the first metric is created.

    Without room for them the process counts for itself, and says so.
    """
    global _folder  # noqa: PLW0603 (set once, from the settings)
    if folder is None:
        return
    # The process id alone is not unique: in containers that share the folder every process may have id 1.
    process = f"{socket.gethostname().replace('_', '-')}-{os.getpid()}"
    try:
        metric_files.join(folder, process)
    except metric_files.FILE_ERRORS as error:
        values.ValueClass = values.MutexValue
        logger.warning("metrics_not_shared", folder=str(folder), error=str(error))
    else:
        _folder = folder


def metrics(_request: HttpRequest) -> HttpResponse:
    """Answer a scrape. Without the database it still contains the processes' own metrics."""
    from sessions.metrics import OpenTurns

    text = _metrics_of_processes()
    rows = CollectorRegistry()
    rows.register(OpenTurns())
    try:
        text += generate_latest(rows)
    except DatabaseError as error:
        logger.warning("metrics_without_database", error=type(error).__name__)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


def _metrics_of_processes() -> bytes:
    registry = CollectorRegistry()
    registry.register(BuildInfo())
    if _folder is None:
        return generate_latest(registry) + generate_latest(REGISTRY)
    # Of the web process that answers.
    ProcessCollector(registry=registry)
    metric_files.fold_dead(_folder)
    try:
        MultiProcessCollector(registry, str(_folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    except metric_files.FILE_ERRORS as error:
        logger.warning("metrics_not_read", error=type(error).__name__)
        return b""

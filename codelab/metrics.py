"""`/metrics`: the metrics of all processes on this machine, in the Prometheus format."""

import platform
from collections.abc import Iterator

import structlog
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from codelab import metric_files
from codelab.environment import VERSION

logger = structlog.get_logger(__name__)


class BuildInfo(Collector):
    """What runs here."""

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("build_info", "The version that runs, always 1", labels=["version", "python"])
        info.add_metric([VERSION, platform.python_version()], 1)
        yield info


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
    if (folder := metric_files.shared()) is None:
        return generate_latest(registry) + generate_latest(REGISTRY)
    # Of the web process that answers.
    ProcessCollector(registry=registry)
    metric_files.fold_dead(folder)
    try:
        MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    except metric_files.FILE_ERRORS as error:
        logger.warning("metrics_not_read", error=type(error).__name__)
        return b""

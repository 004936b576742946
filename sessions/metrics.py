"""Metrics of turns, the queue, tokens and sockets, besides those of django-prometheus.

The processes of a machine share counters through files (PROMETHEUS_MULTIPROC_DIR). Figures that can be counted from
rows are read from PostgreSQL at each scrape, so they are right after every restart. A label must never hold a user, a
session or text: the number of series stays small.
"""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, Exists, OuterRef, Q, Subquery
from django.db.models.functions import Greatest, Now
from django.utils import timezone
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llm import catalog
from llm.types import TokenUsage
from sessions.models import OPEN_STATUSES, Turn, TurnStatus, Worker

#: From an answer of the scripted model to a long one.
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, float("inf"))
#: Turns, the longest queued ones, of which it is computed how long they have waited for a worker.
MAX_WAITS = 100

messages_processed = Counter("messages_processed", "User messages whose turn has ended, in whatever way")
response_time = Histogram("response_time_seconds", "From a user's message to the end of its turn", buckets=BUCKETS)
first_token_time = Histogram(
    "first_token_seconds", "From asking the model to its first token, once for each model call", buckets=BUCKETS
)
turns_ended = Counter("turns_ended", "Turns that ended, by status and reason", ["status", "error_code"])
retries_scheduled = Counter(
    "retries_scheduled", "Turns put off because the model's provider asked to wait, by reason", ["error_code"]
)
model_tokens = Counter("model_tokens", "Tokens as the model's provider counts them", ["model", "direction"])
events_written = Counter("events_written", "Pieces of text that workers have committed")
writes_refused = Counter("stale_writes_refused", "Writes of attempts that no longer held their turn")
frames_refused = Counter("frames_refused", "Client frames answered with an error frame", ["error_code"])
loop_block_time = Histogram(
    "event_loop_block_seconds", "How long an event loop was blocked, for more than 250 ms", buckets=BUCKETS[2:]
)
layer_messages_skipped = Counter(
    "layer_messages_skipped", "Messages of the channel layer that could not be read", ["group"]
)
open_sockets = Gauge("open_sockets", "WebSockets open now", multiprocess_mode="livesum")


def count_tokens(model: str, usage: TokenUsage) -> None:
    """Count the tokens of a model call. Users may name models that no catalog has; those are one series together."""
    label = model if catalog.find(model).is_known else "other"
    model_tokens.labels(model=label, direction="input").inc(usage.input_tokens)
    model_tokens.labels(model=label, direction="output").inc(usage.output_tokens)


def turn_ended(turn: Turn, status: TurnStatus, error_code: str = "") -> None:
    """Count a turn that has just ended."""
    messages_processed.inc()
    turns_ended.labels(status=str(status), error_code=str(error_code)).inc()
    # The clock of the process that accepted the message may be ahead of this one's.
    response_time.observe(max((timezone.now() - turn.created_at).total_seconds(), 0))


def longest_wait() -> timedelta:
    """Return how long the turn that waits longest has waited for a worker, and not for the turn before it."""
    before = Turn.objects.filter(session=OuterRef("session"), position__lt=OuterRef("position"))
    # Turns that are put off are queued in the future.
    due = Turn.objects.filter(
        ~Exists(before.filter(status__in=OPEN_STATUSES)), status=TurnStatus.QUEUED, queued_at__lte=Now()
    )
    ended = Subquery(before.order_by("-position").values("finished_at")[:1])
    waits = due.annotate(waited=Now() - Greatest("queued_at", ended)).order_by("queued_at")
    longest: timedelta = max([timedelta(), *waits.values_list("waited", flat=True)[:MAX_WAITS]])
    return longest


class OpenTurns(Collector):
    """Gauges that are read from the database at each scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges, with three queries that an index answers."""
        open_turns = GaugeMetricFamily("turns_open", "Turns that have not ended, by status", labels=["status"])
        oldest = GaugeMetricFamily(
            "oldest_queued_turn_seconds", "How long the turn that waits longest has waited for a worker"
        )
        put_off = GaugeMetricFamily("turns_put_off", "Queued turns that wait until the model's provider takes requests")
        counts: dict[str, tuple[int, int]] = {
            status: (count, waiting)
            for status, count, waiting in Turn.objects.filter(status__in=OPEN_STATUSES)
            .values("status")
            .annotate(count=Count("pk"), put_off=Count("pk", Q(retry_at__gt=Now())))
            .values_list("status", "count", "put_off")
        }
        for status in OPEN_STATUSES:
            open_turns.add_metric([str(status)], counts[status][0] if status in counts else 0)
        _, waiting = counts.get(TurnStatus.QUEUED, (0, 0))
        oldest.add_metric([], longest_wait().total_seconds() if TurnStatus.QUEUED in counts else 0)
        put_off.add_metric([], waiting)
        workers = GaugeMetricFamily("workers_alive", "Worker processes that reported in the last 15 s")
        workers.add_metric([], Worker.alive().count())
        yield from (open_turns, oldest, put_off, workers)

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: registration must not query the database."""
        return iter(())

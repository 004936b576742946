"""Celery's settings. A task is a hint with one id; PostgreSQL holds the work itself (docs/architecture.md).

This module must not import Django, so that the command line starts fast.
"""

from codelab.environment import environment


def _broker() -> str:
    for secret in (environment.broker_url, environment.redis_url):
        if secret:
            return secret.get_secret_value()
    return "redis://127.0.0.1:6379/0"


broker_url = _broker()
broker_connection_retry_on_startup = True
if broker_url.startswith(("redis", "unix")):
    broker_transport_options = {
        # Without these, `.delay()` hangs while Redis is frozen (measured: over 45 s).
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "health_check_interval": 5,
        # kombu keeps no copy of a task until it is acknowledged, which took two transactions of Redis for each. A task
        # that is lost with its worker is no loss: PostgreSQL has the turn, and workers look for it.
        "ack_emulation": False,
    }
    # A connection lost with unacknowledged tasks ends the whole worker (kombu 5.7.0 fails while it restores them), so
    # the worker reserves no task before it has room for it. Celery supports that with Redis only.
    worker_disable_prefetch = True
# Sending is not retried: workers find a turn whose hint was lost (docs/reliability.md).
task_publish_retry = False

task_serializer = "json"
accept_content = ["json"]
task_ignore_result = True
result_backend = None
task_default_queue = "turns"
task_routes = {"sessions.tasks.tidy": {"queue": "upkeep"}, "codelab.identity.tasks.tidy": {"queue": "upkeep"}}
# Acknowledged at the start: the turn's lease brings it back, not the broker. Late acknowledgement would add nothing,
# and a lost connection to Redis would end the worker, as above.
task_acks_late = False
worker_prefetch_multiplier = 1
worker_consumer = "codelab.consumer:Consumer"
worker_pool = "sessions.worker.pool:LoopPool"
# Workers report each task. A report of the sender would double the exchanges with the broker for each turn.
worker_send_task_events = True
# As many as `sessions.broker` has threads.
broker_pool_limit = 16
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_concurrency = environment.worker_concurrency
timezone = "UTC"

beat_schedule = {
    "tidy": {
        "task": "sessions.tasks.tidy",
        "schedule": 30.0,
        # Those sent while no worker was running are useless afterwards.
        "options": {"expires": 25},
    },
    "tidy identity": {"task": "codelab.identity.tasks.tidy", "schedule": 3600.0, "options": {"expires": 600}},
}

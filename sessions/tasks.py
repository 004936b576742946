"""The Celery tasks. No work may depend on one: it carries an id at most, and may be lost, repeated or late."""

from typing import Any

import structlog
from celery import shared_task
from celery.signals import celeryd_init, worker_init, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings

from agents.roles import ROLES
from llm import calls
from sessions import broker
from sessions.events import compaction
from sessions.turns import deletion, repeats, replays, retention, workspaces
from sessions.upkeep import pieces
from sessions.upkeep.parts import Part, run_parts
from sessions.worker.process import take_name, this_worker
from sessions.worker.turn_task import ReplayTask, TurnTask, outcome_of

logger = structlog.get_logger(__name__)

#: The next run of `tidy` continues. Beat sends it every 30 s, so with much to do two workers share the work.
TIDY_TIMEOUT_SECONDS = 50.0


@shared_task(name="sessions.tasks.advance_turn", bind=True, base=TurnTask)
def advance_turn(self: TurnTask, turn_id: str) -> str:
    """Run a turn's next steps. Does nothing when another worker has the turn or it is not due.

    Returns what they led to, for Celery's pages, and raises TurnFailed after a step that ended the turn as failed.
    """
    return outcome_of(self.outcome, turn_id)


@shared_task(name="sessions.tasks.replay_prompt", bind=True, base=ReplayTask)
def replay_prompt(self: ReplayTask, replay_id: str) -> None:
    """Send a prompt to another model, for staff. Does nothing when it was sent before."""
    self.outcome  # noqa: B018 (it raises what the replay has raised)


@shared_task(name="sessions.tasks.tidy")
def tidy() -> None:
    """Compact ended turns; delete what is gone, unused or expired; end lost turns and replays."""
    parts: dict[str, Part] = {
        "workers": retention.delete_gone_workers,
        "images": retention.delete_unused_images,
        "sessions": retention.delete_expired_sessions,
        "deleted": deletion.delete_marked_sessions,
        "workspaces": workspaces.delete_unused_workspaces,
        "replays": replays.fail_lost,
        "abandoned": repeats.cancel_abandoned,
        "words": retention.name_owners,
        "compaction": compaction.compact_ended_turns,
        "postponed": pieces.forget_postponed,
    }
    run_parts(parts, seconds=TIDY_TIMEOUT_SECONDS)


@celeryd_init.connect
def _take_name(sender: str, **_: Any) -> None:
    take_name(sender)


@worker_init.connect
def _preload_models(**_: Any) -> None:
    # The libraries take seconds to load, and would delay the first turn.
    calls.preload(settings.CODELAB_MODEL, *(model for role in ROLES.values() for model in role.models))


@worker_ready.connect
def _log_start(**_: Any) -> None:
    logger.info("worker_started", worker=this_worker().name, model=settings.CODELAB_MODEL)


@worker_shutting_down.connect
def _drain(**_: Any) -> None:
    this_worker().drain()


@worker_shutdown.connect
def _enqueue_released_turns(**_: Any) -> None:
    # Not earlier: this worker would receive the tasks itself.
    this_worker().wait_drained()
    for turn_id in this_worker().turns_to_enqueue:
        broker.enqueue_turn(turn_id)
    this_worker().end()

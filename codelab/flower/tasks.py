"""The tasks of workers, which Flower knows by name only. It sends and limits no task that it does not know."""

from typing import Any

TURN_TASK = "sessions.tasks.advance_turn"
NAMES = (TURN_TASK, "sessions.tasks.replay_prompt", "sessions.tasks.tidy", "codelab.identity.tasks.tidy")


def register(app: Any) -> None:
    """Register each name, with nothing to run."""
    for name in NAMES:
        app.task(_run_in_workers, name=name, shared=False)


def _run_in_workers(*_: Any, **__: Any) -> None:
    raise NotImplementedError

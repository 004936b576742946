"""Celery's pool of this worker: hands tasks of turns straight to the worker's event loop, the others to threads.

In Celery's thread pool a thread waits for each turn, and each turn costs two switches of threads more. Everything else
stays Celery's: its request acknowledges and revokes the task and reports it to Flower, its tracer sends the signals.
This module must not import Django's models, because the command line imports it before Django is set up.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.concurrency import thread
from celery.concurrency.base import apply_target
from celery.exceptions import Ignore
from structlog.contextvars import bind_contextvars

if TYPE_CHECKING:
    CeleryTask = Task[Any, Any]
else:
    CeleryTask = Task


class LoopTask(CeleryTask):
    """A task whose work is a coroutine on the worker's event loop. Its function only returns what the work led to."""

    abstract = True

    async def work(self, task_id: str, *args: Any) -> Any:
        """Do the work. The arguments are the id and the arguments of the task."""
        raise NotImplementedError

    @property
    def outcome(self) -> Any:
        """What the current request's work has returned. Raises what it has raised."""
        outcome = vars(self.request)["outcome"]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class LoopPool(thread.TaskPool):
    """A thread pool whose tasks of the class LoopTask need no thread. Only Celery's own thread calls it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._working: set[Future[None]] = set()

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **options: Any,
    ) -> Any:
        """Begin a task. `target` is Celery's tracer, which runs a task's function and sends its signals."""
        name = args[0] if args else ""
        task = self.app.tasks.get(name)
        if not isinstance(task, LoopTask) or args is None or callback is None or accept_callback is None:
            return super().on_apply(target, args, kwargs, callback, accept_callback, **options)
        from sessions.worker.process import this_worker

        # Here, in Celery's own thread, because it acknowledges the task.
        accept_callback(os.getpid(), time.monotonic())
        work = asyncio.run_coroutine_threadsafe(_work(task, target, args, callback), this_worker().loop)
        self._working.add(work)
        work.add_done_callback(self._working.discard)
        return thread.ApplyResult(work)  # type: ignore[attr-defined]  # The stubs lack it.

    def on_stop(self) -> None:
        """Wait for all tasks, as the thread pool does."""
        wait(set(self._working))
        super().on_stop()


async def _work(
    task: LoopTask, target: Callable[..., Any], args: tuple[Any, ...], callback: Callable[..., Any]
) -> None:
    """Do the work of a task, then let Celery's tracer run its function and report it."""
    _, task_id, request, *_ = args
    started_at = time.monotonic()
    # Ids of the log context. The tracer binds them, too, but its turn comes after the work.
    bind_contextvars(task_id=task_id, **request.get("__django_structlog__", {}))
    try:
        request["outcome"] = await task.work(task_id, *request["args"])
    except Exception as error:
        request["outcome"] = error
    except asyncio.CancelledError:
        # The turn's lease brings it back. Without an end Celery would count the task as running for ever.
        request["outcome"] = Ignore("cancelled")

    def finish(result: tuple[int, Any, float]) -> None:
        has_failed, value, _ = result
        callback((has_failed, value, time.monotonic() - started_at))

    apply_target(target, args, callback=finish)

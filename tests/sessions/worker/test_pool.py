"""Tasks whose work is a coroutine, as Celery's tracer reports them when the work has ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery import current_app
from celery.app.trace import trace_task_ret
from celery.exceptions import Ignore
from celery.signals import task_postrun
from structlog.contextvars import get_contextvars

from sessions.worker.pool import LoopTask, _work


class Waiting(LoopTask):
    """Does what its argument says, after a moment."""

    async def work(self, task_id: str, *args: Any) -> Any:
        (wish,) = args
        await asyncio.sleep(0.05)
        if wish == "fail":
            raise ValueError(wish)
        if wish == "be cancelled":
            raise asyncio.CancelledError
        return {"wish": wish, "log": get_contextvars()}


@pytest.fixture
def task() -> Iterator[Any]:
    @current_app.task(name="tests.waiting", bind=True, base=Waiting)
    def wait(self: Waiting, _wish: str) -> Any:
        return self.outcome

    yield wait
    del current_app.tasks["tests.waiting"]


async def result_of(task: Any, wish: str) -> tuple[int, Any, float]:
    """Run the task as the pool does; return whether it has failed, its result, and its seconds."""
    results: list[tuple[int, Any, float]] = []
    request = {"id": "id", "args": [wish], "kwargs": {}, "delivery_info": {}, "__django_structlog__": {"user_id": 7}}
    body = json.dumps([[wish], {}, {}])
    # As in production, each task has a context of its own.
    await asyncio.create_task(
        _work(task, trace_task_ret, ("tests.waiting", "id", request, body, "application/json", "utf-8"), results.append)
    )
    (result,) = results
    return result


async def test_the_result_and_its_time_are_those_of_the_work(task: Any) -> None:
    ended: list[str] = []

    def hear(state: str, **_: Any) -> None:
        ended.append(state)

    task_postrun.connect(hear)
    has_failed, result, seconds = await result_of(task, "say")
    assert not has_failed
    assert "'say'" in result
    assert "'user_id': 7" in result
    assert "'task_id': 'id'" in result
    assert seconds >= 0.05
    assert ended == ["SUCCESS"]


@pytest.mark.parametrize(("wish", "error"), [("fail", ValueError), ("be cancelled", Ignore)])
async def test_an_error_of_the_work_ends_the_task(task: Any, wish: str, error: type[Exception]) -> None:
    has_failed, info, _ = await result_of(task, wish)
    assert has_failed
    assert isinstance(info, ExceptionInfo)
    cause = info.exception
    assert isinstance(getattr(cause, "exc", cause), error)

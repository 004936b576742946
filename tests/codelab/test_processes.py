"""What the processes load: beat and Flower stay small, and know of the service what they need."""

from __future__ import annotations

import subprocess
import sys

import pytest

import celeryconfig
from codelab.environment import PROJECT
from codelab.flower import tasks

#: What the service needs, and they do not. (kombu loads a small part of Django to write promises as JSON.)
HEAVY = {"django.apps", "django.db", "litellm", "twisted.web", "ninja", "sessions", "agents", "prompt_toolkit"}


def modules_after(code: str) -> set[str]:
    """Return the modules that a new process has loaded after this code."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    return set(subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "more", ["import celery.apps.beat", "from flower.command import flower; import codelab.flower.pages"]
)
def test_beat_and_flower_load_neither_django_nor_the_service(more: str) -> None:
    loaded = modules_after(f"from codelab.light_celery import load; {more}; load()")
    assert {"codelab.light_celery", "kombu.transport.redis"} <= loaded
    assert not loaded & HEAVY


def test_beat_sends_tasks_that_workers_have() -> None:
    """Beat loads no tasks, so it sends whatever name its schedule has."""
    from codelab.celery import app

    app.loader.import_default_modules()
    assert {entry["task"] for entry in celeryconfig.beat_schedule.values()} <= app.tasks.keys()


def test_flower_knows_the_tasks_that_workers_have() -> None:
    from codelab.celery import app

    app.loader.import_default_modules()
    assert set(tasks.NAMES) == {name for name in app.tasks if not name.startswith("celery.")}


def test_a_worker_loads_neither_the_apis_nor_the_pages_of_web_processes() -> None:
    """Celery would run all of Django's checks, which load what answers requests: 20 MiB."""
    loaded = modules_after(
        "import django; from codelab.checks import require_settings; require_settings();"
        "from codelab.celery import app; app.loader.import_default_modules()"
    )
    assert "sessions.tasks" in loaded
    assert not loaded & {"codelab.urls", "codelab.rest_api", "sessions.api", "sessions.api.http", "daphne"}


def test_structlog_loads_only_what_our_lines_need() -> None:
    loaded = modules_after("from codelab import memory; memory.begin_loading()")
    assert "structlog.dev" in loaded
    assert not loaded & {"rich", "pygments", "twisted"}
    # What needs them later has them.
    modules_after("from codelab import memory; memory.begin_loading(); import rich.console, twisted.python.log")


def test_loading_leaves_the_collector_as_it_was() -> None:
    code = "import gc; from codelab import memory; memory.begin_loading(); memory.settle(); assert gc.isenabled()"
    modules_after(f"{code}; assert gc.get_freeze_count()")

"""What the processes load: beat and Flower stay small, and know of the service what they need."""

from __future__ import annotations

import subprocess
import sys

import pytest

import celeryconfig
from codelab.environment import PROJECT

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


def test_loading_leaves_the_collector_as_it_was() -> None:
    code = "import gc; from codelab import memory; memory.begin_loading(); memory.settle(); assert gc.isenabled()"
    modules_after(f"{code}; assert gc.get_freeze_count()")

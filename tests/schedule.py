"""Decides which tests run side by side: a pytest plugin (`-p tests.schedule`) for pytest-xdist, which `make test` uses.

Tests mostly wait: for processes to start, for leases to expire, for answers to be streamed. So there are more processes
than cores. A service takes ten seconds of a core to start, so tests that share one stay in one process.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from threading import Thread

import psycopg
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.live.service import template

#: Processes that run tests.
PROCESSES = 5

#: Files that stay together in one process and take long, the longest first. Every other file is a group of its own.
GROUPS = (
    ("tests/live/test_slow_readers.py",),
    ("tests/live/test_outages.py",),
    ("tests/chaos/test_planted_bugs.py",),
    ("tests/live/test_rolling_restart.py",),
    ("tests/neighbours/test_upgrade.py",),
    ("tests/live/test_small_model.py",),
    ("tests/cli/test_whole_way.py",),
    ("tests/neighbours/test_workers.py",),
    (
        "tests/browser/test_approvals.py",
        "tests/browser/test_cases.py",
        "tests/browser/test_chat.py",
        "tests/browser/test_keys.py",
        "tests/browser/test_language.py",
        "tests/browser/test_plans.py",
        "tests/browser/test_sessions.py",
        "tests/browser/test_state.py",
        "tests/browser/test_survival.py",
        "tests/browser/test_tour.py",
        "tests/browser/test_pictures.py",
    ),
    (
        "tests/live/test_images.py",
        "tests/live/test_journeys.py",
        "tests/live/test_obedience.py",
        "tests/live/test_one_session.py",
        "tests/live/test_messages.py",
        "tests/live/test_openai.py",
        "tests/live/test_operations.py",
        "tests/live/test_queue.py",
        "tests/live/test_responses.py",
        "tests/cli/test_chat_live.py",
        "tests/cli/test_run_live.py",
    ),
    (
        "tests/live/test_acp.py",
        "tests/live/test_acp_bridge.py",
        "tests/live/test_client_tools.py",
        "tests/clients_python/test_sessions.py",
        "tests/clients_javascript/test_node.py",
        "tests/docs/test_client.py",
    ),
    (
        "tests/live/test_approvals.py",
        "tests/live/test_bad_input.py",
        "tests/live/test_bodies.py",
        "tests/live/test_events.py",
        "tests/live/test_offers.py",
        "tests/live/test_plans.py",
        "tests/live/test_recorded.py",
        "tests/live/test_rest.py",
        "tests/live/test_tasks.py",
    ),
    (
        "tests/neighbours/test_deletion.py",
        "tests/neighbours/test_inputs.py",
        "tests/neighbours/test_large_bodies.py",
        "tests/neighbours/test_layer.py",
        "tests/neighbours/test_models.py",
        "tests/neighbours/test_quiet.py",
        "tests/neighbours/test_reading.py",
        "tests/neighbours/test_rows.py",
        "tests/neighbours/test_sockets.py",
        "tests/neighbours/test_stop.py",
        "tests/neighbours/test_streams.py",
        "tests/neighbours/test_values.py",
    ),
    ("tests/cases/test_door.py", "tests/cases/test_ops.py", "tests/cases/test_rest.py", "tests/cases/test_streams.py"),
    ("tests/chaos/test_short_run.py",),
    ("tests/neighbours/test_slow_database.py",),
    ("tests/neighbours/test_stopping_web.py",),
    ("tests/browser/test_admin_pages.py",),
    ("tests/live/test_pooler.py",),
    ("tests/neighbours/test_names.py",),
    ("tests/neighbours/test_shown_calls.py",),
    ("tests/live/test_rabbitmq.py",),
    ("tests/llm/test_faults.py",),
    ("tests/codelab/identity/test_access.py",),
    ("tests/live/test_identity.py",),
    ("tests/live/test_package.py",),
    ("tests/sessions/api/websocket/test_snapshot.py",),
)


def _group(nodeid: str) -> tuple[str, ...]:
    file = nodeid.partition("::")[0]
    return next((group for group in GROUPS if file in group), (file,))


class Schedule(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives a process one group after another."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)[0]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the long groups first. The order within a group, and that of the other files, stays random."""
    if hasattr(config, "workerinput"):
        places = {group: place for place, group in enumerate(GROUPS)}
        items.sort(key=lambda item: places.get(_group(item.nodeid), len(GROUPS)))


def pytest_xdist_setupnodes() -> None:
    """Make the template of all databases while the processes collect tests."""
    Thread(target=_prepare_template, daemon=True).start()


def _prepare_template() -> None:
    # The first process that needs the template tries again and says why it fails; this run may also be over already.
    with suppress(subprocess.CalledProcessError, psycopg.Error, OSError):
        template()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Schedule:
    # Otherwise xdist would begin with the groups that have the most tests.
    config.option.loadscopereorder = False
    return Schedule(config, log)


# xdist's own answer is the number of cores.
@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return 0, for this process alone, when a developer picks tests: a few tests start sooner without xdist."""
    option = config.option
    is_picked = config.args_source is pytest.Config.ArgsSource.ARGS
    return 0 if is_picked or option.keyword or option.lf or option.failedfirst or option.stepwise else PROCESSES

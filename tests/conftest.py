"""What all tests share: named users, and a clean end for pooled connections."""

from __future__ import annotations

import faulthandler
import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import pytest_django
from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.test import TransactionTestCase
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from redis.asyncio import Redis

from llm import remembered
from sessions import broker
from sessions.events import log
from sessions.events.log import LoggedEvent, NewEvent
from tests.closed_schemas import require_event
from tests.live.provider import Provider
from tests.live.service import LONG_PAUSES, TABLES, Service, running, template
from tests.servers import STDERR, WORKER

# The real hasher is slow on purpose, and tests need not be.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Otherwise WhiteNoise lists all static files whenever a test makes a client, which takes 7 ms.
settings.WHITENOISE_AUTOREFRESH = True

# The time of an example depends on the load of the machine, and these tests do not measure it. Examples stay random
# in CI too, where Hypothesis would otherwise repeat the same ones.
hypothesis_settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=False
)
# For `make properties`.
hypothesis_settings.register_profile("thorough", hypothesis_settings.get_profile("project"), max_examples=5000)
hypothesis_settings.load_profile("project")


def _closed_with_its_loop(make: Callable[[AbstractEventLoop], Redis]) -> Callable[[AbstractEventLoop], Redis]:
    """Close a client of Redis before its event loop. A process of the service has one loop, tests have thousands."""

    def client(loop: AbstractEventLoop) -> Redis:
        if loop not in clients:
            clients[loop], close = make(loop), loop.close

            def close_both() -> None:
                if it := clients.pop(loop, None):
                    loop.run_until_complete(it.aclose(close_connection_pool=True))
                close()

            loop.close = close_both  # type: ignore[method-assign]
        return clients[loop]

    clients: dict[AbstractEventLoop, Redis] = {}
    return client


broker._client = _closed_with_its_loop(broker._client.__wrapped__)  # type: ignore[assignment]

POSTGRES, REDIS = os.environ["DATABASE_URL"], os.environ["REDIS_URL"]


@pytest.fixture
def alice(db: None) -> User:
    """Return the user who owns the sessions of the tests."""
    return User.objects.create_user("alice", password="a long password of alice")


@pytest.fixture
def bob(db: None) -> User:
    """Return another user, who must never see Alice's data."""
    return User.objects.create_user("bob", password="a long password of bob")


@pytest.fixture(autouse=True)
def _patient_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests keep locks for longer than any process does, in one transaction or in many threads."""
    monkeypatch.setattr(log, "IDLE_LOCK_TIMEOUT", "60s")


@pytest.fixture(autouse=True)
def _closed_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test write an event that the schemas of the protocol do not describe."""
    write = log._write

    def checked(events: Sequence[tuple[LoggedEvent, NewEvent]], **options: Any) -> None:
        for _, new in events:
            require_event(new.kind, new.payload)
        write(events, **options)

    monkeypatch.setattr(log, "_write", checked)


@pytest.fixture(autouse=True)
def _no_memories() -> None:
    """Let no test know what another one's provider has refused."""
    remembered.forget()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Copy the test database of each xdist process from a template, so that migrations run once.

    A whole test is one transaction. It may pause for longer than a process of the service, because a busy machine runs
    other tests meanwhile.
    """
    connection.settings_dict["LIMITS"] |= LONG_PAUSES
    if WORKER:
        template()
        connection.settings_dict["TEST"]["TEMPLATE"] = TABLES


def _empty(_: TransactionTestCase) -> None:
    """Delete all rows after a test with real transactions.

    Django truncates every table, then makes the same content types and permissions again. After each of 600 tests that
    takes a quarter of a second; most of them leave a few rows.
    """
    kept = {"django_content_type", "auth_permission"}
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - kept
    # The order is free: PostgreSQL checks foreign keys at the end of the transaction.
    delete = ";".join(f"DELETE FROM {connection.ops.quote_name(table)}" for table in sorted(tables))
    try:
        # Rows of a deleted session may still be on their way out, in a thread of the test.
        _run(f"SET LOCAL lock_timeout = '15s'; {delete}")
    except OperationalError:
        _end_open_transactions()
        _run(delete)


def _run(statements: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statements)


def _end_open_transactions() -> None:
    """End the transactions that a test has left open, and say what they and all threads did last.

    The next tests would fail one after the other, and none of them would tell why.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT state, now() - xact_start, left(query, 300), pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
        )
        left = "\n".join(map(str, cursor.fetchall()))
    os.write(STDERR, f"\nTransactions that were left open:\n{left}\n".encode())
    faulthandler.dump_traceback(STDERR)


TransactionTestCase._fixture_teardown = _empty  # type: ignore[attr-defined]


@pytest.fixture(scope="session", autouse=True)
def _close_connections(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[None]:
    """Close all connections, because PostgreSQL does not drop a test database that is in use."""
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        # The connections of `sessions.database` stay open otherwise.
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # only PostgreSQL's class has it


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Share the whole service with the built-in model among all tests that stop none of its processes."""
    with running(tmp_path_factory.mktemp("service"), postgres=POSTGRES, redis=REDIS) as it:
        it.start("beat")
        yield it


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """Start a provider that speaks OpenAI's protocol on this machine."""
    with Provider() as it:
        yield it


@pytest.fixture(scope="session")
def provided_service(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Service]:
    """Start the whole service with a model of that provider behind LiteLLM, without a key, like a local server."""
    with running(
        tmp_path_factory.mktemp("provided"),
        postgres=POSTGRES,
        redis=REDIS,
        CODELAB_MODEL="openai/fake",
        # The tests count requests; routing has tests of its own. So have summaries: a request for one quotes messages
        # that tell this provider how to behave.
        CODELAB_AGENTS="single",
        CODELAB_SUMMARY_MODEL="off",
        CODELAB_TITLE_MODEL="off",
        OPENAI_API_BASE=provider.url,
        CODELAB_FIRST_TOKEN_TIMEOUT="2",
        CODELAB_IDLE_TOKEN_TIMEOUT="1",
    ) as it:
        yield it

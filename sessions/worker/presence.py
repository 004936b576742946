"""Which workers are alive: each holds an advisory lock of PostgreSQL for as long as its heartbeat's connection is open.

The connection of a killed process closes at once, so other workers know within a second or so, long before its leases
expire. A healthy worker can lose its connection, too. It notices at once and takes another lock under a new key. So a
free lock only counts when it has been free for a while. After a restart of PostgreSQL no worker has a lock, so a lock
only counts for an observer whose connection is older than the worker's last heartbeat: it has seen no restart since. A
worker that is wrongly taken for dead loses its turns' leases, and nothing else.

Frozen workers and cut networks keep their connection: their leases expire. So do those of workers behind a pooler,
which hands out connections of its own: they report no key.
"""

import json
import resource
import secrets
import socket
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection

from llm import catalog
from sessions.database import rows
from sessions.events.log import Attempt

#: How long a lock must have been free. A healthy worker has another one within milliseconds, and on a busy machine
#: within half a second.
UNLOCKED_TIMEOUT = timedelta(seconds=0.6)
#: An observer whose connection is younger than the worker's last heartbeat waits this long, and until the worker has
#: missed two heartbeats: PostgreSQL may have been restarted in between, and then no worker has a lock at first.
YOUNG_UNLOCKED_TIMEOUT, YOUNG_SILENCE = timedelta(seconds=2), timedelta(seconds=6)
#: A worker looks when no other one has looked for this long. One with a young connection leaves it to the others.
MIN_OBSERVER_AGE = timedelta(seconds=5)
MIN_LOOK_INTERVAL, YOUNG_LOOK_INTERVAL = timedelta(seconds=0.25), timedelta(seconds=1)

#: A pooler answers the start of a connection itself, with a process id that it made up.
_LOCK = "SELECT CASE WHEN pg_backend_pid() = %s THEN pg_advisory_lock(%s)::text END"
_OBSERVER = "observer AS (SELECT backend_start FROM pg_stat_get_activity(pg_backend_pid()))"
_REPORT = """
    INSERT INTO agent_sessions_worker AS worker (
        name, started_at, seen_at, running_turns, lock_key, clock_skew, providers, host, version, memory
    )
    VALUES (%s, statement_timestamp(), statement_timestamp(), %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (name) DO UPDATE SET
        seen_at = excluded.seen_at,
        running_turns = excluded.running_turns,
        lock_key = excluded.lock_key,
        clock_skew = excluded.clock_skew,
        providers = excluded.providers,
        host = excluded.host,
        version = excluded.version,
        memory = excluded.memory,
        unlocked_since = NULL
    RETURNING name
"""
#: A last look in the future does not count: the clock of PostgreSQL may have gone back.
_BEGIN_LOOK = f"""
    WITH {_OBSERVER}
    UPDATE agent_sessions_worker SET looked_at = statement_timestamp()
    WHERE name = (SELECT name FROM agent_sessions_worker WHERE name = %s FOR NO KEY UPDATE SKIP LOCKED) AND NOT EXISTS (
        SELECT FROM agent_sessions_worker
        WHERE looked_at <= statement_timestamp()
        AND looked_at > statement_timestamp() - (
            SELECT CASE WHEN backend_start < statement_timestamp() - %s THEN %s ELSE %s END FROM observer
        )
    ) RETURNING name
"""
_UNLOCKED = f"""
    WITH held AS MATERIALIZED (
        SELECT classid::bigint << 32 | objid::bigint AS key FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ), unlocked AS (
        SELECT name, unlocked_since, seen_at FROM agent_sessions_worker
        WHERE lock_key IS NOT NULL AND lock_key NOT IN (SELECT key FROM held) FOR NO KEY UPDATE SKIP LOCKED
    ), marked AS (
        UPDATE agent_sessions_worker AS worker SET unlocked_since = statement_timestamp()
        FROM unlocked WHERE worker.name = unlocked.name AND unlocked.unlocked_since IS NULL
    ), {_OBSERVER}
    SELECT name, coalesce(
        CASE WHEN backend_start < seen_at THEN unlocked_since < statement_timestamp() - %s
        ELSE unlocked_since < statement_timestamp() - %s AND seen_at < statement_timestamp() - %s END,
        false
    ) FROM unlocked CROSS JOIN observer
"""
_END_LEASES = """
    UPDATE agent_sessions_turn SET lease_expires_at = statement_timestamp() WHERE id IN (
        SELECT turn.id FROM agent_sessions_turn AS turn
        JOIN agent_sessions_worker AS worker ON worker.name = turn.worker
        WHERE turn.status = 'running' AND worker.name = ANY(%s) AND worker.unlocked_since IS NOT NULL
        AND turn.lease_expires_at > statement_timestamp() FOR NO KEY UPDATE OF turn SKIP LOCKED
    ) RETURNING id, attempt
"""
#: A dead worker without turns need not be looked for again.
_FORGET = """
    UPDATE agent_sessions_worker AS worker SET lock_key = NULL
    WHERE name = ANY(%s) AND unlocked_since IS NOT NULL AND NOT EXISTS (
        SELECT FROM agent_sessions_turn AS turn WHERE turn.status = 'running' AND turn.worker = worker.name
    ) RETURNING name
"""


def take_lock() -> int | None:
    """Lock a new key until the connection ends. Return None behind a pooler, which ends connections at will."""
    key = secrets.randbits(62)
    ((locked,),) = rows(_LOCK, connection.connection.info.backend_pid, key)
    return None if locked is None else key


def report(name: str, *, running_turns: int, lock_key: int | None, clock_skew: timedelta | None) -> None:
    """Write the worker's row. Its lock is held by this connection."""
    providers = json.dumps(sorted(catalog.providers_with_key()))
    system = (socket.gethostname()[:253], settings.CODELAB_VERSION[:32], occupied_memory())
    rows(_REPORT, name, running_turns, lock_key, clock_skew, providers, *system)


def occupied_memory() -> int | None:
    """Return the bytes of main memory that this process occupies, or None where the system does not say."""
    try:
        # Only Linux has it.
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize()


def begin_look(name: str) -> bool:
    """Return whether it is this worker's turn to look, because no other one has looked just now."""
    return bool(rows(_BEGIN_LOOK, name, MIN_OBSERVER_AGE, MIN_LOOK_INTERVAL, YOUNG_LOOK_INTERVAL))


def end_leases_of_dead_workers() -> tuple[list[Attempt], bool]:
    """End the leases of workers that are dead. Return these attempts, and whether any worker may be dead."""
    unlocked = rows(_UNLOCKED, UNLOCKED_TIMEOUT, YOUNG_UNLOCKED_TIMEOUT, YOUNG_SILENCE)
    dead = [name for name, is_dead in unlocked if is_dead]
    if not dead:
        return [], bool(unlocked)
    ended = [(turn_id, attempt) for turn_id, attempt in rows(_END_LEASES, dead)]
    rows(_FORGET, dead)
    return ended, True

"""How often PostgreSQL cleans the tables that change most, and how much room their pages keep.

By default a table is vacuumed when a fifth of it is dead: of 1,000 million events after 200 million. These numbers do
not grow with the table. Compaction leaves about 200 dead events for each turn, so 50,000 are some hundred turns.

Rows of sessions, turns and workers are updated again and again (`last_number` with every batch of tokens, leases every
three seconds), in columns without an index. With room in the page the new version stays there, and no index changes.

Each statement takes a lock that no reader or writer waits for.
"""

from django.db import migrations

SETTINGS = {
    "agent_sessions_event": {
        "autovacuum_vacuum_scale_factor": 0,
        "autovacuum_vacuum_threshold": 50_000,
        "autovacuum_vacuum_insert_scale_factor": 0,
        "autovacuum_vacuum_insert_threshold": 500_000,
        "autovacuum_analyze_scale_factor": 0,
        "autovacuum_analyze_threshold": 500_000,
    },
    "agent_sessions_session": {
        "autovacuum_vacuum_scale_factor": 0,
        "autovacuum_vacuum_threshold": 5_000,
        "autovacuum_analyze_scale_factor": 0.02,
        "fillfactor": 70,
    },
    "agent_sessions_turn": {
        "autovacuum_vacuum_scale_factor": 0,
        "autovacuum_vacuum_threshold": 5_000,
        "autovacuum_analyze_scale_factor": 0.02,
        "fillfactor": 80,
    },
    "agent_sessions_worker": {"autovacuum_vacuum_threshold": 200, "fillfactor": 50},
}


def statement(table: str) -> str:
    values = ", ".join(f"{name} = {value}" for name, value in SETTINGS[table].items())
    return f"ALTER TABLE {table} SET ({values})"


def reverse(table: str) -> str:
    return f"ALTER TABLE {table} RESET ({', '.join(SETTINGS[table])})"


class Migration(migrations.Migration):
    dependencies = [("agent_sessions", "0022_texts_stand_in_messages")]

    operations = [migrations.RunSQL(statement(table), reverse(table)) for table in SETTINGS]

"""The final state of the service: its tables, and its answers to a client that reads everything from the start."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
from psycopg.rows import dict_row

from codelab.local.operating_system import LOOPBACK
from tests.chaos.history import Record
from tests.chaos.stack import Stack


@dataclass
class Dump:
    """Rows of some sessions, by the sessions' keys; plain values, so that tests can make them up."""

    turns: list[Record] = field(default_factory=list)
    messages: list[Record] = field(default_factory=list)
    events: list[Record] = field(default_factory=list)
    #: The log of each session read from zero over HTTP, and its history.
    replays: dict[str, list[Record]] = field(default_factory=dict)
    histories: dict[str, list[Record]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write everything as one JSON document."""
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, default=str), encoding="utf-8")


TURNS = """
    SELECT turn.id::text, session.key AS session, turn.status, turn.attempt, turn.error_code
    FROM agent_sessions_turn turn JOIN agent_sessions_session session ON session.id = turn.session_id
    WHERE session.key = ANY(%s) ORDER BY turn.created_at
"""
MESSAGES = """
    SELECT message.id::text, session.key AS session, message.turn_id::text AS turn, message.role, message.content,
           message.client_message_id, message.withdrawn, message.number, message.steered
    FROM agent_sessions_message message JOIN agent_sessions_session session ON session.id = message.session_id
    WHERE session.key = ANY(%s) ORDER BY session.key, message.number
"""
EVENTS = """
    SELECT session.key AS session, event.turn_id::text AS turn, event.kind, event.attempt, event.payload,
           event.number, event.first, event.created_at
    FROM agent_sessions_event event JOIN agent_sessions_session session ON session.id = event.session_id
    WHERE session.key = ANY(%s) ORDER BY session.key, event.number
"""


async def read(stack: Stack, sessions: list[str]) -> Dump:
    """Read everything about some sessions. PostgreSQL and a web process must be up, and no process may write."""
    dump = Dump(
        turns=await _rows(stack, TURNS, sessions),
        messages=await _rows(stack, MESSAGES, sessions),
        events=await _rows(stack, EVENTS, sessions),
    )
    for event in dump.events:
        # Clients do not see where the pieces of a compacted event ended.
        event["payload"].pop("ends", None)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        base = f"http://{LOOPBACK}:{stack.of_kind('web')[0].port}/api/v1/sessions"
        for session in sessions:
            answer = await client.get(f"{base}/{session}/history")
            if answer.status_code == 200:
                dump.histories[session] = answer.json()["messages"]
                dump.replays[session] = await _replay(client, f"{base}/{session}/events")
    return dump


async def _rows(stack: Stack, query: str, sessions: list[str]) -> list[Record]:
    async with await stack.database() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(query.encode(), (sessions,))
        return await cursor.fetchall()


async def _replay(client: httpx.AsyncClient, url: str) -> list[Record]:
    events: list[Any] = []
    while True:
        after = events[-1]["number"] if events else 0
        page = (await client.get(url, params={"after": after})).json()["events"]
        events += page
        if not page:
            return events


def by_session(rows: list[Record]) -> dict[str, list[Record]]:
    """Return the rows of each session, in order."""
    found: dict[str, list[Record]] = defaultdict(list)
    for row in rows:
        found[row["session"]].append(row)
    return found

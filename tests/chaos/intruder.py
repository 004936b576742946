"""Faults that come from within: data, messages and users that a healthy service must not be hurt by."""

from __future__ import annotations

import asyncio
import random
import uuid
from contextlib import suppress

import psycopg
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.chaos.author import Author
from tests.chaos.clients import World
from tests.chaos.history import Record
from tests.chaos.stack import Stack

#: PostgreSQL refuses the text of one turn, as it does with text that it cannot store. Its other events are stored.
POISON = """
    CREATE OR REPLACE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.turn_id = '{turn}' AND NEW.kind = 'text_delta' THEN
            RAISE EXCEPTION 'poison' USING ERRCODE = 'data_exception';
        END IF;
        RETURN NEW;
    END $$;
    CREATE OR REPLACE TRIGGER poison BEFORE INSERT ON agent_sessions_event FOR EACH ROW EXECUTE FUNCTION poison();
"""
CURE = "DROP TRIGGER IF EXISTS poison ON agent_sessions_event"
STREAMING = "SELECT id FROM agent_sessions_turn WHERE status = 'running' ORDER BY claimed_at DESC LIMIT 1"
STATUS = "SELECT status FROM agent_sessions_turn WHERE id = %s"

#: Seconds within which a poisoned or an endless turn has to end.
END_TIMEOUT_SECONDS = 20.0
#: More tokens than an answer may have, about 12 MB, and how many come at once.
ENDLESS_TOKENS, LUMP = 1_500_000, 2_000

#: Messages on the channel layer that no process sends, or that another version may send.
ODD_MESSAGES: tuple[Record, ...] = (
    {},
    {"type": "unknown"},
    {"events": None},
    {"events": [{}]},
    {"events": [["text_delta"]], "type": "session.events"},
    {"turn_id": 5},
    {"turn_id": None},
    {"turn_id": "no-id", "type": "stop"},
    {"type": 7, "events": "x" * 10_000},
)


async def poison_turn(stack: Stack) -> str:
    """Refuse the text of a running turn until the turn has ended; return its id, or "" if no turn runs."""
    running = await stack.rows(STREAMING)
    if not running:
        return ""
    turn = running[0][0]
    await _execute(stack, POISON.format(turn=uuid.UUID(str(turn))))
    try:
        await _until_ended(stack, str(turn))
    finally:
        await _execute(stack, CURE)
    return str(turn)


async def _until_ended(stack: Stack, turn: str) -> None:
    """Wait until no worker has the turn any more, or the time is over."""
    for _ in range(int(END_TIMEOUT_SECONDS / 0.2)):
        await asyncio.sleep(0.2)
        ((status,),) = await stack.rows(STATUS, turn)
        if status not in ("running", "queued"):
            return


async def _execute(stack: Stack, statement: str) -> None:
    """Change the table; it waits for a moment in which no process writes, and lets them go first."""
    while True:
        try:
            async with await stack.database() as connection:
                await connection.execute("SET lock_timeout = '300ms'")
                await connection.execute(statement.encode())
                return
        except psycopg.OperationalError:
            await asyncio.sleep(0.1)


async def send_odd_messages(stack: Stack, dice: random.Random) -> None:
    """Send messages to all processes that none of them can understand."""
    layer = RedisPubSubChannelLayer()
    async with Redis.from_url(stack.redis.url, socket_timeout=2) as client:
        with suppress(RedisError):
            for data in (b"\xc1 is no message", *map(layer.serialize, dice.sample(ODD_MESSAGES, 4))):
                for group in ("sessions", "workers"):
                    await client.publish(f"asgi__group__{group}", data)


async def ask_for_an_endless_answer(stack: Stack, world: World, session: str) -> str:
    """Let the provider of one user send text without end, until the turn has ended; return the turn's id.

    The user's connections are cut too early for pieces of this size, so the table tells the end.
    """
    author = Author(world, session)
    author.start()
    try:
        async with asyncio.timeout(END_TIMEOUT_SECONDS):
            turn = await author.say(f"tokens={ENDLESS_TOKENS} lump={LUMP} tools=0")
    except TimeoutError:
        return ""
    finally:
        await author.stop()
    await _until_ended(stack, turn)
    return turn

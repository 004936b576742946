"""Six bugs to plant into a process of the service. Each breaks a promise of docs/reliability.md.

A checker that has never complained proves nothing. These bugs show that it does.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing

from django.db import transaction

from llm import calls
from llm.errors import ModelError
from llm.types import Chunk, ModelRequest, ModelToolCall, Observer
from sessions import broker, models
from sessions.events import log
from sessions.events.log import Addition, Appended, Attempt, LoggedEvent, NewEvent
from sessions.models import EventKind, Session, Turn
from sessions.results import AcceptedMessage, Change, Claim, StepResult
from sessions.turns import attempts, inbox, recovery, tool_calls, transitions
from sessions.turns.rows import lock_turn_for_calls
from sessions.turns.tool_policy import Basis


def no_fencing() -> None:
    """Let an attempt write although another attempt has its turn."""
    real_renew = attempts.renew

    def lock_unfenced(claim: Claim, calls: Sequence[str] = ()) -> tuple[Session, Turn]:
        turn = lock_turn_for_calls(claim.session_id, claim.turn_id, calls)
        assert turn
        return turn.session, turn

    def append_all(additions: Sequence[Addition], *, is_retry: bool = False) -> Appended:
        logged = []
        with transaction.atomic():
            for addition in sorted(additions, key=lambda it: it.session_id):
                logged += log.append(log.lock(addition.session_id), addition.events)
        return Appended(events=logged)

    def renew(leases: Iterable[Attempt]) -> set[Attempt]:
        real_renew(leases)
        return set()

    vars(attempts)["lock_claim"] = lock_unfenced
    vars(tool_calls)["lock_claim"] = lock_unfenced
    attempts.renew, log.append_all = renew, append_all


def no_outbox() -> None:
    """Rely on the task alone: workers do not look for queued turns without one."""

    def unclaimed_turns(limit: int) -> list[uuid.UUID]:
        return []

    recovery.unclaimed_turns = unclaimed_turns


def retry_after_output() -> None:
    """Call the model again during an answer, as if clients had seen nothing of it."""
    real = calls.stream

    async def stream(
        request: ModelRequest, *, observe: Observer = print, permit: calls.Permission | None = None
    ) -> AsyncGenerator[Chunk]:
        for last in (False, True):
            try:
                async with aclosing(real(request, observe=observe, permit=permit or calls._permit_all)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except ModelError:
                if last:
                    raise

    calls.stream = stream


def number_from_the_clock() -> None:
    """Take an event's number from the clock, which also grows."""
    real = log.append

    def append(session: Session, events: Sequence[NewEvent]) -> list[LoggedEvent]:
        session.last_number = time.time_ns() // 1000
        return real(session, events)

    log.append = append


def double_tool() -> None:
    """Send tool calls to the client first, and store afterwards that the turn waits for them."""
    real = tool_calls.request_tools

    def request_tools(
        claim: Claim,
        result: StepResult,
        requested: Sequence[ModelToolCall],
        broken: Mapping[str, str] | None = None,
        basis: Basis | None = None,
    ) -> Change:
        from sessions.worker.process import this_worker

        with transaction.atomic():
            events = log.append(log.lock(claim.session_id), [_requested(claim, call) for call in requested])
        worker = this_worker()
        worker.loop.call_soon_threadsafe(worker.writer.publish, events)
        time.sleep(0.5)
        return real(claim, result, requested, broken, basis)

    tool_calls.request_tools = request_tools


def _requested(claim: Claim, call: ModelToolCall) -> NewEvent:
    payload = {"call_id": call.id, "tool": call.name, "arguments": call.arguments, "requires_approval": False}
    return transitions.turn_event(EventKind.TOOL_CALL_REQUESTED, claim.turn_id, claim.attempt, **payload)


def ack_before_commit() -> None:
    """Acknowledge at once and store a moment later, which is faster."""
    real, real_id = inbox.accept_message, models.new_id
    mine = threading.local()

    def next_id() -> uuid.UUID:
        ids: list[uuid.UUID] = getattr(mine, "ids", [])
        return ids.pop(0) if ids else real_id()

    def accept(
        session_id: uuid.UUID,
        content: str,
        *,
        client_message_id: str | None = None,
        interrupt: bool = False,
        steer: bool = False,
        agent: str | None = None,
        images: Sequence[uuid.UUID] = (),
        replaces: uuid.UUID | None = None,
        api_key: uuid.UUID | None = None,
        deadline: float = math.inf,
    ) -> AcceptedMessage:
        message_id, turn_id = real_id(), real_id()

        def store() -> None:
            mine.ids = [message_id, turn_id]
            real(
                session_id,
                content,
                client_message_id=client_message_id,
                interrupt=interrupt,
                steer=steer,
                agent=agent,
                images=images,
                replaces=replaces,
                api_key=api_key,
            )
            broker.enqueue_turn(turn_id)

        threading.Timer(1, store).start()
        return AcceptedMessage(events=[], session_id=session_id, message_id=message_id, turn_id=turn_id, number=1)

    inbox.accept_message = accept
    vars(transitions)["new_id"] = next_id


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (no_fencing, no_outbox, retry_after_output, number_from_the_clock, double_tool, ack_before_commit)
}

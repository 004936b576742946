"""Asks a person about calls and plans that wait for a word, and stops asking when they are decided elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from codelab_client.errors import CodelabError
from codelab_client.events import CREATE_PLAN, SNAPSHOT, TURN_ENDS, Approval, Decision, Event

if TYPE_CHECKING:
    from codelab_client.session import Session

logger = logging.getLogger(__name__)

type Approve = Callable[[Approval], Awaitable[Decision]]

#: Events that say that a question is answered.
ANSWERS = frozenset({"approval_decided", "tool_call_finished", "plan_decided"})


class Questions:
    """The questions of one session. Its events come to `take`."""

    def __init__(self, session: Session, approve: Approve) -> None:
        self._session, self._approve = session, approve
        #: By call, its turn and the task that asks.
        self._asking: dict[str, tuple[str | None, asyncio.Task[None]]] = {}
        #: A person reads one question at a time: an answer must not go to another one.
        self._person = asyncio.Lock()

    def take(self, event: Event) -> None:
        """Ask what an event asks, and stop asking what it answers."""
        if event.kind in ANSWERS and (asked := self._asking.get(event.payload["call_id"])):
            asked[1].cancel()
        if event.kind in TURN_ENDS:
            for turn_id, task in list(self._asking.values()):
                if turn_id == event.turn_id:
                    task.cancel()
        for approval in _approvals(event):
            if approval.call_id not in self._asking:
                task = asyncio.get_running_loop().create_task(self._ask(approval))
                self._asking[approval.call_id] = approval.turn_id, task

    async def _ask(self, approval: Approval) -> None:
        try:
            async with self._person:
                given = await self._approve(approval)
            decision: Any = given.decision
            if approval.plan_id is None:
                await self._session.decide(
                    approval.call_id, decision, arguments=given.arguments, feedback=given.feedback
                )
            else:
                subtasks = (given.arguments or {}).get("subtasks")
                await self._session.decide_plan(approval.plan_id, decision, subtasks=subtasks, feedback=given.feedback)
        except CodelabError as error:
            logger.debug("The decision on %s was not taken: %s", approval.call_id, error)
        except Exception:
            # The call stays open, for other clients.
            logger.exception("The question about %s failed.", approval.call_id)
        finally:
            self._asking.pop(approval.call_id, None)


def _approvals(event: Event) -> Iterator[Approval]:
    payload = event.payload
    if event.kind == SNAPSHOT:
        for call in payload["tool_calls"]:
            if call.get("requires_approval") and call["tool"] != CREATE_PLAN:
                yield Approval.of_payload(call)
        if (plan := payload["plan"]) is not None and plan["status"] == "draft":
            yield Approval.of_plan(plan)
    elif event.kind == "tool_call_requested":
        if payload["requires_approval"] and payload["tool"] != CREATE_PLAN:
            yield Approval.of_payload(payload)
    elif event.kind == "plan_proposed":
        yield Approval.of_plan(payload)

"""Asks an editor's user about tool calls that need approval. The first answer wins, whichever client gives it.

A client that comes back is asked again, because its dialog is gone. When another client has answered, the dialog is
withdrawn by `$/cancel_request`.
"""

import asyncio
from typing import Any

import structlog
from django.db import Error as DatabaseError
from pydantic import ValidationError

from agents.rules import Effect, Rule
from agents.tools import CREATE_PLAN, TOOLS, ToolKind
from sessions.api.acp.peer import ClientFailed, Peer
from sessions.api.acp.schemas import PermissionAnswer
from sessions.api.acp.tool_views import call_fields
from sessions.api.commands import announce, handle_frame, store_timeout
from sessions.callers import Action, Caller
from sessions.database import in_thread
from sessions.errors import AccessDenied, ToolCallRejected
from sessions.models import Session, ToolCall
from sessions.protocol.client import HitlDecision
from sessions.protocol.codes import Rejected
from sessions.turns import approvals
from sessions.turns.rules import add_rule
from sessions.turns.transcript import displayed

logger = structlog.get_logger(__name__)

#: Seconds before an answer that could not be stored is stored again, and how often.
RETRY_DELAY_SECONDS, MAX_TRIES = 0.5, 10


class Permissions:
    """The questions that one client is asked about one session."""

    def __init__(self, session: Session, folder: str, peer: Peer, caller: Caller) -> None:
        self._session, self._folder, self._peer, self._caller = session, folder, peer, caller
        self._questions: dict[str, asyncio.Task[None]] = {}
        #: The calls whose answers are being stored. Their own event must not cancel that.
        self._decided: set[str] = set()

    async def look(self) -> None:
        """Ask about the calls that wait for approval, each once, and withdraw what does not wait any more."""
        try:
            pending = await in_thread(list)(approvals.pending(self._session.pk))
        except DatabaseError as error:
            logger.warning("approvals_not_read", error=type(error).__name__)
            return
        calls = {approval.call.call_id: approval.call for approval in pending}
        for call_id in self._questions.keys() - calls.keys():
            self.withdraw(call_id)
        for call_id, call in calls.items():
            if call_id not in self._questions and call_id not in self._decided:
                self._questions[call_id] = asyncio.create_task(self._ask(call))

    def withdraw(self, call_id: str) -> None:
        """Withdraw a question that was answered elsewhere, or needs no answer any more."""
        question = self._questions.pop(call_id, None)
        if question is not None and call_id not in self._decided:
            question.cancel()

    def close(self) -> None:
        """Withdraw all questions."""
        for call_id in list(self._questions):
            self.withdraw(call_id)

    async def _ask(self, call: ToolCall) -> None:
        payload = {"tool": call.tool, "arguments": call.arguments, "call_id": call.call_id, **displayed(call.arguments)}
        params = {
            "sessionId": self._session.key,
            "toolCall": {**call_fields(payload, self._folder), "status": "pending"},
            "options": _options(call),
        }
        if call.reason:
            params["_meta"] = {"codelab": {"reason": call.reason, **({"unknown": True} if call.unknown_since else {})}}
        try:
            answer = PermissionAnswer.model_validate(await self._peer.request("session/request_permission", params))
        except (ClientFailed, ValidationError) as error:
            # The question stays open for other clients.
            logger.warning("permission_not_answered", error=type(error).__name__)
            return
        self._decided.add(call.call_id)
        try:
            await self._store(call, answer.outcome)
        except Exception:
            logger.exception("decision_crashed")
        finally:
            self._decided.discard(call.call_id)

    async def _store(self, call: ToolCall, outcome: PermissionAnswer.Outcome) -> None:
        # ACP's clients answer `cancelled` when their user stops the turn, which `session/cancel` does.
        effect, _, duration = outcome.option_id.partition("_")
        if outcome.outcome == "cancelled" or effect not in ("allow", "reject"):
            return
        for _ in range(MAX_TRIES):
            try:
                await self._decide(call, approve=effect == "allow", always=duration == "always")
                return
            except ToolCallRejected:
                # Another client was faster, or the turn has ended.
                return
            except (DatabaseError, TimeoutError, AccessDenied, Rejected) as error:
                logger.warning("decision_not_stored", error=type(error).__name__)
            await asyncio.sleep(RETRY_DELAY_SECONDS)

    async def _decide(self, call: ToolCall, *, approve: bool, always: bool) -> None:
        await self._caller.authorize(Action.WRITE)
        rule = rule_of(call, Effect.ALLOW if approve else Effect.DENY) if always else None
        async with store_timeout() as deadline:
            if rule is not None:
                await in_thread(add_rule)(self._session.owner_id, self._session, rule)
            decision = "approve" if approve else "reject"
            frame = HitlDecision(type="hitl_decision", call_id=call.call_id, decision=decision)
            change = await handle_frame(self._session, frame, deadline=deadline)
        announce(change)


def rule_of(call: ToolCall, effect: Effect) -> Rule | None:
    """Return the rule that answers calls such as this one in its session; None where a person must always decide.

    A command is covered by its own words alone. Other tools are covered as a whole: the user sees the tool's name.
    """
    subject, folder = "*", "."
    if call.tool == CREATE_PLAN:
        return None
    if call.tool in TOOLS and TOOLS[call.tool].kind is ToolKind.COMMAND and "command" in call.arguments:
        subject, folder = str(call.arguments["command"]), str(call.arguments.get("cwd") or ".")
    try:
        return Rule(effect=effect, tool=call.tool, subject=subject, folder=folder)
    except ValidationError:
        return None


def _options(call: ToolCall) -> list[dict[str, Any]]:
    if call.tool == CREATE_PLAN:
        names = {"allow_once": "Carry it out", "reject_once": "Reject"}
    elif call.unknown_since or rule_of(call, Effect.ALLOW) is None:
        names = {"allow_once": "Run it again" if call.unknown_since else "Allow", "reject_once": "Reject"}
    else:
        what = "this command" if call.arguments.get("command") else call.tool
        names = {
            "allow_once": "Allow",
            "allow_always": f"Always allow {what} in this session",
            "reject_once": "Reject",
            "reject_always": f"Always reject {what} in this session",
        }
    return [{"optionId": kind, "name": name, "kind": kind} for kind, name in names.items()]

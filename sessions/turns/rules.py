"""Adds a user's standing rules for tool calls, one at a time, and answers the calls that wait for such a decision."""

import uuid

from django.db import transaction

from agents.policy import Verdict
from agents.rules import Effect, Rule
from agents.tools import CREATE_PLAN
from sessions.errors import ToolCallRejected
from sessions.events import log
from sessions.models import PolicyRule, Session, ToolCall, Via
from sessions.protocol.codes import ErrorCode, Rejected
from sessions.results import Change
from sessions.turns import approvals
from sessions.turns.approvals import Decision
from sessions.turns.tool_policy import evaluate_edit

#: Each tool call is compared with all rules of its user.
MAX_RULES = 500
#: In each of them the calls that wait are judged again, in a transaction of its own.
MAX_ANSWERED_SESSIONS = 100

DENIED = "A rule of the user denies it. Do not try it another way."


def add_rule(owner_id: int, session: Session | None, rule: Rule) -> tuple[PolicyRule, Change]:
    """Store a rule, and answer the calls of its session that wait. The same rule is stored once. Raises Rejected.

    The calls of other sessions are answered one session after another (`waiting_sessions`, `answer_waiting`): only one
    session is locked at a time.
    """
    if session is None:
        return _store(owner_id, None, rule), Change()
    with transaction.atomic():
        session = log.lock(session.pk)
        return _store(owner_id, session, rule), _answer(session, rule)


def waiting_sessions(owner_id: int) -> list[uuid.UUID]:
    """Return the sessions of a user that have calls which wait for approval, those that wait longest first."""
    sessions = approvals.pending_of(owner_id).values_list("call__turn__session_id", flat=True)
    return list(dict.fromkeys(sessions.iterator()))[:MAX_ANSWERED_SESSIONS]


def answer_waiting(session_id: uuid.UUID, rule: Rule) -> Change:
    """Answer the calls of a session that wait and that a rule of its owner decides. A deleted session has none."""
    with transaction.atomic():
        try:
            session = log.lock(session_id)
        except Session.DoesNotExist:
            return Change()
        return _answer(session, rule)


def _store(owner_id: int, session: Session | None, rule: Rule) -> PolicyRule:
    fields = rule.model_dump(include={"effect", "tool", "subject", "agent", "folder"})
    rules = PolicyRule.objects.filter(owner_id=owner_id)
    if existing := rules.filter(session=session, **fields).first():
        return existing
    if rules.count() >= MAX_RULES:
        raise Rejected(ErrorCode.TOO_MANY_RULES, f"You have {MAX_RULES} rules. Delete some that you no longer need.")
    return PolicyRule.objects.create(owner_id=owner_id, session=session, **fields)


def _answer(session: Session, rule: Rule) -> Change:
    change = Change()
    for approval in approvals.pending(session.pk):
        if _is_answered_by(session, approval.call, rule):
            change = _add(change, _decide(session, approval.call, rule))
    return change


def _is_answered_by(session: Session, call: ToolCall, rule: Rule) -> bool:
    # A rule does not decide about a plan, nor about a second run of a call that may have run.
    if call.tool == CREATE_PLAN or call.unknown_since or call.rule == "not judged":
        return False
    decision = evaluate_edit(session, call, call.arguments)
    # What else allows it now, such as another mode, was no answer until now either.
    return decision.verdict is not Verdict.ASK and decision.rule == rule.label


def _decide(session: Session, call: ToolCall, rule: Rule) -> Change:
    is_allowed = rule.effect is Effect.ALLOW
    decision = Decision(approve=is_allowed, feedback="" if is_allowed else DENIED, by=session.owner_id, via=Via.REST)
    before, call.rule = call.rule, rule.label
    call.save(update_fields=["rule"])
    try:
        return approvals.decide(session.pk, call.call_id, decision)
    except ToolCallRejected:
        # Its client has changed the tool since. People are told so when they answer.
        call.rule = before
        call.save(update_fields=["rule"])
        return Change()


def _add(change: Change, other: Change) -> Change:
    return Change(events=[*change.events, *other.events], ready=change.ready or other.ready)

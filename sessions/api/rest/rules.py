"""Standing answers of a user: what is always allowed and what is always denied, in one session or in all."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db.models import Q
from django.http import HttpRequest
from ninja import Field, Router, Schema

from agents.policy import Effect, Rule
from sessions.api.http import ERRORS, ErrorOut, owned, owner, require_clean
from sessions.database import in_thread
from sessions.errors import NotFound
from sessions.models import PolicyRule, Session
from sessions.protocol import MAX_KEY_LENGTH, ErrorCode, Rejected

router = Router(tags=["rules"])

#: Rules of one user at most: all of them are compared with each call.
MANY = 500


class RuleIn(Rule):
    """A rule as `agents.policy` takes it; without a session it is for all sessions of the user."""

    session_id: str | None = Field(None, min_length=1, max_length=MAX_KEY_LENGTH)


class RuleOut(Schema):
    id: uuid.UUID
    effect: Effect
    tool: str
    subject: str
    agent: str
    folder: str
    session_id: str | None
    created_at: datetime


class RuleList(Schema):
    """Rules in the order in which they were made; any that denies wins over any that allows."""

    rules: list[RuleOut]
    total: int


class RuleDeleted(Schema):
    id: uuid.UUID
    status: str = "deleted"


@router.get("/rules", response={200: RuleList, **ERRORS})
async def list_rules(request: HttpRequest, session_id: str | None = None) -> RuleList:
    """List the caller's rules, or those that count in a session."""
    session = await owned(request, session_id) if session_id else None
    rules = await in_thread(rules_of)(owner(request).pk, session)
    return RuleList(rules=rules, total=len(rules))


@router.post("/rules", response={200: RuleOut, 409: ErrorOut, **ERRORS})
async def add_rule(request: HttpRequest, body: RuleIn) -> RuleOut:
    """Add a rule; it counts from the next tool call on."""
    require_clean(body.tool, body.subject, body.agent, body.folder)
    session = await owned(request, body.session_id) if body.session_id else None

    def write() -> RuleOut | None:
        mine = PolicyRule.objects.filter(owner_id=owner(request).pk)
        if mine.count() >= MANY:
            return None
        fields = body.model_dump(exclude={"session_id"})
        return _rule(PolicyRule.objects.create(owner_id=owner(request).pk, session=session, **fields))

    rule = await in_thread(write)()
    if rule is None:
        raise Rejected(ErrorCode.TOO_MANY_RULES, f"You have {MANY} rules. Delete some that you no longer need.")
    return rule


@router.delete("/rules/{uuid:rule_id}", response={200: RuleDeleted, **ERRORS})
async def delete_rule(request: HttpRequest, rule_id: uuid.UUID) -> RuleDeleted:
    """Delete a rule; what it allowed or denied is asked again from the next tool call on."""
    mine = PolicyRule.objects.filter(owner_id=owner(request).pk, pk=rule_id)
    count, _ = await in_thread(mine.delete)()
    if not count:
        raise NotFound(ErrorCode.RULE_NOT_FOUND, f"You have no rule `{rule_id}`.")
    return RuleDeleted(id=rule_id)


def rules_of(owner_id: int, session: Session | None) -> list[RuleOut]:
    """Return all rules of a user, or with a session those that count there."""
    mine = PolicyRule.objects.filter(owner_id=owner_id).select_related("session")
    if session is not None:
        mine = mine.filter(Q(session=session) | Q(session=None))
    return [_rule(row) for row in mine.order_by("created_at", "pk")]


def _rule(row: PolicyRule) -> RuleOut:
    return RuleOut(
        id=row.pk,
        effect=Effect(row.effect),
        tool=row.tool,
        subject=row.subject,
        agent=row.agent,
        folder=row.folder,
        session_id=row.session.key if row.session else None,
        created_at=row.created_at,
    )

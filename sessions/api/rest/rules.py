"""Lists, adds and deletes a user's rules: calls that are always allowed or denied, in one session or in all."""

import uuid
from datetime import datetime
from typing import Any, Self

from django.db.models import Q
from django.http import HttpRequest
from ninja import Field, Router, Schema
from pydantic import model_validator

from agents.rule_choices import Coverage, RuleChoice
from agents.rules import MAX_LABEL_CHARACTERS, Effect, Rule
from sessions.api.commands import announce
from sessions.api.http import ERRORS, Deleted, ErrorOut, owner, require_clean, session_of
from sessions.api.rest.approvals import call_of
from sessions.database import in_thread
from sessions.errors import NotFound
from sessions.models import PolicyRule, Session
from sessions.protocol.codes import MAX_KEY_LENGTH, ErrorCode
from sessions.turns import rules
from sessions.turns.tool_policy import rule_choices

router = Router(tags=["rules"])


class RuleIn(Rule):
    """A rule as `agents.policy` takes it; without a session it applies to all sessions of the user."""

    session_id: str | None = Field(None, min_length=1, max_length=MAX_KEY_LENGTH)

    @model_validator(mode="after")
    def _check_label(self) -> Self:
        if len(self.label) > MAX_LABEL_CHARACTERS:
            raise ValueError("the patterns of a rule have 2,000 characters together at most")
        return self


class RuleOut(Schema):
    id: uuid.UUID
    effect: Effect
    tool: str
    subject: str
    agent: str
    folder: str
    session_id: str | None
    created_at: datetime

    @staticmethod
    def resolve_session_id(rule: PolicyRule) -> str | None:
        return rule.session.key if rule.session else None


class RuleList(Schema):
    """Rules in the order of their creation; any rule that denies wins over any that allows."""

    rules: list[RuleOut]
    total: int


class RuleChoiceOut(Schema):
    """A rule that would have allowed a call; `coverage` is what else it allows."""

    coverage: Coverage
    effect: Effect = Field(alias="rule.effect")
    tool: str = Field(alias="rule.tool")
    subject: str = Field(alias="rule.subject")
    agent: str = Field(alias="rule.agent")
    folder: str = Field(alias="rule.folder")


class RuleChoices(Schema):
    """The rules that a person may choose for a call, the narrowest first; none where no rule can cover it."""

    session_id: str
    call_id: str
    choices: list[RuleChoiceOut]


@router.get("/sessions/{path:session_id}/tool-calls/{call_id}/rules", response={200: RuleChoices, **ERRORS})
async def list_choices(request: HttpRequest, session_id: str, call_id: str) -> dict[str, Any]:
    """List the rules that would allow a call from now on, to be shown to the user before one of them is added."""
    session = await session_of(request, session_id)
    found = await in_thread(_choices)(session, call_id)
    return {"session_id": session.key, "call_id": call_id, "choices": found}


def _choices(session: Session, call_id: str) -> list[RuleChoice]:
    return rule_choices(session, call_of(session, call_id))


@router.get("/rules", response={200: RuleList, **ERRORS})
async def list_rules(request: HttpRequest, session_id: str | None = None) -> dict[str, Any]:
    """List the caller's rules, or those that apply to a session."""
    session = await session_of(request, session_id) if session_id else None
    rules = await rules_of(owner(request).pk, session)
    return {"rules": rules, "total": len(rules)}


@router.post("/rules", response={200: RuleOut, 409: ErrorOut, **ERRORS})
async def add_rule(request: HttpRequest, body: RuleIn) -> PolicyRule:
    """Add a rule; it answers the calls that wait, and applies from the next one on."""
    require_clean(body.tool, body.subject, body.agent, body.folder)
    session = await session_of(request, body.session_id) if body.session_id else None
    owner_id = owner(request).pk
    rule, change = await in_thread(rules.add_rule)(owner_id, session, body)
    announce(change)
    for session_id in await in_thread(rules.waiting_sessions)(owner_id) if session is None else ():
        announce(await in_thread(rules.answer_waiting)(session_id, body))
    return rule


@router.delete("/rules/{uuid:rule_id}", response={200: Deleted, **ERRORS})
async def delete_rule(request: HttpRequest, rule_id: uuid.UUID) -> Deleted:
    """Delete a rule; it no longer applies from the next tool call on."""
    mine = PolicyRule.objects.filter(owner_id=owner(request).pk, pk=rule_id)
    count, _ = await in_thread(mine.delete)()
    if not count:
        raise NotFound(ErrorCode.RULE_NOT_FOUND, f"You have no rule `{rule_id}`.")
    return Deleted(id=rule_id)


async def rules_of(owner_id: int, session: Session | None) -> list[PolicyRule]:
    """Return all rules of a user, or with a session those that apply to it, the oldest first."""
    mine = PolicyRule.objects.filter(owner_id=owner_id).select_related("session")
    if session is not None:
        mine = mine.filter(Q(session=session) | Q(session=None))
    return await in_thread(list)(mine.order_by("created_at", "pk"))

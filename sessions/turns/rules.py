"""Adds a user's standing rules for tool calls, one at a time."""

from agents.rules import Rule
from sessions.models import PolicyRule, Session
from sessions.protocol.codes import ErrorCode, Rejected

#: Each tool call is compared with all rules of its user.
MAX_RULES = 500


def add_rule(owner_id: int, session: Session | None, rule: Rule) -> PolicyRule:
    """Store a rule, which applies from the next tool call on. The same rule is stored once. Raises Rejected."""
    fields = rule.model_dump(include={"effect", "tool", "subject", "agent", "folder"})
    rules = PolicyRule.objects.filter(owner_id=owner_id)
    if existing := rules.filter(session=session, **fields).first():
        return existing
    if rules.count() >= MAX_RULES:
        raise Rejected(ErrorCode.TOO_MANY_RULES, f"You have {MAX_RULES} rules. Delete some that you no longer need.")
    return PolicyRule.objects.create(owner_id=owner_id, session=session, **fields)

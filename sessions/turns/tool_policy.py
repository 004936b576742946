"""May a call of the model run? Brings the session's mode and its user's rules to `agents.policy`, and keeps the answer.

Reads under the session's lock, so that a change of the mode counts from one moment on. Decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from agents import approvals, policy
from agents import plans as planning
from agents.policy import Decision, Mode, Rule, Verdict
from agents.roles import Role, role_of
from agents.tools import BASELINE_TOOLS, TOOLS, RunsOn
from llm.types import ModelToolCall
from sessions.models import Approval, PolicyRule, Session, SubTask, ToolCall, ToolCallStatus
from sessions.turns import plans
from sessions.turns.transcript import current_subtask

#: How long a person has to answer; then the call is rejected.
APPROVAL_TIMEOUT = timedelta(hours=24)
#: Tools of ours that are carried out when a step is stored (`sessions.turns.tool_calls`).
SERVER_TOOLS = frozenset({"calculator", "attempt_completion", "ask_followup_question", "switch_mode"})
#: Tools that a sub-task has not: its plan has decided who works, and on what.
PLANNING_TOOLS = frozenset({"switch_mode", plans.PROPOSAL})
NOT_IN_A_PLAN = "{tool} was not run: the plan decides who works on what. Do your sub-task, or report what it lacks."


def offered_tools(session: Session, role: Role, subtask: SubTask | None) -> list[str]:
    """Return the names of the tools that the model is offered: the role's, as far as somebody can run them.

    A plan is offered where somebody can answer it.
    """
    client = BASELINE_TOOLS if session.client_tools is None else frozenset(session.client_tools)
    ours = SERVER_TOOLS | {plans.PROPOSAL} if session.client_plans else SERVER_TOOLS
    if subtask:
        ours -= PLANNING_TOOLS
    return [name for name in role.tools if (name in client if TOOLS[name].runs_on is RunsOn.CLIENT else name in ours)]


def agents_for(tool: str, role: Role) -> list[str]:
    """Return the names of the agents that a call may name: to hand over to another, or to give a sub-task to any."""
    return [name for name in plans.agents() if name != role.name or tool == plans.PROPOSAL]


def evaluate(
    session: Session,
    agent: str,
    calls: Sequence[ModelToolCall],
    broken: Mapping[str, str],
    subtask: SubTask | None = None,
) -> list[ToolCall]:
    """Return a row for each call, in the model's order, with what was decided; none is stored yet.

    `broken` are calls that cannot be read, with the sentence that the model gets; `subtask` is the one at work.
    """
    rules = list(_rules(session))
    role = role_of(agent)
    offered = offered_tools(session, role, subtask)
    rows = []
    for call in calls:
        if call.id in broken:
            decision = Decision(verdict=Verdict.DENY, rule="arguments", reason=broken[call.id].removeprefix("Error: "))
        elif subtask and call.name in PLANNING_TOOLS:
            decision = Decision(verdict=Verdict.DENY, rule="plan", reason=NOT_IN_A_PLAN.format(tool=call.name))
        else:
            decision = _decide(call, role, session, rules, offered)
        rows.append(_row(call, agent, decision))
    return rows


def judge_edit(session: Session, call: ToolCall, arguments: dict[str, object]) -> Decision:
    """Judge a call with arguments that a person has changed: what nobody may allow stays forbidden."""
    role = role_of(call.agent)
    changed = ModelToolCall(id=call.call_id, name=call.tool, arguments=arguments)
    return _decide(
        changed, role, session, list(_rules(session)), offered_tools(session, role, current_subtask(session))
    )


def new_approvals(calls: Sequence[ToolCall]) -> list[Approval]:
    """Return an approval for each call that a person must allow; none is stored yet."""
    expires_at = timezone.now() + APPROVAL_TIMEOUT
    asked = [call for call in calls if call.status == ToolCallStatus.ASKED]
    return [Approval(call=call, digest=call.digest, expires_at=expires_at) for call in asked]


def _decide(call: ModelToolCall, role: Role, session: Session, rules: list[Rule], offered: list[str]) -> Decision:
    agents = agents_for(call.name, role)
    decision = policy.decide(call, role=role, mode=Mode(session.mode), rules=rules, offered=offered, agents=agents)
    if call.name == plans.PROPOSAL and decision.verdict is not Verdict.DENY:
        try:
            planning.parse(decision.arguments, agents=agents)
        except planning.PlanError as error:
            return Decision(verdict=Verdict.DENY, rule="plan", reason=str(error), arguments=decision.arguments)
        # A rule for all tools was not made with plans in mind.
        return replace(decision, verdict=Verdict.ASK)
    return decision


def _row(call: ModelToolCall, agent: str, decision: Decision) -> ToolCall:
    arguments = decision.arguments or call.arguments
    row = ToolCall(call_id=call.id, tool=call.name[:128], arguments=arguments, agent=agent, rule=decision.rule)
    row.digest = approvals.digest(call.name, arguments)
    row.requires_approval = decision.verdict is Verdict.ASK
    match decision.verdict:
        case Verdict.ASK:
            row.status, row.reason = ToolCallStatus.ASKED, decision.reason
        case Verdict.ALLOW:
            row.status = ToolCallStatus.WAITING
        case Verdict.DENY:
            row.status, row.result = ToolCallStatus.FAILED, f"Error: {decision.reason}"
    return row


def _rules(session: Session) -> list[Rule]:
    rows = PolicyRule.objects.filter(Q(session=session) | Q(session=None), owner_id=session.owner_id)
    fields = ("effect", "tool", "subject", "agent", "folder")
    return [Rule(**row) for row in rows.order_by("created_at").values(*fields)]

"""The policy for tool calls: give `agents.policy` the session's mode and its user's rules, and record its decisions.

Callers hold the session's lock, so a change of the mode takes effect between two steps. The rules of the policy itself
are in `agents.policy`, never here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from agents import approvals, policy
from agents import plans as planning
from agents.policy import Mode, PolicyDecision, Rule, Verdict
from agents.roles import Role, role_of
from agents.tools import BASELINE_TOOLS, CREATE_PLAN, SWITCH_MODE, TOOLS, RunsOn
from llm.types import ModelToolCall
from sessions.models import Approval, PolicyRule, Session, SubTask, ToolCall, ToolCallStatus
from sessions.turns import plans
from sessions.turns.transcript import current_subtask

#: How long a user has to decide; then the call is rejected.
APPROVAL_TIMEOUT = timedelta(hours=24)
#: Tools that a sub-task cannot use: its plan decides which agent does what.
PLANNING_TOOLS = frozenset({SWITCH_MODE, CREATE_PLAN})
NOT_IN_A_PLAN = (
    "{tool} was not run: the plan decides which agent does what. Do your sub-task, or report what is missing."
)


def offered_tools(session: Session, role: Role, subtask: SubTask | None) -> list[str]:
    """Return the names of the role's tools that the client or the server can run.

    Plans are offered only where a client can show and answer them.
    """
    client_tools = BASELINE_TOOLS if session.client_tools is None else frozenset(session.client_tools)
    excluded = frozenset() if session.client_plans else frozenset({CREATE_PLAN})
    if subtask:
        excluded = PLANNING_TOOLS
    return [
        name
        for name in role.tools
        if (name in client_tools if TOOLS[name].runs_on is RunsOn.CLIENT else name not in excluded)
    ]


def agents_for(tool: str, role: Role) -> list[str]:
    """Return the names of the agents that a call may name: any for sub-tasks, all others for a switch."""
    return [name for name in plans.agents() if name != role.name or tool == CREATE_PLAN]


def evaluate(
    session: Session,
    agent: str,
    calls: Sequence[ModelToolCall],
    broken: Mapping[str, str],
    subtask: SubTask | None = None,
) -> list[ToolCall]:
    """Return an unsaved row with the decision for each call, in the model's order.

    `broken` are unreadable calls with the error for the model. `subtask` is the current one.
    """
    rules = _rules(session)
    role = role_of(agent)
    offered = offered_tools(session, role, subtask)
    rows = []
    for call in calls:
        if call.id in broken:
            decision = PolicyDecision(
                verdict=Verdict.DENY, rule="arguments", reason=broken[call.id].removeprefix("Error: ")
            )
        elif subtask and call.name in PLANNING_TOOLS:
            decision = PolicyDecision(verdict=Verdict.DENY, rule="plan", reason=NOT_IN_A_PLAN.format(tool=call.name))
        else:
            decision = _decide(call, role, session, rules, offered)
        rows.append(_row(call, agent, decision))
    return rows


def evaluate_edit(session: Session, call: ToolCall, arguments: dict[str, object]) -> PolicyDecision:
    """Return the decision about a call with edited arguments. A user cannot allow what the policy denies."""
    role = role_of(call.agent)
    edited = ModelToolCall(id=call.call_id, name=call.tool, arguments=arguments)
    return _decide(edited, role, session, _rules(session), offered_tools(session, role, current_subtask(session)))


def new_approvals(calls: Sequence[ToolCall]) -> list[Approval]:
    """Return an unsaved approval for each call that needs one."""
    expires_at = timezone.now() + APPROVAL_TIMEOUT
    return [
        Approval(call=call, digest=call.digest, expires_at=expires_at)
        for call in calls
        if call.status == ToolCallStatus.ASKED
    ]


def _decide(call: ModelToolCall, role: Role, session: Session, rules: list[Rule], offered: list[str]) -> PolicyDecision:
    agents = agents_for(call.name, role)
    decision = policy.decide(call, role=role, mode=Mode(session.mode), rules=rules, offered=offered, agents=agents)
    if call.name == CREATE_PLAN and decision.verdict is not Verdict.DENY:
        try:
            planning.parse(decision.arguments, agents=agents)
        except planning.PlanError as error:
            return PolicyDecision(verdict=Verdict.DENY, rule="plan", reason=str(error), arguments=decision.arguments)
        # The author of a rule for all tools did not think of plans.
        return replace(decision, verdict=Verdict.ASK)
    return decision


def _row(call: ModelToolCall, agent: str, decision: PolicyDecision) -> ToolCall:
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

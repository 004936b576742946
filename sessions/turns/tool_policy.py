"""The policy for tool calls: give `agents.policy` the session's mode and its user's rules, and record its decisions.

Calls are judged before the session is locked, because a model may make many and long ones. Under the lock the caller
compares what they were judged by (`Basis`), so a change of the mode still takes effect between two steps. The rules of
the policy itself are in `agents.policy`, never here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

import structlog

from agents import approvals, policy
from agents import plans as planning
from agents.client_tools import ClientTool
from agents.policy import Mode, PolicyDecision, Verdict
from agents.roles import Role, role_of
from agents.rule_choices import RuleChoice, choices
from agents.rules import MAX_LABEL_CHARACTERS, Rule
from agents.tools import BASELINE_TOOLS, CREATE_PLAN, SWITCH_MODE, TOOLS, InvalidArguments, RunsOn
from llm.types import ModelToolCall
from sessions.models import Approval, Session, SubTask, ToolCall, ToolCallStatus
from sessions.statements import Sql
from sessions.turns import plans
from sessions.turns.definitions import definitions_of
from sessions.turns.rows import current_subtask, rules_of

logger = structlog.get_logger(__name__)

#: How long a user has to decide; then the call is rejected.
APPROVAL_TIMEOUT = timedelta(hours=24)
#: Tools that a sub-task cannot use: its plan decides which agent does what.
PLANNING_TOOLS = frozenset({SWITCH_MODE, CREATE_PLAN})
RULE_FIELDS = ("effect", "tool", "subject", "agent", "folder")
NOT_JUDGED = "The server could not judge this call."
NOT_IN_A_PLAN = (
    "{tool} was not run: the plan decides which agent does what. Do your sub-task, or report what is missing."
)


def offered_tools(
    session: Session, role: Role, subtask: SubTask | None, defined: Mapping[str, ClientTool]
) -> list[str]:
    """Return the names of the role's tools that the client or the server can run, then those the client has `defined`.

    Plans are offered only where a client can show and answer them.
    """
    client_tools = BASELINE_TOOLS if session.client_tools is None else frozenset(session.client_tools)
    excluded = frozenset() if session.client_plans else frozenset({CREATE_PLAN})
    if subtask:
        excluded = PLANNING_TOOLS
    return [
        name
        for name in policy.tools_of(role, defined)
        if name in defined or (name in client_tools if TOOLS[name].runs_on is RunsOn.CLIENT else name not in excluded)
    ]


def agents_for(tool: str, role: Role) -> list[str]:
    """Return the names of the agents that a call may name: any for sub-tasks, all others for a switch."""
    return [name for name in plans.agents() if name != role.name or tool == CREATE_PLAN]


@dataclass(frozen=True, slots=True)
class Basis:
    """What the decisions about calls depend on, besides the calls."""

    mode: str
    offered: tuple[str, ...]
    subtask_id: object
    rules: tuple[tuple[str, ...], ...]
    defined: Mapping[str, ClientTool]


def basis_of(session: Session, agent: str, subtask: SubTask | None, rules: tuple[tuple[str, ...], ...]) -> Basis:
    """Return what calls of an agent are judged by now. `subtask` is the current one, `rules` those of the user."""
    defined = definitions_of(session)
    offered = tuple(offered_tools(session, role_of(agent), subtask, defined))
    return Basis(session.mode, offered, subtask and subtask.pk, rules, defined)


def evaluate(agent: str, calls: Sequence[ModelToolCall], broken: Mapping[str, str], basis: Basis) -> list[ToolCall]:
    """Return an unsaved row with the decision for each call, in the model's order.

    `broken` are unreadable calls with the error for the model. A call that cannot be judged is left to a person.
    """
    rows = []
    for call in calls:
        if call.id in broken:
            decision = PolicyDecision(
                verdict=Verdict.DENY, rule="arguments", reason=broken[call.id].removeprefix("Error: ")
            )
        elif basis.subtask_id and call.name in PLANNING_TOOLS:
            decision = PolicyDecision(verdict=Verdict.DENY, rule="plan", reason=NOT_IN_A_PLAN.format(tool=call.name))
        else:
            try:
                decision = _decide(call, agent, basis)
            except Exception:
                logger.exception("tool_call_not_judged", agent=agent)
                decision = _undecided(call, basis)
        rows.append(_row(call, agent, decision, basis.defined.get(call.name)))
    return rows


def _undecided(call: ModelToolCall, basis: Basis) -> PolicyDecision:
    """Return the decision about a call that the policy failed to judge: a person is asked, if a client can run it."""
    if call.name in basis.offered and (call.name in basis.defined or TOOLS[call.name].runs_on is RunsOn.CLIENT):
        return PolicyDecision(verdict=Verdict.ASK, rule="not judged", reason=NOT_JUDGED, arguments=call.arguments)
    return PolicyDecision(verdict=Verdict.DENY, rule="not judged", reason=f"{call.name[:60]} was not run. {NOT_JUDGED}")


def evaluate_edit(session: Session, call: ToolCall, arguments: dict[str, object]) -> PolicyDecision:
    """Return the decision about a call with edited arguments. A user cannot allow what the policy denies."""
    edited = ModelToolCall(id=call.call_id, name=call.tool, arguments=arguments)
    return _decide(edited, call.agent, basis_of(session, call.agent, current_subtask(session), rules_of(session)))


def rule_choices(session: Session, call: ToolCall) -> list[RuleChoice]:
    """Return the rules that would have allowed a call that waits for approval. A plan asks whatever the rules."""
    defined = definitions_of(session)
    if call.tool == CREATE_PLAN or (call.tool not in TOOLS and call.tool not in defined):
        return []
    requested = ModelToolCall(id=call.call_id, name=call.tool, arguments=call.arguments)
    try:
        return choices(policy.parse_call(requested, role_of(call.agent), None, defined))
    except InvalidArguments:
        # The client has changed its tool since.
        return []


def new_approvals(calls: Sequence[ToolCall]) -> list[Approval]:
    """Return an unsaved approval for each call that needs one."""
    expires_at: Any = Sql("statement_timestamp() + %s::interval", (APPROVAL_TIMEOUT,))
    return [
        Approval(call=call, digest=shown_digest(call), expires_at=expires_at)
        for call in calls
        if call.status == ToolCallStatus.ASKED
    ]


def shown_digest(call: ToolCall) -> str:
    """Return the hash of all that people see of a call."""
    return approvals.digest(call.tool, call.arguments, call.definition_digest)


def _decide(call: ModelToolCall, agent: str, basis: Basis) -> PolicyDecision:
    role = role_of(agent)
    agents = agents_for(call.name, role)
    rules = _parse_rules(basis.rules)
    decision = policy.decide(
        call, role=role, mode=Mode(basis.mode), rules=rules, offered=basis.offered, agents=agents, defined=basis.defined
    )
    if call.name == CREATE_PLAN and decision.verdict is not Verdict.DENY:
        try:
            planning.parse(decision.arguments, agents=agents)
        except planning.PlanError as error:
            return PolicyDecision(verdict=Verdict.DENY, rule="plan", reason=str(error), arguments=decision.arguments)
        # The author of a rule for all tools did not think of plans.
        return replace(decision, verdict=Verdict.ASK)
    return decision


def _row(call: ModelToolCall, agent: str, decision: PolicyDecision, definition: ClientTool | None) -> ToolCall:
    arguments = decision.arguments or call.arguments
    row = ToolCall(call_id=call.id, tool=call.name[:128], arguments=arguments, agent=agent)
    # Rules that are older than the limit on their length may have a longer label.
    row.rule = decision.rule[:MAX_LABEL_CHARACTERS]
    row.digest = approvals.digest(call.name, arguments)
    row.definition = definition and definition.shown
    row.requires_approval = decision.verdict is Verdict.ASK
    match decision.verdict:
        case Verdict.ASK:
            row.status, row.reason = ToolCallStatus.ASKED, decision.reason
        case Verdict.ALLOW:
            row.status = ToolCallStatus.WAITING
        case Verdict.DENY:
            row.status, row.result = ToolCallStatus.FAILED, f"Error: {decision.reason}"
    return row


# The calls of an answer are judged by the same rules. Only a few answers are remembered: rules may be long.
@lru_cache(maxsize=4)
def _parse_rules(rows: tuple[tuple[str, ...], ...]) -> list[Rule]:
    return [Rule.model_validate(dict(zip(RULE_FIELDS, row, strict=True))) for row in rows]

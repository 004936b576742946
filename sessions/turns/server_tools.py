"""The tools that the server runs: calculate, switch the agent, complete the task, ask the user.

They run while the step is stored, under the session's lock, and so never touch anything but the session.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils import timezone

from agents import calculator, tools
from agents.roles import role_of
from agents.tools import CREATE_PLAN, TOOLS, RunsOn
from sessions.events.log import NewEvent
from sessions.models import OPEN_CALLS, Event, EventKind, Session, ToolCall, ToolCallStatus, Turn
from sessions.turns.current_agent import switch_agent

#: Times that agents may switch the agent in one turn.
MAX_SWITCHES = 5

SERVER_TOOLS = frozenset(name for name, spec in TOOLS.items() if spec.runs_on is RunsOn.SERVER)

MUST_BE_ALONE = "Error: other tools of the same answer have not finished. Wait for their results, then call this again."


@dataclass(slots=True)
class ToolOutcomes:
    """The effects of the server's tools on the turn."""

    events: list[NewEvent] = field(default_factory=list)
    #: Text that ends the turn. None: the turn continues. Empty: it ends without another text.
    last_words: str | None = None
    #: `last_words` are a question to the user.
    is_question: bool = False


def run_server_tools(session: Session, turn: Turn, calls: Sequence[ToolCall]) -> ToolOutcomes:
    """Run the allowed calls of the server's tools. Sets their status, result and time without saving the rows."""
    outcomes = ToolOutcomes()
    now = timezone.now()
    server_calls = [call for call in calls if call.status == ToolCallStatus.WAITING and _runs_here(call)]
    for call in calls:
        if call.tool == CREATE_PLAN and call.status == ToolCallStatus.ASKED and _has_open_neighbours(call, calls):
            call.status, call.result = ToolCallStatus.FAILED, MUST_BE_ALONE
    can_end = not any(call.status in OPEN_CALLS and call not in server_calls for call in calls)
    for call in server_calls:
        call.status, call.result = _run(session, turn, call, outcomes, can_end=can_end)
    for call in calls:
        if call.status not in OPEN_CALLS:
            call.finished_at = now
    return outcomes


def _has_open_neighbours(proposal: ToolCall, calls: Sequence[ToolCall]) -> bool:
    """Return whether other calls are open: the first sub-task of a plan must not begin before they have results."""
    return any(call.status in OPEN_CALLS and call is not proposal and not _runs_here(call) for call in calls)


def _runs_here(call: ToolCall) -> bool:
    return call.tool in SERVER_TOOLS and call.tool != CREATE_PLAN


def _run(
    session: Session, turn: Turn, call: ToolCall, outcomes: ToolOutcomes, *, can_end: bool
) -> tuple[ToolCallStatus, str]:
    arguments = call.arguments
    match call.tool:
        case tools.CALCULATOR:
            try:
                return ToolCallStatus.COMPLETED, str(calculator.evaluate(arguments["expr"]))
            except calculator.CalculationError as error:
                return ToolCallStatus.FAILED, f"Error: {error}"
        case tools.SWITCH_MODE:
            return _switch_mode(session, turn, arguments, outcomes)
        case tools.ATTEMPT_COMPLETION if can_end:
            outcomes.last_words, outcomes.is_question = arguments["result"], False
            return ToolCallStatus.COMPLETED, "The user was told that the task is finished."
        case tools.ASK_FOLLOWUP_QUESTION if can_end:
            choices = [f"{number}. {text}" for number, text in enumerate(arguments.get("suggestions", []), 1)]
            outcomes.last_words, outcomes.is_question = "\n".join([arguments["question"], *choices]), True
            return ToolCallStatus.COMPLETED, "The user was asked; the next message is the answer."
    return ToolCallStatus.FAILED, MUST_BE_ALONE


def _switch_mode(
    session: Session, turn: Turn, arguments: dict[str, str], outcomes: ToolOutcomes
) -> tuple[ToolCallStatus, str]:
    earlier = Event.objects.filter(
        session=session, number__gt=turn.position, turn=turn, kind=EventKind.AGENT_SWITCHED
    ).count()
    if earlier + len(outcomes.events) >= MAX_SWITCHES:
        return ToolCallStatus.FAILED, "Error: the agent has changed too often in this turn. Continue yourself."
    agent = arguments["mode"]
    reason = arguments.get("reason") or f"Handed over by {session.current_agent}"
    outcomes.events.append(switch_agent(session, agent, reason=reason, confidence="medium", turn_id=turn.pk))
    return ToolCallStatus.COMPLETED, f"Switched to {role_of(agent).title} agent"

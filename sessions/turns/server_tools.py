"""The calls that no client runs: calculated, handed over, or the model's word that it is done.

Carried out while the step is stored, under the session's lock. What is carried out here touches nothing outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils import timezone

from agents import calculator
from agents.roles import role_of
from agents.tools import TOOLS, RunsOn
from sessions.events.log import NewEvent
from sessions.models import OPEN_CALLS, Event, EventKind, Session, ToolCall, ToolCallStatus, Turn
from sessions.turns.current_agent import switch_agent
from sessions.turns.plans import PROPOSAL

#: Times that agents may hand a conversation over in one turn.
MAX_SWITCHES = 5

MUST_BE_ALONE = "Error: other tools of the same answer have not finished. Wait for their results, then call this again."


@dataclass(slots=True)
class ToolOutcomes:
    """What came of the calls: events to tell of, and the words that end the turn, if it ends."""

    events: list[NewEvent] = field(default_factory=list)
    #: None: the turn goes on. Empty: it ends, and everything was said already.
    last_words: str | None = None
    #: They are a question to the user.
    asks: bool = False


def run_server_tools(session: Session, turn: Turn, calls: Sequence[ToolCall]) -> ToolOutcomes:
    """Carry out the calls that are ours and allowed; sets their status, result and time, and stores nothing of them."""
    said = ToolOutcomes()
    now = timezone.now()
    ours = [call for call in calls if call.status == ToolCallStatus.WAITING and _is_ours(call)]
    for call in calls:
        if call.tool == PROPOSAL and call.status == ToolCallStatus.ASKED and _others(call, calls):
            call.status, call.result = ToolCallStatus.FAILED, MUST_BE_ALONE
    others_open = any(call.status in OPEN_CALLS and call not in ours for call in calls)
    for call in ours:
        call.status, call.result = _outcome(session, turn, call, said, alone=not others_open)
    for call in calls:
        if call.status not in OPEN_CALLS:
            call.finished_at = now
    return said


def _others(proposal: ToolCall, calls: Sequence[ToolCall]) -> bool:
    """Say whether calls are out besides a plan: its first sub-task must not begin before they have their results."""
    return any(call.status in OPEN_CALLS and call is not proposal and not _is_ours(call) for call in calls)


def _is_ours(call: ToolCall) -> bool:
    return TOOLS[call.tool].runs_on is RunsOn.SERVER and call.tool != PROPOSAL


def _outcome(
    session: Session, turn: Turn, call: ToolCall, said: ToolOutcomes, *, alone: bool
) -> tuple[ToolCallStatus, str]:
    arguments = call.arguments
    match call.tool:
        case "calculator":
            try:
                return ToolCallStatus.COMPLETED, str(calculator.evaluate(arguments["expr"]))
            except calculator.CalculationError as error:
                return ToolCallStatus.FAILED, f"Error: {error}"
        case "switch_mode":
            return _switched(session, turn, arguments, said)
        case "attempt_completion" if alone:
            said.last_words, said.asks = arguments["result"], False
            return ToolCallStatus.COMPLETED, "The user was told that the task is finished."
        case "ask_followup_question" if alone:
            choices = [f"{number}. {text}" for number, text in enumerate(arguments.get("suggestions", []), 1)]
            said.last_words, said.asks = "\n".join([arguments["question"], *choices]), True
            return ToolCallStatus.COMPLETED, "The user was asked; the next message is the answer."
    return ToolCallStatus.FAILED, MUST_BE_ALONE


def _switched(
    session: Session, turn: Turn, arguments: dict[str, str], said: ToolOutcomes
) -> tuple[ToolCallStatus, str]:
    earlier = Event.objects.filter(
        session=session, number__gt=turn.position, turn=turn, kind=EventKind.AGENT_SWITCHED
    ).count()
    if earlier + len(said.events) >= MAX_SWITCHES:
        return ToolCallStatus.FAILED, "Error: there were enough changes of the agent in this turn. Go on yourself."
    agent = arguments["mode"]
    reason = arguments.get("reason") or f"Handed over by {session.current_agent}"
    said.events.append(switch_agent(session, agent, reason=reason, confidence="medium", turn_id=turn.pk))
    return ToolCallStatus.COMPLETED, f"Switched to {role_of(agent).title} agent"

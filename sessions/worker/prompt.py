"""Builds a model's input from a session: instructions, conversation, images and tools. This module never writes."""

import uuid
from dataclasses import dataclass

from agents.context import Window
from agents.plans import format_progress
from agents.roles import role_of, routed_roles
from agents.tools import offer
from agents.workspace import current_facts, steady_facts, surroundings
from llm.types import ModelMessage, Tool
from sessions.errors import StaleAttempt
from sessions.models import Turn
from sessions.turns import plans, summaries, workspaces
from sessions.turns.definitions import definitions_of
from sessions.turns.rows import turn_with_session
from sessions.turns.summaries import Overflow
from sessions.turns.tool_policy import Basis, agents_for, offered_tools
from sessions.worker.conversation import known_entries, read_entries
from sessions.worker.fitting import Fitting, overflow_of, pinned_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model reads in a step."""

    messages: tuple[ModelMessage, ...]
    tools: tuple[Tool, ...]
    #: Tokens that a request may take.
    room: int
    #: Tokens that fit the model's window.
    window: int
    #: What the calls of its answer are judged by.
    basis: Basis
    #: Messages that were left out and that no summary stands for.
    overflow: Overflow | None = None


def model_input(turn_id: uuid.UUID, agent: str, window: Window) -> tuple[tuple[ModelMessage, ...], tuple[Tool, ...]]:
    """Return the messages and tools of `build`."""
    prompt = build(turn_id, agent, window)
    return prompt.messages, prompt.tools


def build(turn_id: uuid.UUID, agent: str, window: Window) -> Prompt:
    """Return the agent's instructions with as much of the conversation as the window takes, and the agent's tools.

    Raises ModelContextTooLong and StaleAttempt.
    """
    return build_for(claimed_turn(turn_id), agent, window)


def build_for(turn: Turn, agent: str, window: Window) -> Prompt:
    """Return the prompt of `build` for a turn that was just read or claimed."""
    session = turn.session
    role = role_of(agent)
    subtask = turn.subtask
    defined = definitions_of(session)
    names = offered_tools(session, role, subtask, defined)
    # As it was when the turn began: the prompt stays the same over all steps of the turn.
    facts = workspaces.data_of(turn.workspace_id)
    prompt = role.instructions(
        tools=names,
        agents=routed_roles(),
        mode=session.mode,
        workspace=None if facts is None else steady_facts(facts, _max_rules(window)),
        # Their reports would gain the rank of instructions here.
        plan=format_progress(plans.value_of(subtask.plan), reports=False) if subtask else "",
        subtask=subtask.description if subtask else "",
    )
    tools = tuple(
        tool
        for name in names
        for tool in ([defined[name].for_model] if name in defined else offer([name], agents=agents_for(name, role)))
    )
    around = surroundings(current_facts(facts)) if subtask and facts else ""
    earlier = summaries.newest(session, subtask)
    entries = read_entries(turn, subtask, around, earlier) if subtask else known_entries(turn, earlier)
    current = next((i for i, entry in enumerate(entries) if entry.position == turn.position), None)
    fitting = Fitting(prompt, entries, window, tools, earlier, current)
    fitted = fitting.fit(pinned_facts(session) if earlier and not subtask else [])
    if fitted.dropped and not earlier and not subtask and (pinned := pinned_facts(session)):
        fitted = fitting.fit(pinned)
    overflow = overflow_of(entries, fitted.dropped, earlier, subtask)
    basis = Basis(session.mode, tuple(names), subtask and subtask.pk, turn.rules, defined)
    return Prompt(
        messages=fitted.messages, tools=tools, room=window.room, window=window.tokens, basis=basis, overflow=overflow
    )


def _max_rules(window: Window) -> int:
    """Return how many characters the project's rules may take: a quarter of the window, three to a token."""
    return max(0, window.room // 4 * 3)


def claimed_turn(turn_id: uuid.UUID) -> Turn:
    """Return a turn that a worker holds, with its session. Raises StaleAttempt when the session was deleted."""
    if turn := turn_with_session(turn_id):
        return turn
    raise StaleAttempt("the session was deleted")

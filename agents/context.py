"""Fits a conversation into a model's window. What must stay stays; a call is never parted from its results.

Kept always: the system prompt, pinned facts (the plan, open approvals), the newest message of the user and the newest
calls with their results. What goes first is what a tool can bring back: old outputs. Then old turns, with a note. It is
one pass that only ever makes things shorter: either the result fits, or ModelContextTooLong says that it cannot.

The same history always gives the same result, and more history gives the same beginning for a while (STEPS), so that a
provider's prompt cache stays useful.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from agents import prompts
from agents.prompts import fenced
from agents.tokens import TokenCounter, count_message, count_tools, estimate
from llm.errors import ModelContextTooLong
from llm.types import ModelMessage, ModelToolCall, Tool

#: Texts shorter than this are not worth leaving out.
MIN_CHARACTERS = 400

#: The newest messages, or calls with their results, whose outputs go last.
RECENT = 3

#: Room is made in this many steps of the window, not token by token.
STEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How much a model reads at once, in tokens."""

    tokens: int
    #: Kept free for the answer.
    answer: int = 8192
    #: Kept free because an estimate may be too small; 0 with a count of the model's own.
    margin: float = 0.1

    @property
    def room(self) -> int:
        """Return what a request may take."""
        return int((self.tokens - self.answer) * (1 - self.margin))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A conversation that fits, the system prompt first."""

    messages: tuple[ModelMessage, ...]
    #: Tools included.
    tokens: int
    #: How many outputs were left out or shortened.
    shortened: int = 0
    #: What is not there at all; may be summarised (`summary_request`) and given to the next `fit` as `summary`.
    dropped: tuple[ModelMessage, ...] = ()


@dataclass(slots=True, eq=False)
class _Unit:
    """A message, or calls with their results: what may only go together."""

    #: As they were.
    whole: tuple[ModelMessage, ...]
    #: As they are shown.
    messages: tuple[ModelMessage, ...]
    turn: int
    tokens: int

    @property
    def shortened(self) -> int:
        """Count the outputs that are not whole."""
        return sum(shown.content != was.content for shown, was in zip(self.messages, self.whole, strict=True))


def fit(
    system: str,
    history: Sequence[ModelMessage],
    *,
    window: Window,
    tools: Iterable[Tool] = (),
    pinned: Iterable[str] = (),
    summary: str = "",
    count: TokenCounter = estimate,
) -> Fitted:
    """Return the conversation as a model is to see it. `history` has no system message; its order stays.

    `pinned` are facts that stay whatever goes; `summary` stands for what is dropped. Raises ModelContextTooLong.
    """
    facts = [fact for fact in pinned if fact]
    units = _units(history, count)
    around = count_tools(tools, count)
    before = around + count_message(_system(system, facts), count)
    room = window.room
    total = before + sum(unit.tokens for unit in units)
    if total <= room:
        return Fitted(messages=(_system(system, facts), *_messages(units)), tokens=total)

    first = next((message.content for message in history if message.role == "user"), "")
    note = summary or _note(first)
    before = around + count_message(_system(system, facts, note), count)
    step = max(1, room // STEPS)
    target = total - ceil((total - room) / step) * step - before
    kept, dropped = _made_shorter(units, room=room - before, target=target, count=count)
    head = _system(system, facts, note if dropped else "")
    return Fitted(
        messages=(head, *_messages(kept)),
        tokens=around + count_message(head, count) + sum(unit.tokens for unit in kept),
        shortened=sum(unit.shortened for unit in kept),
        dropped=tuple(_messages(dropped)),
    )


def summary_request(messages: Sequence[ModelMessage], *, words: int = 300) -> tuple[ModelMessage, ...]:
    """Return what asks a model for a summary of dropped messages; at most about 30,000 characters of them."""
    share = max(200, 30_000 // max(1, len(messages)))
    lines = [f"{message.role}: {_cut(message.content, share)}" for message in messages if message.content]
    return (
        ModelMessage(role="system", content=prompts.render("summary.md", words=words)),
        ModelMessage(role="user", content=fenced(_cut("\n\n".join(lines), 30_000), "conversation")),
    )


def _system(system: str, facts: Sequence[str], note: str = "") -> ModelMessage:
    parts = [system.strip()]
    if facts:
        parts.append("# Facts that hold now\n\n" + "\n\n".join(facts))
    if note:
        parts.append("# Earlier in this conversation\n\n" + note)
    return ModelMessage(role="system", content="\n\n".join(parts))


def _note(first: str) -> str:
    text = "Older messages were left out to save room. What they changed is in the workspace; look there."
    return text + (f" The user's first message began: {prompts.line(first)}" if first else "")


def _units(history: Sequence[ModelMessage], count: TokenCounter) -> list[_Unit]:
    units: list[_Unit] = []
    turn = 0
    for message in history:
        tokens = count_message(message, count)
        turn += message.role == "user"
        if message.role == "tool" and units:
            units[-1].whole = units[-1].messages = (*units[-1].whole, message)
            units[-1].tokens += tokens
        else:
            units.append(_Unit((message,), (message,), turn, tokens))
    return units


def _messages(units: Iterable[_Unit]) -> list[ModelMessage]:
    return [message for unit in units for message in unit.messages]


def _made_shorter(
    units: list[_Unit], *, room: int, target: int, count: TokenCounter
) -> tuple[list[_Unit], list[_Unit]]:
    """Return what stays, in at most `room` tokens, and what goes. Raises ModelContextTooLong."""
    total = sum(unit.tokens for unit in units)
    current = units[-1].turn if units else 0
    gone: set[_Unit] = set()

    for unit in units[:-RECENT]:
        if total <= target:
            break
        total -= _replace(unit, [_emptied(message) for message in unit.whole], count)
    for turn in sorted({unit.turn for unit in units} - {current}):
        if total <= target:
            break
        of_turn = [unit for unit in units if unit.turn == turn]
        gone.update(of_turn)
        total -= sum(unit.tokens for unit in of_turn)
    # Only this turn is left. Its first message and its newest unit stay.
    middle = [unit for unit in units[:-1] if unit.turn == current and unit.messages[0].role != "user"]
    for unit in middle:
        if total <= room:
            break
        total -= _replace(unit, [_emptied(message) for message in unit.whole], count)
    for unit in middle:
        if total <= room:
            break
        gone.add(unit)
        total -= unit.tokens
    if total > room and units:
        total -= _shorten(units[-1], units[-1].tokens - (total - room), count)
    if total > room:
        raise ModelContextTooLong(f"{total} tokens cannot be made to fit into {room}")
    return [unit for unit in units if unit not in gone], [unit for unit in units if unit in gone]


def _shorten(unit: _Unit, tokens: int, count: TokenCounter) -> int:
    """Cut the outputs of a unit to what fits into so many tokens, as far as possible; return the tokens saved."""
    before = unit.tokens
    share = max((len(message.content) for message in unit.whole if message.role == "tool"), default=0)
    # Characters and tokens are not in proportion everywhere in a text, so it may take another look.
    while unit.tokens > tokens and share > MIN_CHARACTERS:
        share = max(MIN_CHARACTERS, int(share * max(tokens, 0) / unit.tokens * 0.9))
        cut = [
            replace(message, content=_cut(message.content, share)) if message.role == "tool" else _emptied(message)
            for message in unit.whole
        ]
        _replace(unit, cut, count)
    return before - unit.tokens


def _replace(unit: _Unit, messages: list[ModelMessage], count: TokenCounter) -> int:
    """Show a unit in another way if that is shorter, and return the tokens saved."""
    tokens = sum(count_message(message, count) for message in messages)
    saved = max(0, unit.tokens - tokens)
    if saved:
        unit.messages, unit.tokens = tuple(messages), tokens
    return saved


def _emptied(message: ModelMessage) -> ModelMessage:
    if message.role == "tool" and len(message.content) > MIN_CHARACTERS:
        left_out = f"[{len(message.content):,} characters left out to save room. Call the tool again if you need them.]"
        return replace(message, content=left_out)
    if message.tool_calls:
        return replace(message, tool_calls=tuple(_without_long_texts(call) for call in message.tool_calls))
    return message


def _without_long_texts(call: ModelToolCall) -> ModelToolCall:
    def short(value: Any) -> Any:
        if isinstance(value, str) and len(value) > MIN_CHARACTERS:
            return f"[{len(value):,} characters left out to save room]"
        return value

    return replace(call, arguments={name: short(value) for name, value in call.arguments.items()})


def _cut(text: str, characters: int) -> str:
    """Keep the begin and the end of a text."""
    if len(text) <= characters:
        return text
    head, tail = characters * 2 // 3, characters // 3
    return f"{text[:head]}\n[… {len(text) - head - tail:,} characters left out …]\n{text[len(text) - tail :]}"

"""Fits a conversation into a model's window, without separating calls from their results.

The system prompt, pinned facts (the plan, open approvals), the user's newest message and the newest calls with their
results always stay. Old outputs go first, because tools can produce them again; then old turns, with a note. One pass
only ever shortens: either the result fits, or ModelContextTooLong is raised.

The same history always gives the same result, and a longer history has the same beginning for a while
(CUTS_PER_WINDOW), so that a provider's prompt cache stays useful.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice, pairwise, takewhile
from math import ceil
from typing import Any

from agents import prompts
from agents.prompts import fence
from agents.tokens import TokenCounter, count_message, count_tools, estimate
from llm.errors import ModelContextTooLong, TokenCounts
from llm.types import ModelMessage, ModelToolCall, Tool

#: Shorter texts are not worth leaving out.
MIN_OMITTED_CHARACTERS = 400

#: The outputs of this many newest units go last.
RECENT_UNITS = 3

#: Of the user's messages before the newest one that had no answer: so many stay if they are short, and of so many that
#: are left out a note has the beginning.
MAX_UNANSWERED = 3

#: Each cut makes room for a quarter of the window.
CUTS_PER_WINDOW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How many tokens a model reads at once."""

    tokens: int
    #: Kept free for the answer.
    answer: int = 8192
    #: The part kept free because an estimate may be too small; 0 with the model's own counter.
    margin: float = 0.1
    #: Whether a longer request is refused. Otherwise the provider decides about the shortest form of a conversation.
    is_certain: bool = True

    @property
    def room(self) -> int:
        """Return how many tokens a request may take."""
        return int((self.tokens - self.answer) * (1 - self.margin))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedConversation:
    """A conversation that fits, the system prompt first."""

    messages: tuple[ModelMessage, ...]
    #: Tools included.
    tokens: int
    #: How many outputs were left out or shortened.
    shortened_outputs: int = 0
    dropped_messages: tuple[ModelMessage, ...] = ()
    #: Places in the history of those that a summary may stand for (`summary_request`): all but unanswered ones.
    dropped: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class _Unit:
    """A message, or calls with their results, which must stay together."""

    original: tuple[ModelMessage, ...]
    #: As the model gets them.
    messages: tuple[ModelMessage, ...]
    turn: int
    tokens: int
    #: Place of its first message in the history.
    place: int

    @property
    def shortened_outputs(self) -> int:
        """Return how many outputs are not complete."""
        pairs = zip(self.messages, self.original, strict=True)
        return sum(message.content != original.content for message, original in pairs)


def fit(
    system: str,
    history: Sequence[ModelMessage],
    *,
    window: Window,
    tools: Iterable[Tool] = (),
    pinned: Iterable[str] = (),
    summary: str = "",
    current: int | None = None,
    count: TokenCounter = estimate,
    counts: Sequence[int] | None = None,
) -> FittedConversation:
    """Return the conversation for a model. `history` has no system message; its order stays.

    `pinned` are facts that always stay; `summary` stands for messages that are no longer in the history; the open turn
    begins at `current`, by default at the user's newest message. `counts`: tokens of each. Raises ModelContextTooLong.
    """
    facts = [fact for fact in pinned if fact]
    counts = [count_message(message, count) for message in history] if counts is None else counts
    tool_tokens = count_tools(tools, count)
    head = _system_message(system, facts, summary)
    total = tool_tokens + count_message(head, count) + sum(counts)
    if total <= (room := window.room):
        return FittedConversation(messages=(head, *history), tokens=total)

    units = _group(history, counts, current)
    first = next((message.content for message in history if message.role == "user"), "")
    unanswered = _unanswered(units)
    note = _omission_note(summary, first, unanswered)
    fixed = tool_tokens + count_message(_system_message(system, facts, note), count)
    step = max(1, room // CUTS_PER_WINDOW)
    target = total - ceil((total - room) / step) * step - fixed
    units, dropped = _shorten_history(units, room=room - fixed, target=target, count=count)
    shortest = sum(unit.tokens for unit in units)
    if shortest > room - fixed and window.is_certain:
        tokens = TokenCounts(input=shortest + fixed, window=room)
        raise ModelContextTooLong(f"{tokens.input} tokens cannot be made to fit into {room}", tokens=tokens)
    gone = set(dropped)
    note = _omission_note(summary, first, [unit for unit in unanswered if unit in gone])
    head = _system_message(system, facts, note if dropped else summary)
    return FittedConversation(
        messages=(head, *_messages(units)),
        tokens=tool_tokens + count_message(head, count) + sum(unit.tokens for unit in units),
        shortened_outputs=sum(unit.shortened_outputs for unit in units),
        dropped_messages=tuple(message for unit in dropped for message in unit.original),
        dropped=tuple(unit.place + i for unit in dropped if unit not in unanswered for i in range(len(unit.original))),
    )


def summary_request(
    messages: Sequence[ModelMessage], *, words: int = 300, characters: int = 30_000, earlier: str = ""
) -> tuple[ModelMessage, ...]:
    """Return the messages that ask a model to summarize dropped ones, about so many characters of them at most.

    The summary continues an `earlier` one, which stays whole.
    """
    room = max(0, characters - len(earlier))
    share = max(200, room // max(1, len(messages)))
    lines = [f"{message.role}: {_truncate(message.content, share)}" for message in messages if message.content]
    text = (f"Summary of what was before: {earlier}\n\n" if earlier else "") + _truncate("\n\n".join(lines), room)
    return (
        ModelMessage(role="system", content=prompts.render("summary.md", words=words)),
        ModelMessage(role="user", content=fence(text, "conversation", characters + 100)),
    )


def _system_message(system: str, facts: Sequence[str], note: str = "") -> ModelMessage:
    parts = [system.strip()]
    if facts:
        parts.append("# Facts that hold now\n\n" + "\n\n".join(facts))
    if note:
        parts.append("# Earlier in this conversation\n\n" + note)
    return ModelMessage(role="system", content="\n\n".join(parts))


def _unanswered(units: Sequence[_Unit]) -> list[_Unit]:
    """Return the newest messages of the user that another one follows: their turns have failed or were stopped."""
    pairs = pairwise(units)
    return [unit for unit, after in pairs if unit.messages[0].role == after.messages[0].role == "user"][
        -MAX_UNANSWERED:
    ]


def _omission_note(summary: str, first: str, unanswered: Sequence[_Unit]) -> str:
    text = summary or "Older messages were left out to save room. What they changed is in the workspace; look there."
    if first and not summary:
        text += f" The user's first message began: {prompts.flatten(first)}"
    # What they asked for is done nowhere.
    contents = [unit.messages[0].content for unit in unanswered]
    lines = "".join(f"\n- {prompts.flatten(content)}" for content in contents if content.strip())
    return text + (f"\n\nThese messages of the user had no answer yet; they began:\n{lines}" if lines else "")


def _group(history: Sequence[ModelMessage], counts: Sequence[int], current: int | None) -> list[_Unit]:
    units: list[_Unit] = []
    turn = 0
    for place, (message, tokens) in enumerate(zip(history, counts, strict=True)):
        turn += message.role == "user" and (current is None or place <= current)
        if message.role == "tool" and units:
            units[-1].original = units[-1].messages = (*units[-1].original, message)
            units[-1].tokens += tokens
        else:
            units.append(_Unit((message,), (message,), turn, tokens, place))
    _join_unanswered(units)
    return units


def _join_unanswered(units: Sequence[_Unit]) -> None:
    """Count short messages of the user that had no answer, before the newest one, as parts of its turn."""
    current = units[-1].turn if units else 0
    earlier = takewhile(_is_short_request, (unit for unit in reversed(units) if unit.turn != current))
    for unit in islice(earlier, MAX_UNANSWERED):
        unit.turn = current


def _is_short_request(unit: _Unit) -> bool:
    message = unit.messages[0]
    return message.role == "user" and len(message.content) <= MIN_OMITTED_CHARACTERS and not message.images


def _messages(units: Iterable[_Unit]) -> list[ModelMessage]:
    return [message for unit in units for message in unit.messages]


def _shorten_history(
    units: list[_Unit], *, room: int, target: int, count: TokenCounter
) -> tuple[list[_Unit], list[_Unit]]:
    """Return the units that stay, if possible in at most `room` tokens, and the dropped ones."""
    total = sum(unit.tokens for unit in units)
    current = units[-1].turn if units else 0
    dropped: set[_Unit] = set()
    for unit in units[:-RECENT_UNITS]:
        if total <= target:
            break
        total -= _omit_outputs(unit, count)
    for turn, units_of_turn in groupby(units, key=lambda unit: unit.turn):
        if total <= target or turn == current:
            break
        of_turn = list(units_of_turn)
        dropped.update(of_turn)
        total -= sum(unit.tokens for unit in of_turn)
    # Only this turn is left. Its first message and its newest unit stay.
    middle = [unit for unit in units[:-1] if unit.turn == current and unit.messages[0].role != "user"]
    for unit in middle:
        if total <= room:
            break
        total -= _omit_outputs(unit, count)
    for unit in middle:
        if total <= room:
            break
        dropped.add(unit)
        total -= unit.tokens
    if total > room and units:
        total -= _truncate_outputs(units[-1], units[-1].tokens - (total - room), count)
    return [unit for unit in units if unit not in dropped], [unit for unit in units if unit in dropped]


def _omit_outputs(unit: _Unit, count: TokenCounter) -> int:
    """Replace long texts of a unit with notes if that is shorter; return the tokens saved."""
    return _replace_if_shorter(unit, [_without_long_texts(message) for message in unit.original], count)


def _truncate_outputs(unit: _Unit, tokens: int, count: TokenCounter) -> int:
    """Cut the outputs of a unit until it fits into so many tokens, as far as possible; return the tokens saved."""
    before = unit.tokens
    share = max((len(message.content) for message in unit.original if message.role == "tool"), default=0)
    # Tokens per character vary within a text, so one round may not be enough.
    while unit.tokens > tokens and share > MIN_OMITTED_CHARACTERS:
        share = max(MIN_OMITTED_CHARACTERS, int(share * max(tokens, 0) / unit.tokens * 0.9))
        messages = [
            replace(message, content=_truncate(message.content, share))
            if message.role == "tool"
            else _without_long_texts(message)
            for message in unit.original
        ]
        _replace_if_shorter(unit, messages, count)
    return before - unit.tokens


def _replace_if_shorter(unit: _Unit, messages: list[ModelMessage], count: TokenCounter) -> int:
    tokens = sum(count_message(message, count) for message in messages)
    saved = max(0, unit.tokens - tokens)
    if saved:
        unit.messages, unit.tokens = tuple(messages), tokens
    return saved


def _without_long_texts(message: ModelMessage) -> ModelMessage:
    if message.role == "tool" and (len(message.content) > MIN_OMITTED_CHARACTERS or message.images):
        images = f" and {len(message.images)} images" if message.images else ""
        characters = f"{len(message.content):,} characters{images}"
        note = f"[{characters} left out to save room. Call the tool again if you need them.]"
        return replace(message, content=note, images=())
    if message.tool_calls:
        return replace(message, tool_calls=tuple(_without_long_arguments(call) for call in message.tool_calls))
    return message


def _without_long_arguments(call: ModelToolCall) -> ModelToolCall:
    def shorten(value: Any) -> Any:
        if isinstance(value, str) and len(value) > MIN_OMITTED_CHARACTERS:
            return f"[{len(value):,} characters left out to save room]"
        return value

    return replace(call, arguments={name: shorten(value) for name, value in call.arguments.items()})


def _truncate(text: str, characters: int) -> str:
    """Keep the beginning and the end of a text."""
    if len(text) <= characters:
        return text
    head, tail = characters * 2 // 3, characters // 3
    return f"{text[:head]}\n[… {len(text) - head - tail:,} characters left out …]\n{text[len(text) - tail :]}"

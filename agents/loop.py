"""Assembles one step of an agent from the chunks of a model call, and checks the limits of a turn.

Runs no tool and stores nothing: the caller decides what follows.
"""

import json
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agents.events import CUT_REASONS, AgentEvent, ReasoningDelta, StepFinished, TextDelta
from llm.errors import ModelBrokenToolCall, ModelTruncated
from llm.sizes import find_json_problem, reject_constant
from llm.types import EndChunk, ModelStream, ModelToolCall, ReasoningChunk, TextChunk, TokenUsage, ToolCallChunk

#: NUL in JSON; an escaped backslash before `u0000` is something else.
_NUL_PATTERN = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Limit(StrEnum):
    """A limit of a turn. The value is the error code."""

    STEPS = "too_many_steps"
    COST = "too_expensive"
    TIME = "turn_timed_out"
    REPEATS = "repeated_calls"

    @property
    def sentence(self) -> str:
        """Return what happened and what to do, for users."""
        return {
            Limit.STEPS: "The model called tools too many times in one turn. Send a smaller request.",
            Limit.COST: "The turn reached this server's cost limit. Send a smaller request.",
            Limit.TIME: "The turn took longer than this server allows. Send a smaller request.",
            Limit.REPEATS: "The model asked for the same tool call again and again. Say in other words what to do.",
        }[self]


class LimitReached(Exception):
    """A turn may not continue with the answer that the model gave."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit.sentence)
        self.limit = limit


#: Equal calls in a row that end a turn: what four results did not change, a fifth one does not.
MAX_EQUAL_CALLS = 5


def require_progress(calls: Sequence[str], earlier: Iterable[Sequence[str]]) -> None:
    """Raise LimitReached when the model repeats itself: the same call, or the same calls together, in a row.

    Calls are named by their digests. `earlier` are those of the answers before, the newest first.
    """
    kinds = set(calls)
    # Several equal calls in one answer count each.
    count = len(calls) if len(kinds) == 1 else 1
    for answer in earlier:
        if set(answer) != kinds:
            break
        count += len(answer) if len(kinds) == 1 else 1
    if count >= MAX_EQUAL_CALLS:
        raise LimitReached(Limit.REPEATS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnUsage:
    """What a turn has used so far, in all its attempts. Waiting for users and clients does not count."""

    steps: int = 0
    dollars: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one turn may use. Nothing else stops a model that asks for tools forever."""

    #: Model calls.
    steps: int = 50
    #: US dollars; None: no limit.
    dollars: float | None = None
    #: Seconds of work; None: no limit.
    seconds: float | None = None

    def check(self, usage: TurnUsage) -> Limit | None:
        """Return the limit that forbids another model call, if any."""
        if usage.steps >= self.steps:
            return Limit.STEPS
        if self.dollars is not None and usage.dollars >= self.dollars:
            return Limit.COST
        if self.seconds is not None and usage.seconds >= self.seconds:
            return Limit.TIME
        return None


@dataclass(slots=True)
class _TextBuffer:
    """A text in pieces, without what PostgreSQL or UTF-8 cannot hold: NUL, and halves of surrogate pairs.

    One piece that cannot be stored would block all streams of a worker. Providers do cut a pair in two.
    """

    pieces: list[str] = field(default_factory=list)
    half_pair: str = ""

    def append(self, piece: str) -> str:
        """Add a piece and return the text that is complete now."""
        if not piece.isascii() or self.half_pair:
            piece, self.half_pair = self.half_pair + piece, ""
            if piece and "\ud800" <= piece[-1] <= "\udbff":
                piece, self.half_pair = piece[:-1], piece[-1]
            piece = piece.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        piece = piece.replace("\x00", "\ufffd")
        self.pieces.append(piece)
        return piece

    def flush(self) -> str:
        """Return the rest: a replacement character if the text ended with half a pair."""
        if not self.half_pair:
            return ""
        self.half_pair = ""
        self.pieces.append("\ufffd")
        return "\ufffd"

    def __str__(self) -> str:
        return "".join(self.pieces)


def make_storable(text: str) -> str:
    """Return a text without what PostgreSQL or UTF-8 cannot hold."""
    buffer = _TextBuffer()
    return buffer.append(text) + buffer.flush()


@dataclass(slots=True)
class _PartialCall:
    """A tool call while its pieces arrive."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


async def step(chunks: ModelStream) -> AsyncGenerator[AgentEvent]:
    """Turn the chunks of one model call into events, the last one StepFinished.

    Raises `llm.errors.ModelError` for a stream without its end marker, and for a call without a name, because no result
    could be assigned to it. Calls with unreadable arguments are in `StepFinished.broken`, for the model to correct.
    """
    answer, reasoning = _TextBuffer(), _TextBuffer()
    calls: dict[int, _PartialCall] = {}
    end: EndChunk | None = None
    async for chunk in chunks:
        match chunk:
            case TextChunk(text):
                if piece := answer.append(text):
                    yield TextDelta(piece)
            case ReasoningChunk(text):
                if piece := reasoning.append(text):
                    yield ReasoningDelta(piece)
            case ToolCallChunk():
                call = calls.setdefault(chunk.index, _PartialCall())
                call.id = call.id or chunk.id
                call.name += chunk.name
                call.arguments.append(chunk.arguments)
                call.extra.update(chunk.extra)
            case EndChunk():
                end = chunk
    if rest := answer.flush():
        yield TextDelta(rest)
    if rest := reasoning.flush():
        yield ReasoningDelta(rest)
    if end is None:
        raise ModelTruncated("no end marker")
    tool_calls, broken = _complete_calls([calls[index] for index in sorted(calls)], end=end.reason)
    yield StepFinished(
        text=str(answer),
        reasoning=str(reasoning),
        tool_calls=tool_calls,
        broken=broken,
        usage=end.usage or TokenUsage(),
        reason=end.reason,
        stop=end.stop,
        extra=end.extra,
    )


def _complete_calls(calls: list[_PartialCall], *, end: str) -> tuple[tuple[ModelToolCall, ...], dict[str, str]]:
    complete: list[ModelToolCall] = []
    broken: dict[str, str] = {}
    distinct: set[tuple[str, str, str]] = set()
    for place, call in enumerate(calls):
        if not call.name:
            raise ModelBrokenToolCall("a tool call without a name")
        # Some providers send no ids, or the same one for all calls of an answer.
        other_ids = {other.id for other in complete}
        name = make_storable(call.name)
        call_id = next(each for each in _possible_ids(make_storable(call.id), place) if each not in other_ids)
        # A cut answer may end after a piece that happens to be complete JSON, so even that is not trusted.
        text = _join(call.arguments)
        arguments, problem = _parse_arguments(text)
        if end in CUT_REASONS and place == len(calls) - 1:
            arguments, problem = {}, CUT_REASONS[end]
        key = call.id, name, "".join(call.arguments) if problem else json.dumps(arguments, sort_keys=True)
        if call.id and key in distinct:
            # Some gateways send a finished call once more. Two runs of it would be one too many.
            continue
        distinct.add(key)
        if problem:
            broken[call_id] = f"{name} was not run: {problem}."
        raw = make_storable(text) if problem else ""
        # A changed signature is worth nothing.
        extra = {} if find_json_problem(call.extra) or not _is_storable(call.extra) else call.extra
        complete.append(ModelToolCall(id=call_id, name=name, arguments=arguments, raw_arguments=raw, extra=extra))
    return tuple(complete), broken


def _possible_ids(preferred: str, place: int) -> list[str]:
    base = preferred or f"call_{place}"
    return [base, *(f"{base}_{number}" for number in range(place, place + place + 1))]


def _join(pieces: list[str]) -> str:
    """Return the text in pieces. The ends of two of them may be the halves of one character."""
    text = "".join(pieces)
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _is_storable(value: Any) -> bool:
    """Return whether JSON has neither NUL nor half a surrogate pair."""
    text = json.dumps(value, ensure_ascii=False)
    return make_storable(text) == text and not _NUL_PATTERN.search(text)


def _parse_arguments(text: str) -> tuple[dict[str, Any], str]:
    """Return the arguments and an empty text, or no arguments and the problem."""
    try:
        arguments = json.loads(text.strip() or "{}", parse_constant=reject_constant)
        if isinstance(arguments, str):
            # Some servers encode them twice.
            arguments = json.loads(arguments, parse_constant=reject_constant)
    except (ValueError, RecursionError) as error:
        return {}, f"its arguments are not valid JSON ({error}). Send the whole call again"
    if not isinstance(arguments, dict):
        return {}, "its arguments must be one JSON object. Send the whole call again"
    if problem := find_json_problem(arguments):
        return {}, f"its arguments cannot be stored: the object {problem}. Send it without"
    if not _is_storable(arguments):
        # Not repaired as a text is: only what the model asked for may run.
        return {}, "its arguments have a NUL or half a surrogate pair, which cannot be stored. Send it without"
    return arguments, ""

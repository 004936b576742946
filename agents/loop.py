"""One step of an agent: one model call, assembled; and the limits on how many steps there may be.

The caller decides what a step leads to and writes it down. Nothing is run here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agents.events import CUT_REASONS, AgentEvent, ReasoningDelta, StepFinished, TextDelta
from llm.errors import ModelBrokenToolCall, ModelTruncated
from llm.types import EndChunk, ModelStream, ModelToolCall, ReasoningChunk, TextChunk, ToolCallChunk, Usage


class Limit(StrEnum):
    """What a turn can run out of; the value is the error code, `sentence` is for people."""

    STEPS = "too_many_steps"
    COST = "too_expensive"
    TIME = "turn_timed_out"

    @property
    def sentence(self) -> str:
        """Say what happened and what to do."""
        return {
            Limit.STEPS: "The model asked for tools too many times in one turn. Send a smaller request.",
            Limit.COST: "The turn cost as much as this server allows for one. Send a smaller request.",
            Limit.TIME: "The turn took longer than this server allows. Send a smaller request.",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a turn has used so far, summed over its attempts. Waiting for people and clients does not count."""

    steps: int = 0
    dollars: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one turn may use: the only place that stops a model that asks for tools for ever."""

    #: Model calls.
    steps: int = 50
    #: US dollars; None: no limit.
    dollars: float | None = None
    #: Seconds of work; None: no limit.
    seconds: float | None = None

    def reached(self, spent: Spent) -> Limit | None:
        """Say what has run out before another model call, if anything."""
        if spent.steps >= self.steps:
            return Limit.STEPS
        if self.dollars is not None and spent.dollars >= self.dollars:
            return Limit.COST
        if self.seconds is not None and spent.seconds >= self.seconds:
            return Limit.TIME
        return None


#: Model calls in one turn.
MAX_STEPS = Limits().steps


@dataclass(slots=True)
class _Text:
    """A text in pieces, with nothing that neither PostgreSQL nor UTF-8 can hold: NUL, and halves of surrogate pairs.

    One piece that cannot be stored would hold up all streams of a worker. Providers do cut a pair in two.
    """

    pieces: list[str] = field(default_factory=list)
    half: str = ""

    def take(self, piece: str) -> str:
        """Add a piece and return what of it can be shown now."""
        if not piece.isascii() or self.half:
            piece, self.half = self.half + piece, ""
            if "\ud800" <= piece[-1] <= "\udbff":
                piece, self.half = piece[:-1], piece[-1]
            piece = piece.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        piece = piece.replace("\x00", "\ufffd")
        self.pieces.append(piece)
        return piece

    def end(self) -> str:
        """Return what is shown at last: half a pair at the end of everything stays half."""
        if not self.half:
            return ""
        self.half = ""
        self.pieces.append("\ufffd")
        return "\ufffd"

    def __str__(self) -> str:
        return "".join(self.pieces)


def _storable(text: str) -> str:
    whole = _Text()
    return whole.take(text) + whole.end()


@dataclass(slots=True)
class _Call:
    """A tool call while its pieces arrive."""

    id: str = ""
    name: str = ""
    arguments: str = ""


async def step(chunks: ModelStream) -> AsyncGenerator[AgentEvent]:
    """Turn the chunks of one model call into events, the last one StepFinished.

    Raises `llm.errors.ModelError`: a stream without its end marker is a failure and never half an answer, and a call
    without a name cannot even be answered. A call whose arguments cannot be read is the model's to correct: it stands
    in `StepFinished.broken`.
    """
    said, thought = _Text(), _Text()
    calls: dict[int, _Call] = {}
    end: EndChunk | None = None
    async for chunk in chunks:
        match chunk:
            case TextChunk(text):
                if piece := said.take(text):
                    yield TextDelta(piece)
            case ReasoningChunk(text):
                if piece := thought.take(text):
                    yield ReasoningDelta(piece)
            case ToolCallChunk():
                call = calls.setdefault(chunk.index, _Call())
                call.id = call.id or chunk.id
                call.name = call.name or chunk.name
                call.arguments += chunk.arguments
            case EndChunk():
                end = chunk
    if rest := said.end():
        yield TextDelta(rest)
    if rest := thought.end():
        yield ReasoningDelta(rest)
    if end is None:
        raise ModelTruncated("no end marker")
    tool_calls, broken = _complete([calls[index] for index in sorted(calls)], cut=end.reason in CUT_REASONS)
    yield StepFinished(
        text=str(said),
        reasoning=str(thought),
        tool_calls=tool_calls,
        broken=broken,
        usage=end.usage or Usage(),
        reason=end.reason,
    )


def _complete(calls: list[_Call], *, cut: bool) -> tuple[tuple[ModelToolCall, ...], dict[str, str]]:
    complete: list[ModelToolCall] = []
    broken: dict[str, str] = {}
    for place, call in enumerate(calls):
        if not call.name:
            raise ModelBrokenToolCall("a tool call without a name")
        # Some providers send no ids, or the same one for all calls of an answer.
        taken = {other.id for other in complete}
        name = _storable(call.name)
        call_id = next(wished for wished in _ids(_storable(call.id), place) if wished not in taken)
        # A cut answer may end after a piece that happens to be whole JSON, so even that is not trusted.
        arguments, problem = _arguments(call.arguments)
        if cut and place == len(calls) - 1:
            arguments, problem = {}, "the answer reached its length limit within this call. Make the call shorter"
        if problem:
            broken[call_id] = f"{name} was not run: {problem}."
        complete.append(ModelToolCall(id=call_id, name=name, arguments=arguments))
    return tuple(complete), broken


def _ids(wished: str, place: int) -> list[str]:
    base = wished or f"call_{place}"
    return [base, *(f"{base}_{number}" for number in range(place, place + place + 1))]


def _arguments(text: str) -> tuple[dict[str, Any], str]:
    """Return the arguments, or none and what is wrong with them."""
    try:
        arguments = json.loads(text or "{}", parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return {}, f"its arguments are not valid JSON ({error}). Send the whole call again"
    if not isinstance(arguments, dict):
        return {}, "its arguments must be one JSON object. Send the whole call again"
    if _storable(again := json.dumps(arguments, ensure_ascii=False)) != again or "\\u0000" in again:
        # Not mended as a text is: what runs must be what was asked for.
        return {}, "its arguments have a NUL or half a surrogate pair, which cannot be stored. Send it without"
    return arguments, ""


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")

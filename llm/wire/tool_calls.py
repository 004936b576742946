"""Tells the tool calls of one answer apart: by id, then by index, then by their order.

Servers number calls in many ways: each with index 0, with none, with one id for all, with the name in each piece, in
pieces and once more as a whole. What leaves this module is simple: one index for each call, each part of it once.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from llm.errors import ModelAnswerTooLong
from llm.sizes import MAX_CALL_BYTES, MAX_CALLS
from llm.types import ToolCallChunk
from llm.wire.arguments import Arguments, normalize

#: Fields of a call that are read here. All others belong to the provider.
CALL_FIELDS = frozenset({"index", "id", "type", "function", "name", "arguments"})


@dataclass(slots=True)
class _Call:
    index: int
    place: Any
    id: str = ""
    name: str = ""
    arguments: Arguments = field(default_factory=Arguments)
    #: Whether `{}` is all that has come. Some servers send it before the real arguments, so it waits.
    has_empty_object: bool = False

    @property
    def is_whole(self) -> bool:
        return self.has_empty_object or self.arguments.is_whole

    def has_arguments(self, piece: "_Piece") -> bool:
        """Return whether the call is whole and has the arguments of a piece."""
        if not self.arguments.pieces:
            return piece.arguments.strip() in ("", "{}")
        return piece.repeats(self)


@dataclass(slots=True)
class _Piece:
    """What one event says about one call."""

    id: str
    index: int | None
    #: The index, or the place within an event that has several calls.
    place: Any
    name: str
    arguments: str
    extra: dict[str, Any]
    _normal: str | None = None

    def repeats(self, call: _Call) -> bool:
        """Return whether the piece has the arguments of a whole call. It is parsed once, for all calls."""
        if not call.arguments.normal:
            return False
        if self._normal is None:
            self._normal = normalize(self.arguments)
        return self._normal == call.arguments.normal

    @property
    def begins_an_object(self) -> bool:
        return self.arguments.lstrip()[:1] == "{"


class CallSorter:
    """The calls of one answer. Raises ModelAnswerTooLong for too many, or too long ones, before they take time."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_place: dict[Any, _Call] = {}
        #: By place: what repeats a call that has `{}`, or begins another one whose real arguments follow.
        self._ambiguous: dict[Any, _Piece] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def has_open_call(self) -> bool:
        """Return whether the arguments of a call end in the middle."""
        return any(call.arguments.is_open for call in self._calls)

    def receive(self, deltas: Any, *, is_repetition: bool = False) -> list[ToolCallChunk]:
        """Return the chunks for the calls in an event. Those of a repetition are only new if they are unknown."""
        if isinstance(deltas, dict):
            deltas = [deltas] if deltas.keys() & CALL_FIELDS else list(deltas.values())
        if not isinstance(deltas, list):
            return []
        entries = [delta for delta in deltas if isinstance(delta, dict)]
        if len(entries) > MAX_CALLS:
            raise ModelAnswerTooLong(f"more than {MAX_CALLS} tool calls")
        chunks: list[ToolCallChunk] = []
        for place, entry in enumerate(entries):
            piece = _read(entry, place if len(entries) > 1 else None)
            if len(piece.arguments) > MAX_CALL_BYTES:
                raise ModelAnswerTooLong(f"more than {MAX_CALL_BYTES:,} bytes of tool calls")
            if is_repetition and self._is_known(piece):
                continue
            call = None if self._continues_ambiguous(piece) else self._find(piece)
            if chunk := self._add(piece, call or self._begin(piece)):
                chunks.append(chunk)
        return chunks

    def finish(self) -> list[ToolCallChunk]:
        """Return what waited for the end of the answer."""
        empty = [call for call in self._calls if call.has_empty_object]
        return [ToolCallChunk(index=call.index, arguments="{}") for call in empty]

    def _begin(self, piece: _Piece) -> _Call:
        if len(self._calls) == MAX_CALLS:
            raise ModelAnswerTooLong(f"more than {MAX_CALLS} tool calls")
        used = {call.index for call in self._calls}
        # The provider's own index gives the order of calls whose pieces arrive in another one.
        wanted = piece.index if piece.index is not None and 0 <= piece.index < MAX_CALLS else None
        index = max(used, default=-1) + 1 if wanted is None or wanted in used else wanted
        call = _Call(index, piece.place)
        self._calls.append(call)
        if piece.place is not None:
            self._by_place[piece.place] = call
        return call

    def _add(self, piece: _Piece, call: _Call) -> ToolCallChunk | None:
        """Add a piece to its call and return what is new of it, if anything."""
        if call_id := piece.id if not call.id else "":
            call.id = call_id
            self._by_id.setdefault(call_id, call)
        name = _rest_of_name(call, piece.name)
        call.name += name
        arguments = self._new_arguments(piece, call)
        if not (call_id or name or arguments or piece.extra):
            return None
        return ToolCallChunk(index=call.index, id=call_id, name=name, arguments=arguments, extra=piece.extra)

    def _new_arguments(self, piece: _Piece, call: _Call) -> str:
        if not piece.arguments:
            return ""
        if piece.arguments == "{}" and not call.arguments.pieces:
            call.has_empty_object = True
            return ""
        if call.is_whole and not piece.arguments.strip():
            return ""
        if piece.repeats(call):
            return ""
        call.has_empty_object = False
        call.arguments.append(piece.arguments)
        return piece.arguments

    def _find(self, piece: _Piece) -> _Call | None:
        """Return the call that a piece belongs to, or None if it begins one."""
        newest = self._calls[-1] if self._calls else None
        at_place = newest if piece.place is None else self._by_place.get(piece.place)
        if piece.id and piece.id in self._by_id:
            call = self._by_id[piece.id]
            if piece.place not in (None, call.place):
                # Some servers have one id for all calls of an answer.
                if at_place and at_place.id == piece.id:
                    call = at_place
                elif piece.name and not (piece.arguments and self._is_known(piece)):
                    return None
                elif piece.name and call.has_empty_object:
                    self._ambiguous[piece.place] = piece
            return None if piece.name and _begins_after_same_id(piece, call) else call
        if at_place is None:
            # Some servers count pieces instead of calls.
            is_rest = newest and not (piece.id or piece.name or newest.arguments.is_whole)
            return newest if is_rest else None
        if piece.id:
            return None if _begins_by_new_id(piece, at_place) else at_place
        return None if piece.name and _begins_by_name(piece, at_place) else at_place

    def _continues_ambiguous(self, piece: _Piece) -> bool:
        """Return whether a piece tells that an earlier one there began a call. Give it that one's id and name."""
        first = self._ambiguous.get(piece.place)
        if not first or piece.arguments.strip() in ("", "{}"):
            return False
        del self._ambiguous[piece.place]
        if piece.id not in ("", first.id) or piece.name not in ("", first.name):
            return False
        piece.id, piece.name = first.id, first.name
        return True

    def _is_known(self, piece: _Piece) -> bool:
        same_id = self._by_id.get(piece.id)
        if same_id and not piece.arguments.strip():
            return True
        candidates = [same_id] if same_id else self._calls
        return any(call.name == piece.name and call.has_arguments(piece) for call in candidates)


def _begins_after_same_id(piece: _Piece, call: _Call) -> bool:
    """Return whether a piece with the id of a call begins another one: the first one is whole, and not this one."""
    if not call.arguments.is_whole or not piece.arguments.strip():
        return False
    return piece.begins_an_object and not piece.repeats(call)


def _begins_by_new_id(piece: _Piece, call: _Call) -> bool:
    """Return whether a piece with a new id begins another call than the one at its place."""
    if not call.id:
        # The id may come after the name.
        return bool(piece.name and call.name and (call.is_whole or piece.name != call.name))
    if piece.name:
        # Some servers make up an id for each piece. The arguments of a call do not begin in the middle.
        return not (call.arguments.is_open and piece.arguments.strip() and not piece.begins_an_object)
    return piece.index is None and call.is_whole


def _begins_by_name(piece: _Piece, call: _Call) -> bool:
    """Return whether a piece with a name and no id begins another call than the one at its place."""
    if call.arguments.is_open:
        return piece.begins_an_object and piece.name != call.name
    has_number = bool(call.id) or piece.index is not None
    if call.is_whole:
        if not piece.arguments.strip():
            return piece.name != call.name
        if has_number and call.name == piece.name:
            return not call.has_empty_object and not piece.repeats(call)
        is_repetition = len(call.arguments.pieces) > 1 and piece.repeats(call)
        return not (is_repetition and call.name == piece.name)
    # The call has no arguments yet. Without id and index, only its order tells it from another one.
    return bool(call.name) and not has_number and not (piece.name == call.name and piece.arguments)


def _rest_of_name(call: _Call, name: str) -> str:
    """Return what a piece adds to the name of its call. Servers send names once, in pieces, or in each piece."""
    if not call.name:
        return name
    if name == call.name or call.arguments.pieces or call.has_empty_object:
        return ""
    return name.removeprefix(call.name)


def _read(entry: dict[str, Any], place: int | None) -> _Piece:
    function = entry.get("function")
    if not isinstance(function, dict):
        function = entry
    index = _number(entry.get("index"))
    arguments = function.get("arguments")
    if arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    extra = {} if entry.keys() <= CALL_FIELDS else {name: entry[name] for name in entry.keys() - CALL_FIELDS}
    return _Piece(
        id=_word(entry.get("id")),
        index=index,
        place=("place", place) if index is None and place is not None else index,
        name=_word(function.get("name")),
        arguments=arguments,
        extra={name: value for name, value in extra.items() if value is not None},
    )


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _number(value: Any) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isascii() and value.strip().isdigit():
        return int(value[:9])
    return int(value) if isinstance(value, float) and value.is_integer() else None

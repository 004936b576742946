"""Makes the stream of an answer as one server or another would send it: OpenAI's form with any set of changes.

Each change is something that servers do. Changes that contradict each other are not made together.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from llm.types import TokenUsage

#: Words for the same ending.
ENDINGS = {
    "stop": ["stop", "STOP", "eos", "end_turn", "FinishReason.STOP", "zzz"],
    "length": ["length", "max_tokens", "MAX_TOKENS", "model_length", "model_context_window_exceeded"],
    "content_filter": ["content_filter", "sensitive", "SAFETY", "refusal"],
    "tool_calls": ["tool_calls", "tool_use", "function_call", "stop"],
}

THOUGHT_CHANGES = ["thought: reasoning", "thought: two names", "thought: details", "thought: parts"]
TEXT_CHANGES = ["text: parts", "text: one part", "text: message", "text: choice"]
NUMBER_CHANGES = ["calls: no index", "calls: index 0", "calls: one id", "calls: order alone", "calls: other ids"]
CALL_CHANGES = [
    *NUMBER_CHANGES,
    *("calls: objects", "calls: whole", "calls: names in pieces", "calls: names repeated", "calls: mixed"),
    *("calls: one event", "calls: numbers as texts", "calls: flat", "calls: empty object first"),
    *("calls: again at the end", "calls: again in a message", "calls: other fields"),
]
EVENT_CHANGES = [
    *("nulls", "other fields", "signs of life", "choices as an object", "end with the last piece", "ends everywhere"),
    *("usage with the end", "usage in the choice", "usage counts up", "usage elsewhere", "usage as texts"),
    *("halves of characters", "only [DONE]", "content behind the end"),
]
LINE_CHANGES = [
    *("\\r\\n", "\\r", "one line end", "byte order mark", "no space", "named events", "no field name"),
    *("no [DONE]", "no last line end", "many lines", "comments", "ASCII"),
]
WHOLE_CHANGES = ["one object", "one object on many lines", "a list of events"]
CHANGES = THOUGHT_CHANGES + TEXT_CHANGES + CALL_CHANGES + EVENT_CHANGES + LINE_CHANGES + WHOLE_CHANGES

#: At most one change of each group is made. What a group leaves out cannot be told apart by any reader.
CONTRADICTIONS: list[list[str]] = [
    *(THOUGHT_CHANGES, TEXT_CHANGES, NUMBER_CHANGES, WHOLE_CHANGES, ["\\r\\n", "\\r"]),
    ["one line end", "many lines"],
    # Several pieces of one call in one event, or without numbers.
    *(
        [change, other]
        for change in ("calls: names in pieces", "calls: names repeated", "calls: empty object first")
        for other in ("calls: order alone", "calls: one event")
    ),
    ["calls: again at the end", "calls: order alone"],
    *([change, "calls: other ids"] for change in ("calls: names in pieces", "calls: names repeated")),
    *([change, "calls: again in a message"] for change in ("text: message", "text: choice", "end with the last piece")),
    *([change, "only [DONE]"] for change in ("no [DONE]", "ends everywhere", "content behind the end", *WHOLE_CHANGES)),
]

type Draw = Callable[[st.SearchStrategy[Any]], Any]

_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True, slots=True)
class MadeCall:
    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said."""

    thought: str = ""
    text: str = ""
    calls: tuple[MadeCall, ...] = ()
    reason: str = "stop"
    usage: TokenUsage = field(default_factory=TokenUsage)

    @property
    def has_content(self) -> bool:
        return bool(self.thought or self.text or self.calls)


@st.composite
def answers(draw: Draw) -> Answer:
    names = st.sampled_from(["read_file", "list", "a", "mcp__server__do-it"])
    calls = draw(st.lists(st.tuples(names, st.dictionaries(_TEXTS, _JSON, max_size=3)), max_size=3))
    text = draw(_TEXTS)
    reason = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    return Answer(
        thought=draw(_TEXTS),
        text=text,
        calls=tuple(MadeCall(str(71 + i), name, arguments) for i, (name, arguments) in enumerate(calls)),
        reason=reason,
        usage=TokenUsage(input_tokens=draw(st.integers(1, 10**6)), output_tokens=draw(st.integers(1, 10**6))),
    )


class Maker:
    """Makes one stream."""

    def __init__(self, answer: Answer, changes: set[str], draw: Draw) -> None:
        self.answer, self.draw = answer, draw
        self.changes = without_contradictions(changes, answer)
        self.deltas: list[dict[str, Any]] = []

    def __contains__(self, change: str) -> bool:
        return change in self.changes

    def pieces(self, text: str) -> list[str]:
        """Cut a text, also within a character where that is one of the changes."""
        if not text:
            return []
        units = text.encode("utf-16-le")
        cuts = sorted(2 * cut for cut in self.draw(st.lists(st.integers(1, max(len(units) // 2 - 1, 1)), max_size=3)))
        pieces = [
            units[start:end].decode("utf-16-le", "surrogatepass")
            for start, end in zip([0, *cuts], [*cuts, len(units)], strict=True)
        ]
        if "halves of characters" not in self and any("\ud800" <= each[-1:] <= "\udbff" for each in pieces):
            return [text]
        return [each for each in pieces if each]

    def make(self) -> bytes:
        """Return the bytes of the stream."""
        self._think()
        self._speak()
        if self.answer.calls:
            self._call()
        if self.changes.intersection(WHOLE_CHANGES[:2]):
            return self._whole()
        events = self._events()
        if "a list of events" in self:
            return self._json(events).encode()
        return self._lines(events)

    def _json(self, value: Any, indent: int | None = None) -> str:
        is_ascii = "ASCII" in self or "halves of characters" in self
        return json.dumps(value, ensure_ascii=is_ascii, indent=indent)

    def _think(self) -> None:
        for piece in self.pieces(self.answer.thought):
            if "thought: reasoning" in self:
                self.deltas.append({"reasoning": piece})
            elif "thought: two names" in self:
                self.deltas.append({"reasoning": piece, "reasoning_content": piece})
            elif "thought: details" in self:
                details = [{"type": "reasoning.text", "text": piece, "index": 0, "signature": None}]
                self.deltas.append({"reasoning": piece, "reasoning_details": details})
            elif "thought: parts" in self:
                self.deltas.append({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]})
            else:
                self.deltas.append({"reasoning_content": piece})

    def _speak(self) -> None:
        for piece in self.pieces(self.answer.text):
            part = {"type": "text", "text": piece}
            if "text: parts" in self:
                self.deltas.append({"content": [{"type": "reference", "ids": [1]}, part]})
            elif "text: one part" in self:
                self.deltas.append({"content": part})
            else:
                self.deltas.append({"content": piece})

    def _call(self) -> None:
        streams = [self._pieces_of_call(place, call) for place, call in enumerate(self.answer.calls)]
        if "calls: one event" in self:
            self.deltas.append({"tool_calls": [piece for stream in streams for piece in stream]})
        elif "calls: mixed" in self:
            for turn in range(max(map(len, streams))):
                self.deltas += [{"tool_calls": [stream[turn]]} for stream in streams if turn < len(stream)]
        else:
            self.deltas += [{"tool_calls": [piece]} for stream in streams for piece in stream]
        if "calls: again at the end" in self:
            self.deltas.append({"tool_calls": self._whole_calls()})

    def _whole_calls(self) -> list[dict[str, Any]]:
        return [
            self._numbered({"name": call.name, "arguments": call.arguments}, place, call, is_first=True)
            for place, call in enumerate(self.answer.calls)
        ]

    def _pieces_of_call(self, place: int, call: MadeCall) -> list[dict[str, Any]]:
        text = self._json(call.arguments)
        pieces: list[Any] = (
            [text] if self.changes & {"calls: whole", "calls: order alone", "calls: one event"} else self.pieces(text)
        )
        if "calls: objects" in self:
            pieces = [call.arguments]
        first: list[Any] = [{}] if "calls: empty object first" in self and call.arguments else []
        names = [call.name]
        if "calls: names in pieces" in self:
            half = len(call.name) // 2
            names = [name for name in (call.name[:half], call.name[half:]) if name]
        made: list[dict[str, Any]] = [{"name": name} for name in names[:-1]]
        made += [
            {"name": names[-1], "arguments": each} if i == 0 else {"arguments": each}
            for i, each in enumerate(first + pieces)
        ]
        if "calls: names repeated" in self:
            made = [{"name": call.name, **each} for each in made]
        return [self._numbered(function, place, call, is_first=i == 0) for i, function in enumerate(made)]

    def _numbered(self, function: dict[str, Any], place: int, call: MadeCall, *, is_first: bool) -> dict[str, Any]:
        """Add the numbers of a call to a piece of it."""
        made: dict[str, Any] = {"index": place, "type": "function", "function": function}
        if is_first or "calls: mixed" in self:
            made["id"] = call.id
        if "calls: no index" in self or "calls: order alone" in self:
            del made["index"]
        if "calls: index 0" in self:
            made["index"] = 0
        if "calls: one id" in self:
            made["id"] = "same"
        if "calls: order alone" in self:
            made.pop("id", None)
        if "calls: other ids" in self:
            made["id"] = f"id-{self.draw(st.integers(10**6, 10**9))}" if not is_first else call.id
        if "calls: numbers as texts" in self:
            made = {
                name: str(value) if name == "index" else int(value) if name == "id" and value.isdigit() else value
                for name, value in made.items()
            }
        if "calls: flat" in self:
            made |= made.pop("function")
        if "calls: other fields" in self:
            made["zzz"] = {"a": 1}
        return made

    def _end(self) -> str:
        words = ENDINGS[self.answer.reason]
        # An unknown word is a failure behind nothing.
        return str(self.draw(st.sampled_from(words if self.answer.has_content else words[:1])))

    def _usage(self, share: float = 1) -> dict[str, Any]:
        read, written = self.answer.usage.input_tokens, max(int(self.answer.usage.output_tokens * share), 1)
        counts: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        if "usage as texts" in self:
            return {"prompt_tokens": str(read), "completion_tokens": written + 0.5, "total_tokens": None, "zzz": "many"}
        return counts

    def _whole(self) -> bytes:
        calls = [
            {"id": call.id, "function": {"name": call.name, "arguments": self._json(call.arguments)}}
            for call in self.answer.calls
        ]
        message: dict[str, Any] = {
            "role": "assistant",
            "reasoning_content": self.answer.thought,
            "content": self.answer.text or None,
        }
        if calls:
            message["tool_calls"] = calls
        choices = [{"index": 0, "message": message, "finish_reason": self._end()}]
        value = {"object": "chat.completion", "choices": choices, "usage": self._usage()}
        return self._json(value, 2 if "one object on many lines" in self else None).encode()

    def _choice(self, delta: dict[str, Any], end: str | None = None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": end}
        if "text: message" in self:
            choice["message"], choice["delta"] = delta, None
        elif "text: choice" in self and isinstance(delta.get("content"), str):
            choice["text"], choice["delta"] = delta["content"], {}
        if "nulls" in self:
            choice |= {"logprobs": None, "error": None}
            choice["delta"] = delta and {"role": None, "content": None, "tool_calls": None, "refusal": None, **delta}
        return choice

    def _event(self, *choices: dict[str, Any], **more: Any) -> dict[str, Any]:
        event: dict[str, Any] = {"object": "chat.completion.chunk", "choices": list(choices), **more}
        if "choices as an object" in self and choices:
            event["choices"] = choices[0]
        if "nulls" in self:
            event = {"error": None, "usage": None, **event}
        if "other fields" in self:
            event |= {"zzz": [1, {"a": None}], "obfuscation": "x"}
        return event

    def _events(self) -> list[Any]:
        end = self._end()
        deltas = [{"role": "assistant", "content": ""}, *self.deltas]
        ends = range(1 if "content behind the end" in self else len(deltas) if "ends everywhere" in self else 0)
        events = [self._event(self._choice(delta, end if i in ends else None)) for i, delta in enumerate(deltas)]
        if "usage counts up" in self:
            events = [{**event, "usage": self._usage(i / len(events))} for i, event in enumerate(events)]
        last: dict[str, Any] = {}
        if "calls: again in a message" in self:
            message = {"role": "assistant", "content": self.answer.text, "tool_calls": self._whole_calls()}
            last = {"message": message}
        ending = {**self._choice({}, None if "only [DONE]" in self else end), **last}
        if "end with the last piece" in self:
            ending = {**self._choice(deltas[-1]), "finish_reason": None if "only [DONE]" in self else end}
            events.pop()
        if "usage in the choice" in self:
            events.append(self._event({**ending, "usage": self._usage()}))
        elif self.changes & {"usage with the end", "usage counts up"}:
            events.append(self._event(ending, usage=self._usage()))
        elif "usage elsewhere" in self:
            events.append(self._event(ending, x_groq={"usage": self._usage()}))
        else:
            events += [self._event(ending), self._event(usage=self._usage())]
        return events

    def _lines(self, events: list[Any]) -> bytes:
        """Write events as lines."""
        stop = "\r\n" if "\\r\\n" in self else "\r" if "\\r" in self else "\n"
        gap = stop if "one line end" in self else stop * 2
        prefix = "" if "no field name" in self else "data:" if "no space" in self else "data: "
        texts: list[str] = []
        for event in events:
            text = prefix + self._json(event)
            if "many lines" in self:
                text = stop.join(prefix + line for line in self._json(event, 1).split("\n"))
            if "named events" in self:
                text = f"event: message{stop}id: 1{stop}{text}"
            texts.append(text + gap)
            if "signs of life" in self:
                life = ["data:", "data: ", 'data: {"type": "ping"}', "event: ping", "data: null", "data"]
                texts.append(self.draw(st.sampled_from(life)) + stop * 2)
            if "comments" in self:
                texts.append(f": waiting{stop}{stop}")
        if "no [DONE]" not in self:
            texts.append(f"data: [DONE]{gap}")
        text = "".join(texts)
        if "no last line end" in self:
            text = text.rstrip("\r\n")
        return ("\ufeff" + text if "byte order mark" in self else text).encode(errors="surrogatepass")


def without_contradictions(changes: set[str], answer: Answer) -> set[str]:
    """Return the changes that can be made together for an answer."""
    kept: list[str] = []
    for change in sorted(changes):
        if not any(each in kept for group in CONTRADICTIONS if change in group for each in group):
            kept.append(change)
    chosen = set(kept)
    if answer.reason not in {"stop", "tool_calls"} or not answer.has_content:
        # [DONE] alone says nothing of a limit, and does not end an answer without content.
        chosen -= {"only [DONE]"}
    if len({(call.name, json.dumps(call.arguments, sort_keys=True)) for call in answer.calls}) < len(answer.calls):
        # One id, name and arguments twice is one call.
        chosen -= {"calls: one id"}
    return chosen

"""Reads the events of streamed answers, also where a server leaves out, adds or changes parts of OpenAI's form.

Each field may be missing, null or of another type. What leaves this module is strict: `llm.types`. An event is walked
through by hand, because a model of it would have to allow everything everywhere, and costs more time.
"""

from collections.abc import Mapping
from typing import Any

from llm import errors, finish
from llm.sizes import require_few_values
from llm.sse import DONE, ErrorEvent, parse_json
from llm.types import Chunk, EndChunk, ReasoningChunk, TextChunk, TokenUsage, ToolCallChunk
from llm.usage import parse_usage
from llm.wire.refusals import parse_error
from llm.wire.thoughts import PART_FIELDS, TEXT_FIELDS, Thoughts, split_content
from llm.wire.tool_calls import CallSorter

#: A delta with other fields than these may have thoughts, or things that only its provider understands.
PLAIN_FIELDS = frozenset({"role", "content", "tool_calls", "function_call", "refusal", "name", "audio", "annotations"})
#: Some send the word null.
NO_REASONS = frozenset({"", "null", "none"})
#: Where vLLM and SGLang have the stop text that ended an answer. Tokens have numbers there.
STOP_FIELDS, MAX_STOP_CHARACTERS = ("stop_reason", "matched_stop"), 1_000
#: Where an error's sentence stands if no field says that it is one.
ERROR_FIELDS = ("detail", "errors", "error_message", "error_msg", "message", "msg")
#: Signs of life, which may have a message too.
LIFE_SIGNS = frozenset({"ping", "pong", "keepalive", "heartbeat", "queued", "pending", "processing", "loading", "ok"})


class ModelReply:
    """The state of one answer: its end marker, usage, calls and thoughts."""

    def __init__(self) -> None:
        #: The provider's own end marker; empty until it arrives.
        self.reason: Any = ""
        #: The stop text that ended the answer, if the provider says so.
        self.stop = ""
        self.usage: TokenUsage | None = None
        #: Whether the provider has announced that nothing follows.
        self.is_over = False
        #: Whether a report of usage came with the end marker or after it.
        self.has_final_usage = False
        self._chunks = 0
        self._has_whole_message = False
        self._calls = CallSorter()
        self._thoughts = Thoughts()
        #: What has come in deltas. A whole message beside them repeats it.
        self._streamed: set[type[Chunk]] = set()

    def receive(self, data: bytes) -> list[Chunk]:
        """Return the chunks in the data of an event. Raises ModelError for an error in it."""
        if data == DONE:
            self.is_over = True
            return []
        require_few_values(data)
        event = self._parse(data)
        chunks: list[Chunk] = []
        for each in event if isinstance(event, list) else (event,):
            if isinstance(data, ErrorEvent):
                raise parse_error(0, each if each is not None else data.decode(errors="replace"))
            if isinstance(each, dict):
                chunks += self._receive_event(each)
        self._chunks += len(chunks)
        return chunks

    @property
    def has_output(self) -> bool:
        """Return whether anything of the answer has come."""
        return bool(self._chunks)

    @property
    def state(self) -> str:
        """Return a text that changes whenever anything comes that counts."""
        return f"{self._chunks} {self.reason} {self.usage} {self.is_over}"

    @property
    def has_ended(self) -> bool:
        """Return whether the end marker has come, and not that of a failure."""
        return bool(self.reason) and finish.find(self.reason) is not finish.Finish.FAILURE

    def end(self) -> list[Chunk]:
        """Return the last chunks of an answer whose stream has ended. Raises ModelError if it is not complete."""
        reason = self.reason
        if not reason:
            # [DONE] alone is the end marker of servers that send no reason. It is not believed within a call.
            is_complete = self._has_whole_message or (self.is_over and self.has_output)
            if not is_complete or self._calls.has_open_call:
                raise errors.ModelTruncated("the stream ended without the provider's end marker")
            reason = finish.Finish.END
        word = finish.judge(reason, has_output=self.has_output)
        end = EndChunk(reason=word, stop=self.stop, usage=self.usage, extra=self._thoughts.fields())
        return [*self._calls.finish(), end]

    def _parse(self, data: bytes) -> Any:
        """Parse the data of an event. Returns None for what is not JSON and only a sign of life."""
        try:
            return parse_json(data)
        except (ValueError, RecursionError) as error:
            text = data.decode(errors="replace").strip()
            if text.upper() == DONE.decode():
                self.is_over = True
            elif text.startswith(("{", "[{")) and not isinstance(data, ErrorEvent):
                raise errors.ModelUnavailable(f"an event that cannot be read: {error}") from None
            return None

    def _receive_event(self, event: dict[str, Any]) -> list[Chunk]:
        choices = event.get("choices")
        if event.get("error") or not choices:
            if _is_error(event):
                raise parse_error(0, event)
            choices = choices or _ollama_choices(event)
        chunks: list[Chunk] = []
        for choice in choices if isinstance(choices, list) else _values(choices):
            if isinstance(choice, dict):
                chunks += self._receive_choice(choice)
                if usage := choice.get("usage"):
                    self._count(usage)
        if event.get("object") == "chat.completion" and not self._streamed:
            self._has_whole_message = True
        if usage := event.get("usage"):
            self._count(usage)
        elif self.reason or "x_groq" in event:
            self._count(_other_usage(event))
        return chunks

    def _receive_choice(self, choice: dict[str, Any]) -> list[Chunk]:
        delta = choice.get("delta")
        if isinstance(delta, str | list):
            delta = {"content": delta}
        if error := choice.get("error"):
            raise parse_error(0, {"error": error})
        chunks: list[Chunk] = []
        if delta and isinstance(delta, dict):
            chunks = self._receive_delta(delta)
            self._streamed.update(map(type, chunks))
        if not chunks:
            message = choice.get("message")
            if isinstance(message, str):
                message = {"content": message}
            elif not isinstance(message, dict):
                message = {"content": choice.get("text")}
            chunks = self._receive_message(message)
        reason = choice.get("finish_reason")
        if reason is None and isinstance(delta, dict):
            reason = delta.get("finish_reason")
        if reason is not None and (not isinstance(reason, str) or reason.strip().lower() not in NO_REASONS):
            self.reason = finish.graver(self.reason, reason) if self.reason else reason
            stops = [stop for name in STOP_FIELDS if isinstance(stop := choice.get(name), str)]
            self.stop = next(iter(stops), self.stop)[:MAX_STOP_CHARACTERS]
        return chunks

    def _receive_delta(self, delta: Mapping[str, Any], *, is_repetition: bool = False) -> list[Chunk]:
        chunks: list[Chunk] = []
        content = delta.get("content")
        thought = "" if delta.keys() <= PLAIN_FIELDS else self._thoughts.receive(delta)
        if content and not isinstance(content, str):
            thoughts, content = split_content(content)
            thought = thought or thoughts
        if thought:
            chunks.append(ReasoningChunk(thought))
        if content:
            chunks.append(TextChunk(content))
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            chunks.append(TextChunk(refusal))
        if calls := delta.get("tool_calls"):
            chunks += self._calls.receive(calls, is_repetition=is_repetition)
        elif isinstance(call := delta.get("function_call"), dict):
            # OpenAI's older form, for one call.
            chunks += self._calls.receive([{"function": call}], is_repetition=is_repetition)
        return chunks

    def _receive_message(self, message: dict[str, Any]) -> list[Chunk]:
        """Return what a whole message, or a piece that is called one, adds to the deltas."""
        if not self._streamed:
            return self._receive_delta(message)
        if ReasoningChunk in self._streamed:
            message = {name: message[name] for name in message.keys() - {*TEXT_FIELDS, *PART_FIELDS}}
        chunks = self._receive_delta(message, is_repetition=bool(self._calls))
        return [chunk for chunk in chunks if isinstance(chunk, ToolCallChunk) or type(chunk) not in self._streamed]

    def _count(self, usage: Any) -> None:
        """Keep a report of usage. Some servers send one with each event, and count up."""
        if counts := parse_usage(usage):
            self.usage = counts
            self.has_final_usage = bool(self.reason)


def _is_error(event: Mapping[str, Any]) -> bool:
    """Return whether an event without choices is an error, in any of the shapes that servers send."""
    error = event.get("error")
    if any(error.values()) if isinstance(error, dict) else error:
        return True
    kinds = [str(event.get(name) or "").lower() for name in ("object", "type", "status")]
    if any("error" in kind for kind in kinds):
        return True
    if not LIFE_SIGNS.isdisjoint(kinds) or event.get("choices"):
        return False
    base = event.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        # MiniMax.
        return True
    is_answer = event.get("object") or isinstance(event.get("message"), dict)
    return not is_answer and any(isinstance(event.get(name), str | list) and event[name] for name in ERROR_FIELDS)


def _values(choices: Any) -> list[Any]:
    """Return the choices of an event in another shape than a list."""
    if not isinstance(choices, dict):
        return []
    is_choice = choices.keys() & {"delta", "message", "text", "finish_reason"}
    return [choices] if is_choice else list(choices.values())


def _ollama_choices(event: Mapping[str, Any]) -> list[Any]:
    """Return the choice of an event in Ollama's own form."""
    if "done" not in event:
        return []
    reason = (event.get("done_reason") or "stop") if event["done"] else None
    return [{"message": event.get("message"), "text": event.get("response"), "finish_reason": reason}]


def _other_usage(event: Mapping[str, Any]) -> Any:
    """Return the usage where Groq and Ollama have it."""
    groq = event.get("x_groq")
    return groq.get("usage") if isinstance(groq, dict) else event if "eval_count" in event else None

"""Replays a stored conversation so that strict providers take it, too.

Each of these rules is one that some server refuses a whole conversation for, and then every later message of it:
names and ids in the alphabet of APIs, every call with exactly one result right behind it, users and assistants in turn,
no blank texts. The same conversation always gives the same messages, and a longer one has the same beginning.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from llm.types import ModelImage, ModelMessage, ModelToolCall

NO_RESULT = "Error: this tool was never answered."
NO_OUTPUT = "(no output)"
#: Before a result whose call a caller has left out.
NO_CALL = "[The result of a call that is not in this conversation.]\n{}"
#: Between results and what a caller adds to them, for servers that want an answer there.
RESULTS_READ = "(Results received.)"
#: Between results and the user's next message, after a turn that was stopped or has failed.
NO_ANSWER = "(The turn ended before an answer.)"
EMPTY_MESSAGE = "(empty message)"
#: Where the user's messages at the beginning were left out, and where the conversation ends with an answer.
BEGINNING = "(The beginning of this conversation was left out.)"
CONTINUE = "Continue."
#: Between the texts of messages that are joined.
SEPARATOR = "\n\n"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_OTHER_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]")
#: OpenAI's longest, and the alphabet of Anthropic and Bedrock.
_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
#: Of Mistral's API, and of servers that use its tokenizer.
_SHORT_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
_SHORT_ID_MODELS = re.compile(r"mi(?:ni)?[sx]tral|codestral|devstral|magistral|pixtral", re.IGNORECASE)


def has_short_call_ids(model: str) -> bool:
    """Return whether a model's server takes only ids of nine letters and digits."""
    return _SHORT_ID_MODELS.search(model) is not None


def fit_name(name: str, offered: Collection[str] = ()) -> str:
    """Return a tool's name in the alphabet of APIs. Names of tools that the request offers stay as they are."""
    if name in offered or _NAME.fullmatch(name):
        return name
    fitting = _OTHER_CHARACTERS.sub("_", name)
    return (fitting if _NAME.match(fitting) else f"tool_{fitting}")[:64]


def with_fitting_names(messages: Iterable[ModelMessage], offered: Collection[str]) -> Iterator[ModelMessage]:
    """Yield the messages of a caller, who decides about everything else."""
    for message in messages:
        calls = tuple(_renamed(call, call.id, offered) for call in message.tool_calls)
        yield replace(message, tool_calls=calls) if calls != message.tool_calls else message


def replay(
    messages: Iterable[ModelMessage], *, offered: Collection[str] = (), short_ids: bool = False
) -> list[ModelMessage]:
    """Return the messages of a session as any provider takes them; see above."""
    settled = _settle(messages)
    return _alternate(_emit(settled, offered, _SHORT_CALL_ID if short_ids else _CALL_ID))


def repair(
    messages: Iterable[ModelMessage], *, offered: Collection[str] = (), short_ids: bool = False
) -> list[ModelMessage]:
    """Return the messages of a caller as most providers take them.

    As of a session, but callers may write behind results, and may begin the answer themselves. A result without a call
    becomes a message of the user: a caller must not lose it without a word.
    """
    settled = _settle(messages, keeps_strays=True)
    emitted = _emit(settled, offered, _SHORT_CALL_ID if short_ids else _CALL_ID)
    return _alternate(emitted, after_results=RESULTS_READ if short_ids else "", ending="")


@dataclass(slots=True)
class _Unit:
    """A message with calls, and their results."""

    message: ModelMessage
    results: list[ModelMessage | None]


def _settle(messages: Iterable[ModelMessage], *, keeps_strays: bool = False) -> list[_Unit | ModelMessage]:
    """Give each call its result, wherever it stands. Results without a call, and second ones, are left out, or kept as
    messages of the user.
    """
    units: list[_Unit | ModelMessage] = []
    unanswered: dict[str, tuple[_Unit, int]] = {}
    for message in messages:
        if message.role == "tool":
            if place := unanswered.pop(message.tool_call_id, None):
                unit, index = place
                unit.results[index] = message
            elif keeps_strays:
                stray = replace(message, role="user", content=NO_CALL.format(message.content), tool_call_id="")
                units.append(stray)
            continue
        if not message.tool_calls:
            units.append(message)
            continue
        unit = _Unit(message, [None] * len(message.tool_calls))
        for index, call in enumerate(message.tool_calls):
            unanswered[call.id] = unit, index
        units.append(unit)
    return units


def _emit(
    units: Iterable[_Unit | ModelMessage], offered: Collection[str], possible_id: re.Pattern[str]
) -> Iterator[ModelMessage]:
    ids: set[str] = set()
    for unit in units:
        if isinstance(unit, ModelMessage):
            yield unit
            continue
        message = unit.message
        calls = []
        for call in message.tool_calls:
            call_id = _fit_id(call.id, possible_id, ids)
            ids.add(call_id)
            calls.append(_renamed(call, call_id, offered))
        is_renamed = any(call is not before for call, before in zip(calls, message.tool_calls, strict=True))
        yield replace(message, tool_calls=tuple(calls)) if is_renamed else message
        for call, result in zip(calls, unit.results, strict=True):
            content = NO_RESULT if result is None else result.content
            content = content if content.strip() else NO_OUTPUT
            if result is not None and (result.content, result.tool_call_id) == (content, call.id):
                yield result
            else:
                images, cached = (result.images, result.cached) if result else ((), False)
                yield ModelMessage(role="tool", content=content, tool_call_id=call.id, images=images, cached=cached)


def _renamed(call: ModelToolCall, call_id: str, offered: Collection[str]) -> ModelToolCall:
    name = fit_name(call.name, offered)
    return call if (call.id, call.name) == (call_id, name) else replace(call, id=call_id, name=name)


def _fit_id(call_id: str, possible: re.Pattern[str], taken: Collection[str]) -> str:
    attempt = 0
    fitting = call_id
    while fitting in taken or not possible.fullmatch(fitting):
        # Nine hexadecimal digits have either form.
        fitting = sha256(f"{call_id} {attempt}".encode(errors="replace")).hexdigest()[:9]
        attempt += 1
    return fitting


def _alternate(
    messages: Iterable[ModelMessage], *, after_results: str = NO_ANSWER, ending: str = CONTINUE
) -> list[ModelMessage]:
    """Join messages of one speaker, and put notes where a speaker is missing, unless they are empty."""
    out: list[ModelMessage] = []
    run: list[ModelMessage] = []
    for message in messages:
        if message.role in ("system", "tool"):
            _close(run, out, after_results)
            out.append(message)
            continue
        is_blank = not message.content or message.content.isspace()
        if message.role == "assistant" and is_blank and not message.tool_calls:
            continue
        if run and run[-1].role != message.role:
            _close(run, out, after_results)
        is_empty = is_blank and message.role == "user" and not message.images
        filled = replace(message, content=EMPTY_MESSAGE) if is_empty else message
        run.append(_with_surroundings(filled) if filled.surroundings else filled)
    _close(run, out, after_results)
    is_open = out[-1:] and out[-1].role in ("user", "tool")
    if not is_open and (ending or all(message.role == "system" for message in out)):
        out.append(ModelMessage(role="user", content=ending or CONTINUE))
    return out


def _with_surroundings(message: ModelMessage) -> ModelMessage:
    """Return a message with what surrounds it in its text, which is all that providers know."""
    text = message.content if message.content.strip() else ""
    content = SEPARATOR.join((text, message.surroundings)) if text else message.surroundings
    images = tuple(replace(image, at=len(text)) if image.at is None else image for image in message.images)
    return replace(message, content=content, surroundings="", images=images)


def _close(run: list[ModelMessage], out: list[ModelMessage], after_results: str) -> None:
    """Add a run of messages of one role as one message."""
    if not run:
        return
    role = run[0].role
    # Clients also write instructions between messages: they are not a speaker of the conversation.
    before = "system"
    for message in reversed(out):
        if message.role != "system":
            before = message.role
            break
    if role == "user" and before == "tool" and after_results:
        out.append(ModelMessage(role="assistant", content=after_results))
    elif role == "assistant" and before == "system":
        out.append(ModelMessage(role="user", content=BEGINNING))
    out.append(_join(run))
    run.clear()


def _join(run: Sequence[ModelMessage]) -> ModelMessage:
    if len(run) == 1:
        return run[0]
    texts: list[str] = []
    images: list[ModelImage] = []
    length = 0
    for message in run:
        begin = length
        if message.content.strip():
            begin += len(SEPARATOR) if texts else 0
            length = begin + len(message.content)
            texts.append(message.content)
        images += [
            replace(image, at=length if image.at is None else min(begin + image.at, length)) for image in message.images
        ]
    name = run[0].name if len({message.name for message in run}) == 1 else ""
    cached = any(message.cached for message in run)
    return replace(run[-1], content=SEPARATOR.join(texts), images=tuple(images), name=name, cached=cached)

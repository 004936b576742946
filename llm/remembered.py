"""What providers have taught this process about their models: how much they read, and what they refuse.

Nothing of it is stored: each worker process learns it with one refused request, and again after an hour, because
servers are changed. What is remembered only shortens requests or leaves out fields; it never fails a turn by itself. A
caller's own server must never teach anything about the operator's: the address is a part of the key.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from math import ceil

from llm import catalog, prices
from llm.errors import ModelContextTooLong, ModelError, ModelOptionRefused, TokenCounts
from llm.types import Endpoint, ModelRequest
from llm.wire.requests import MESSAGE_FIELDS

#: Servers are updated and started with another window.
LESSON_SECONDS = 3600.0
MAX_MODELS = 1_000
#: No model that answers reads less. A smaller number in a refusal is not its window.
MIN_WINDOW_TOKENS = 1_024
#: Estimates of tokens, of four bytes each, may be off by so much.
ESTIMATE_FACTOR = 3

#: An estimate may be too small by so much.
ESTIMATE_MARGIN = 1.25
MIN_OUTPUT_TOKENS = 1024

#: Fields that are this service's own, so that callers do not miss them.
OWN_FIELDS = frozenset({"stream_options"}) | MESSAGE_FIELDS
OUTPUT_LIMITS = frozenset({"max_tokens", "max_completion_tokens"})
#: A caller's options that change nothing when they are left out: the ones that are notes, and those with these values.
NOTES = frozenset({"user"})
#: Options that callers of other APIs send whatever the model is, and that a model may ignore (`llm.wire.thinking`).
WISHES = frozenset({"reasoning_effort", "thinking", "top_k", "verbosity"})
DEFAULTS = {
    "temperature": 1,
    "top_p": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "response_format": {"type": "text"},
    "logit_bias": {},
}


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What is known about a model at an address."""

    learned_at: float
    #: Tokens; 0: the catalog's.
    window: int = 0
    max_output: int = 0
    #: Fields that its provider refuses.
    refused: frozenset[str] = frozenset()


#: By model and address; the one that changed last is the last.
_lessons: OrderedDict[tuple[str, str], _Lesson] = OrderedDict()


def forget() -> None:
    """Forget everything."""
    _lessons.clear()


def window(model: str, endpoint: Endpoint | None = None) -> int:
    """Return how many tokens a provider was found to take for a model, or 0 where the catalog is not contradicted."""
    known = _find(model, endpoint).window
    return known if known < catalog.find(model).window else 0


def max_output(model: str, endpoint: Endpoint | None = None) -> int:
    """Return the longest answer, in tokens, that may be asked of a model. A quarter of a learned window is kept for it.

    The catalog lets some models write as much as they read.
    """
    entry, lesson = catalog.find(model), _find(model, endpoint)
    quarter = (window(model, endpoint) or entry.window) // 4
    limit = min(entry.max_output, quarter) if entry.max_output > 1 else entry.max_output
    return min(limit, lesson.max_output) if lesson.max_output else limit


def fit_output(request: ModelRequest, input_tokens: int) -> int:
    """Return a limit on the answer that a provider accepts: some refuse input and limit above the model's window."""
    tokens = window(request.model, request.endpoint) or catalog.find(request.model).window
    limit = max_output(request.model, request.endpoint)
    room = tokens - ceil(input_tokens * ESTIMATE_MARGIN)
    # Where the input seems to fill the window, its provider decides.
    return max(min(limit, room), min(limit, MIN_OUTPUT_TOKENS))


def adapt(request: ModelRequest) -> ModelRequest:
    """Return a request with a limit on the answer where it needs one, and without what the provider refuses."""
    limit, endpoint = request.max_output_tokens, request.endpoint
    entry, lesson = catalog.find(request.model), _find(request.model, endpoint)
    if limit is None and (lesson.max_output or not entry.is_built_in) and not lesson.refused >= OUTPUT_LIMITS:
        # A server of any kind may have no limit: small models have written until a limit of time.
        limit = fit_output(request, prices.estimate(request).input_tokens)
    elif limit is not None and request.is_translated:
        limit = _longest_answer(request, limit)
    provider = catalog.provider_of(request.model)
    known = provider.leave_out if provider and not (endpoint and endpoint.api_base) else frozenset()
    refused = lesson.refused if request.is_translated else lesson.refused - WISHES
    return replace(request, max_output_tokens=limit, omitted=refused | known)


def _longest_answer(request: ModelRequest, limit: int) -> int:
    """Return a caller's limit, or a smaller one that changes no answer.

    Clients of the Messages API send the same limit to every model, and most providers refuse one that is larger than
    their own, or than the room beside the input.
    """
    entry, lesson = catalog.find(request.model), _find(request.model, request.endpoint)
    if lesson.max_output or entry.is_known:
        limit = min(limit, lesson.max_output or entry.max_output)
    if window := lesson.window or (entry.window if entry.is_known else 0):
        room = window - ceil(prices.estimate(request).input_tokens * ESTIMATE_MARGIN)
        limit = min(limit, max(room, MIN_OUTPUT_TOKENS))
    return limit


def learn(request: ModelRequest, sent: ModelRequest, error: ModelError) -> bool:
    """Remember what a refusal says about a model; return whether the same request may be taken now.

    `sent` is the request as it was sent. Only fields of this service change, and options that change nothing.
    """
    before = _find(sent.model, sent.endpoint)
    lesson = before
    if isinstance(error, ModelContextTooLong):
        lesson = _learn_window(lesson, request, sent, error.tokens)
    elif isinstance(error, ModelOptionRefused):
        lesson = _learn_fields(lesson, request, sent, error)
    if lesson != before:
        _store(sent, lesson)
    if isinstance(error, ModelContextTooLong) and _may_shorten(request) and lesson.window and not before.window:
        # The input alone fits; the limit that we set is too large.
        tokens, read = error.tokens, error.tokens.input
        return bool(read) and tokens.output == sent.max_output_tokens and read < tokens.window
    return (lesson.max_output, lesson.refused) != (before.max_output, before.refused)


def _may_shorten(request: ModelRequest) -> bool:
    """Return whether the limit on the answer is ours, or one that clients send whatever the model is."""
    return request.max_output_tokens is None or request.is_translated


def complete(sent: ModelRequest, error: ModelContextTooLong) -> None:
    """Add to a refusal what it may not say: an estimate of the input, and the window that is known."""
    known = window(sent.model, sent.endpoint) or catalog.find(sent.model).window
    error.estimate = TokenCounts(input=prices.estimate(sent).input_tokens, window=known)


def _learn_window(lesson: _Lesson, request: ModelRequest, sent: ModelRequest, tokens: TokenCounts) -> _Lesson:
    estimated, output = prices.estimate(sent).input_tokens, sent.max_output_tokens or 0
    read = tokens.input or max(tokens.total - output, 0)
    known = lesson.window or catalog.find(sent.model).window
    limit = _believable_window(request, estimated, read, output, tokens)
    if not limit or (limit >= known and estimated + output > known):
        return lesson
    # It was known already, and the request should have fitted: our estimates are too small.
    limit = limit if limit < known else min(known, max(estimated, MIN_WINDOW_TOKENS)) * 3 // 4
    return replace(lesson, window=max(limit, MIN_WINDOW_TOKENS))


def _believable_window(request: ModelRequest, estimated: int, read: int, output: int, tokens: TokenCounts) -> int:
    """Return a window that a refusal proves, in our estimates of tokens, or 0."""
    if tokens.window < MIN_WINDOW_TOKENS:
        if request.max_output_tokens is not None:
            # The caller's own limit on the answer may be the reason.
            return 0
        guess = (estimated if estimated > output else estimated + output) // 2
        return guess if guess >= MIN_WINDOW_TOKENS else 0
    is_output_counted = request.max_output_tokens is None or tokens.output == output
    if estimated * ESTIMATE_FACTOR + (output if is_output_counted else 0) < tokens.window:
        # The sentence is about another request, or repeats what a user wrote.
        return 0
    if read > estimated:
        # The provider counts more tokens than we do.
        return tokens.window * max(estimated, read // ESTIMATE_FACTOR) // read
    return tokens.window


def _learn_fields(lesson: _Lesson, request: ModelRequest, sent: ModelRequest, error: ModelOptionRefused) -> _Lesson:
    limit = error.tokens.max_output
    if _may_shorten(request) and 0 < limit < (sent.max_output_tokens or 0):
        return replace(lesson, max_output=limit)
    fields = {"stream_options" if name == "include_usage" else name for name in error.fields}
    return replace(lesson, refused=lesson.refused | {name for name in fields if _may_omit(name, sent)})


def _may_omit(name: str, sent: ModelRequest) -> bool:
    """Return whether a request has a field that its caller does not miss."""
    if name in OUTPUT_LIMITS:
        # It has two names, and the other one is sent then.
        return sent.max_output_tokens is not None
    if name == "strict":
        return any(tool.strict is False for tool in sent.tools) and not any(tool.strict for tool in sent.tools)
    is_default = name in DEFAULTS and sent.options.get(name) == DEFAULTS[name]
    is_wish = name in WISHES and sent.is_translated
    return name in OWN_FIELDS or is_default or is_wish or (name in NOTES and name in sent.options)


def _find(model: str, endpoint: Endpoint | None) -> _Lesson:
    lesson = _lessons.get(_key(model, endpoint))
    if lesson is None or time.monotonic() - lesson.learned_at > LESSON_SECONDS:
        return _Lesson(time.monotonic())
    return lesson


def _store(request: ModelRequest, lesson: _Lesson) -> None:
    key = _key(request.model, request.endpoint)
    _lessons[key] = lesson
    _lessons.move_to_end(key)
    while len(_lessons) > MAX_MODELS:
        _lessons.popitem(last=False)


def _key(model: str, endpoint: Endpoint | None) -> tuple[str, str]:
    return model, endpoint.api_base if endpoint else ""

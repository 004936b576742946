"""Reads the bodies of requests, in threads of their own.

A decoder holds the interpreter from the first byte to the last, also in a thread, and meanwhile no
session of the process moves. So the shape of a body is bounded before it is decoded: texts may be long, but a body has
few values. The caller has been authorized before anything is read.
"""

import asyncio
import contextvars
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import Any, cast

from django.http import HttpRequest
from ninja.errors import HttpError, ValidationError
from pydantic import BaseModel
from pydantic import ValidationError as InvalidBody
from pydantic.json_schema import models_json_schema
from pydantic_core import from_json, to_json

from sessions.api.completions.errors import invalid
from sessions.errors import BodyTooLarge
from sessions.protocol.client import LARGE_NUMBER, decode_json

#: Larger bodies would be refused by the web server anyway, with a margin so that the sentence is ours.
MAX_BYTES = 16 * 1024 * 1024
#: Texts of a body, names of fields included, and bytes outside of texts: 10,000 parts of messages, or 300,000 tokens of
#: embeddings. What is decoded within these limits holds the interpreter for less than a tenth of a second.
MAX_TEXTS, MAX_STRUCTURE_BYTES = 150_000, 2_500_000
#: Bodies up to this size are decoded where they arrive: a thread would cost more.
MAX_SMALL_BYTES = 32 * 1024

#: Fields that say how an answer is sent, not what is asked: clients that lose a stream ask for the whole answer.
HOW_ANSWERED = ("stream", "stream_options")

REFERENCE = "#/components/schemas/{model}"

#: Two at a time: each holds its whole body in memory.
_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="bodies")
#: A text, or the rest of the body where its end is missing: a pattern that fails would be tried at each quote again.
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


async def read[Body: BaseModel, R](request: HttpRequest, model: type[Body], convert: Callable[[Body], R]) -> R:
    """Return what `convert` makes of a valid body. Raises what it raises, BodyTooLarge, HttpError, ValidationError."""
    data = request.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BodyTooLarge(MAX_BYTES)
    work = partial(_read, data, model, convert)
    result, digest = work() if len(data) <= MAX_SMALL_BYTES else await _in_thread(work)
    request.body_digest = digest  # type: ignore[attr-defined]
    return result


def digest_of(request: HttpRequest) -> str:
    """Return the digest of the body that `read` has read; requests that differ in HOW_ANSWERED alone have the same."""
    return cast(str, request.body_digest)  # type: ignore[attr-defined]


def describe(model: type[BaseModel]) -> dict[str, Any]:
    """Return what the API's description says about the body of a request; `schemas` has what it refers to."""
    schema = {"$ref": REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def schemas(*models: type[BaseModel]) -> dict[str, Any]:
    """Return the schemas of bodies, by name."""
    _, document = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    found: dict[str, Any] = document["$defs"]
    return found


async def _in_thread[R](work: Callable[[], R]) -> R:
    call = partial(contextvars.copy_context().run, work)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, call)


def _read[Body: BaseModel, R](data: bytes, model: type[Body], convert: Callable[[Body], R]) -> tuple[R, str]:
    try:
        value = _decode(data)
    except ValueError as error:
        raise HttpError(400, "not JSON") from error
    try:
        body = model.model_validate(value)
    except InvalidBody as error:
        problem = _first_problem(value, error)
        raise ValidationError([{**problem, "loc": ("body", "body", *problem["loc"])}]) from None
    return convert(body), _digest(data, value)


def _digest(data: bytes, value: dict[str, Any]) -> str:
    # A field that nothing reads may be too deep.
    with suppress(ValueError, RecursionError):
        data = to_json(_in_order({name: each for name, each in value.items() if name not in HOW_ANSWERED}))
    return sha256(data).hexdigest()


def _in_order(value: Any) -> Any:
    """Return a value with its fields in order: when Codex repeats a request, some are in another order."""
    if isinstance(value, dict):
        return {name: _in_order(value[name]) for name in sorted(value)}
    return [_in_order(each) for each in value] if isinstance(value, list) else value


def _first_problem(value: Any, error: InvalidBody) -> dict[str, Any]:
    """Return the first problem. Of a value that fits none of several types, the one that lies deepest."""
    first: dict[str, Any] = {}
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        place = _place(value, problem["loc"], is_missing=problem["type"] == "missing")
        if first and place[: len(first["loc"])] != first["loc"]:
            break
        if not first or len(place) > len(first["loc"]):
            first = {**problem, "loc": place}
    return first


def _place(value: Any, location: tuple[int | str, ...], *, is_missing: bool) -> tuple[int | str, ...]:
    """Return where a problem is in the body: pydantic's location without the names of types."""
    place: list[int | str] = []
    for step in location:
        with suppress(KeyError, IndexError, TypeError):
            value = value[step]
            place.append(step)
    # What is missing may also be null.
    if is_missing and place[-1:] != list(location[-1:]):
        place += location[-1:]
    return tuple(place)


def _decode(data: bytes) -> Any:
    """Return the value of a body. Raises ValueError, and CompletionError for a body with too many values."""
    if len(data) <= MAX_SMALL_BYTES:
        return decode_json(data)
    structure = _structure(data)
    value = from_json(data, allow_inf_nan=False)
    if LARGE_NUMBER.search(structure):
        # The decoder turns a float that is too large into infinity.
        json.dumps(value, allow_nan=False)
    return value


def _structure(data: bytes) -> bytes:
    """Return what a body has outside of texts. Raises CompletionError for too many values.

    Python gives other threads their turn between two texts.
    """
    parts: list[bytes] = []
    size = end = 0
    for match in _TEXT.finditer(data):
        parts.append(data[end : match.start()])
        size, end = size + len(parts[-1]), match.end()
        if len(parts) > MAX_TEXTS or size > MAX_STRUCTURE_BYTES:
            break
    parts.append(data[end : end + MAX_STRUCTURE_BYTES + 1])
    if len(parts) > MAX_TEXTS or size + len(parts[-1]) > MAX_STRUCTURE_BYTES:
        raise invalid("body", f"The body has too many values: at most {MAX_TEXTS:,} texts, names of fields included.")
    return b'""'.join(parts)

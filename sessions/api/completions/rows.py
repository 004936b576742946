"""Parts of messages as they are stored, which the APIs read from their own words."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from llm.sizes import find_json_problem
from llm.types import ModelImage
from sessions.api.completions.errors import invalid


def read_arguments(written: str | dict[str, Any]) -> dict[str, Any] | str:
    """Return the arguments of an earlier call, or the text itself where a model has written no JSON object."""
    if isinstance(written, dict):
        return written
    value: Any = written or {}
    with suppress(ValueError, RecursionError):
        value = json.loads(value) if written else value
        # Some models write the JSON of a text that is JSON.
        value = json.loads(value) if isinstance(value, str) else value
    return value if isinstance(value, dict) and not find_json_problem(value) else written


def image_of(image: Any, detail: Any, where: str) -> ModelImage:
    """Return an image, which is an address, data, or an object with one of them. Raises CompletionError."""
    fields: Mapping[str, Any] = image if isinstance(image, dict) else {"url": image, "detail": detail}
    url, detail = fields.get("url"), fields.get("detail") or ""
    if not isinstance(url, str) or not isinstance(detail, str):
        raise invalid(where, "An image has its address or its data in `url`.")
    try:
        return ModelImage(url, detail)
    except ValueError as error:
        raise invalid(where, f"{str(error).capitalize()}.") from None


def image_row(image: ModelImage) -> dict[str, Any]:
    """Return an image as it is stored."""
    return {name: value for name, value in asdict(image).items() if value not in ("", None)}

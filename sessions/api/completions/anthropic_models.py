"""The models in Anthropic's form, and the names by which Anthropic's clients call them."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from agents.roles import ROLES
from llm import catalog
from sessions.api.completions.errors import CompletionError, invalid
from sessions.api.completions.models import CREATED, agent_of

#: Anthropic's models have this provider in the catalog; its clients leave it out.
PROVIDER = "anthropic/"
#: What follows the name of a model in the catalog: a date, `-latest`.
VERSION = re.compile(r"-(?:\d{8}|latest)$")
#: The header by which Anthropic's clients are known: they ask the same paths for models as OpenAI's.
VERSION_HEADER = "anthropic-version"
#: Of one page.
DEFAULT_LIMIT, MAX_LIMIT = 20, 1000


def resolve(name: str) -> tuple[str, str]:
    """Return the model's name in the catalog, and the agent that the name stands for. Raises CompletionError."""
    try:
        return name, agent_of(name)
    except CompletionError:
        if not name.startswith("claude-"):
            raise
        for each in dict.fromkeys((name, VERSION.sub("", name))):
            if catalog.find(PROVIDER + each).is_known:
                return PROVIDER + each, ""
        raise


def describe(name: str) -> dict[str, Any]:
    """Return a model in Anthropic's form. Raises CompletionError."""
    model, agent = resolve(name)
    entry = catalog.find((ROLES[agent].models or (settings.CODELAB_MODEL,))[0] if agent else model)
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        # Nothing tells when a model was made.
        "created_at": datetime.fromtimestamp(CREATED, UTC).isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
        "max_input_tokens": entry.window,
        "max_tokens": entry.max_output,
    }


def page(names: Sequence[str], query: Mapping[str, str]) -> dict[str, Any]:
    """Return a part of a list: at most `limit` that follow `after_id`, or stand before `before_id`.

    Raises CompletionError.
    """
    limit, after_id, before_id = _limit(query), query.get("after_id"), query.get("before_id")
    begin, end = 0, len(names)
    if after_id is not None:
        begin = _place(names, after_id, "after_id") + 1
    if before_id is not None:
        end = _place(names, before_id, "before_id")
    if before_id is not None and after_id is None:
        begin = max(begin, end - limit)
        has_more = begin > 0
    else:
        has_more = end - begin > limit
        end = min(end, begin + limit)
    data = [describe(name) for name in names[begin:end]]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"data": data, "has_more": has_more, "first_id": first, "last_id": last}


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 0 < int(text) <= MAX_LIMIT):
        raise invalid("limit", f"`limit` is a number from 1 to {MAX_LIMIT}.")
    return int(text)


def _place(names: Sequence[str], name: str, param: str) -> int:
    if name not in names:
        raise invalid(param, "The list has no model of this name.")
    return names.index(name)

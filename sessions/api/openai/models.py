"""The models that a request may name: those of the catalog, and our agents as `codelab/NAME`."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from agents.roles import ROLES
from llm import catalog, scripted
from sessions.api.openai.errors import no_model

PREFIX = "codelab/"


def agent_of(name: str) -> str:
    """Return the agent that a name means, empty for a plain model. Raises OpenAIError where it is neither."""
    if name.startswith(PREFIX):
        agent = name.removeprefix(PREFIX)
        if agent not in ROLES:
            raise no_model(name)
        return agent
    # Any model of a server of OpenAI's kind, which knows best; what only LiteLLM could call must be in the catalog.
    if name in _plain() or catalog.find(name).is_known or catalog.provider_of(name):
        return ""
    raise no_model(name)


def listed() -> list[dict[str, Any]]:
    """Return the models in OpenAI's form, our agents first."""
    return [described(name) for name in [*(f"{PREFIX}{name}" for name in ROLES), *_plain()]]


def described(name: str) -> dict[str, Any]:
    """Return a model in OpenAI's form; nobody knows when it was made. Raises OpenAIError."""
    agent_of(name)
    provider, slash, _ = name.partition("/")
    return {"id": name, "object": "model", "created": 0, "owned_by": provider if slash else "codelab"}


def _plain() -> list[str]:
    known = (model.name for model in catalog.all_models())
    return list(dict.fromkeys((settings.CODELAB_MODEL, scripted.NAME, *known)))

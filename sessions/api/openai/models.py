"""The models that a request may name: those of the catalog, and our agents as `codelab/NAME`.

The scripted model is for tests and first steps. It costs nothing, so no budget or limit holds it, and exists only where
the operator has configured it.
"""

from typing import Any

from django.conf import settings

from agents.roles import ROLES, models_in_use
from llm import catalog, scripted
from sessions.api.openai.errors import no_model

PREFIX = "codelab/"


def agent_of(name: str) -> str:
    """Return the agent that a name stands for, empty for a model. Raises OpenAIError for an unknown name."""
    if name.startswith(PREFIX):
        agent = name.removeprefix(PREFIX)
        if agent not in ROLES:
            raise no_model(name)
        return agent
    if not name.isprintable() or (catalog.is_scripted(name) and not _has_scripted()):
        # No database takes NUL.
        raise no_model(name)
    # A server of OpenAI's kind knows its models best; a model that only LiteLLM could call must be in the catalog.
    if name in _model_names() or catalog.find(name).is_known or catalog.provider_of(name):
        return ""
    raise no_model(name)


def list_all() -> list[dict[str, Any]]:
    """Return the models in OpenAI's form, our agents first."""
    return [describe(name) for name in [*(f"{PREFIX}{name}" for name in ROLES), *_model_names()]]


def describe(name: str) -> dict[str, Any]:
    """Return a model in OpenAI's form, without the time of its creation, which is unknown. Raises OpenAIError."""
    agent_of(name)
    provider, slash, _ = name.partition("/")
    return {"id": name, "object": "model", "created": 0, "owned_by": provider if slash else "codelab"}


def _model_names() -> list[str]:
    catalogued = [model.name for model in catalog.all_models() if not catalog.is_scripted(model.name)]
    return list(dict.fromkeys((settings.CODELAB_MODEL, *[scripted.NAME] * _has_scripted(), *catalogued)))


def _has_scripted() -> bool:
    return scripted.NAME in models_in_use(settings.CODELAB_MODEL)

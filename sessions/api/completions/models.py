"""The models that a request may name: those of the catalog, and our agents as `codelab/NAME`.

The scripted model is for tests and first steps. It costs nothing, so no budget or limit holds it, and exists only where
the operator has configured it.
"""

from collections.abc import Collection
from typing import Any

from django.conf import settings

from agents.roles import ROLES, models_in_use
from llm import catalog, scripted
from sessions.api.completions.errors import no_model
from sessions.billing import provider_keys
from sessions.models import Worker

PREFIX = "codelab/"
#: When the catalog was written, in seconds since 1970.
CREATED = int(catalog.BUILT_IN_FILE.stat().st_mtime)


def agent_of(name: str) -> str:
    """Return the agent that a name stands for, empty for a model. Raises CompletionError for an unknown name."""
    if name.startswith(PREFIX):
        agent = name.removeprefix(PREFIX)
        if agent not in ROLES:
            raise no_model(name)
        return agent
    if not name.isprintable() or (catalog.is_scripted(name) and not _has_scripted()):
        # No database takes NUL.
        raise no_model(name)
    # A server of OpenAI's kind knows its models best; a model that only LiteLLM could call must be in the catalog.
    if name in models_in_use(settings.CODELAB_MODEL) or catalog.find(name).is_known or catalog.provider_of(name):
        return ""
    raise no_model(name)


def listed_names(providers: Collection[str] | None) -> list[str]:
    """Return the names of our agents, of the configured models, and of the catalog's models of these providers.

    None stands for all providers.
    """
    catalogued = [model.name for model in catalog.all_models() if not catalog.is_scripted(model.name)]
    usable = [name for name in catalogued if providers is None or name.partition("/")[0] in providers]
    configured = [settings.CODELAB_MODEL, *sorted(models_in_use(settings.CODELAB_MODEL))]
    return list(dict.fromkeys([*(f"{PREFIX}{name}" for name in ROLES), *configured, *usable]))


def usable_providers(owner_id: int) -> frozenset[str] | None:
    """Return the providers that a worker or the user has a key for, None when no worker has said so."""
    workers = list(Worker.alive()) or list(Worker.objects.order_by("-seen_at")[:1])
    if not workers or any(worker.providers is None for worker in workers):
        return None
    return provider_keys.providers_of(owner_id).union(*(worker.providers or () for worker in workers))


def describe(name: str) -> dict[str, Any]:
    """Return a model like OpenAI, with the fields of OpenRouter and vLLM that clients read. Raises CompletionError."""
    agent = agent_of(name)
    provider, slash, _ = name.partition("/")
    model = catalog.find((ROLES[agent].models or (settings.CODELAB_MODEL,))[0] if agent else name)
    return {
        "id": name,
        "object": "model",
        # Nothing tells when a model was made, and clients sort by it.
        "created": CREATED,
        "owned_by": provider if slash else "codelab",
        "context_length": model.window,
        "max_model_len": model.window,
        "max_completion_tokens": model.max_output,
        "capabilities": sorted(model.capabilities),
    }


def _has_scripted() -> bool:
    return scripted.NAME in models_in_use(settings.CODELAB_MODEL)

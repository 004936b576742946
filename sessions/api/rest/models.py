"""Lists the models of the catalog: capabilities, prices, fallbacks, and the agents that use them."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja import Field, Router, Schema

from agents.roles import ROLES, models_in_use
from llm import catalog, scripted
from llm.catalog import Model
from sessions.api.http import ERRORS

router = Router(tags=["models"])


class PricesOut(Schema):
    """US dollars for a million tokens, for calls that read more than `above` tokens."""

    input: float
    cached_input: float
    output: float
    above: int


class ModelOut(Schema):
    """A model; empty `prices` mean that its price is unknown."""

    id: str = Field(alias="name")
    context_window: int = Field(alias="window")
    max_output_tokens: int = Field(alias="max_output")
    capabilities: list[str] = Field(description="Of `tools`, `images`, `reasoning`, `prompt_cache`, `embeddings`.")
    prices: list[PricesOut]
    fallbacks: list[str] = Field(description="Models to call in turn when it fails.")
    agents: list[str] = Field(description="Agents that prefer it.")
    default: bool = Field(description="Agents without a preference use it.")

    @staticmethod
    def resolve_capabilities(model: Model) -> list[str]:
        return sorted(model.capabilities)

    @staticmethod
    def resolve_agents(model: Model) -> list[str]:
        default = (settings.CODELAB_MODEL,)
        return [name for name, role in ROLES.items() if model.name in (role.models or default)]

    @staticmethod
    def resolve_default(model: Model) -> bool:
        return model.name == settings.CODELAB_MODEL


class ModelList(Schema):
    models: list[ModelOut]
    default: str


@router.get("/llm/models", response={200: ModelList, **ERRORS})
async def list_models(request: HttpRequest) -> dict[str, Any]:
    """List the models of the catalog, this server's default model first."""
    names = dict.fromkeys((settings.CODELAB_MODEL, *(model.name for model in catalog.all_models())))
    if scripted.NAME not in models_in_use(settings.CODELAB_MODEL):
        names.pop(scripted.NAME, None)
    return {"models": [catalog.find(name) for name in names], "default": settings.CODELAB_MODEL}

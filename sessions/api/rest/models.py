"""The catalog of models: what they can and cost, what stands in for them, and which agents want them."""

from __future__ import annotations

from typing import Annotated

from django.conf import settings
from django.http import HttpRequest
from ninja import Field, Router, Schema

from agents.roles import ROLES
from llm import catalog, scripted
from llm.catalog import Model, Prices
from sessions.api.http import ERRORS

router = Router(tags=["models"])


class PricesOut(Schema):
    """US dollars for a million tokens, for calls that read more than `above` tokens."""

    input: float
    cached_input: float
    output: float
    above: int


class ModelOut(Schema):
    """A model; with an empty `prices` nobody knows what it costs."""

    id: str
    context_window: int
    max_output_tokens: int
    capabilities: Annotated[
        list[str], Field(description="Of `tools`, `images`, `reasoning`, `prompt_cache`, `embeddings`.")
    ]
    prices: list[PricesOut]
    fallbacks: Annotated[list[str], Field(description="Models that are asked in turn when it fails.")]
    agents: Annotated[list[str], Field(description="Agents that it answers for, if it can.")]
    default: Annotated[bool, Field(description="It answers where an agent has no wish of its own.")]


class ModelList(Schema):
    models: list[ModelOut]
    default: str


@router.get("/llm/models", response={200: ModelList, **ERRORS})
async def list_models(request: HttpRequest) -> ModelList:
    """List the models of the catalog, the server's own first."""
    names = dict.fromkeys((settings.CODELAB_MODEL, scripted.NAME, *(model.name for model in catalog.all_models())))
    return ModelList(models=[_model(catalog.find(name)) for name in names], default=settings.CODELAB_MODEL)


def _model(model: Model) -> ModelOut:
    default = model.name == settings.CODELAB_MODEL
    return ModelOut(
        id=model.name,
        context_window=model.window,
        max_output_tokens=model.max_output,
        capabilities=sorted(model.capabilities),
        prices=[_prices(prices) for prices in model.prices],
        fallbacks=list(model.fallbacks),
        agents=[name for name, role in ROLES.items() if (model.name in role.models if role.models else default)],
        default=default,
    )


def _prices(prices: Prices) -> PricesOut:
    return PricesOut(
        input=float(prices.input),
        cached_input=float(prices.cached_input),
        output=float(prices.output),
        above=prices.above,
    )

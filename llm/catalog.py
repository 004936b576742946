"""Which models there are, what they can and cost, and which providers are reached in which way. Data, not code.

`models.toml` ships with this package; an operator's own file adds to it and replaces its entries. A name that is in
neither works as well: it gets defaults, and its price is unknown. Never imports what calls a model: the web process
reads this, too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llm import scripted
from llm.types import Usage

BUILT_IN = Path(__file__).with_name("models.toml")

type Capability = Literal["tools", "images", "reasoning", "prompt_cache", "embeddings"]

#: Prices are told for so many tokens.
MILLION = 1_000_000

#: What is taken for granted where no file says anything.
WINDOW, MAX_OUTPUT = 128_000, 8_192
CAPABILITIES: frozenset[Capability] = frozenset({"tools"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars for a million tokens, for calls that read more than `above` tokens."""

    input: Decimal
    cached_input: Decimal
    output: Decimal
    above: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is known of a model."""

    #: LiteLLM's name, `provider/name`.
    name: str
    #: Tokens that it reads at most.
    window: int = WINDOW
    #: Tokens that it says at most.
    max_output: int = MAX_OUTPUT
    capabilities: frozenset[Capability] = CAPABILITIES
    #: The cheapest tier first; empty: unknown.
    prices: tuple[Prices, ...] = ()
    #: Models to ask in turn when it fails.
    fallbacks: tuple[str, ...] = ()
    #: Whether a file names it; the others have the defaults above.
    is_known: bool = True

    def cost(self, usage: Usage) -> Decimal | None:
        """Return US dollars; None where the price is unknown."""
        prices = [prices for prices in self.prices if not prices.above or usage.input_tokens > prices.above]
        if not prices:
            return None
        price = max(prices, key=lambda prices: prices.above)
        fresh = max(0, usage.input_tokens - usage.cached_tokens)
        cached = usage.input_tokens - fresh
        return (fresh * price.input + cached * price.cached_input + usage.output_tokens * price.output) / MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A server that speaks OpenAI's chat completions, which are read without LiteLLM."""

    name: str
    api_base: str
    #: Variables of the workers' environment that give another address, the first one that is set.
    base_variables: tuple[str, ...] = ()
    #: The variable that holds its key; empty: it has none.
    key_variable: str = ""
    #: What it calls the limit on the answer.
    output_limit: str = "max_tokens"
    #: Patterns of its models that only LiteLLM can call.
    through_litellm: tuple[str, ...] = ()


class CatalogError(Exception):
    """A file of models cannot be used; the message names the file, the field and what to mend."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


type _Price = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
type _Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\S+$")]


class _Prices(_Section):
    input: _Price
    cached_input: _Price | None = None
    output: _Price
    above: int = Field(0, ge=0)


class _Model(_Section):
    window: int = Field(WINDOW, gt=0)
    max_output: int = Field(MAX_OUTPUT, gt=0)
    capabilities: frozenset[Capability] = CAPABILITIES
    prices: tuple[_Prices, ...] = ()
    fallbacks: tuple[_Name, ...] = ()

    @field_validator("prices")
    @classmethod
    def _have_a_first_tier(cls, prices: tuple[_Prices, ...]) -> tuple[_Prices, ...]:
        tiers = [tier.above for tier in prices]
        if prices and (tiers[0] != 0 or tiers != sorted(set(tiers))):
            raise ValueError("the first tier has no `above`, and the others come in the order of theirs")
        return prices


class _Provider(_Section):
    api_base: str
    base_variables: tuple[_Name, ...] = ()
    key_variable: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]*$")] = ""
    output_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    through_litellm: tuple[_Name, ...] = ()

    @field_validator("api_base")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
            raise ValueError("an address looks like http://host:port/v1, without a key in it")
        return url


class _File(_Section):
    providers: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")], _Provider] = {}
    models: dict[_Name, _Model] = {}

    @model_validator(mode="after")
    def _no_model_falls_back_on_itself(self) -> _File:
        for name, model in self.models.items():
            if name in model.fallbacks:
                raise ValueError(f"{name} cannot be its own fallback")
        return self


@dataclass(frozen=True, slots=True)
class Catalog:
    """The contents of one or more files."""

    models: Mapping[str, Model]
    providers: Mapping[str, Provider]


def read(*files: Path) -> Catalog:
    """Read the shipped file and others; what a later one names replaces the entry of that name. Raises CatalogError."""
    models: dict[str, Model] = {}
    providers: dict[str, Provider] = {}
    for path in (BUILT_IN, *files):
        file = _read(path)
        providers |= {name: Provider(name=name, **dict(section)) for name, section in file.providers.items()}
        models |= {name: _model(name, section) for name, section in file.models.items()}
    return Catalog(models, providers)


def _read(path: Path) -> _File:
    try:
        # Decimal keeps a price as it is written.
        facts: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path} cannot be read as UTF-8 ({type(error).__name__})") from None
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"{path} is not TOML: {error}") from None
    try:
        return _File.model_validate(facts)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "models"
        raise CatalogError(f"{path}: {field}: {first.get('ctx', {}).get('error', first['msg'])}") from None


def _model(name: str, section: _Model) -> Model:
    prices = tuple(
        Prices(
            input=tier.input,
            # A provider without a price for cached input has no discount.
            cached_input=tier.input if tier.cached_input is None else tier.cached_input,
            output=tier.output,
            above=tier.above,
        )
        for tier in section.prices
    )
    return Model(
        name=name,
        window=section.window,
        max_output=section.max_output,
        capabilities=section.capabilities,
        prices=prices,
        fallbacks=section.fallbacks,
    )


_catalog = read()


def use(files: Iterable[Path]) -> None:
    """Take an operator's files into account, from now on and in this process. Raises CatalogError."""
    global _catalog  # noqa: PLW0603 (set once, where the settings are read)
    _catalog = read(*files)


def known() -> tuple[Model, ...]:
    """Return the models that a file names, in the order of the files."""
    return tuple(_catalog.models.values())


def find(name: str) -> Model:
    """Return what is known of a model; a name of no file gets the defaults."""
    return _catalog.models.get(name) or Model(name=name, is_known=False)


def provider_of(name: str) -> Provider | None:
    """Return the server of OpenAI's kind that a model is reached at; None: LiteLLM calls it."""
    prefix, _, rest = name.partition("/")
    provider = _catalog.providers.get(prefix)
    if provider is None or not rest or any(fnmatchcase(rest, pattern) for pattern in provider.through_litellm):
        return None
    return provider


def provider_names() -> frozenset[str]:
    """Return the names of the providers that the files have models or addresses of."""
    return frozenset(_catalog.providers) | {name.partition("/")[0] for name in _catalog.models if "/" in name}


def is_scripted(name: str) -> bool:
    """Say whether the name belongs to the built-in scripted model."""
    return name == scripted.NAME

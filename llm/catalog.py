"""Data about models and providers: capabilities, prices, and how to reach them.

`models.toml` ships with this package; an operator's own file adds to it and replaces its entries. Other models work as
well, with defaults and without a price. Never imports modules that call a model: the web process reads this one, too.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llm import scripted
from llm.types import TokenUsage

BUILT_IN_FILE = Path(__file__).with_name("models.toml")

type Capability = Literal["tools", "images", "reasoning", "prompt_cache", "embeddings"]

#: Prices are for this many tokens.
MILLION = 1_000_000

#: Variables in which LiteLLM looks for a key as well.
OTHER_KEY_VARIABLES = {
    "gemini": ("GOOGLE_API_KEY",),
    "vertex_ai": ("GOOGLE_APPLICATION_CREDENTIALS", "VERTEXAI_PROJECT"),
    "bedrock": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"),
}

DEFAULT_WINDOW_TOKENS, DEFAULT_MAX_OUTPUT_TOKENS = 128_000, 8_192
DEFAULT_CAPABILITIES: frozenset[Capability] = frozenset({"tools"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars for a million tokens, for calls that read more than `above` tokens."""

    input: Decimal
    cached_input: Decimal
    #: Of input that the provider adds to its cache.
    cache_write: Decimal
    output: Decimal
    above: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as the catalog describes it."""

    #: LiteLLM's name, `provider/name`.
    name: str
    #: The most tokens that it reads.
    window: int = DEFAULT_WINDOW_TOKENS
    #: The most tokens of an answer.
    max_output: int = DEFAULT_MAX_OUTPUT_TOKENS
    capabilities: frozenset[Capability] = DEFAULT_CAPABILITIES
    #: The cheapest tier first; empty: unknown.
    prices: tuple[Prices, ...] = ()
    #: Models to call in turn when it fails.
    fallbacks: tuple[str, ...] = ()
    #: Whether a file names it; other models have the defaults above.
    is_known: bool = True
    #: Whether the file of this package names it: then its provider limits answers by itself.
    is_built_in: bool = False

    def cost(self, usage: TokenUsage) -> Decimal | None:
        """Return US dollars, or None for an unknown price."""
        prices = [prices for prices in self.prices if not prices.above or usage.input_tokens > prices.above]
        if not prices:
            return None
        price = max(prices, key=lambda prices: prices.above)
        cached = min(usage.cached_tokens, usage.input_tokens)
        written = min(usage.cache_write_tokens, usage.input_tokens - cached)
        fresh = usage.input_tokens - cached - written
        read = fresh * price.input + cached * price.cached_input + written * price.cache_write
        return (read + usage.output_tokens * price.output) / MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A server that speaks OpenAI's chat completions, which is called without LiteLLM."""

    name: str
    api_base: str
    #: Variables of the workers' environment with another address; the first one that is set counts.
    base_variables: tuple[str, ...] = ()
    #: The variable with its key; empty: it needs none.
    key_variable: str = ""
    #: Its name for the limit on the answer.
    output_limit: str = "max_tokens"
    #: Fields of a request that it refuses.
    leave_out: frozenset[str] = frozenset()
    #: Patterns of its models that only LiteLLM can call.
    through_litellm: tuple[str, ...] = ()
    #: Patterns of its models that read marks at the ends of prefixes for their cache (`cache_control`).
    cache_marks: tuple[str, ...] = ()


class CatalogError(Exception):
    """A file of models is not valid; the message names the file, the field and the problem."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


type _Price = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
type _Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\S+$")]


class _Prices(_Section):
    input: _Price
    cached_input: _Price | None = None
    cache_write: _Price | None = None
    output: _Price
    above: int = Field(0, ge=0)


class _Model(_Section):
    window: int = Field(DEFAULT_WINDOW_TOKENS, gt=0)
    max_output: int = Field(DEFAULT_MAX_OUTPUT_TOKENS, gt=0)
    capabilities: frozenset[Capability] = DEFAULT_CAPABILITIES
    prices: tuple[_Prices, ...] = ()
    fallbacks: tuple[_Name, ...] = ()

    @field_validator("prices")
    @classmethod
    def _check_tiers(cls, prices: tuple[_Prices, ...]) -> tuple[_Prices, ...]:
        tiers = [tier.above for tier in prices]
        if prices and (tiers[0] != 0 or tiers != sorted(set(tiers))):
            raise ValueError("the first tier must have no `above`, and the others must be sorted by theirs")
        return prices


class _Provider(_Section):
    api_base: str
    base_variables: tuple[_Name, ...] = ()
    key_variable: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]*$")] = ""
    output_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    leave_out: frozenset[_Name] = frozenset()
    through_litellm: tuple[_Name, ...] = ()
    cache_marks: tuple[_Name, ...] = ()

    @field_validator("api_base")
    @classmethod
    def _check_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
            raise ValueError("give an address such as http://host:port/v1, without a key in it")
        return url


class _File(_Section):
    providers: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")], _Provider] = {}
    models: dict[_Name, _Model] = {}

    @model_validator(mode="after")
    def _check_fallbacks(self) -> Self:
        for name, model in self.models.items():
            if name in model.fallbacks:
                raise ValueError(f"{name} cannot be its own fallback")
        return self


@dataclass(frozen=True, slots=True)
class Catalog:
    """The contents of one or more files."""

    models: Mapping[str, Model]
    providers: Mapping[str, Provider]


def load(*files: Path) -> Catalog:
    """Load the built-in file and others; entries of later ones replace those of the same name. Raises CatalogError."""
    models: dict[str, Model] = {}
    providers: dict[str, Provider] = {}
    for path in (BUILT_IN_FILE, *files):
        file = _load_file(path)
        providers |= {name: Provider(name=name, **dict(section)) for name, section in file.providers.items()}
        is_built_in = path == BUILT_IN_FILE
        models |= {name: _model(name, section, is_built_in=is_built_in) for name, section in file.models.items()}
    return Catalog(models, providers)


def _load_file(path: Path) -> _File:
    try:
        # Decimal keeps a price exact.
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


def _model(name: str, section: _Model, *, is_built_in: bool) -> Model:
    prices = tuple(
        Prices(
            input=tier.input,
            # Without a price for cached input there is no discount.
            cached_input=tier.input if tier.cached_input is None else tier.cached_input,
            cache_write=tier.input if tier.cache_write is None else tier.cache_write,
            output=tier.output,
            above=tier.above,
        )
        for tier in section.prices
    )
    return Model(name=name, is_built_in=is_built_in, prices=prices, **section.model_dump(exclude={"prices"}))


_catalog = load()


def use(files: Iterable[Path]) -> None:
    """Add an operator's files to this process's catalog. Raises CatalogError."""
    global _catalog  # noqa: PLW0603 (set once, where the settings are read)
    _catalog = load(*files)


def all_models() -> tuple[Model, ...]:
    """Return the models that a file names, in the order of the files."""
    return tuple(_catalog.models.values())


def find(name: str) -> Model:
    """Return a model; one that no file names has the defaults."""
    return _catalog.models.get(name) or Model(name=name, is_known=False)


def provider_of(name: str) -> Provider | None:
    """Return the OpenAI-compatible provider of a model, or None for a model that LiteLLM calls."""
    prefix, _, rest = name.partition("/")
    provider = _catalog.providers.get(prefix)
    if provider is None or not rest or any(fnmatchcase(rest, pattern) for pattern in provider.through_litellm):
        return None
    return provider


def is_on_operators_server(name: str) -> bool:
    """Return whether a model's server is the operator's own, as the environment of a worker says.

    Such a server may need no key, so a caller's key does not say that the caller pays.
    """
    provider = provider_of(name)
    if provider is None:
        # LiteLLM's names for the address of a provider.
        prefix = name.partition("/")[0].upper()
        return any(os.environ.get(f"{prefix}_{suffix}") for suffix in ("API_BASE", "BASE_URL"))
    has_address = any(os.environ.get(variable) for variable in provider.base_variables)
    return has_address or not provider.key_variable or not provider.api_base.startswith("https:")


def provider_names() -> frozenset[str]:
    """Return the names of all providers in the files."""
    return frozenset(_catalog.providers) | {name.partition("/")[0] for name in _catalog.models if "/" in name}


def providers_with_key() -> frozenset[str]:
    """Return the providers that a worker can call: it has a key for them, or their server is the operator's own."""
    return frozenset(
        name
        for name in provider_names()
        if is_on_operators_server(f"{name}/any") or any(map(os.environ.get, key_variables(name)))
    )


def key_variables(provider: str) -> tuple[str, ...]:
    """Return the variables that may hold the key of a provider."""
    own = _catalog.providers.get(provider)
    if own is not None and own.key_variable:
        return (own.key_variable,)
    return (f"{re.sub(r'[^A-Za-z0-9]', '_', provider).upper()}_API_KEY", *OTHER_KEY_VARIABLES.get(provider, ()))


def is_scripted(name: str) -> bool:
    """Return whether this is the name of the built-in scripted model."""
    return name == scripted.NAME

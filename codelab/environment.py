"""The only reader of the process environment.

One frozen object, `environment`, holds every setting that can differ between installations. The `#:` comment above a
field is its manual; `.env.example` repeats it, and a test compares the two. Any setting can also come from a file: set
NAME_FILE to a path instead of NAME. This module must not import Django, because Celery and `make run` import it first.
"""

import os
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from codelab.secret_files import SecretFiles
from llm.keys import trim, trim_keys

PROJECT = Path(__file__).resolve().parent.parent

#: Shown by /health and the API documents; the same as in pyproject.toml.
VERSION = "0.1.0"


class Environment(BaseSettings):
    """Everything an operator can set, by the names of environment variables. Empty means "not set"."""

    # Our defaults are right. To validate them would load the libraries of the validators in each process.
    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", case_sensitive=True, validate_default=False
    )

    #: Address the web server listens on. Keep it on loopback unless a proxy with TLS is in front of it.
    host: str = Field("127.0.0.1", validation_alias="HOST")
    #: Port of the web server: chat page, API, WebSocket, admin, metrics.
    port: int = Field(8000, ge=1, le=65535, validation_alias="PORT")
    #: Seconds that answers under way may take to their end after SIGTERM to the web process; a second one ends it at
    #: once.
    drain_seconds: float = Field(60, ge=1, le=3600, validation_alias="CODELAB_DRAIN_SECONDS")
    #: Address Flower listens on.
    flower_host: str = Field("127.0.0.1", validation_alias="FLOWER_HOST")
    #: Port of Flower, the page that shows the Celery jobs.
    flower_port: int = Field(5555, ge=1, le=65535, validation_alias="FLOWER_PORT")
    #: Password of Flower's user "admin". Flower does not start without one; `make run` generates one.
    flower_password: SecretStr | None = Field(None, validation_alias="FLOWER_PASSWORD")
    #: Address of Flower for people, such as https://flower.example.com: the admin links turns to their tasks.
    #: `make run` sets it.
    flower_url: str = Field("", validation_alias="CODELAB_FLOWER_URL")
    #: Address of the web server for people, such as https://codelab.example.com: Flower links tasks to their turns in
    #: the admin. `make run` sets it.
    web_url: str = Field("", validation_alias="CODELAB_WEB_URL")
    #: Folder for all data of `make run`: database, Redis, generated secrets, logs. Relative to the project.
    data_dir: Path = Field(PROJECT / ".codelab", validation_alias="CODELAB_DATA_DIR")
    #: PostgreSQL server, postgresql://user:password@host:port/name. Without it `make run` starts its own.
    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    #: Redis server, redis://host:port/number. Without it `make run` starts its own.
    redis_url: SecretStr | None = Field(None, validation_alias="REDIS_URL")
    #: Celery's broker if it is not the Redis above, for example amqp://user:password@host:5672//.
    broker_url: SecretStr | None = Field(None, validation_alias="CODELAB_BROKER_URL")
    #: Port of the PostgreSQL that `make run` starts; a free one when not set.
    postgres_port: int | None = Field(None, ge=1, le=65535, validation_alias="POSTGRES_PORT")
    #: Port of the Redis that `make run` starts; a free one when not set.
    redis_port: int | None = Field(None, ge=1, le=65535, validation_alias="REDIS_PORT")

    #: Model that answers: "scripted" is the built-in scripted model, anything else a LiteLLM name such as
    #: openai/gpt-5-mini, whose key and address come from the provider's own variables (OPENAI_API_KEY, OPENAI_API_BASE,
    #: ANTHROPIC_API_KEY …).
    model: str = Field("scripted", min_length=1, validation_alias="CODELAB_MODEL")
    #: Model that summarizes what no longer fits a window, or "off"; the model that answers when not set.
    summary_model: str = Field("", validation_alias="CODELAB_SUMMARY_MODEL")
    #: Model that writes the titles of sessions, or "off"; the model that answers when not set.
    title_model: str = Field("", validation_alias="CODELAB_TITLE_MODEL")
    #: Maximum seconds until a model's first piece of content.
    first_token_timeout: PositiveFloat = Field(60, validation_alias="CODELAB_FIRST_TOKEN_TIMEOUT")
    #: Maximum seconds between two pieces of a model's content; keep-alive bytes do not count.
    idle_token_timeout: PositiveFloat = Field(30, validation_alias="CODELAB_IDLE_TOKEN_TIMEOUT")
    #: Maximum seconds of one whole model call.
    model_call_timeout: PositiveFloat = Field(600, validation_alias="CODELAB_MODEL_CALL_TIMEOUT")
    #: Maximum calls of one model while they fail before any content.
    model_tries: PositiveInt = Field(3, le=10, validation_alias="CODELAB_MODEL_TRIES")
    #: Maximum seconds that a turn waits in all for a provider that asks for it (rate limit). 0: it fails at once.
    rate_limit_wait: NonNegativeFloat = Field(300, le=86400, validation_alias="CODELAB_RATE_LIMIT_WAIT")
    #: TOML file with more models, their prices and fallbacks, and with your own model servers by URL.
    catalog: Path | None = Field(None, validation_alias="CODELAB_CATALOG")
    #: Callers who bring their own model server may use addresses of this machine and its networks.
    private_model_addresses: bool = Field(False, validation_alias="CODELAB_PRIVATE_MODEL_ADDRESSES")
    #: Maximum seconds of work for one turn, over all calls and attempts; waiting for tools does not count.
    turn_timeout: PositiveFloat = Field(900, validation_alias="CODELAB_TURN_TIMEOUT")
    #: US dollars that a turn's model calls may cost, as far as prices are known; no limit when not set.
    turn_dollars: PositiveFloat | None = Field(None, validation_alias="CODELAB_TURN_DOLLARS")
    #: "multi": an orchestrator chooses an agent for each task. "single": one agent does everything. "auto": "single"
    #: for the built-in model, which cannot choose, "multi" for all others.
    agents: Literal["auto", "multi", "single"] = Field("auto", validation_alias="CODELAB_AGENTS")
    #: Days for which requests of the OpenAI-compatible API and their answers are kept.
    completion_days: PositiveInt = Field(7, le=3650, validation_alias="CODELAB_COMPLETION_DAYS")
    #: Days after which an unused session is deleted with everything in it; kept forever when not set.
    session_days: PositiveInt | None = Field(None, le=3650, validation_alias="CODELAB_SESSION_DAYS")
    #: Turns that one worker process runs at the same time.
    worker_concurrency: PositiveInt = Field(256, le=4096, validation_alias="CODELAB_WORKER_CONCURRENCY")
    #: Seconds that a worker lets its turns finish after SIGTERM; then, or at a second SIGTERM, other workers begin
    #: their steps again. Give it ten seconds more before it is killed. `make run` sets it to 0.
    worker_grace_seconds: NonNegativeFloat = Field(30, validation_alias="CODELAB_WORKER_GRACE_SECONDS")

    #: Key that signs cookies and tokens, 50 random characters. Required unless CODELAB_DEBUG is on; `make run`
    #: generates one.
    secret_key: SecretStr | None = Field(None, validation_alias="CODELAB_SECRET_KEY")
    #: Secrets that encrypt users' provider keys, at least 32 characters each, comma-separated: the first encrypts, all
    #: decrypt. CODELAB_SECRET_KEY is used when not set.
    encryption_key: SecretStr | None = Field(None, validation_alias="CODELAB_ENCRYPTION_KEY")
    #: Django's debug mode: tracebacks in the browser. Never on a reachable machine.
    debug: bool = Field(False, validation_alias="CODELAB_DEBUG")
    #: Host names this service answers to, comma-separated.
    allowed_hosts: str = Field("localhost,127.0.0.1,[::1]", validation_alias="CODELAB_ALLOWED_HOSTS")
    #: Other origins whose pages may open sockets, send requests and read the answers, comma-separated
    #: (https://ide.example.com, app://obsidian.md).
    allowed_origins: str = Field("", validation_alias="CODELAB_ALLOWED_ORIGINS")
    #: Name of the user for callers on this machine without credentials; empty refuses them. `make run` sets it to
    #: "demo".
    open_access_user: str = Field("", validation_alias="CODELAB_OPEN_ACCESS_USER")
    #: Issuer of access tokens (`iss`). Services that verify tokens with the JWKS compare it.
    token_issuer: str = Field("https://auth.codelab.local", min_length=1, validation_alias="CODELAB_TOKEN_ISSUER")
    #: Lifetime of an access token in seconds.
    access_token_seconds: PositiveInt = Field(900, le=3600, validation_alias="CODELAB_ACCESS_TOKEN_SECONDS")
    #: Seconds between two checks of an open socket's credential.
    recheck_seconds: PositiveFloat = Field(30, le=60, validation_alias="CODELAB_RECHECK_SECONDS")
    #: Seconds after REST opened a session with a token or key during which a socket without credentials may follow it
    #: from the same address, as the original's editor does; 0 refuses such sockets. 600 when not set, 0 with
    #: CODELAB_HTTPS.
    opened_session_seconds: int | None = Field(None, ge=0, le=86400, validation_alias="CODELAB_OPENED_SESSION_SECONDS")
    #: Key of programs that send X-Internal-Auth, at least 16 characters. They act as CODELAB_INTERNAL_USER.
    internal_key: SecretStr | None = Field(None, min_length=16, validation_alias="CODELAB_INTERNAL_KEY")
    #: Name of the user for programs with the internal key.
    internal_user: str = Field("", validation_alias="CODELAB_INTERNAL_USER")
    #: Token requests from one address, such as "20/minute;100/hour", or "off".
    limit_sign_ins: str = Field("20/minute", validation_alias="CODELAB_LIMIT_SIGN_INS")
    #: Sockets a user may open; ten times as many from one address.
    limit_connections: str = Field("60/minute", validation_alias="CODELAB_LIMIT_CONNECTIONS")
    #: Frames and REST requests that change something, for a user; ten times as many from one address.
    limit_messages: str = Field("600/minute", validation_alias="CODELAB_LIMIT_MESSAGES")
    #: Turns a user may begin; ten times as many from one address.
    limit_turns: str = Field("60/minute;2000/day", validation_alias="CODELAB_LIMIT_TURNS")
    #: Images a user may upload; ten times as many from one address.
    limit_images: str = Field("60/minute;500/day", validation_alias="CODELAB_LIMIT_IMAGES")
    #: Requests that only read, and `hello` frames, of a user; ten times as many from one address.
    limit_reads: str = Field("1200/minute", validation_alias="CODELAB_LIMIT_READS")
    #: Mebibytes of images that a user may have stored, in all sessions.
    image_storage: PositiveInt = Field(2048, validation_alias="CODELAB_IMAGE_STORAGE")
    #: Model tokens, input and output, a user may use.
    limit_tokens: str = Field("20000000/day", validation_alias="CODELAB_LIMIT_TOKENS")
    #: The service is behind a proxy and reached over https only: cookies are secure, plain http is redirected.
    https: bool = Field(False, validation_alias="CODELAB_HTTPS")
    #: Proxies in front of the service that add to X-Forwarded-For, with CODELAB_HTTPS: 1 for nginx alone, 2 for a load
    #: balancer or CDN in front of it.
    proxy_hops: PositiveInt = Field(1, le=10, validation_alias="CODELAB_PROXY_HOPS")
    #: Log lines as "json" for machines or "text" for people.
    log_format: Literal["json", "text"] = Field("json", validation_alias="CODELAB_LOG_FORMAT")
    #: Lowest level that is logged.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", validation_alias="CODELAB_LOG_LEVEL")
    #: File that a worker writes after each heartbeat that reached the database, for the health check of its container.
    heartbeat_file: Path | None = Field(None, validation_alias="CODELAB_HEARTBEAT_FILE")
    #: Folder in which the processes of one machine share their metrics; without it /metrics shows only the web process.
    metrics_dir: Path | None = Field(None, validation_alias="PROMETHEUS_MULTIPROC_DIR")

    @field_validator("*", mode="before")
    @classmethod
    def _trim(cls, value: Any) -> Any:
        # Secret stores end a value with a line break, and editors begin a file with a mark.
        return trim(value) if isinstance(value, str) else value

    @field_validator("data_dir")
    @classmethod
    def _resolve(cls, value: Path) -> Path:
        return value if value.is_absolute() else PROJECT / value

    @field_validator("catalog")
    @classmethod
    def _require_catalog(cls, value: Path | None) -> Path | None:
        from llm import catalog

        if value is None:
            return None
        value = value if value.is_absolute() else PROJECT / value
        try:
            catalog.load(value)
        except catalog.CatalogError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("database_url")
    @classmethod
    def _require_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must start with postgresql://, the only database this service runs on")
        return value

    @field_validator("redis_url")
    @classmethod
    def _require_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("broker_url")
    @classmethod
    def _require_broker(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.match(r"(amqps?|pyamqp|rediss?)://[^/]|redis\+socket:///", value.get_secret_value()):
            raise ValueError("must look like amqp://user:password@host:5672// or redis://host:6379/0")
        return value

    @field_validator("flower_url", "web_url")
    @classmethod
    def _require_address(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^\s?#]+", value):
            raise ValueError("must look like https://codelab.example.com, without ? and #")
        return value.rstrip("/")

    @field_validator("allowed_origins")
    @classmethod
    def _require_origins(cls, value: str) -> str:
        for origin in filter(None, map(str.strip, value.split(","))):
            # Programs with pages of their own have schemes of their own: app://obsidian.md, vscode-webview://….
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#*\s]+", origin):
                raise ValueError(f"{origin} must have a scheme, no path and no *, such as https://ide.example.com")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _ignore_case(cls, value: str) -> str:
        return value.upper()

    @field_validator("encryption_key")
    @classmethod
    def _require_long_secrets(cls, value: SecretStr | None) -> SecretStr | None:
        if value and any(len(part.strip()) < 32 for part in value.get_secret_value().split(",")):
            raise ValueError("each secret must have at least 32 characters")
        return value

    @field_validator(
        *(f"limit_{kind}" for kind in ("sign_ins", "connections", "messages", "turns", "images", "reads", "tokens"))
    )
    @classmethod
    def _require_limit(cls, value: str) -> str:
        from limits import parse_many

        try:
            # Zero would block every user; "off" switches a limit off.
            is_valid = value == "off" or all(limit.amount > 0 for limit in parse_many(value))
        except ValueError:
            is_valid = False
        if not is_valid:
            raise ValueError('must look like "60/minute" or "60/minute;1000/day", or be "off"')
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls)


def unknown_names() -> dict[str, str]:
    """Return variables that look like ours and are not, each with the name that was probably meant, or ""."""
    known = {str(field.validation_alias) for field in Environment.model_fields.values()}
    known |= {f"{name}_FILE" for name in known}
    unknown = sorted(name for name in os.environ if name.startswith("CODELAB_") and name not in known)
    return {name: next(iter(get_close_matches(name, known, n=1, cutoff=0.8)), "") for name in unknown}


def read_environment() -> Environment:
    """Return the settings, or end the process with a sentence for each wrong variable."""
    try:
        return Environment()
    except ValidationError as error:
        for problem in error.errors():
            message = problem["msg"].removeprefix("Value error, ")
            print(f"{problem['loc'][0]} is not usable: {message}.", file=sys.stderr)
    except ValueError as error:
        print(f"{error}.", file=sys.stderr)
    raise SystemExit(2)


trim_keys(os.environ)
environment = read_environment()

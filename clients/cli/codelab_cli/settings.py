"""Where the commands get their settings: option, environment, configuration file, default."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from codelab_cli.failures import ExitCode, Failure

DEFAULT_URL = "http://127.0.0.1:8000"
#: Keys of the configuration file, with their types.
FILE_KEYS: dict[str, type] = {
    "url": str,
    "agent": str,
    "mode": str,
    "allow_secrets": bool,
    "markdown": bool,
    "keyring": bool,
}


@dataclass(frozen=True)
class Settings:
    """What a command works with."""

    #: The server's address.
    url: str = DEFAULT_URL
    #: An API key or an access token. It wins over what `codelab login` has stored.
    api_key: str = ""
    #: Agent and mode of new sessions; empty: the server's choice.
    agent: str = ""
    mode: str = ""
    #: Files that may hold secrets are read and sent.
    allow_secrets: bool = False
    #: Answers are rendered; otherwise they are shown as they come.
    markdown: bool = True
    #: Credentials go to the system's keyring where it has one.
    keyring: bool = True
    config_file: Path = field(default_factory=lambda: Path(platformdirs.user_config_dir("codelab")) / "config.toml")
    #: Credentials, and what was shown of each session.
    state_dir: Path = field(default_factory=lambda: Path(platformdirs.user_state_dir("codelab")))


def load_settings(environment: Mapping[str, str] = os.environ, *, url: str | None = None) -> Settings:
    """Read the settings. Raises Failure for a file or a value that cannot be used."""
    values: dict[str, Any] = {}
    config_file = Path(environment["CODELAB_CONFIG"]) if environment.get("CODELAB_CONFIG") else Settings().config_file
    values |= _read_file(config_file, is_named=bool(environment.get("CODELAB_CONFIG")))
    for name, variable in (("url", "CODELAB_URL"), ("api_key", "CODELAB_API_KEY")):
        if text := environment.get(variable, "").strip():
            values[name] = text
    if environment.get("CODELAB_KEYRING", "").lower() in ("0", "false", "no", "off"):
        values["keyring"] = False
    if url:
        values["url"] = url
    settings = Settings(**values, config_file=config_file)
    _check_url(settings.url)
    return settings


def _read_file(path: Path, *, is_named: bool) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if is_named:
            raise Failure(
                f"The configuration file {path} does not exist.", "Correct CODELAB_CONFIG.", code=ExitCode.USAGE
            ) from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"The configuration file {path} cannot be read: {error}.", code=ExitCode.USAGE) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Failure(f"The configuration file {path} is not TOML: {error}.", code=ExitCode.USAGE) from error
    for key, value in values.items():
        wanted = FILE_KEYS.get(key)
        if wanted is None or not isinstance(value, wanted):
            problem = f"must be a {'text' if wanted is str else 'true or false'}" if wanted else "is not a setting"
            raise Failure(
                f"`{key}` in {path} {problem}.", f"Its settings are: {', '.join(FILE_KEYS)}.", code=ExitCode.USAGE
            )
    return values


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise Failure(f"`{url}` is not an address of a server.", f"Use one like {DEFAULT_URL}.", code=ExitCode.USAGE)

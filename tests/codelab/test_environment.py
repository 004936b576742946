"""The settings: their manual, their sources, and the sentences about wrong values."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from codelab.environment import PROJECT, Environment
from tests.live.service import template

SETTINGS = {str(field.validation_alias): field for field in Environment.model_fields.values()}
#: Others in .env.example: those that docker-compose.yml reads itself, and the providers' own variables.
COMPOSE = {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "SERVICE_CPUS"}
PROVIDERS = re.compile(r"[A-Z]+_API_(KEY|BASE|VERSION)")


def read(settings: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Print one setting in a new process with only these variables."""
    code = f"from codelab.environment import environment; print(environment.{settings or 'port'})"
    bare = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in SETTINGS}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=bare | environment, capture_output=True, text=True, check=False
    )


def manual() -> dict[str, str]:
    """Return the comment above each setting of environment.py."""
    source = (PROJECT / "codelab" / "environment.py").read_text(encoding="utf-8")
    found = re.findall(r"((?:    #: .*\n)+)    \w+: .*validation_alias=\"(\w+)\"", source)
    return {name: " ".join(re.sub(r"(?m)^    #: ", "", text).split()) for text, name in found}


def example() -> dict[str, tuple[str, str]]:
    """Return the comment and the value of each setting of .env.example."""
    found: dict[str, tuple[str, str]] = {}
    comment: list[str] = []
    for line in (PROJECT / ".env.example").read_text(encoding="utf-8").splitlines():
        if setting := re.fullmatch(r"#?([A-Z][A-Z0-9_]*)=(.*)", line):
            assert setting[1] not in found, f"{setting[1]} is there twice"
            found[setting[1]] = (" ".join(" ".join(comment).split()), setting[2])
            comment = []
        elif line.startswith("#"):
            comment.append(line[1:])
        else:
            comment = []
    return found


@pytest.mark.parametrize("value", ["sk-test-1\n", "sk-test-1\r\n", "sk-test-1 ", " sk-test-1", "\ufeffsk-test-1\u00a0"])
def test_keys_are_trimmed(value: str) -> None:
    code = "import os; from codelab.environment import environment; print(os.environ['OPENAI_API_KEY'], end='')"
    command = [sys.executable, "-c", code]
    variables = os.environ | {"OPENAI_API_KEY": value}
    run = subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, text=True, check=True)
    assert run.stdout == "sk-test-1"
    assert read("model", CODELAB_MODEL=value).stdout == "sk-test-1\n"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("OPENAI_API_KEY", "sk-test 1", "has a blank or a line break inside"),
        ("OPENAI_API_KEY", "sk-test\nsk-2", "has a blank or a line break inside"),
        ("ANTHROPIC_API_KEY", "ключ", "has characters that a key cannot have"),
        ("TOGETHER_AI_API_KEY", "sk\x7f", "has characters that a key cannot have"),
        ("OTHER_API_KEY", "not a provider's", ""),
        ("OPENAI_API_KEY", "", ""),
    ],
)
def test_a_key_that_cannot_be_sent_ends_the_start(name: str, value: str, problem: str) -> None:
    code = "from codelab.checks import require_settings; require_settings()"
    settings = {"DJANGO_SETTINGS_MODULE": "codelab.settings", "CODELAB_SECRET_KEY": "x7" * 30, name: value}
    settings |= {"CODELAB_MODEL": "together_ai/x", "DATABASE_URL": os.environ["DATABASE_URL"]}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=PROJECT, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert (run.returncode, problem in run.stderr, f"{name} has" in run.stderr) == (
        (2, True, True) if problem else (0, True, False)
    )


def test_every_setting_has_its_manual() -> None:
    assert manual().keys() == SETTINGS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_example_repeats_the_manual(name: str) -> None:
    comment, value = example()[name]
    assert manual()[name] in comment
    default = SETTINGS[name].default
    if isinstance(default, Path):
        default = default.relative_to(PROJECT)
    elif isinstance(default, bool):
        default = str(default).lower()
    assert value == ("" if default is None else str(default))


def test_the_example_has_no_other_setting() -> None:
    others = example().keys() - SETTINGS.keys()
    assert {name for name in others if not PROVIDERS.fullmatch(name)} == COMPOSE


def test_only_what_compose_needs_is_not_commented_out() -> None:
    lines = (PROJECT / ".env.example").read_text(encoding="utf-8").splitlines()
    open_lines = {line for line in lines if line and not line.startswith("#")}
    assert open_lines == {f"{name}=" for name in COMPOSE - {"SERVICE_CPUS"} | {"CODELAB_SECRET_KEY", "FLOWER_PASSWORD"}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eight thousand"),
        ("PORT", "65536"),
        ("FLOWER_PORT", "0"),
        ("CODELAB_DEBUG", "maybe"),
        ("CODELAB_HTTPS", "2"),
        ("CODELAB_TURN_TIMEOUT", "-1"),
        ("CODELAB_WORKER_CONCURRENCY", "0"),
        ("CODELAB_LOG_FORMAT", "xml"),
        ("CODELAB_LOG_LEVEL", "loud"),
        ("CODELAB_WORKER_CONCURRENCY", "1000000"),
        ("CODELAB_BROKER_URL", "nonsense"),
        ("CODELAB_BROKER_URL", "amqp://"),
        ("CODELAB_ALLOWED_ORIGINS", "https://a.example,ide.example.com"),
        ("CODELAB_ALLOWED_ORIGINS", "https://*.example.com"),
        ("CODELAB_ALLOWED_ORIGINS", "*"),
        ("CODELAB_ALLOWED_ORIGINS", "null"),
        ("DATABASE_URL", "mysql://somebody:letmein@host/name"),
        ("REDIS_URL", "http://somebody:letmein@host"),
    ],
)
def test_a_wrong_value_ends_the_process_with_one_sentence(name: str, value: str) -> None:
    done = read(**{name: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"{name} is not usable: [^\n]+\.\n", done.stderr)
    assert "letmein" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CODELAB_LOG_LEVEL", "info", "INFO"),
        ("CODELAB_ALLOWED_ORIGINS", "https://a.example, http://b.example:8000, app://obsidian.md", None),
    ],
)
def test_a_value_may_be_written_as_people_do(name: str, value: str, expected: str | None) -> None:
    done = read(name.removeprefix("CODELAB_").lower(), **{name: value})
    assert done.stdout == f"{expected or value}\n", done.stderr


@pytest.mark.parametrize(
    "url", ["amqp://user:password@host:5672//", "amqps://host//", "redis://host:6379/0", "redis+socket:///run/redis"]
)
def test_a_broker_has_the_scheme_of_one(url: str) -> None:
    assert read("broker_url.get_secret_value()", CODELAB_BROKER_URL=url).stdout == f"{url}\n"


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    """Do what a process does first when it starts."""
    code = "from codelab.checks import require_settings; require_settings()"
    variables = {**os.environ, "DJANGO_SETTINGS_MODULE": "codelab.settings", "CODELAB_LOG_FORMAT": "json"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=variables | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_processes_end_without_a_secret_key() -> None:
    done = start(CODELAB_SECRET_KEY="")
    assert done.returncode == 2
    assert done.stderr.startswith("The secret key is not set. Set CODELAB_SECRET_KEY ")


@pytest.mark.parametrize(
    ("name", "value", "check", "text"),
    [
        ("CODELAB_SECRET_KEY", "short", "codelab.W004", "CODELAB_SECRET_KEY is short."),
        ("CODELAB_ALLOWED_HOSTS", "*", "codelab.W005", "CODELAB_ALLOWED_HOSTS allows every name."),
        ("CODELAB_OPEN_ACCESS_USER", "nobody", "codelab.W006", "The open-access user nobody does not exist."),
        ("CODELAB_SECRT_KEY", "x", "codelab.W007", "Did you mean CODELAB_SECRET_KEY?"),
        ("CODELAB_MODLE_FILE", "x", "codelab.W007", "Did you mean CODELAB_MODEL_FILE?"),
        ("CODELAB_SOMETHING_ELSE", "x", "codelab.W007", "docs/configuration.md lists all of them."),
    ],
)
def test_processes_say_at_start_what_is_questionable(name: str, value: str, check: str, text: str) -> None:
    # The tables of a migrated database; a process that starts without them says nothing of users.
    done = start(**{"DATABASE_URL": template(), name: value})
    assert done.returncode == 0, done.stderr
    line = next(line for line in (done.stdout + done.stderr).splitlines() if check in line)
    assert text in line


def test_each_wrong_value_has_a_sentence_of_its_own() -> None:
    done = read(PORT="x", CODELAB_LOG_FORMAT="xml")
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["PORT", "CODELAB_LOG_FORMAT"]


def test_a_setting_can_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from a file\n", encoding="utf-8")
    assert read("secret_key.get_secret_value()", CODELAB_SECRET_KEY_FILE=str(secret)).stdout == "from a file\n"
    both = read("secret_key.get_secret_value()", CODELAB_SECRET_KEY_FILE=str(secret), CODELAB_SECRET_KEY="set")
    assert both.stdout == "set\n"


def test_a_wrong_value_in_a_file_is_reported_too(tmp_path: Path) -> None:
    port = tmp_path / "port"
    port.write_text("x", encoding="utf-8")
    done = read(PORT_FILE=str(port))
    assert done.returncode == 2
    assert done.stderr.startswith("PORT is not usable: ")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    done = read(CODELAB_SECRET_KEY_FILE=str(tmp_path / "missing"))
    assert done.returncode == 2
    assert re.fullmatch(r"CODELAB_SECRET_KEY_FILE points to \S+, which cannot be read: [^\n]+\.\n", done.stderr)


def test_empty_means_not_set() -> None:
    empty = dict.fromkeys(SETTINGS, "") | {f"{name}_FILE": "" for name in SETTINGS}
    assert read("model_fields_set", **empty).stdout == "set()\n"


def test_a_folder_is_relative_to_the_project() -> None:
    assert read("data_dir", CODELAB_DATA_DIR="elsewhere").stdout == f"{PROJECT / 'elsewhere'}\n"
    assert read("data_dir", CODELAB_DATA_DIR="/elsewhere").stdout == "/elsewhere\n"


def test_secrets_are_not_printed() -> None:
    assert "letmein" not in read("secret_key", CODELAB_SECRET_KEY="letmein").stdout
    assert "letmein" not in repr(Environment.model_validate({"DATABASE_URL": "postgresql://u:letmein@host/name"}))

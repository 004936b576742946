from __future__ import annotations

import subprocess
import sys

import pytest

from codelab.environment import PROJECT
from codelab.logging import REDACTED, redact


def logged(**fields: object) -> dict[str, object]:
    return dict(redact(None, "info", {"event": "x", **fields}))


@pytest.mark.parametrize(
    "name",
    ["token", "access_token", "Authorization", "api_key", "OPENAI_APIKEY", "password", "cookie", "content", "prompt"],
)
def test_fields_with_the_name_of_a_secret_are_redacted(name: str) -> None:
    assert logged(**{name: "canary"})[name] == REDACTED


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-canary123456",
        "Authorization: Bearer canary.canary",
        "redis://:canary@127.0.0.1:6379/0",
        "postgresql://user:canary@db/name",
        "eyJcanaryAAA.eyJcanary.canary",
    ],
)
def test_what_has_the_shape_of_a_secret_is_redacted_wherever_it_stands(text: str) -> None:
    assert "canary" not in str(logged(error=text, event=text))


def test_counts_and_ids_are_left_alone() -> None:
    fields = {"output_tokens": 5, "turn_id": "01a2", "length": 11, "error_code": "model_stalled"}
    assert logged(**fields) == {"event": "x", **fields}


CRASH = """
import logging, sys
import structlog
from codelab.logging import configure_logging

configure_logging(sys.argv[1], "INFO")

def crash(content):
    raise ValueError("broken " + key)

key = "sk-" + "canary-key"
text = "canary" + "-text"
for logger in (structlog.get_logger("ours"), logging.getLogger("a library's")):
    try:
        crash(text)
    except ValueError:
        logger.exception("turn_crashed")
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_shows_neither_values_nor_keys(log_format: str) -> None:
    command = [sys.executable, "-c", CRASH, log_format]
    lines = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stderr
    assert lines.count("turn_crashed") == 2
    assert lines.count(f"ValueError: broken {REDACTED}") == 2
    assert "canary" not in lines

"""Logging: structlog renders our own lines and those of libraries, as JSON or as text.

Every line carries the ids bound to its context (request, session, turn). Text of users and models, keys and tokens must
never be logged; `redact` is the last defence against a library that does.
"""

import logging
import logging.config
import re
from functools import lru_cache
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRET_NAMES = re.compile(
    r"(?i)^(.*(authorization|password|passwd|secret|api_?key|cookie)|.*_token|token|content|prompt|messages?_text)$"
)
SECRET_SHAPES = re.compile(
    r"(?i)(sk-[a-z0-9_-]{8,}|cl[krt]_[\w-]{8,}|bearer\s+\S+|eyJ[\w-]+\.[\w-]+\.[\w-]+|AKIA[0-9A-Z]{16}|(?<=://)[^/\s:@]*:[^/\s@]+(?=@))"
)
REDACTED = "[redacted]"


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    # Of a turn's line this took longer than all its values: the names are always the same.
    return SECRET_NAMES.match(name) is not None


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what looks like a secret by the name of its field or by its shape."""
    for name, value in event.items():
        if name != "event" and _is_secret(name):
            event[name] = REDACTED
        elif isinstance(value, str):
            event[name] = SECRET_SHAPES.sub(REDACTED, value)
    return event


def configure_logging(log_format: str, level: str) -> None:
    """Set up structlog and the standard library's logging. Called once, from the settings."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    renderer: Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        # With rich installed the default would show the values of variables: texts of users, and keys.
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, exception_formatter=plain)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    # Each of these logs a line for each request, chunk or connection, some with an address in it.
    chatty = (
        "httpx",
        "httpcore",
        "LiteLLM",
        "openai",
        "django.channels.server",
        "daphne",
        "asyncio",
        "celery.app.trace",
        "celery.beat",
        "celery.worker.strategy",
    )
    quiet = {name: {"level": "WARNING"} for name in chatty}
    # Our own lines cover these: a failed request is in its last line.
    quiet |= {name: {"level": "CRITICAL"} for name in ("django.request", "django.security.DisallowedHost")}
    # Flower warns about workers that are not up yet, and asks again.
    quiet["flower.inspector"] = {"level": "ERROR"}
    # psycopg sets a level of its own unless its logger has one.
    quiet["psycopg"] = {"level": "ERROR" if level == "ERROR" else "WARNING"}
    config: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structlog": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    # Before `redact`, so that tracebacks are text that it sees.
                    structlog.processors.format_exc_info,
                    redact,
                    renderer,
                ],
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "structlog"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": quiet,
    }
    logging.config.dictConfig(config)

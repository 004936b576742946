"""Django's settings, assembled from `codelab.environment`. Nothing branches on the name of an environment."""

import logging
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from codelab import metric_files
from codelab.environment import PROJECT, VERSION, environment
from codelab.logging import configure_logging
from codelab.postgresql.pool import check
from llm import catalog


def reveal(secret: SecretStr | None) -> str:
    """Return the text of a secret, empty when it is not set."""
    return secret.get_secret_value() if secret else ""


def split(text: str) -> list[str]:
    """Return the items of a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]


DEBUG = environment.debug
SECRET_KEY = reveal(environment.secret_key) or ("only for debugging, never signs anything real" if DEBUG else "")
ALLOWED_HOSTS = split(environment.allowed_hosts)
# Browsers send them in small letters.
ALLOWED_ORIGINS = split(environment.allowed_origins.lower())
CSRF_TRUSTED_ORIGINS = ALLOWED_ORIGINS
OPEN_ACCESS_USER = environment.open_access_user

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    # Its index type is that of the search; nothing else of it is used.
    "django.contrib.postgres",
    "channels",
    "ninja",
    "django_structlog",
    "django_prometheus",
    "codelab",
    "codelab.identity",
    "sessions",
    # After the apps whose templates replace its own.
    "codelab.admin_site.OperationsConfig",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "codelab.static_files.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "codelab.http_methods.HttpMethods",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "codelab.request_log.page_user",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "codelab.urls"
ASGI_APPLICATION = "codelab.asgi.application"
# The original's clients use paths without a trailing slash and follow no redirects.
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

_database = urlsplit(reveal(environment.database_url) or "postgresql://codelab@127.0.0.1:5432/codelab")
DATABASES = {
    "default": {
        "ENGINE": "codelab.postgresql",
        "NAME": unquote(_database.path.lstrip("/")) or "codelab",
        "USER": unquote(_database.username or ""),
        "PASSWORD": unquote(_database.password or ""),
        "HOST": _database.hostname or "127.0.0.1",
        "PORT": str(_database.port or 5432),
        # A connection returns to the pool after each piece of work; the health check discards those that a restart
        # of PostgreSQL closed.
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            # The URL may contain any option of libpq: …?sslmode=require
            **dict(parse_qsl(_database.query)),
            "connect_timeout": 3,
            # Without a connection a request is answered within 3 s. `reconnect_timeout` is short because the pool
            # doubles its delay: after a minute without PostgreSQL it would sleep for another one.
            "pool": {
                "min_size": 1,
                "max_size": 20,
                "timeout": 2.5,
                "reconnect_timeout": 3,
                "max_idle": 60,
                "check": check,
            },
        },
        # A statement or lock that takes longer is a fault. Transactions take milliseconds: a process that freezes in
        # one loses it, and its locks, before a client's frame that waits for them is refused
        # (sessions.api.commands.STORE_TIMEOUT_SECONDS).
        "LIMITS": {"statement_timeout": 10_000, "lock_timeout": 5_000, "idle_in_transaction_session_timeout": 2_000},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = reveal(environment.redis_url) or "redis://127.0.0.1:6379/0"
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "hosts": [
                {
                    "address": REDIS_URL,
                    # By default redis-py 8 ends a blocking read after 5 s, which ends idle sockets
                    # (django/channels_redis#422). Without a limit a dead peer would block it.
                    "socket_timeout": 15,
                    "socket_connect_timeout": 3,
                    # Reconnect at once, without the library's pause of a second.
                    "retry": Retry(NoBackoff(), 1),
                    # A new connection says no more than it must: each exchange takes a round trip.
                    "protocol": 2,
                    "driver_info": None,
                }
            ]
        },
    }
}

LANGUAGE_CODE = "en"
# Of the pages for users (`sessions.api.language`).
LANGUAGES = [("en", "English"), ("ru", "Русский")]
LANGUAGE_COOKIE_NAME, LANGUAGE_COOKIE_AGE, LANGUAGE_COOKIE_SAMESITE = "language", 31_536_000, "Lax"
TIME_ZONE = "UTC"
USE_TZ = True
# Dates with seconds and zone: operators compare them with logs.
FORMAT_MODULE_PATH = "codelab.formats"

STATIC_URL = "static/"
# The chat page imports the JavaScript client from /static/client/.
STATICFILES_DIRS = [("client", PROJECT / "clients/javascript/src")]
STATIC_ROOT = environment.data_dir / "static"
# WhiteNoise warns about a missing folder.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# WhiteNoise serves the apps' own files, so `make run` needs no collectstatic.
WHITENOISE_USE_FINDERS = True
WHITENOISE_ALLOW_ALL_ORIGINS = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["codelab.identity.backend.PasswordBackend"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "/"

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = SECURE_SSL_REDIRECT = environment.https
SECURE_HSTS_SECONDS = 31_536_000 if environment.https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = environment.https
SECURE_REDIRECT_EXEMPT = [r"^health", r"^live$", r"^metrics$", r"^ready$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if environment.https else None
X_FRAME_OPTIONS = "DENY"

DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# From a few milliseconds to a long answer.
PROMETHEUS_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, float("inf"))
PROMETHEUS_EXPORT_MIGRATIONS = False

LOGGING_CONFIG = None
configure_logging(environment.log_format, environment.log_level)
metric_files.share(environment.metrics_dir)

# The ids of the log context travel with a task. Its lines about tasks are for debugging: turns log their own progress.
DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_CELERY_TASK_FAILURE_LOG_LEVEL = logging.DEBUG
DJANGO_STRUCTLOG_CELERY_TASK_START_LOG_LEVEL = DJANGO_STRUCTLOG_CELERY_TASK_SUCCESS_LOG_LEVEL = logging.DEBUG

BASE_DIR = PROJECT

# Forwarded addresses are trusted only where a proxy is required.
CODELAB_BEHIND_PROXY = environment.https
CODELAB_PROXY_HOPS = environment.proxy_hops
CODELAB_TOKEN_ISSUER = environment.token_issuer
CODELAB_ACCESS_TOKEN_SECONDS = environment.access_token_seconds
CODELAB_RECHECK_SECONDS = environment.recheck_seconds
# Behind a proxy many people share an address, or one may be invented: only where an operator says so.
_opened_session_seconds = 0 if environment.https else 600
CODELAB_OPENED_SESSION_SECONDS = (
    _opened_session_seconds if environment.opened_session_seconds is None else environment.opened_session_seconds
)
CODELAB_INTERNAL_KEY = reveal(environment.internal_key)
CODELAB_INTERNAL_USER = environment.internal_user
CODELAB_LIMITS = {
    "sign_ins": environment.limit_sign_ins,
    "connections": environment.limit_connections,
    "messages": environment.limit_messages,
    "turns": environment.limit_turns,
    "images": environment.limit_images,
    "reads": environment.limit_reads,
    "tokens": environment.limit_tokens,
}

CODELAB_FLOWER_URL = environment.flower_url
CODELAB_HEARTBEAT_FILE = environment.heartbeat_file
CODELAB_VERSION = VERSION
CODELAB_MODEL = environment.model
CODELAB_SUMMARY_MODEL = environment.summary_model
CODELAB_TITLE_MODEL = environment.title_model
CODELAB_AGENTS = environment.agents
CODELAB_TURN_TIMEOUT = environment.turn_timeout
CODELAB_WORKER_GRACE_SECONDS = environment.worker_grace_seconds
CODELAB_TURN_DOLLARS = environment.turn_dollars
CODELAB_FIRST_TOKEN_TIMEOUT = environment.first_token_timeout
CODELAB_IDLE_TOKEN_TIMEOUT = environment.idle_token_timeout
CODELAB_MODEL_CALL_TIMEOUT = environment.model_call_timeout
CODELAB_MODEL_TRIES = environment.model_tries
CODELAB_RATE_LIMIT_WAIT = environment.rate_limit_wait
# The first one encrypts, all decrypt.
CODELAB_ENCRYPTION_KEYS = split(reveal(environment.encryption_key)) or [SECRET_KEY]
CODELAB_IMAGE_STORAGE_BYTES = environment.image_storage * 1024**2
CODELAB_COMPLETION_DAYS = environment.completion_days
CODELAB_SESSION_DAYS = environment.session_days
CODELAB_PRIVATE_MODEL_ADDRESSES = environment.private_model_addresses
if environment.catalog:
    catalog.use([environment.catalog])

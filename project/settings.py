"""Django's settings, derived from `realtime.conf`; nothing here is meant to be edited per installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dj_database_url

from project.keys import generated_keys
from realtime.conf import BASE_DIR, conf

_conf = conf()
_generated = {} if _conf.secret_key and _conf.field_keys else generated_keys(_conf.data_dir)

SECRET_KEY = _conf.secret_key or _generated["secret_key"]
FIELD_KEYS = list(_conf.field_keys) or [_generated["field_key"]]
DEBUG = _conf.debug
ALLOWED_HOSTS = list(_conf.allowed_hosts)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "ninja",
    "pgtrigger",
    "realtime",
    *_conf.apps,
]

# Short, because each of Django's own costs a thread hop per request: ours sets all the security headers.
MIDDLEWARE = [
    "realtime.web.middleware.security",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "realtime" / "web" / "templates"],
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


def _database() -> dict[str, Any]:
    if not _conf.database_url:
        _conf.data_dir.mkdir(parents=True, exist_ok=True)
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": _conf.data_dir / "headwater.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
            # Threads cannot share a database in memory without locking each other out.
            "TEST": {"NAME": _conf.data_dir / "test.sqlite3"},
        }
    database: dict[str, Any] = dict(dj_database_url.parse(_conf.database_url))
    # The pool serves every thread of ours, those of live queries (and one for slow ones) and for methods that
    # clients call as well, and Django's own one.
    # While PostgreSQL is away it tries again every two seconds at most; left to itself it would wait as long
    # again as PostgreSQL was away.
    pool = {
        "min_size": 1,
        "max_size": 2 * _conf.database_threads + _conf.query_threads + 5,
        "timeout": 5,
        "reconnect_timeout": 5,
    }
    # A host that vanished without a word is noticed within about 15 s; by the kernel's defaults, hours.
    vanished = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2}
    asked = database.get("OPTIONS", {})
    database["OPTIONS"] = {**vanished, "tcp_user_timeout": 15_000, **asked, "pool": pool}
    database["CONN_MAX_AGE"] = 0
    return database


DATABASES = {"default": _database()}
# Triggers are the business of `manage.py live_triggers`, not of migrations: which tables have one depends on
# the queries of all apps together.
PGTRIGGER_MODEL_META = PGTRIGGER_MIGRATIONS = PGTRIGGER_SCHEMA_EDITOR = False
PGTRIGGER_INSTALL_ON_MIGRATE = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def _channel_layer() -> dict[str, Any]:
    """One channel per process carries every announcement, so its capacity is a process's, not a socket's."""
    if not _conf.redis_url:
        return {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 10_000}}
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    host = {
        "address": _conf.redis_url,
        "socket_timeout": 15,
        "socket_connect_timeout": 5,
        # A connection that Redis has closed since it was last used is replaced once, at once.
        "retry": Retry(NoBackoff(), 1),
    }
    return {
        "BACKEND": "realtime.feeds.layer.PipelinedPubSubLayer",
        "CONFIG": {"hosts": [host], "capacity": 10_000, "prefix": "headwater"},
    }


CHANNEL_LAYERS = {"default": _channel_layer()}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "board"
LOGOUT_REDIRECT_URL = "board"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS: list[Path | tuple[str, Path]] = [BASE_DIR / "static"]
for _library in ("uplot", "centrifuge", "idiomorph"):
    _built = BASE_DIR / "node_modules" / _library / "dist"
    if _built.is_dir():
        STATICFILES_DIRS.append((_library, _built))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "project.static_storage.StaticStorage"},
}

DATA_UPLOAD_MAX_MEMORY_SIZE = _conf.body_limit_bytes
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _conf.secure_cookies
CSRF_TRUSTED_ORIGINS = [origin for origin in _conf.allowed_origins if "://" in origin]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": _conf.log_level},
    "loggers": {
        name: {"level": "WARNING"} for name in ("daphne", "httpx", "httpcore", "asyncio", "django.request")
    }
    # A traceback for each channel that cannot be given back while Redis is away: our broker says that it is
    # (`layer_away`), and when it is back, once each.
    | {"channels_redis": {"level": "CRITICAL"}},
}

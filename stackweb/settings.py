"""Settings, read from the environment; `stackweb up` sets it, compose.yaml names every variable."""

from __future__ import annotations

import json
import os
import secrets
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("STACKWEB_HOME", "~/.stackweb")).expanduser()


def _services() -> dict[str, str]:
    """Addresses of the embedded servers, written by `stackweb up`, so that manage.py finds them."""
    path = HOME / "run" / "services.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _secret_key() -> str:
    """From STACKWEB_SECRET_KEY, else a random one kept in the home folder; never a default."""
    if key := os.environ.get("STACKWEB_SECRET_KEY"):
        return key
    path = HOME / "secret-key"
    if not path.exists():
        HOME.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = HOME / f"secret-key.{os.getpid()}"
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(64))
        try:
            os.link(fresh, path)  # never overwrites: two first starts agree on one key
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text()


def _database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/") or "stackweb",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or 5432),
        "CONN_MAX_AGE": 0,
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 16, "timeout": 10}},
    }


DATABASE_URL = os.environ.get("DATABASE_URL") or _services().get("database_url") or "postgresql:///stackweb"
REDIS_URL = os.environ.get("REDIS_URL") or _services().get("redis_url") or "redis://127.0.0.1:6379/0"
STACKWEB_PORT = int(os.environ.get("STACKWEB_PORT", "8400"))
STACKWEB_URL = os.environ.get("STACKWEB_URL") or f"http://127.0.0.1:{STACKWEB_PORT}"
# Private hosts or networks the server may connect to (apps/fleet/egress.py).
EGRESS_ALLOW = [entry.strip() for entry in os.environ.get("STACKWEB_EGRESS_ALLOW", "").split(",") if entry.strip()]

# Only tests set it: engines that compute nothing may then be asked for by name.
FAKE_ENGINES = os.environ.get("STACKWEB_FAKE_ENGINES") == "1"

SECRET_KEY = _secret_key()
DEBUG = False
ALLOWED_HOSTS = os.environ.get("STACKWEB_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
CSRF_TRUSTED_ORIGINS = [STACKWEB_URL] if STACKWEB_URL.startswith("https://") else []
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = STACKWEB_URL.startswith("https://")
SESSION_COOKIE_NAME = "stackweb_session"
CSRF_COOKIE_NAME = "stackweb_csrf"
CSRF_FAILURE_VIEW = "stackweb.errors.csrf_failed"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
# Browsers heed the opener policy over https alone, and complain about it elsewhere.
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin" if STACKWEB_URL.startswith("https://") else None

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials",
    "apps.accounts",
    "apps.fleet",
    "apps.jobs",
    "apps.calibration",
    "apps.costs",
    "apps.catalog",
    "apps.serving",
    "apps.finetunes",
    "apps.evals",
    "apps.gateway",
    "apps.arena",
    "apps.leaderboard",
    "apps.dashboard",
    "apps.tour",
    "stackweb",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "stackweb.static_files.StaticFilesMiddleware",
    "stackweb.security.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "stackweb.access.AccessMiddleware",
    "stackweb.wellformed.WellFormedMiddleware",
]

ROOT_URLCONF = "stackweb.urls"
ASGI_APPLICATION = "stackweb.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "builtins": ["stackweb.template_tags", "template_partials.templatetags.partials"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "stackweb.context.shell",
            ],
            # template_partials wraps the loaders so that "page.html#part" renders one part.
            "loaders": [
                (
                    "template_partials.loader.Loader",
                    [
                        (
                            "django.template.loaders.cached.Loader",
                            [("django.template.loaders.filesystem.Loader", [BASE_DIR / "templates"])],
                        )
                    ],
                )
            ],
        },
    }
]

DATABASES = {"default": _database(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = os.environ.get("TZ") or "UTC"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# Files the server keeps: inputs and outputs by sha256, attempt logs, the gateway's metering spool.
BLOB_DIR = HOME / "blobs"
LOG_DIR = HOME / "attempt-logs"
SPOOL_DIR = HOME / "spool"
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024 * 1024  # a log chunk, a data set, a sample file
FILE_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024

# Money: what jobs cost is shown in this currency; an unset kWh price leaves energy out of it.
CURRENCY = os.environ.get("STACKWEB_CURRENCY", "USD")
KWH_PRICE = Decimal(os.environ["STACKWEB_KWH_PRICE"]) if os.environ.get("STACKWEB_KWH_PRICE") else None

# Worker protocol timing (seconds).
LEASE_SECONDS = 60
HEARTBEAT_SECONDS = 5
HOST_SILENT_SECONDS = 45
# How a GPU host reaches the broker; empty means the same address as the web side's.
WORKER_BROKER_URL = os.environ.get("STACKWEB_WORKER_BROKER_URL") or REDIS_URL

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{levelname} {name} {message}", "style": "{"}},
    "filters": {"tokens": {"()": "stackweb.log_masks.TokenMask"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["tokens"]}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "apps": {"level": "INFO"},
        "stackweb": {"level": "INFO"},
        # What a client got wrong is answered to the client; an operator reads of what went wrong here.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}

"""The environment variables an engine sees: a short list from the host, then only what its command sets.

Nothing else passes, so no engine can read the worker's own tokens from its environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from apps.engines.base import Kind
from workers.config import WorkerConfig
from workers.processes import MARKER

ALWAYS = ("PATH", "LANG", "LC_ALL", "TZ")
# Where packages and models come from, how to get there, and the operator's own choices about that.
INSTALLING: tuple[Kind, ...] = ("install", "download")
NETWORK = (
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip
INSTALL_PREFIXES = (
    "PIP_", "UV_", "STACKWEB_ENV_", "STACKWEB_TORCH_INDEX", "STACKWEB_FIND_LINKS", "HF_ENDPOINT", "HF_TOKEN",
    "OLLAMA_REGISTRY",
)  # fmt: skip
# uv and pip look for these under HOME, which an engine does not see; and what uv puts there must
# outlive the attempt.
HOME_PLACES = {
    "UV_CACHE_DIR": (".cache/uv", True),
    "UV_PYTHON_INSTALL_DIR": (".local/share/uv/python", True),
    "UV_CONFIG_FILE": (".config/uv/uv.toml", False),
    "PIP_CACHE_DIR": (".cache/pip", True),
    "PIP_CONFIG_FILE": (".config/pip/pip.conf", False),
}


def engine_environment(
    environ: Mapping[str, str], config: WorkerConfig, *, kind: Kind, uuid: str, work_dir: Path, temporary: str
) -> dict[str, str]:
    """What every engine of this kind gets before its command's own variables.

    STACKWEB_ENGINE_VARIABLES of the worker names, by comma, what the operator lets all of them see besides.
    """
    listed = tuple(name.strip() for name in environ.get("STACKWEB_ENGINE_VARIABLES", "").split(","))
    allowed = ALWAYS + listed + (NETWORK if kind in INSTALLING else ())
    found = {name: environ[name] for name in allowed if name in environ}
    found |= {"HOME": str(work_dir), "TMPDIR": temporary, MARKER: uuid, "PYTHONUNBUFFERED": "1"}
    found.setdefault("LANG", "C.UTF-8")
    if kind in INSTALLING:
        for name, (place, is_made_on_demand) in HOME_PLACES.items():
            path = Path(environ.get("HOME", "/")) / place
            if is_made_on_demand or path.exists():
                found[name] = str(path)
        found |= {name: value for name, value in environ.items() if name.startswith(INSTALL_PREFIXES)}
        found["HF_HUB_CACHE"] = hub_cache(environ)
        found["STACKWEB_ENV_ROOT"] = str(config.env_root)
        found["STACKWEB_MODELS_DIR"] = str(config.models_dir)
    return found


def hub_cache(environ: Mapping[str, str]) -> str:
    """Where models of the host's own user lie, as the official client finds them; its saved token stays unread."""
    home = environ.get("HF_HOME") or f"{environ.get('HOME', '')}/.cache/huggingface"
    return environ.get("HF_HUB_CACHE") or f"{home}/hub"


def masked(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        if len(secret) >= 4:  # a shorter one would mask ordinary text
            text = text.replace(secret, "********")
    return text

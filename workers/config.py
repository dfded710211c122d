"""The worker's configuration: one private JSON file, written by `stackweb-worker join`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.journal import write_json


class ConfigError(Exception):
    """The configuration cannot be used; the text says which field and what would be right."""


def models_dir() -> Path:
    """$STACKWEB_MODELS_DIR, or a cache folder that outlives any one STACKWEB_HOME."""
    configured = os.environ.get("STACKWEB_MODELS_DIR")
    return Path(configured) if configured else Path.home() / ".cache/stackweb/models"


class WorkerConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str  # of the server, without /api/...
    host_token: str = Field(repr=False)
    host_name: str
    queue: str
    broker_url: str = Field(default="", repr=False)  # empty: sweeping alone
    broker_prefix: str = ""
    state_dir: Path
    models_dir: Path
    env_root: Path
    sweep_seconds: float = Field(default=3.0, gt=0)
    heartbeat_seconds: float = Field(default=5.0, gt=0)
    use_cgroups: bool = True  # where this host lets us make them

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ConfigError when the file is missing or a field of it is wrong."""
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise ConfigError(f"{path} does not exist. Run `stackweb-worker join` first.") from None
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ConfigError(f"{path}: {field}: {first['msg']}.") from None

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(path, self.model_dump(mode="json"))


def default_path() -> Path:
    """STACKWEB_WORKER_CONFIG, else a place in the home folder."""
    given = os.environ.get("STACKWEB_WORKER_CONFIG")
    return Path(given) if given else Path.home() / ".stackweb-worker" / "config.json"

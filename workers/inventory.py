"""What this host has (inventory) and how busy it is (telemetry)."""

from __future__ import annotations

import platform
import shutil
import socket
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from workers.environments import list_environments
from workers.gpus import list_gpus, sample_gpus
from workers.host_checks import warnings
from workers.processes import boot_id
from workers.systemd import isolation


def cpu_model() -> str:
    """The processor's name as the kernel gives it, else the machine type."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is already there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def take_inventory(
    models_dir: Path, env_root: Path, *, use_cgroups: bool = True, peer_address: str = ""
) -> dict[str, Any]:
    disk = shutil.disk_usage(_existing(models_dir))
    gpus = list_gpus()
    kept_apart_by = isolation() if use_cgroups else "process_group"
    return {
        "agent_version": version("stackweb"),
        "boot_id": boot_id(),
        "booted_at": datetime.fromtimestamp(psutil.boot_time(), UTC).isoformat(),
        "hostname": socket.gethostname(),
        "platform": platform.platform(),
        "architecture": platform.machine(),
        "isolation": kept_apart_by,
        "warnings": warnings(machine=platform.machine(), gpus=gpus, isolation=kept_apart_by),
        "python": platform.python_version(),
        "cpu": {"model": cpu_model(), "cores": psutil.cpu_count() or 1},
        "ram_bytes": psutil.virtual_memory().total,
        "disk": {"path": str(models_dir), "total_bytes": disk.total, "free_bytes": disk.free},
        "gpus": gpus,
        "environments": [asdict(environment) for environment in list_environments(env_root)],
        "models_dir": str(models_dir),
        "peer_address": peer_address,
    }


def take_sample(models_dir: Path) -> dict[str, Any]:
    """Live load; `cpu_percent` is over the time since the last sample, 0 in the first."""
    memory = psutil.virtual_memory()
    return {
        "at": datetime.now(UTC).isoformat(),
        "cpu_percent": psutil.cpu_percent(),
        "ram_used_bytes": memory.total - memory.available,
        "disk_free_bytes": shutil.disk_usage(_existing(models_dir)).free,
        "gpus": sample_gpus(),
    }

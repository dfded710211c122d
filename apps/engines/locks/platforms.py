"""Which locked environments a host can run, by its architecture, its accelerator and its driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from apps.engines.locks import UnknownLock, read_lock
from apps.engines.locks.drivers import too_old_for
from apps.engines.registry import ENGINES, get_engine

VARIANTS = ("cpu", "cuda")
OWN = "give an existing path or image"

Key = tuple[str, str]  # environment and variant


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host reported; what it did not say is not judged. `own` are the environments that its operator gave."""

    architecture: str = ""  # x86_64, aarch64
    nvidia_drivers: frozenset[str] = frozenset()
    has_nvidia: bool = False
    has_amd: bool = False
    own: frozenset[Key] = frozenset()


@lru_cache(1000)
def cannot_run(host: HostFacts) -> Mapping[Key, str]:
    """Every environment that the host cannot run, with the reason, to be read after its name and a colon."""
    return {key: why for key in _keys() if key not in host.own and (why := _why_not(*key, host))}


@cache
def _keys() -> list[Key]:
    names = {environment for name in ENGINES if (environment := get_engine(name).environment)}
    return [(name, variant) for name in sorted(names) for variant in VARIANTS]


def _why_not(environment: str, variant: str, host: HostFacts) -> str:
    try:
        platform = read_lock(environment, variant).platform
    except UnknownLock:
        return f"no locked environment of {environment}; {OWN}"
    if host.architecture and host.architecture != platform:
        return f"no locked environment for {host.architecture}; {OWN}"
    if variant != "cuda":
        return ""
    if host.has_amd and not host.has_nvidia:
        return f"no locked environment for AMD ROCm; {OWN}"
    for driver in sorted(host.nvidia_drivers):
        if old := too_old_for(driver).get(environment):
            return f"driver {driver} is older than CUDA {old[0]} needs ({old[1]})"
    return ""

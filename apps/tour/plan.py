"""What a tour will take, said before it starts: minutes and disk."""

from __future__ import annotations

from dataclasses import dataclass

from apps.engines.locks import lock_disk_bytes
from apps.engines.registry import get_engine
from apps.fleet.models import Host
from apps.jobs.environments import has_environment
from apps.jobs.services import default_placement

ENVIRONMENTS = ("vllm", "lm-eval", "axolotl")
MODEL_BYTES = 400_000_000  # the package's GGUF file and the folder made from it
# Measured on 2 CPU cores: an install takes seconds from a warm package cache and up to 2.5 minutes
# without, the steps themselves 3.7 minutes on an idle machine and 7.6 on a busy one.
INSTALL_MINUTES = (0.2, 2.5)
RUN_MINUTES = (3.5, 10.0)


@dataclass(frozen=True)
class TourPlan:
    missing: list[str]  # environments to install first
    disk_bytes: int
    minutes_low: float
    minutes_high: float

    @property
    def sentence(self) -> str:
        titles = [get_engine(name).title for name in self.missing]
        named = " and ".join(filter(None, (", ".join(titles[:-1]), *titles[-1:])))
        installs = f", with {named} to install first" if titles else ""
        return (
            f"About {self.minutes_low:.0f} to {self.minutes_high:.0f} minutes and "
            f"{self.disk_bytes / 1e9:.1f} GB of disk{installs}."
        )


def plan_tour() -> TourPlan:
    """For the first host of the fleet, which is where the first fit goes."""
    variant, _ = default_placement(get_engine("vllm"))
    host = Host.objects.order_by("name").first()
    missing = [name for name in ENVIRONMENTS if host is None or not has_environment(host, name, variant)]
    return TourPlan(
        missing=missing,
        disk_bytes=MODEL_BYTES + sum(lock_disk_bytes(name, variant) for name in missing),
        minutes_low=RUN_MINUTES[0] + INSTALL_MINUTES[0] * len(missing),
        minutes_high=RUN_MINUTES[1] + INSTALL_MINUTES[1] * len(missing),
    )

"""What no host has is refused when it is asked for: a job that can never start is not accepted."""

from __future__ import annotations

from apps.accounts.problems import invalid
from apps.fleet.models import Host
from apps.fleet.querysets import gpu_sizes
from apps.planning.placement import Need, gib, gpu_count, wanted_gpus


def check_gpus(*, gpus: int, vram_bytes: int, only: Host | None) -> None:
    """Raises Problem 422 on `gpus` or `vram_bytes` for more than any host has, or `only` that one.

    While no host takes part yet, everything may wait for one.
    """
    fleet = gpu_sizes(only=only)
    if not gpus or not fleet:
        return
    most = max(fleet, key=lambda name: len(fleet[name]))
    if len(fleet[most]) < gpus:
        message = _too_many(gpus, only.name if only else "", most, len(fleet[most]))
        raise invalid("gpus", message, value=gpus, nearest=str(len(fleet[most])))
    largest = max(fleet, key=lambda name: fleet[name][:1])
    if fleet[largest][0] < vram_bytes:
        message = (
            f"The job needs {gib(vram_bytes)} on each GPU; the largest GPU here is {largest}'s with "
            f"{gib(fleet[largest][0])}. Ask for less, or add a host with larger GPUs."
        )
        raise invalid("vram_bytes", message, value=vram_bytes, nearest=str(fleet[largest][0]))
    fitting = {name: sum(size >= vram_bytes for size in sizes) for name, sizes in fleet.items()}
    best = max(fitting, key=lambda name: fitting[name])
    if fitting[best] < gpus:
        wanted = wanted_gpus(Need(gpus=gpus, vram_bytes=vram_bytes))
        message = f"No host has {wanted}; {best} has {fitting[best]} of that size. Ask for fewer GPUs, or smaller ones."
        raise invalid("gpus", message, value=gpus, nearest=str(fitting[best]))


def _too_many(gpus: int, only: str, most: str, count: int) -> str:
    if not count:
        where = f"{only} has none" if only else "no host here has one"
        return f"The job asks for {gpu_count(gpus)}; {where}. Ask for none, or add a host with GPUs."
    if only:
        return f"The job may run only on {only}, which has {gpu_count(count)}, not {gpus}. Ask for at most {count}."
    here = f"{most} has the most, {gpu_count(count)}"
    return f"No host has {gpu_count(gpus)}; {here}. Ask for at most {count}, or add a larger host."

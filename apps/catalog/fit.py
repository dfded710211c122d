"""Which of our hardware runs a model version, and for how many users: estimates, not measurements."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

from django.db.models import Max

from apps.catalog.models import ModelVersion
from apps.fleet.models import RAM_KEPT_BYTES, Device, Host
from apps.fleet.querysets import fleet_devices
from apps.planning.capability import refusal
from apps.planning.configs import shape_from_config
from apps.planning.gpu_memory import usable_of
from apps.planning.gpu_types import GpuType
from apps.planning.llama_cpp import llama_cpp_fit
from apps.planning.memory import serving_fit
from apps.planning.mig import device_type, is_slice, mig_profile
from apps.planning.placement import Need
from apps.planning.precisions import PRECISIONS, read_precision
from apps.planning.serving_plan import FitEstimate, Memory, ServingPlan
from apps.planning.shapes import CannotEstimate, ModelShape
from apps.planning.speeds import ServingSpeed, serving_speed

TOKENS_PER_USER = 8192
COUNTS = (1, 2, 4, 8)
PLAIN_PRECISIONS = frozenset({"bf16", "fp16"})  # which vLLM makes into FP8 while it loads them
UTILISATION, REQUESTS = 0.9, 8  # what a deploy asks of vLLM unless told
# How dark a "runs on" cell is: more bits kept, darker.
_SHADES = {"fp32": "f3", "bf16": "f3", "fp16": "f3", "fp8": "f2", "int8": "f2"}


@dataclass(frozen=True)
class DeviceClass:
    """Devices of one kind in the fleet; `most_on_one_host` limits tensor parallelism, `memory_bytes` is what an engine
    can have."""

    title: str
    short: str
    kind: Literal["gpu", "cpu"]
    memory_bytes: int
    most_on_one_host: int = 1

    @property
    def key(self) -> str:
        """Everything a verdict depends on, and a word for an address."""
        return f"{self.title[:150]}/{self.memory_bytes}/{self.most_on_one_host}"

    @property
    def memory(self) -> Memory:
        return Memory(kind=self.kind, total_bytes=self.memory_bytes, name=self.title)

    @cached_property
    def gpu_type(self) -> GpuType | None:
        return device_type(self.title, self.memory_bytes) if self.kind == "gpu" else None


class RunsOn:
    """A `runs on` cell, of a fit worked out now or of a kept verdict."""

    device: DeviceClass
    count: int
    precision: str

    @property
    def fits(self) -> bool:
        raise NotImplementedError

    @property
    def why_not(self) -> str:
        raise NotImplementedError

    @property
    def cell(self) -> str:
        """The precision on one device, ×2 where it takes more, – where it cannot run."""
        if not self.fits:
            return "–"
        return self.precision.partition("-")[0].upper() if self.count == 1 else f"×{self.count}"

    @property
    def shade(self) -> str:
        return _SHADES.get(self.precision, "f1") if self.fits and self.count == 1 else "f0"

    @property
    def spoken(self) -> str:
        if self.fits:
            return f"{self.device.title}: {self.precision.upper()} on {self.count}"
        return f"{self.device.title}: {self.why_not}"


@dataclass(frozen=True)
class Fit(RunsOn):
    """One way to serve a version here. Without an estimate, `problem` says why there is none."""

    device: DeviceClass
    count: int
    precision: str
    estimate: FitEstimate | None
    problem: str = ""
    is_made_at_load: bool = False  # not what is stored
    plan: ServingPlan | None = None  # what was estimated
    gguf_bytes: int | None = None  # of the file that llama.cpp loads; None for vLLM

    @cached_property
    def speed(self) -> ServingSpeed | None:
        """Of one request with 1,024 tokens of prompt; None where it does not fit or the GPU's speed is not known."""
        kind = self.device.gpu_type
        if self.plan is None or kind is None or not self.fits:
            return None
        return serving_speed(self.plan, kind, gguf_bytes=self.gguf_bytes)

    @property
    def need(self) -> Need:
        """What its job would ask of a host."""
        if self.device.kind == "cpu":
            return Need(ram_bytes=self.estimate.required_bytes if self.estimate else 0)
        return Need(gpus=self.count, vram_bytes=self.device.memory_bytes)

    @property
    def fits(self) -> bool:
        return self.estimate is not None and self.estimate.fits

    @property
    def parts(self) -> dict[str, float]:
        """What fills the memory strip: bytes on each device."""
        return self.estimate.parts if self.estimate else {}

    @property
    def used_bytes(self) -> float:
        return sum(self.parts.values())

    @property
    def why_not(self) -> str:
        return self.estimate.reason if self.estimate else self.problem


def device_classes() -> list[DeviceClass]:
    """The fleet's GPUs by product, largest memory first; where there is none, the CPU of the largest host."""
    gpus = fleet_devices(Device.Kind.GPU).filter(host__cordoned=False)
    on_host: Counter[tuple[str, int, int]] = Counter()
    for name, driver_bytes, host_id in gpus.order_by().values_list("name", "memory_bytes", "host_id"):
        on_host[name, usable_of(name, driver_bytes), host_id] += 1
    most: dict[tuple[str, int], int] = {}
    for (name, memory_bytes, _), count in on_host.items():
        most[name, memory_bytes] = max(count, most.get((name, memory_bytes), 0))
    found = [
        DeviceClass(product_title(name), _short(name), "gpu", memory_bytes, 1 if is_slice(name) else count)
        for (name, memory_bytes), count in sorted(most.items(), key=lambda item: -item[0][1])
    ]
    return found or _largest_cpu()


def _largest_cpu() -> list[DeviceClass]:
    ram_bytes = Host.objects.filter(cordoned=False, left_at=None).aggregate(most=Max("ram_bytes"))["most"] or 0
    return [DeviceClass("CPU", "CPU", "cpu", ram_bytes - RAM_KEPT_BYTES)] if ram_bytes > RAM_KEPT_BYTES else []


def product_title(product: str) -> str:
    """The name that a driver gives, without the makers' words."""
    return re.sub(r"^(NVIDIA|GeForce)\s+", "", re.sub(r"^NVIDIA\s+", "", product))


def _short(product: str) -> str:
    """H100 of "NVIDIA H100 80GB HBM3": the first word with a digit that is not a size; of a slice its profile too."""
    words = re.split(r"[\s-]+", product_title(product))
    type_word = next((word for word in words if re.search(r"\d", word) and not word.endswith("GB")), words[0])
    return f"{type_word} {mig_profile(product)}".strip()


def best_fit(version: ModelVersion, device: DeviceClass) -> Fit:
    """The highest precision that fits one device; else as few as it takes of what is stored; else why not."""
    stored, quantised = fits_on(version, device), _quantised_fits(version, device)
    on_one = [fit for fit in (*stored[:1], *quantised[:1]) if fit.fits]
    return next((fit for fit in (*on_one, *stored, *quantised) if fit.fits), stored[0])


def every_fit(version: ModelVersion, device: DeviceClass) -> list[Fit]:
    """As stored, and as FP8 where the device computes in it."""
    return fits_on(version, device) + _quantised_fits(version, device)


def _quantised_fits(version: ModelVersion, device: DeviceClass) -> list[Fit]:
    return fits_on(version, device, precision="fp8") if makes_fp8(version, device) else []


def makes_fp8(version: ModelVersion, device: DeviceClass) -> bool:
    """Whether vLLM can quantise the version there while it loads, without a copy in 16 bits beside it: layer by layer
    since vllm-project/vllm #31914."""
    if version.is_gguf or version.quantization or version.precision not in PLAIN_PRECISIONS:
        return False
    return device.gpu_type is not None and device.gpu_type.fp8_flops is not None


def fits_on(
    version: ModelVersion, device: DeviceClass, tokens_per_user: int = TOKENS_PER_USER, *, precision: str = ""
) -> list[Fit]:
    """One device, then more until it fits well or the largest host has no more; as stored unless a `precision` is
    made at load."""
    found: list[Fit] = []
    for count in COUNTS:
        if count > device.most_on_one_host:
            break
        found.append(_fit(version, device, count, tokens_per_user, precision))
        estimate = found[-1].estimate
        if estimate is None or estimate.verdict == "fits":
            break
    return found


@lru_cache(maxsize=2048)
def _shape(config: str) -> ModelShape:
    """A list asks for the same config once for each kind of device and count."""
    return shape_from_config(json.loads(config))


def _fit(version: ModelVersion, device: DeviceClass, count: int, tokens_per_user: int, made: str) -> Fit:
    if version.is_gguf:
        return _gguf_fit(version, device, count, tokens_per_user)
    precision = made or version.precision
    if device.kind == "cpu" and precision in ("bf16", "fp16"):
        precision = "fp32"  # our CPU builds compute in 32 bits: 16-bit arithmetic is very slow there
    try:
        if precision not in PRECISIONS:
            raise CannotEstimate(f"Weights stored as {precision or 'an unknown type'} are not estimated yet.")
        if why := refusal(device.gpu_type, precision):
            raise CannotEstimate(why)
        shape = _shape(json.dumps(version.facts.get("config", {}), sort_keys=True))
        tokens = min(tokens_per_user, shape.max_context or tokens_per_user)
        plan = ServingPlan(
            shape=shape,
            precision=precision,
            file_bytes=version.facts.get("weights_bytes"),
            stored_precision=version.precision,
            quantization=version.quantization,
            max_model_len=tokens,
            tokens_per_user=tokens,
            tensor_parallel=count,
            gpu_memory_utilisation=UTILISATION,
            max_num_seqs=REQUESTS,
        )
        return Fit(device, count, precision, serving_fit(plan, device.memory), is_made_at_load=bool(made), plan=plan)
    except CannotEstimate as error:
        return Fit(device, count, precision, None, str(error), is_made_at_load=bool(made))


def gguf_plan(version: ModelVersion, shape: ModelShape) -> ServingPlan:
    """As stored; a quantisation that the planner does not know by name is read as its file's bytes alone."""
    try:
        return ServingPlan(shape=shape, precision=read_precision(version.precision).name)
    except CannotEstimate:
        return ServingPlan(shape=shape)


def _gguf_fit(version: ModelVersion, device: DeviceClass, count: int, tokens_per_user: int) -> Fit:
    """As llama.cpp loads it: the file's own bytes, and a cache of one user's tokens."""
    try:
        shape = _shape(json.dumps(version.facts.get("config", {}), sort_keys=True))
        tokens = min(tokens_per_user, shape.max_context or tokens_per_user)
        size = version.facts["weights_bytes"]
        plan = replace(gguf_plan(version, shape), max_model_len=tokens, tokens_per_user=tokens, tensor_parallel=count)
        estimate = llama_cpp_fit(plan, device.memory, size)
        return Fit(device, count, version.precision, estimate, plan=plan, gguf_bytes=size)
    except CannotEstimate as error:
        return Fit(device, count, version.precision, None, str(error))

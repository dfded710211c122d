"""What serving a version would take: placement, memory, the exact spec. Preview and deploy share it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from apps.accounts.problems import invalid
from apps.catalog.fit import PLAIN_PRECISIONS, gguf_plan
from apps.catalog.models import LineageEdge, ModelVersion
from apps.catalog.placement import check_loads, code_granted, model_ref, needed_files, promise_of
from apps.engines.base import Engine, RunSpec
from apps.fleet.local_host import local_host
from apps.fleet.models import Device
from apps.fleet.offers import gpus_that_run
from apps.fleet.querysets import largest_device
from apps.jobs.kinds import CannotPrepare
from apps.jobs.services import checked_options, default_placement, engine_named
from apps.planning.capability import refusal
from apps.planning.changes import smallest_change
from apps.planning.configs import shape_from_config
from apps.planning.gpu_types import GpuType
from apps.planning.llama_cpp import llama_cpp_fit
from apps.planning.memory import GIB, serving_fit
from apps.planning.mig import device_type
from apps.planning.placement import Need
from apps.planning.precisions import precision_name
from apps.planning.serving_plan import FitEstimate, Memory, ServingPlan
from apps.planning.shapes import CannotEstimate
from apps.planning.speeds import ServingSpeed, serving_speed

# Where the formulas know nothing: room for the engine's processes, and a small KV cache.
UNKNOWN_OVERHEAD_BYTES, UNKNOWN_KV_BYTES = 3 * GIB, 1 * GIB
KV_SPACE_OPTION = "cpu_kv_cache_gib"  # the CPU build's KV cache, in whole GiB


@dataclass(frozen=True)
class Plan:
    """`fit` None: not estimated, and `why_not` says why. Sizes in bytes, on each device. `speed` of one request with
    1,024 tokens of prompt; None where it does not fit or is not known."""

    engine: Engine
    spec: RunSpec
    variant: str
    gpus: int
    device: Device | None
    capacity_bytes: int
    fit: FitEstimate | None
    why_not: str
    ram_bytes: int  # to reserve on the CPU device; 0 on GPUs
    vram_bytes: int  # that each GPU must have at least; 0 on the CPU, and where it is not estimated
    gpu_share: float  # that the engine takes of each GPU; 0: the bytes that it needs
    change: str = ""  # the smallest one that makes it fit; empty where it fits, or none is known
    speed: ServingSpeed | None = None

    @property
    def need(self) -> Need:
        """What its job asks of a host; an endpoint runs on the gateway's own, where that is a host."""
        gateway = local_host()
        return Need(
            ram_bytes=self.ram_bytes,
            gpus=self.gpus,
            vram_bytes=self.vram_bytes,
            gpu_share=self.gpu_share,
            host=gateway.name if gateway else None,
        )


def plan_serving(*, version: ModelVersion, engine: str, options: dict[str, Any], name: str) -> Plan:
    """Raises Problem 422 for an unknown engine, a wrong option, and for more GPUs than any host has; an estimate
    that fails is no error."""
    adapter = engine_named(engine, kind="serve")
    check_loads(adapter, version, "engine")
    checked = checked_options(adapter, options)
    _check_quantization(version, checked)
    where = local_host()  # where the replica will run
    variant, gpus = default_placement(adapter, only=where)
    gpus *= _whole(checked.get("tensor_parallel")) or 1
    able = gpus_that_run(adapter.environment, only=where) if gpus else []
    if gpus > 1:
        able = _joined_on_a_host(gpus, able)
    device = able[0] if able else largest_device("cpu", only=where)
    capacity = device.usable_bytes if device else 0
    judged = _judged(version, checked, adapter, device, capacity)
    fit = judged.fit
    if fit is not None and variant == "cpu" and KV_SPACE_OPTION in checked and not checked[KV_SPACE_OPTION]:
        # The engine is told what the reservation covers, instead of taking what it likes.
        checked = checked | {KV_SPACE_OPTION: max(1, math.ceil(fit.kv_cache_bytes / GIB))}
        judged = _judged(version, checked, adapter, device, capacity)
    model, code = model_ref(version), code_granted(version)
    spec = RunSpec(kind="serve", engine=engine, model=model, served_name=name, options=checked, payload=code)
    ram = 0 if gpus else _ram(judged.fit, version)
    vram, share = _gpu_room(judged.fit, checked, version, device) if gpus else (0, 0.0)
    return Plan(
        engine=adapter,
        spec=spec,
        variant=variant,
        gpus=gpus,
        device=device,
        capacity_bytes=capacity,
        fit=judged.fit,
        why_not=judged.why_not,
        ram_bytes=ram,
        vram_bytes=vram,
        gpu_share=share,
        change=judged.change,
        speed=judged.speed,
    )


def _check_quantization(version: ModelVersion, options: dict[str, Any]) -> None:
    """vLLM quantises while it loads only what is stored plainly in 16 bits."""
    if options.get("quantization", "none") != "none" and version.precision not in PLAIN_PRECISIONS:
        message = f"{version} is stored as {version.precision or 'an unknown type'}; only 16-bit weights become FP8."
        raise invalid("options.quantization", message, value=options["quantization"], nearest="none")


def _joined_on_a_host(gpus: int, able: list[Device]) -> list[Device]:
    """Of these, the whole ones: no engine joins MIG slices. Raises Problem 422 where no host has so many.

    An endpoint's GPUs share one host: the gateway's own, where that is a host.
    """
    whole = [gpu for gpu in able if not gpu.mig_profile]
    if not whole:
        message = f"MIG slices are not joined, so an endpoint can have one GPU here; you ask for {gpus}."
        raise invalid("options.tensor_parallel", message, value=gpus, nearest="1")
    name, most = Counter(gpu.host.name for gpu in whole).most_common(1)[0]
    if gpus > most:
        message = f"An endpoint can have at most {most} GPUs here, those of {name}; you ask for {gpus}."
        raise invalid("options.tensor_parallel", message, value=gpus, nearest=str(most))
    return whole


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


class _Judged(NamedTuple):
    """The estimate, why there is none, the smallest change that makes it fit, and how fast it is."""

    fit: FitEstimate | None
    why_not: str = ""
    change: str = ""
    speed: ServingSpeed | None = None


def _judged(
    version: ModelVersion, options: dict[str, Any], engine: Engine, device: Device | None, capacity: int
) -> _Judged:
    if device is None:
        return _Judged(None, "No host is connected.")
    kind = "gpu" if device.kind == Device.Kind.GPU else "cpu"
    memory = Memory(kind, capacity, device.name)  # type: ignore[arg-type]
    try:
        shape = shape_from_config(version.facts.get("config", {}))
        kind_of_gpu = device_type(device.name, device.memory_bytes) if kind == "gpu" else None
        if version.is_gguf:
            plan = _with_gguf_options(gguf_plan(version, shape), options)
            return _judged_gguf(plan, options, version, memory, kind_of_gpu)
        asked = ServingPlan(shape=shape, quantization=version.quantization, engine_version=engine.version)
        plan = _with_files(_with_options(asked, options, kind, is_adapter=_is_adapter(version)), version)
        if why := refusal(kind_of_gpu, precision_name(plan.precision), engine.name, plan.kv_cache_dtype):
            return _Judged(None, why)
        plan, fit = _with_its_context(plan, memory)
        change = smallest_change(plan, memory, most_gpus=_gpus_of(device), gpu=kind_of_gpu)
        speed = serving_speed(plan, kind_of_gpu) if kind_of_gpu and fit.fits else None
        return _Judged(fit, "", change.words if change else "", speed)
    except CannotEstimate as error:
        return _Judged(None, str(error))


def _with_its_context(plan: ServingPlan, memory: Memory) -> tuple[ServingPlan, FitEstimate]:
    """Without a context asked for, vLLM takes the longest that fits (`--max-model-len auto`)."""
    fit = serving_fit(plan, memory)
    if plan.max_model_len is None and fit.shortage == "kv_cache" and fit.max_context > 0:
        plan = replace(plan, max_model_len=fit.max_context)
        fit = serving_fit(plan, memory)
    return plan, fit


def _judged_gguf(
    plan: ServingPlan, options: dict[str, Any], version: ModelVersion, memory: Memory, kind: GpuType | None
) -> _Judged:
    """Of the speed only where every layer is on the GPU."""
    size = version.facts["weights_bytes"]
    fit = llama_cpp_fit(plan, memory, size)
    is_whole = fit.fits and options.get("gpu_layers", plan.shape.layers) >= plan.shape.layers
    return _Judged(fit, speed=serving_speed(plan, kind, gguf_bytes=size) if kind and is_whole else None)


def _with_gguf_options(plan: ServingPlan, options: dict[str, Any]) -> ServingPlan:
    """llama.cpp shares its context among the requests at once."""
    context = _whole(options.get("context_length"))
    users = _whole(options.get("parallel")) or 1
    return replace(plan, max_model_len=context, tokens_per_user=max(1, context // users) if context else None)


def _gpus_of(device: Device) -> int:
    """GPUs of that kind on the device's host that an engine can join."""
    if device.mig_profile:
        return 1
    return device.host.devices.filter(kind=device.kind, name=device.name, is_present=True).count()


def _is_adapter(version: ModelVersion) -> bool:
    return version.parent_edges.filter(relation=LineageEdge.Relation.ADAPTER).exists()


def _with_options(plan: ServingPlan, options: dict[str, Any], kind: str, *, is_adapter: bool) -> ServingPlan:
    """The engine's options that memory depends on; an option that an engine lacks keeps the plan's default."""
    dtype = str(options.get("dtype") or "auto")
    precision = ("float32" if kind == "cpu" else "auto") if dtype == "auto" else dtype
    if kind == "gpu" and options.get("quantization") == "fp8":
        precision = "fp8"
    kv_gib, lora_rank = _whole(options.get(KV_SPACE_OPTION)), _whole(options.get("max_lora_rank"))
    if is_adapter and lora_rank:
        plan = replace(plan, lora_slots=1, lora_rank=lora_rank)
    return replace(
        plan,
        precision=precision,
        kv_cache_dtype=str(options.get("kv_cache_dtype") or "auto"),
        max_model_len=_whole(options.get("max_model_len") or options.get("context_length")),
        tensor_parallel=(_whole(options.get("tensor_parallel")) or 1) if kind == "gpu" else 1,
        gpu_memory_utilisation=float(options.get("gpu_memory_utilization") or 0) or None,
        kv_space_bytes=kv_gib * GIB if kv_gib and kind == "cpu" else None,
        max_num_seqs=_whole(options.get("max_num_seqs")),
        enforce_eager=bool(options.get("enforce_eager")),
    )


def _with_files(plan: ServingPlan, version: ModelVersion) -> ServingPlan:
    stored = version.precision or "bf16"
    precision = stored if plan.precision == "auto" else plan.precision
    return replace(
        plan,
        precision=precision,
        file_bytes=version.facts.get("weights_bytes") or weight_bytes(version) or None,
        stored_precision=stored,
    )


def weight_bytes(version: ModelVersion) -> int:
    """Of the weights that must be loaded: the base's, for an adapter. 0 where no files are registered."""
    promise = promise_of(version)
    try:
        return needed_files(promise.parent if promise else version).weights.size_bytes
    except CannotPrepare:
        return 0


def _ram(fit: FitEstimate | None, version: ModelVersion) -> int:
    if fit is not None:
        return fit.weights_bytes + fit.overhead_bytes + max(fit.kv_cache_bytes, _one_context(fit))
    # Twice the files: the CPU builds load 16-bit weights as float32.
    return 2 * weight_bytes(version) + UNKNOWN_OVERHEAD_BYTES + UNKNOWN_KV_BYTES


def _gpu_room(
    fit: FitEstimate | None, options: dict[str, Any], version: ModelVersion, device: Device | None
) -> tuple[int, float]:
    """What each GPU must have at least, and the share of it that the engine takes; (0, 0) where nobody can say.

    Weights, overhead and the cache of one context must lie within the share.
    """
    if fit is None or device is None:
        return 0, 0.0
    share = float(options.get("gpu_memory_utilization") or 0)
    held = _offloaded_bytes(fit, options, version) if version.is_gguf else fit.required_bytes
    needed = int(held / (share or 1.0))
    return (min(needed, device.memory_bytes) if fit.fits else needed), share  # it was judged on that device


def _offloaded_bytes(fit: FitEstimate, options: dict[str, Any], version: ModelVersion) -> int:
    """llama.cpp puts only so many layers on the GPU, each with its part of the cache."""
    layers = _whole(version.facts.get("layers")) or 1
    part = min(1.0, float(options.get("gpu_layers", layers)) / layers)
    return fit.overhead_bytes + round(part * (fit.required_bytes - fit.overhead_bytes))


def _one_context(fit: FitEstimate) -> int:
    return fit.required_bytes - fit.weights_bytes - fit.overhead_bytes

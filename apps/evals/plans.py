"""What an eval run would be: its spec, its place, its time. The preview and the job share it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from apps.accounts.problems import invalid, unknown_choice
from apps.calibration.services import NewEstimate
from apps.catalog.models import ModelVersion
from apps.catalog.placement import check_loads, code_granted, model_ref, needed_files, promise_of
from apps.costs.accrual import hour_price
from apps.engines.base import Input, RunSpec
from apps.evals.models import Suite
from apps.fleet.models import Device
from apps.fleet.querysets import largest_device
from apps.jobs.kinds import CannotPrepare
from apps.jobs.models import Attempt
from apps.jobs.services import checked_options, default_placement, engine_named, planned_device
from apps.planning.configs import shape_from_config
from apps.planning.durations import Duration, evaluation_duration
from apps.planning.mig import device_type
from apps.planning.shapes import CannotEstimate
from apps.planning.weights import weights_bytes

ENGINE = "lm-eval"
FORMULA_VERSION = "evaluation-2"
MAX_FEWSHOT = 64
_PROCESS_BYTES = 2 * 2**30  # torch, transformers and the harness itself
_UNKNOWN_MODEL_BYTES = 2**30
_PLAIN = ("fp32", "bf16", "fp16")  # loaded in another precision where that is asked for
# FLOP/s that prompts reach: a CPU core in float32, a GPU in half precision. Wide apart; the range says so.
_CPU_CORE_FLOPS, _GPU_FLOPS = 5e10, 4e13
_GPU_SHARE = 0.13  # of its peak, where that is known: as much as those are of an A100's
_DECODE_SHARE = 0.05  # writing is bound by memory, so a written token costs as much as 20 read ones
_DEFAULT_ITEMS = 1000  # where a task's items are only known to the engine


@dataclass(frozen=True)
class EvalPlan:
    spec: RunSpec
    variant: str
    gpus: int
    ram_bytes: int  # reserved on the CPU device; 0 where a GPU holds the model
    vram_bytes: int  # that the GPU must have at least; 0 on the CPU, and where it is not known
    gpu_share: float  # all of that GPU, where its size is known: batches take what they find
    item_count: int
    prompt_tokens: int  # of all items together, as output_tokens
    output_tokens: int
    duration: Duration
    gpu: Device | None  # for which it is planned


class _Work(NamedTuple):
    """Of all items together."""

    items: int
    prompt_tokens: int
    output_tokens: int


def plan_eval_run(
    *,
    version: ModelVersion,
    suite: Suite,
    options: dict[str, Any],
    tasks: list[str] | None = None,
    limit: int | None = None,
    num_fewshot: int | None = None,
    engine: str = ENGINE,
) -> EvalPlan:
    """Raises Problem 422 for an unknown engine, task or option, and for a version without files."""
    asked = engine_named(engine, kind="evaluate")
    check_loads(asked, version, "version")
    chosen = _chosen_tasks(suite, tasks)
    _check_range("limit", limit, 1, 1_000_000)
    _check_range("num_fewshot", num_fewshot, 0, MAX_FEWSHOT)
    promise = promise_of(version)  # its files come later, the base's are needed too
    try:
        needed_files(promise.parent if promise else version)
    except CannotPrepare as problem:
        raise invalid("version", str(problem), value=version.public_id) from None
    wished = {name: value for name, value in suite.options.items() if name in asked.Options.model_fields}
    spec = RunSpec(
        kind="evaluate",
        engine=engine,
        model=model_ref(version),
        options=checked_options(asked, wished | options),
        inputs=[Input.model_validate(file) for task in chosen for file in task["files"]],
        payload={"tasks": [task["name"] for task in chosen], "num_fewshot": num_fewshot, "limit": limit}
        | code_granted(version),
    )
    variant, gpus = default_placement(asked)
    gpu = planned_device(asked, gpus=gpus) if gpus else None
    work = _work(chosen, limit, num_fewshot)
    vram = _vram_bytes(version, spec.options) if gpus else 0
    return EvalPlan(
        spec=spec,
        variant=variant,
        gpus=gpus,
        ram_bytes=0 if gpus else _ram_bytes(version),
        vram_bytes=vram,
        gpu_share=1.0 if vram else 0.0,
        item_count=work.items,
        prompt_tokens=work.prompt_tokens,
        output_tokens=work.output_tokens,
        duration=_duration(version, suite, spec, work, gpu),
        gpu=gpu,
    )


def new_estimate(plan: EvalPlan, *, version: ModelVersion, suite: Suite) -> NewEstimate:
    """The ledger's row."""
    device = plan.gpu or largest_device("cpu")
    return NewEstimate(
        quantity="eval_seconds",
        unit="seconds",
        value=plan.duration.seconds,
        low=plan.duration.seconds_low,
        high=plan.duration.seconds_high,
        confidence="medium" if plan.duration.basis == "measured" else "low",
        formula_version=FORMULA_VERSION,
        context={
            "engine": plan.spec.engine,
            "device": device.name if device else "",
            "model": str(version),
            "family": version.family,
            "suite": str(suite),
            "items": plan.item_count,
        },
    )


def _chosen_tasks(suite: Suite, names: list[str] | None) -> list[dict[str, Any]]:
    known = {task["name"]: task for task in suite.tasks}
    for name in names or ():
        if name not in known:
            raise unknown_choice("tasks", name, known, noun=f"task in suite {suite.name}")
    if names is not None and not names:
        raise invalid("tasks", f"Choose at least one task of {suite.name}: {', '.join(known)}.", value=names)
    return [task for name, task in known.items() if names is None or name in names]


def _check_range(field: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise invalid(field, f"{field} must be between {low} and {high:,}, or left out.", value=value)


def _ram_bytes(version: ModelVersion) -> int:
    """float32 weights and the process; a run on 135 M parameters was seen to peak at 1.3 GiB."""
    weights = version.parameter_count * 4 if version.parameter_count else _UNKNOWN_MODEL_BYTES
    return weights + _PROCESS_BYTES


def _vram_bytes(version: ModelVersion, options: dict[str, Any]) -> int:
    """The weights in the precision that they are computed in, and the process; 0 where nothing is known of them."""
    stored = version.precision or "bf16"
    asked = str(options.get("dtype") or "auto")
    try:
        weights = weights_bytes(
            shape=shape_from_config(version.facts.get("config", {})),
            precision=asked if asked != "auto" and stored in _PLAIN else stored,
            file_bytes=version.facts.get("weights_bytes"),
            stored_precision=stored,
            quantization=version.quantization,
        )
    except CannotEstimate:
        return 0
    return weights + _PROCESS_BYTES


def _items(task: dict[str, Any], limit: int | None) -> int:
    items: int = task["item_count"] or _DEFAULT_ITEMS
    return items if limit is None else min(items, limit)


def _work(tasks: list[dict[str, Any]], limit: int | None, num_fewshot: int | None) -> _Work:
    """An example is about as long as a question, and stands before each of an item's prompts."""
    items = prompt_tokens = output_tokens = 0
    for task in tasks:
        count = _items(task, limit)
        shots = task["num_fewshot"] if num_fewshot is None else num_fewshot
        items += count
        prompt_tokens += count * task["prompt_tokens"] * (1 + shots)
        output_tokens += count * task["output_tokens"]
    return _Work(items, prompt_tokens, output_tokens)


def _duration(version: ModelVersion, suite: Suite, spec: RunSpec, work: _Work, gpu: Device | None) -> Duration:
    """From the newest run of the same suite on the same kind of device, else from the size of the model."""
    speed = _speed(version, gpu)
    estimate = evaluation_duration(
        items=work.items,
        prompt_tokens=work.prompt_tokens / work.items,
        output_tokens=work.output_tokens / work.items,
        prompt_tokens_per_second=speed,
        output_tokens_per_second=speed * _DECODE_SHARE,
    )
    whole = len(spec.payload["tasks"]) == len(suite.tasks) and spec.payload["limit"] is None
    measured = _measured_seconds(version, suite, spec, on_gpu=gpu is not None) if whole else None
    return Duration(measured, measured / 1.5, measured * 2, "measured") if measured else estimate


def _speed(version: ModelVersion, gpu: Device | None) -> float:
    """Prompt tokens/s, at 2 FLOPs a parameter and token."""
    parameters = version.parameter_count or _UNKNOWN_MODEL_BYTES // 4
    if gpu:
        kind = device_type(gpu.name, gpu.memory_bytes)
        flops = kind.bf16_flops * _GPU_SHARE if kind and kind.bf16_flops else _GPU_FLOPS
        return flops / (2 * parameters)
    device = largest_device("cpu")
    cores = device.host.cpu_count if device and device.host.cpu_count else 1
    return _CPU_CORE_FLOPS * cores / (2 * parameters)


def own_cost(plan: EvalPlan) -> tuple[float, float, float] | None:
    """Low, middle and high of the time on its GPU at that one's price, in the installation's currency; None where
    there is no GPU or no price."""
    price = hour_price(plan.gpu.host, plan.gpu) if plan.gpu else None
    if price is None:
        return None
    time = plan.duration
    low, middle, high = (
        float(price) * plan.gpus * each / 3600 for each in (time.seconds_low, time.seconds, time.seconds_high)
    )
    return low, middle, high


def _measured_seconds(version: ModelVersion, suite: Suite, spec: RunSpec, *, on_gpu: bool) -> float | None:
    """With as many examples, scaled by model size: work grows with the parameters."""
    runs = Attempt.objects.filter(
        job__eval_run__suite=suite,
        job__eval_run__tasks=[task["name"] for task in suite.tasks],
        job__spec__payload__limit=None,
        job__spec__payload__num_fewshot=spec.payload["num_fewshot"],
        measurements__has_key="eval_seconds",
    ).select_related("job__eval_run__version")
    alike = runs.filter(job__gpus_needed__gt=0) if on_gpu else runs.filter(job__gpus_needed=0)
    newest = alike.order_by("-created_at").first()
    if newest is None:
        return None
    theirs, ours = newest.job.eval_run.version.parameter_count, version.parameter_count
    return float(newest.measurements["eval_seconds"]) * (ours / theirs if ours and theirs else 1.0)

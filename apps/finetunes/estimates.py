"""Memory and time of a fine-tune before it runs, from the planner."""

from __future__ import annotations

from typing import Any

from apps.calibration.services import NewEstimate
from apps.catalog.models import ModelVersion
from apps.costs.accrual import hour_price, share_of
from apps.finetunes.models import Dataset
from apps.fleet.models import Device
from apps.planning.api_prices import ApiCost, api_costs
from apps.planning.configs import shape_from_config
from apps.planning.serving_plan import Memory
from apps.planning.shapes import CannotEstimate, ModelShape
from apps.planning.training import TrainingEstimate, TrainingPlan, training_fit

BYTES_PER_TOKEN = 4  # English text; the true count is known only to the tokenizer


def estimate_training(
    *, base: ModelVersion, dataset: Dataset, options: dict[str, Any], device: Device | None
) -> TrainingEstimate | None:
    """None where the base's architecture is not in the formulas, or no device is there yet."""
    if device is None:
        return None
    memory = Memory("gpu" if device.kind == Device.Kind.GPU else "cpu", device.usable_bytes, device.name)
    try:
        shape = shape_from_config(base.facts.get("config", {}))
        return training_fit(_plan(shape, dataset, options, device), memory)
    except CannotEstimate:
        return None


def behind_an_api(dataset: Dataset, options: dict[str, Any]) -> list[ApiCost]:
    """What training on the same tokens costs at providers, by their published prices."""
    return api_costs(*_tokens_and_epochs(dataset, options))


def own_cost(estimate: TrainingEstimate, gpus: int, gpu: Device) -> tuple[float, float] | None:
    """Low and high of the time on so many of these at their price, by the slots that the estimate fills, in the
    installation's currency; None where time or price is not known."""
    price = hour_price(gpu.host, gpu)
    if price is None or estimate.duration is None:
        return None
    slots = -(-estimate.total_bytes * gpu.slots // max(1, gpu.memory_bytes))
    an_hour = gpus * share_of(gpu, slots=slots, of=gpu.slots) * float(price)
    return an_hour * estimate.duration.seconds_low / 3600, an_hour * estimate.duration.seconds_high / 3600


def _tokens_and_epochs(dataset: Dataset, options: dict[str, Any]) -> tuple[int, float]:
    """Tokens of one pass, and how many passes; a number of steps is one pass over that many rows."""
    steps = int(options.get("max_steps") or 0)
    rows = steps * _rows_a_step(options) if steps else dataset.row_count
    return rows * _tokens_a_row(dataset, options), 1.0 if steps else float(options.get("num_epochs") or 1)


def _plan(shape: ModelShape, dataset: Dataset, options: dict[str, Any], device: Device) -> TrainingPlan:
    sequence, micro_batch = _sequence(options), int(options.get("micro_batch_size") or 1)
    tokens_a_row = _tokens_a_row(dataset, options)
    tokens, epochs = _tokens_and_epochs(dataset, options)
    return TrainingPlan(
        shape=shape,
        method="lora",
        precision="fp32" if device.kind == "cpu" else "bf16",
        lora_rank=int(options.get("lora_r") or 16),
        micro_batch=micro_batch,
        sequence_tokens=tokens_a_row if device.kind == "cpu" else sequence,
        tokens=tokens,
        epochs=epochs,
        cpu_count=device.host.cpu_count,
    )


def _sequence(options: dict[str, Any]) -> int:
    return int(options.get("sequence_len") or 2048)


def _tokens_a_row(dataset: Dataset, options: dict[str, Any]) -> int:
    return max(1, min(_sequence(options), dataset.size_bytes // BYTES_PER_TOKEN // max(1, dataset.row_count)))


def _rows_a_step(options: dict[str, Any]) -> int:
    return int(options.get("micro_batch_size") or 1) * int(options.get("gradient_accumulation_steps") or 1)


def new_estimates(
    estimate: TrainingEstimate,
    *,
    engine: str,
    base: ModelVersion,
    dataset: Dataset,
    options: dict[str, Any],
    device: Device | None,
) -> list[NewEstimate]:
    """The ledger's rows: memory, and the times of the run and of a step where the device's speed is known."""
    context = {
        "engine": engine,
        "device": device.name if device else "",
        "model": str(base),
        "family": base.family,
    }
    formula, total = estimate.formula_version, estimate.total_bytes
    bounds = (estimate.total_bytes_low, estimate.total_bytes_high)
    rows = [NewEstimate("peak_memory_bytes", "bytes", total, *bounds, estimate.confidence, formula, context)]
    if estimate.duration:
        time = estimate.duration
        seconds = (time.seconds, time.seconds_low, time.seconds_high)
        rows.append(NewEstimate("train_seconds", "seconds", *seconds, "low", formula, context))
    if estimate.speed:
        tokens, speed = _rows_a_step(options) * _tokens_a_row(dataset, options), estimate.speed
        step = (tokens / speed.middle, tokens / speed.high, tokens / speed.low)
        rows.append(NewEstimate("step_seconds", "s/step", *step, "low", formula, context))
    return rows

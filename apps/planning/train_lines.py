"""One question and one answer of `stackweb fit-train`, as plain dicts: GiB, tokens a second, hours, dollars."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.planning.api_prices import api_costs
from apps.planning.gpu_memory import NamedGpu, read_gpu
from apps.planning.line_fields import MOST_BYTES, flag, model_of, number, text, unread, whole
from apps.planning.memory import GIB
from apps.planning.precisions import read_precision
from apps.planning.serving_plan import Memory
from apps.planning.shapes import CannotEstimate
from apps.planning.training import TrainingEstimate, TrainingPlan, training_fit
from apps.planning.training_methods import (
    known_engine,
    optimizer_in,
    read_method,
    read_optimizer,
    read_sharding,
    sharding_asked,
)

# What is taken where a line leaves a key out; `notes` say so.
_DEFAULTS: dict[str, Any] = {
    "method": "lora", "engine": "axolotl", "lora_rank": 16, "micro_batch": 1, "seq_len": 2048,
    "gradient_checkpointing": True, "dataset_tokens": 10**6, "epochs": 1,
}  # fmt: skip
# `precision` and `weights_bytes` are of the files, and only checked: training loads them at the bits of its method.
KEYS = (
    "id", "model_id", "model", "config", "weights_bytes", "precision", "gpu", "gpu_memory_gib", "gpus", "optimizer",
    "sharding", *_DEFAULTS,
)  # fmt: skip
_OFFLOADING = ("unsloth", "offload", "offload_disk")  # Axolotl's and Unsloth's words for checkpoints in RAM
_WORDS = {"on": True, "enabled": True, "selective": True, "full": True, "off": False, "none": False, "disabled": False}


def answer_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one question. Raises CannotEstimate naming the key that is wrong."""
    plan, memory = read_line(line)
    fit = training_fit(plan, memory)
    notes = (*fit.notes, *_gpu_notes(line, plan), *_reading_notes(line, plan), *unread(line, KEYS))
    fit = replace(fit, confidence="low" if _gpu(line).is_doubtful else fit.confidence, notes=notes)
    return {"id": line.get("id")} | _answer(fit) | {"api_prices": _api_prices(plan)}


def read_line(line: Mapping[str, Any]) -> tuple[TrainingPlan, Memory]:
    """The plan and the GPU that a line describes."""
    shape, _, _ = model_of(line)
    file_bytes = whole(line, "weights_bytes", most=MOST_BYTES)
    read_precision(text(line, "precision"), is_sized=file_bytes is not None)
    gpu_name, gpu = text(line, "gpu"), _gpu(line)
    line = _DEFAULTS | {key: value for key, value in line.items() if value is not None and value != ""}
    method, engine = read_method(text(line, "method")), text(line, "engine").lower()
    optimizer = text(line, "optimizer") or optimizer_in(text(line, "method"))
    devices = gpu.gpus(whole(line, "gpus", most=65_536))
    checkpointing, offloads = _checkpointing(line)
    # A tool's name, such as fsdp_qlora, says less than the field does.
    sharding = sharding_asked(text(line, "sharding")) or read_sharding(f"{text(line, 'method')} {engine}")
    plan = TrainingPlan(
        shape=shape,
        method=method.name,
        preference=method.preference,
        quantised_bits=method.bits,
        is_gptq=method.is_gptq,
        engine=engine,
        optimizer=read_optimizer(optimizer, engine, method.name, devices, sharding),
        lora_rank=whole(line, "lora_rank", most=4096) or 0,
        micro_batch=whole(line, "micro_batch", most=4096) or 0,
        sequence_tokens=whole(line, "seq_len", most=2**24) or 0,
        tokens=whole(line, "dataset_tokens", most=10**15) or 0,
        epochs=number(line, "epochs", least=0.001, most=10**4) or 0,
        gradient_checkpointing=checkpointing,
        offloads_checkpoints=offloads,
        chunked_loss=bool(re.search(r"liger|cut[ _-]?cross|\bcce\b|chunked", engine)),
        devices=devices,
        sharding=sharding,
        cpu_offload="offload" in text(line, "method").lower(),
        price_per_device_hour=gpu.kind.hour_price if gpu.kind else None,
    )
    return plan, Memory("gpu", gpu.usable_bytes, gpu.kind.title if gpu.kind else gpu_name)


def _checkpointing(line: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether layers are computed again, and whether their checkpoints lie in RAM."""
    value = line["gradient_checkpointing"]
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _OFFLOADING:
        return True, True
    return bool(_WORDS[word] if word in _WORDS else flag(line, "gradient_checkpointing")), False


def _gpu(line: Mapping[str, Any]) -> NamedGpu:
    gpu_name = text(line, "gpu")
    memory_gib = number(line, "gpu_memory_gib", least=0.1, most=10_000)
    if not gpu_name and memory_gib is None:
        raise CannotEstimate("Give gpu, such as 'A100 80GB', or gpu_memory_gib.")
    return read_gpu(gpu_name or f"{memory_gib}GB class", memory_gib)


def _gpu_notes(line: Mapping[str, Any], plan: TrainingPlan) -> list[str]:
    gpu = _gpu(line)
    notes = [gpu.note] if gpu.note else []
    if plan.price_per_device_hour is None:
        notes.append(f"No list price of {gpu.title} is known, so there is no cost; hours x your own price give it.")
    return notes


def _reading_notes(line: Mapping[str, Any], plan: TrainingPlan) -> list[str]:
    """How the line was read where it left something open."""
    taken = _DEFAULTS | {"optimizer": plan.optimizer}
    absent = [f"{key} {value}" for key, value in taken.items() if line.get(key) in (None, "")]
    if plan.method == "full":
        absent = [each for each in absent if not each.startswith("lora_rank")]
    if plan.devices > 1 and plan.sharding is None:
        absent.append(f"sharding {plan.sharding_taken}")
    notes = [f"Not given, so taken: {', '.join(absent)}."] if absent else []
    if 0 < plan.shape.max_context < plan.sequence_tokens:
        made_for = f"more than the {plan.shape.max_context:,} tokens that the model is made for"
        notes.append(f"seq_len {plan.sequence_tokens:,} is {made_for}; its positions must be stretched to learn there.")
    if known_engine(plan.engine) is None:
        notes.append(f"{plan.engine} has no figures of its own; it counts as a Hugging Face trainer with peft.")
    if "freeze" in text(line, "method").lower():
        notes.append("Freeze tuning is answered as LoRA, whose memory it comes near to.")
    if plan.method == "full" and plan.optimizer == "adamw-fp32":
        notes.append("AdamW keeps float32 weights and moments beside 16-bit weights: 18 bytes a parameter.")
    return notes


def _api_prices(plan: TrainingPlan) -> list[dict[str, Any]]:
    """What the same tokens cost behind an API: published prices with their dates."""
    return [
        {
            "provider": each.price.provider,
            "model": each.price.model,
            "usd": round(each.usd, 4),
            "usd_per_1m_tokens": each.price.usd_per_million_tokens,
            "date": each.price.date,
            "source": each.price.source,
        }
        for each in api_costs(plan.tokens, plan.epochs)
    ]


def _answer(fit: TrainingEstimate) -> dict[str, Any]:
    gib = {"low": fit.total_bytes_low, "mid": fit.total_bytes, "high": fit.total_bytes_high}
    speed, time = fit.speed, fit.duration
    return {
        "fits": fit.fits,
        "verdict": fit.verdict,
        "peak_gib_per_gpu": {name: round(size / GIB, 3) for name, size in gib.items()},
        "tokens_per_s_per_gpu": speed
        and {"low": round(speed.low, 1), "mid": round(speed.middle, 1), "high": round(speed.high, 1)},
        "hours": time and round(time.seconds / 3600, 4),
        "hours_low": time and round(time.seconds_low / 3600, 4),
        "hours_high": time and round(time.seconds_high / 3600, 4),
        "cost_usd": _money(fit.cost),
        "cost_usd_low": _money(fit.cost_low),
        "cost_usd_high": _money(fit.cost_high),
        "confidence": fit.confidence,
        "formula_version": fit.formula_version,
        "explanation": fit.reason,
        "notes": list(fit.notes),
    }


def _money(cost: float | None) -> float | None:
    return None if cost is None else round(cost, 4)

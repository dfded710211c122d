"""The planner's answers over the catalogue and the fleet, as plain dicts."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

from django.conf import settings

from apps.accounts.problems import invalid
from apps.catalog.models import ModelVersion
from apps.catalog.placement import check_loads
from apps.dashboard.plan_corrections import EVAL, FIT, TRAINING, corrections
from apps.engines.registry import get_engine
from apps.evals.models import Suite
from apps.evals.plans import new_estimate, own_cost, plan_eval_run
from apps.finetunes.services import ENGINE as TRAINER
from apps.fleet.models import Device
from apps.fleet.querysets import fleet_devices
from apps.jobs.chances import fleet_timeline
from apps.planning import fit_lines, train_lines
from apps.planning.fit_question import read_question
from apps.planning.gpu_memory import NamedGpu, read_gpu, usable_of
from apps.planning.line_fields import model_of
from apps.planning.memory import GIB
from apps.planning.mig import device_type, is_slice
from apps.planning.other_engines import VLLM
from apps.planning.placement import Need
from apps.planning.precisions import read_precision
from apps.planning.shapes import CannotEstimate
from apps.serving.starts import host_starts

# How long a version's files take to come; of files at another precision, which nobody has, there is nothing to say.
_FILE_TIMES = tuple(f"{name}{part}" for name in ("download_s", "load_s") for part in ("", "_low", "_high"))


def with_version(line: dict[str, Any], version: ModelVersion | None) -> dict[str, Any]:
    """The line about a version of the catalogue: its config, and its files at their own precision."""
    if version is None:
        return line
    facts = version.facts
    config = facts.get("config")
    if not config:
        raise invalid("version", f"The config.json of {version} is not known, so nothing can be estimated.")
    precision = _asked_precision(line) or version.precision or None
    if version.is_gguf:  # whose F16, BF16, F32 and MXFP4 are names of other files too
        precision = f"{precision or ''} GGUF"
    stored = {"config": config, "precision": precision}
    has_bytes = is_as_stored(line, version) and facts.get("weights_bytes")
    return line | stored | ({"weights_bytes": facts["weights_bytes"]} if has_bytes else {})


def _asked_precision(line: dict[str, Any]) -> str:
    """Empty for the version's own, which "auto" means too."""
    said = str(line.get("precision") or "").strip()
    return "" if said.lower() == "auto" else said


def is_as_stored(line: dict[str, Any], version: ModelVersion) -> bool:
    """Whether the line asks for the version at the precision of its own files."""
    asked = _asked_precision(line)
    try:
        return not asked or read_precision(asked) == read_precision(version.precision)
    except CannotEstimate:  # which whoever reads the line says in words
        return False


def fit_answer(line: dict[str, Any], version: ModelVersion | None) -> dict[str, Any]:
    """On the GPU that is named, by its type or its memory alone."""
    asked = with_version(line, version)
    answer = fit_lines.answer_line(asked)
    answer.pop("id")
    if version is not None and not is_as_stored(line, version):
        answer |= dict.fromkeys(_FILE_TIMES)
    question = read_question(asked)
    gpu = line.get("gpu") or question.gpu.title
    engine = "llama-cpp" if question.loads_gguf else "vllm" if question.engine in ("", VLLM) else question.engine
    return answer | {
        "corrections": corrections(answer, FIT, device=gpu, engine=engine, family=_family(asked, version)),
        "gpu": gpu,
        "gpus": answer["tensor_parallel"] * answer["pipeline_parallel"],
        "hosts": [],
        "starts": [],
    }


def fit_here(line: dict[str, Any], version: ModelVersion | None) -> list[dict[str, Any]]:
    """The same on each kind of GPU in the fleet, with the hosts that have as many and when they could take the model.

    Several GPUs are not asked of MIG slices, which no engine joins. Raises Problem 422 without a GPU.
    """
    timeline = fleet_timeline()
    answers = []
    for (name, memory_bytes), on_host in _gpus_to_ask(line).items():
        answer = fit_answer(line | {"gpu": name, "gpu_memory_gib": memory_bytes / GIB}, version)
        answer["hosts"] = sorted(host for host, count in on_host.items() if count >= answer["gpus"])
        if answer["fits"]:
            starts = host_starts(timeline, Need(gpus=answer["gpus"], vram_bytes=memory_bytes), answer["hosts"])
            answer["starts"] = [{"host": each.host, "at": each.at, "waits_for": each.waits_for} for each in starts]
        answers.append(answer)
    return answers


def _gpus_to_ask(line: dict[str, Any]) -> dict[tuple[str, int], Counter[str]]:
    kinds = _gpus_by_kind()
    several = next((key for key in ("gpus", "tensor_parallel", "pipeline_parallel") if (line.get(key) or 1) != 1), "")
    if not several:
        return kinds
    whole = {kind: on_host for kind, on_host in kinds.items() if not is_slice(kind[0])}
    if not whole:
        message = f"Every GPU here is a MIG slice, and no engine joins slices; {several} must be 1."
        raise invalid(several, message, value=line[several])
    return whole


def _gpus_by_kind() -> dict[tuple[str, int], Counter[str]]:
    """(name, memory as torch sees it in bytes), largest first -> how many each host has.

    Raises Problem 422 where no host has any.
    """
    found: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    gpus = fleet_devices(Device.Kind.GPU).filter(host__cordoned=False)
    for name, driver_bytes, host in gpus.order_by("-memory_bytes").values_list("name", "memory_bytes", "host__name"):
        found[name, usable_of(name, driver_bytes)][host] += 1
    if not found:
        raise invalid("gpu", "No host here has a GPU. Name one, such as 'H100 80GB'.", value="")
    return found


def fleet_gpus(gpu: str | None, memory_gib: float | None, count: int) -> list[NamedGpu]:
    """The GPU that was named, `count` of it; or every kind in the fleet that can be asked for so many, as many as one
    host has. Raises CannotEstimate for several MIG slices, and Problem 422 as `_gpus_to_ask`."""
    if gpu or memory_gib:
        named = read_gpu(gpu or f"{memory_gib}GB class", memory_gib)
        return [replace(named, count=named.gpus(count if count > 1 else None))]
    return [
        NamedGpu(name, device_type(name, memory_bytes), memory_bytes, 1 if is_slice(name) else max(on_host.values()))
        for (name, memory_bytes), on_host in _gpus_to_ask({"gpus": count}).items()
    ]


def training_answer(line: dict[str, Any], version: ModelVersion | None) -> dict[str, Any]:
    if version is not None:
        check_loads(get_engine(TRAINER), version, "version")
    # A stored precision that is not known is no obstacle: training loads the base at the bits of its method.
    asked = with_version(line, version) | {"precision": line.get("precision")}
    if not asked.get("gpu"):
        here = fleet_gpus(None, asked.get("gpu_memory_gib"), asked.get("gpus") or 1)[0]
        asked |= {"gpu": here.title, "gpu_memory_gib": here.usable_bytes / GIB}
    answer = train_lines.answer_line(asked)
    answer.pop("id")
    gpu = str(asked["gpu"])
    engine = str(asked.get("engine") or TRAINER).lower()
    judged = corrections(answer, TRAINING, device=gpu, engine=engine, family=_family(asked, version))
    return answer | {"gpu": gpu, "corrections": judged}


def _family(asked: dict[str, Any], version: ModelVersion | None) -> str:
    """As the ledger knows the model's family."""
    return version.family if version else str(model_of(asked)[2].get("model_type") or "")


def eval_answer(version: ModelVersion, suite: Suite, **asked: Any) -> dict[str, Any]:
    plan = plan_eval_run(version=version, suite=suite, options={}, **asked)
    cost_low, cost, cost_high = own_cost(plan) or (None, None, None)
    kept = new_estimate(plan, version=version, suite=suite)
    judged = {name: str(kept.context[name]) for name in ("device", "engine", "family")}
    return {
        "corrections": corrections({"seconds": plan.duration.seconds}, EVAL, **judged),
        "items": plan.item_count,
        "prompt_tokens": plan.prompt_tokens,
        "output_tokens": plan.output_tokens,
        "seconds": plan.duration.seconds,
        "seconds_low": plan.duration.seconds_low,
        "seconds_high": plan.duration.seconds_high,
        "basis": plan.duration.basis,
        "gpus": plan.gpus,
        "ram_bytes": plan.ram_bytes,
        "cost": cost,
        "cost_low": cost_low,
        "cost_high": cost_high,
        "currency": settings.CURRENCY,
        "confidence": kept.confidence,
        "formula_version": kept.formula_version,
    }

"""REST: what fits, which model, which engine, what a fine-tune and an evaluation take, before anything runs.

Estimates of apps/planning over the catalogue and the fleet. Sizes in GiB on each GPU unless said otherwise.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema

from apps.accounts.rest import signed_in
from apps.catalog.lookups import version_named
from apps.dashboard.plan_answers import eval_answer, fit_answer, fit_here, fleet_gpus, training_answer
from apps.dashboard.plan_problems import planning_problems
from apps.evals.lookups import suite_named
from apps.planning.engine_choice import Requirements, recommend_engines
from apps.planning.model_choice import ModelChoice, recommend_models

router = Router(tags=["planning"])


class ModelAsked(Schema, extra="forbid"):
    """The model: one of version (of the catalogue here), model_id (well known) or config (a config.json)."""

    version: str | None = None
    model_id: str | None = None
    config: dict[str, Any] | None = None
    weights_bytes: int | None = None
    precision: str | None = Field(None, description='such as "bf16", "awq int4", "Q4_K_M"')
    gpu: str | None = Field(None, description='such as "H100 80GB" or "24GB class"; empty: the hardware here')
    gpu_memory_gib: float | None = Field(
        None, description="memory of each GPU, instead of what gpu stands for; may stand without gpu"
    )
    gpus: int | None = None
    engine: str | None = None


class FitIn(ModelAsked):
    engine_version: str | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    enable_expert_parallel: bool | None = None
    gpu_memory_utilization: float | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_cache_dtype: str | None = None
    enforce_eager: bool | None = None
    lora_slots: int | None = Field(None, description="adapters loaded at once (--max-loras)")
    lora_rank: int | None = Field(None, description="the highest of theirs (--max-lora-rank)")


class CorrectionOut(Schema):
    """A figure of the answer as runs here of that device, engine and formula correct it; from three runs on."""

    figure: str  # its key in the answer, which keeps the estimate
    estimated: float
    corrected: float  # in the figure's unit
    factor: float  # 0.5 to 2
    runs: int
    family: str  # of the models that ran; empty: of all models


class HostStart(Schema):
    """When a host could start it, behind the jobs that wait now; `at` is null where only a person can say."""

    host: str
    at: datetime | None
    waits_for: list[str]  # jobs that hold the GPUs until then


class FitOut(Schema):
    """`fits` is true for a tight fit too. `kv_tokens` and `max_concurrency` at the context that was asked for."""

    gpu: str
    gpus: int
    tensor_parallel: int
    pipeline_parallel: int
    hosts: list[str]  # of ours that have as many; empty for a GPU that was named
    starts: list[HostStart]  # soonest first, where it fits
    fits: bool
    verdict: Literal["fits", "tight", "too_big"]
    reason: str | None  # weights, kv_cache or activation
    weights_gib_per_gpu: float
    activation_peak_gib: float
    non_torch_gib: float
    overhead_gib: float
    overhead_gib_low: float
    overhead_gib_high: float
    kv_available_gib_per_gpu: float
    kv_available_gib_per_gpu_low: float
    kv_available_gib_per_gpu_high: float
    missing_gib_per_gpu: float  # what weights, overhead and one context need beyond it; 0 where they fit
    kv_bytes_per_token_per_gpu: int
    kv_tokens: int
    max_concurrency: float
    max_model_len_possible: int
    weights_file_gib: float | None
    weights_file_gib_low: float | None
    weights_file_gib_high: float | None
    decode_tokens_per_s: float | None  # of one request with 1,024 tokens of prompt; null: not known
    decode_tokens_per_s_low: float | None
    decode_tokens_per_s_high: float | None
    prefill_tokens_per_s: float | None
    prefill_tokens_per_s_low: float | None
    prefill_tokens_per_s_high: float | None
    first_token_s: float | None
    first_token_s_low: float | None
    first_token_s_high: float | None
    download_s: float | None  # all weights to one host; null: of a version, at a precision that its files do not have
    download_s_low: float | None
    download_s_high: float | None
    load_s: float | None  # from the disk until the engine answers; null as download_s
    load_s_low: float | None
    load_s_high: float | None
    smallest_change: str | None
    corrections: list[CorrectionOut]  # of weights_gib_per_gpu, kv_tokens, decode_tokens_per_s and load_s
    confidence: Literal["low", "medium", "high"]
    formula_version: str
    explanation: str
    notes: list[str]


class FitsOut(Schema):
    items: list[FitOut]


@router.post("/plan/fit", response=FitsOut, summary="Whether a model fits a GPU, or each kind of GPU here")
def plan_fit(request: HttpRequest, payload: FitIn) -> dict[str, Any]:
    version = version_named(signed_in(request), payload.version) if payload.version else None
    line = payload.model_dump(exclude={"version"}, exclude_none=True)
    with planning_problems(line):
        is_named = bool(payload.gpu or payload.gpu_memory_gib)
        return {"items": [fit_answer(line, version)] if is_named else fit_here(line, version)}


class ModelIn(Schema, extra="forbid"):
    gpu: str | None = Field(None, description="empty: every GPU of the fleet")
    gpu_memory_gib: float | None = Field(None, gt=0, le=10_000)
    gpus: int = Field(1, ge=1, le=1024)
    objective: Literal["quality", "speed", "context"] = "quality"
    context: int = Field(8192, ge=1, le=10_000_000)
    limit: int = Field(10, ge=1, le=50)


class ModelChoiceOut(Schema):
    model_id: str
    precision: str
    gpu: str
    gpus: int
    requests: float  # at once, each with the context that was asked for
    decode_tokens_per_second: float | None  # of one request, estimated
    score: float  # reported by others, never measured here
    score_of: str
    why: str


class LeftOutOut(Schema):
    reason: str
    model_ids: list[str]


class ModelChoicesOut(Schema):
    """`left_out`: models with a comparable score that are not among the items, by reason."""

    items: list[ModelChoiceOut]
    left_out: list[LeftOutOut]


@router.post("/plan/model", response=ModelChoicesOut, summary="Well-known models for a GPU or for the fleet")
def plan_model(request: HttpRequest, payload: ModelIn) -> dict[str, Any]:
    signed_in(request)
    with planning_problems(payload.model_dump()):
        hardware = fleet_gpus(payload.gpu, payload.gpu_memory_gib, payload.gpus)
        found = recommend_models(hardware, objective=payload.objective, context=payload.context, most=payload.limit)
    left_out = [{"reason": each.reason, "model_ids": list(each.model_ids)} for each in found.left_out]
    return {"items": [_choice_out(each) for each in found.choices], "left_out": left_out}


def _choice_out(choice: ModelChoice) -> dict[str, Any]:
    score = choice.score
    return {
        "model_id": choice.model_id,
        "precision": choice.precision,
        "gpu": choice.gpu,
        "gpus": choice.gpus,
        "requests": round(choice.fit.concurrent_users, 1),
        "decode_tokens_per_second": round(choice.speed.decode[1], 1) if choice.speed else None,
        "score": score.score,
        "score_of": f"{score.benchmark}, {score.setting}",
        "why": choice.why,
    }


class EngineIn(Schema, extra="forbid"):
    hardware: Literal["nvidia", "amd", "cpu", "mac"] = "nvidia"
    model_format: Literal["safetensors", "gguf", "pytorch"] = "safetensors"
    precision: str = "bf16"
    concurrency: int = Field(16, ge=1, le=100_000)
    needs_lora: bool = False
    needs_structured_output: bool = False
    needs_multi_node: bool = False
    needs_speculative_decoding: bool = False


class EngineChoiceOut(Schema):
    """`can` false: `refusals` say why not. An engine archived upstream is never recommended."""

    engine: str
    title: str
    can: bool
    reasons: list[str]
    refusals: list[str]


class EngineChoicesOut(Schema):
    items: list[EngineChoiceOut]


@router.post("/plan/engine", response=EngineChoicesOut, summary="Engines for these requirements, the best first")
def plan_engine(request: HttpRequest, payload: EngineIn) -> dict[str, Any]:
    signed_in(request)
    with planning_problems(payload.model_dump()):
        found = recommend_engines(Requirements(**payload.model_dump()))
    return {
        "items": [
            {
                "engine": each.engine.name,
                "title": each.engine.title,
                "can": not each.refusals,
                "reasons": list(each.reasons),
                "refusals": list(each.refusals),
            }
            for each in found
        ]
    }


class FineTunePlanIn(ModelAsked):
    method: str | None = Field(None, description="lora, qlora, full, dpo, orpo; free text")
    seq_len: int | None = None
    micro_batch: int | None = None
    gradient_checkpointing: bool | str | None = Field(None, description="or where checkpoints lie: unsloth, offload")
    optimizer: str | None = None
    lora_rank: int | None = None
    dataset_tokens: int | None = None
    epochs: float | None = None
    sharding: str | None = Field(None, description="ddp, zero1, zero2, zero3 or fsdp; empty: the tool's usual way")


class RangeOut(Schema):
    low: float
    mid: float
    high: float


class ApiPriceOut(Schema):
    """What a provider asks for training on the same tokens; a published price with its date."""

    provider: str
    model: str
    usd: float
    usd_per_1m_tokens: float
    date: str
    source: str


class FineTunePlanOut(Schema):
    """`hours` and `cost_usd` are null where the GPU's speed or list price is not known."""

    gpu: str
    fits: bool
    verdict: Literal["fits", "tight", "too_big"]
    peak_gib_per_gpu: RangeOut
    tokens_per_s_per_gpu: RangeOut | None
    hours: float | None
    hours_low: float | None
    hours_high: float | None
    cost_usd: float | None
    cost_usd_low: float | None
    cost_usd_high: float | None
    confidence: Literal["low", "medium", "high"]
    formula_version: str
    explanation: str
    notes: list[str]
    api_prices: list[ApiPriceOut]
    corrections: list[CorrectionOut]  # of peak_gib_per_gpu (its mid) and hours


@router.post("/plan/finetune", response=FineTunePlanOut, summary="Memory, time and cost of a fine-tune")
def plan_finetune(request: HttpRequest, payload: FineTunePlanIn) -> dict[str, Any]:
    version = version_named(signed_in(request), payload.version) if payload.version else None
    line = payload.model_dump(exclude={"version"}, exclude_none=True)
    with planning_problems(line):
        return training_answer(line, version)


class EvalPlanIn(Schema, extra="forbid"):
    version: str
    suite: str
    tasks: list[str] | None = None
    limit: int | None = None
    num_fewshot: int | None = None


class EvalPlanOut(Schema):
    """`basis` measured: from a run of the same suite here, with as many examples. `cost` null: no price is known."""

    items: int
    prompt_tokens: int
    output_tokens: int
    seconds: float
    seconds_low: float
    seconds_high: float
    basis: Literal["measured", "formula"]
    gpus: int
    ram_bytes: int
    cost: float | None
    cost_low: float | None
    cost_high: float | None
    currency: str
    corrections: list[CorrectionOut]  # of seconds
    confidence: Literal["low", "medium"]
    formula_version: str


@router.post("/plan/eval", response=EvalPlanOut, summary="Time, tokens and cost of an evaluation")
def plan_eval(request: HttpRequest, payload: EvalPlanIn) -> dict[str, Any]:
    version = version_named(signed_in(request), payload.version)
    return eval_answer(
        version,
        suite_named(payload.suite),
        tasks=payload.tasks,
        limit=payload.limit,
        num_fewshot=payload.num_fewshot,
    )

"""A plan's numbers as the ledger keeps them and as the page shows them."""

from __future__ import annotations

from typing import Any

from apps.calibration.services import NewEstimate
from apps.catalog.models import ModelVersion
from apps.planning.loading import FORMULA_VERSION as LOADING
from apps.planning.loading import load_duration
from apps.planning.serving_plan import FitEstimate
from apps.planning.speeds import ServingSpeed
from apps.serving.plans import Plan

# An engine never says these, so an estimate of them would never be answered.
UNREPORTED = {"llama-cpp": ("kv_cache_tokens", "max_concurrency")}


def new_estimates(plan: Plan, version: ModelVersion) -> list[NewEstimate]:
    """Under the names by which the engine reports what came."""
    fit = plan.fit
    if fit is None:
        return []
    context: dict[str, Any] = {
        "engine": plan.engine.name,
        "engine_version": plan.engine.version,
        "device": plan.device.name if plan.device else "",
        "model": str(version),
        "family": version.family,
    }
    rows = [
        ("weights_bytes", "bytes", fit.weights_bytes, fit.weights_bytes, fit.weights_bytes),
        ("kv_cache_bytes", "bytes", fit.kv_cache_bytes, fit.kv_cache_bytes_low, fit.kv_cache_bytes_high),
        ("kv_cache_tokens", "tokens", fit.kv_tokens, fit.kv_tokens_low, fit.kv_tokens_high),
        ("peak_memory_bytes", "bytes", *totals(fit)),
        ("max_concurrency", "requests", *_users(fit)),
    ]
    found = [
        NewEstimate(quantity, unit, value, low, high, fit.confidence, fit.formula_version, context)
        for quantity, unit, value, low, high in rows
        if quantity not in UNREPORTED.get(plan.engine.name, ())
    ]
    return [*found, *_decode(plan.speed, context), _start(fit.weights_bytes * max(1, plan.gpus), context)]


def _decode(speed: ServingSpeed | None, context: dict[str, Any]) -> list[NewEstimate]:
    """Of one request alone; the gateway measures it on requests that had the engine to themselves."""
    if speed is None:
        return []
    low, value, high = speed.decode
    formula = speed.formula_version
    return [NewEstimate("decode_tokens_per_second", "tok/s", value, low, high, "low", formula, context)]


def _start(weights: int, context: dict[str, Any]) -> NewEstimate:
    """From the claim until it answers: files are there and the engine is installed by then."""
    time = load_duration(weights, context["engine"])
    seconds = (time.seconds, time.seconds_low, time.seconds_high)
    return NewEstimate("start_seconds", "seconds", *seconds, "low", LOADING, context)


def _users(fit: FitEstimate) -> tuple[float, float, float]:
    return fit.concurrent_users, fit.concurrent_users_low, fit.concurrent_users_high


def totals(fit: FitEstimate) -> tuple[int, int, int]:
    """All memory together: middle, low, high estimate."""
    held = fit.weights_bytes + fit.kv_cache_bytes
    return held + fit.overhead_bytes, held + fit.overhead_bytes_low, held + fit.overhead_bytes_high

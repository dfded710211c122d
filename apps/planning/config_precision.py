"""Which precision a quantization_config stands for; its keys are those that quantisers write into config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BY_METHOD = {
    "fp8": "fp8", "fbgemm_fp8": "fp8", "modelopt_fp8": "fp8", "mxfp4": "mxfp4", "modelopt_fp4": "nvfp4",
    "bitnet": "bitnet", "eetq": "int8", "torchao": "int8",
}  # fmt: skip
# (bits, weights in a group, whether a zero point is stored) -> name; AWQ and GPTQ store one, symmetric schemes none.
_WITH_ZEROS = {(4, 128): "int4-gptq", (4, 64): "int4-gptq-g64", (4, 32): "int4-gptq-g32", (3, 128): "int3",
               (2, 128): "int2", (8, 128): "int8-gptq"}  # fmt: skip
_WITHOUT_ZEROS = {(4, 128): "int4", (4, 32): "int4-g32"}


def precision_of(quantization: Mapping[str, Any]) -> str:
    """A name of PRECISIONS, or the method's own words where it is not one of these."""
    method = str(quantization.get("quant_method") or quantization.get("quant_algo") or "").lower()
    if method in _BY_METHOD:
        return _BY_METHOD[method]
    if method == "bitsandbytes":
        return _of_bitsandbytes(quantization)
    if method == "modelopt":
        algorithm = str(quantization.get("quant_algo") or quantization.get("quantization") or "").lower()
        return "nvfp4" if "fp4" in algorithm else "fp8" if "fp8" in algorithm else f"modelopt {algorithm}".strip()
    scheme = _scheme(quantization)
    if method == "compressed-tensors" and not scheme:
        return str(quantization.get("format") or method)
    return _of_group(method, scheme or quantization)


def has_fp8_cache(quantization: Mapping[str, Any], version: tuple[int, int]) -> bool:
    """Whether vLLM of that version keeps an 8-bit KV cache because the checkpoint brings the scales for one.

    vLLM's attention layer obeys the scheme of compressed-tensors since 0.10, that of ModelOpt since 0.12.
    """
    scheme = quantization.get("kv_cache_scheme")
    eight_bits = isinstance(scheme, Mapping) and scheme.get("num_bits") == 8
    since = (0, 12) if "modelopt" in str(quantization.get("quant_method")).lower() else (0, 10)
    algorithm = str(quantization.get("kv_cache_quant_algo") or "").upper()
    return (eight_bits or algorithm == "FP8") and version >= since


def _of_bitsandbytes(quantization: Mapping[str, Any]) -> str:
    if quantization.get("load_in_8bit") is True:
        return "int8"
    return "nf4" if quantization.get("bnb_4bit_use_double_quant") is True else "nf4-plain"


def _scheme(quantization: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights' scheme of the first group of layers that names one (compressed-tensors)."""
    groups = quantization.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping) and weights.get("num_bits"):
            return weights
    return {}


def _of_group(method: str, scheme: Mapping[str, Any]) -> str:
    bits = scheme.get("bits") or scheme.get("num_bits") or scheme.get("w_bit")
    size = scheme.get("group_size") or scheme.get("q_group_size")
    if scheme.get("type") == "float":
        return {8: "fp8", 4: "nvfp4"}.get(_whole(bits), f"{method} float{bits}")
    packs_zeros = method in ("awq", "gptq") or scheme.get("symmetric") is False
    names = _WITH_ZEROS if packs_zeros else _WITHOUT_ZEROS
    known = names.get((_whole(bits) or 4, _whole(size) or 128))
    if known == "int4-gptq" and method == "awq":
        return "int4-awq"
    return known or f"{method} int{_whole(bits) or 4}"


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6 else 0

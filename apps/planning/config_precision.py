"""Which precision a quantization_config stands for; its keys are those that quantisers write into config.json.

Keys and defaults: the classes in transformers/utils/quantization_config.py (5.19), compressed-tensors' and AMD Quark's
own schemes, ModelOpt's hf_quant_config.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from apps.planning.precisions import UNSTATED, Zeros, grouped_name

_BY_METHOD = {
    "fp8": "fp8", "fbgemm_fp8": "fp8", "modelopt_fp8": "fp8", "ptpc_fp8": "fp8", "mxfp4": "mxfp4", "mxfp8": "mxfp8",
    "nvfp4": "nvfp4", "modelopt_fp4": "nvfp4", "bitnet": "bitnet", "eetq": "int8", "experts_int8": "int8",
}  # fmt: skip
# Methods that name whole bits and a group at the top, with where their zero points are and the usual group.
_GROUPED: dict[str, tuple[Zeros, int]] = {
    "gptq": ("packed", 128), "gptq_marlin": ("packed", 128), "gptqmodel": ("packed", 128), "awq": ("packed", 128),
    "awq_marlin": ("packed", 128), "higgs": ("none", 256), "auto-round": ("none", 128), "auto_round": ("none", 128),
    "intel/auto-round": ("none", 128),
}  # fmt: skip
_LARGEST_BLOCK = 4096
_MODELOPT = (("nvfp4", "nvfp4"), ("mxfp8", "mxfp8"), ("fp8", "fp8"), ("int4", "int4"), ("w4a16", "int4"))


def precision_of(quantization: Mapping[str, Any]) -> str:
    """A name of PRECISIONS; or UNSTATED and why, where only the files tell what a weight takes."""
    method = str(quantization.get("quant_method") or quantization.get("quant_algo") or "").lower()[:40]
    if "modelopt" in method or quantization.get("quant_algo"):
        return _BY_METHOD.get(method) or _of_modelopt(quantization)
    readers = {
        "bitsandbytes": _of_bitsandbytes, "compressed-tensors": _of_compressed_tensors, "hqq": _of_hqq,
        "quanto": _of_quanto, "torchao": _of_torchao, "fp_quant": _of_fp_quant, "quark": _of_quark,
    }  # fmt: skip
    try:
        if method in readers:
            return readers[method](quantization)
        if method in _GROUPED:
            return _of_group(method, quantization)
    except _NoGroup as said:
        return _unstated(f"{method} with group_size {said}")
    return _BY_METHOD.get(method) or _unstated(method or "quantization_config without a quant_method")


def _unstated(why: str) -> str:
    return f"{UNSTATED} {why}"


def has_fp8_cache(quantization: Mapping[str, Any], version: tuple[int, int]) -> bool:
    """Whether vLLM of that version keeps an 8-bit KV cache because the checkpoint brings the scales for one.

    vLLM's attention layer obeys the scheme of compressed-tensors since 0.10, that of ModelOpt since 0.12.
    """
    scheme = quantization.get("kv_cache_scheme")
    eight_bits = isinstance(scheme, Mapping) and scheme.get("num_bits") == 8
    since = (0, 12) if "modelopt" in str(quantization.get("quant_method")).lower() else (0, 10)
    algorithm = str(quantization.get("kv_cache_quant_algo") or "").upper()
    return (eight_bits or algorithm == "FP8") and version >= since


def fp8_block(quantization: Mapping[str, Any], precision: str) -> int:
    """Columns of a weight that share a scale, where it is stored in FP8 blocks; 0 for anything else."""
    sizes = quantization.get("weight_block_size") if precision == "fp8" else None
    if not isinstance(sizes, list | tuple):
        return 0
    return max((each for each in sizes if type(each) is int and 0 < each <= _LARGEST_BLOCK), default=0)


def _of_bitsandbytes(quantization: Mapping[str, Any]) -> str:
    if quantization.get("load_in_8bit") is True:
        return "int8"
    if quantization.get("load_in_4bit") is not True:
        return _unstated("bitsandbytes")
    return "nf4" if quantization.get("bnb_4bit_use_double_quant") is True else "nf4-plain"


def _of_modelopt(quantization: Mapping[str, Any]) -> str:
    algorithm = str(quantization.get("quant_algo") or quantization.get("quantization") or "").lower()[:40]
    return next((name for word, name in _MODELOPT if word in algorithm), _unstated(f"modelopt {algorithm}".strip()))


def _of_compressed_tensors(quantization: Mapping[str, Any]) -> str:
    """The one scheme that all groups of layers share. A config may say it in `format` alone."""
    sparsity = quantization.get("sparsity_config")
    if isinstance(sparsity, Mapping) and sparsity.get("format") not in (None, "dense"):
        return _unstated(f"compressed-tensors {sparsity['format']}")
    groups = quantization.get("config_groups")
    schemes = [
        _of_scheme(group["weights"])
        for group in (groups.values() if isinstance(groups, Mapping) else ())
        if isinstance(group, Mapping) and isinstance(group.get("weights"), Mapping)
    ]
    if not schemes:
        named = quantization.get("format")
        return named if isinstance(named, str) and named else _unstated("compressed-tensors")
    return schemes[0] if len(set(schemes)) == 1 else _unstated("compressed-tensors with several precisions")


def _of_scheme(weights: Mapping[str, Any]) -> str:
    """compressed-tensors: one scale for each group, row or matrix."""
    bits, group = _whole(weights.get("num_bits")), _group(weights.get("group_size"), usual=0)
    if weights.get("type") == "float":
        small = "nvfp4" if group == 16 else "mxfp4" if group == 32 else ""
        name = {8: "mxfp8" if group == 32 else "fp8", 4: small}.get(bits, "")
    else:
        name = grouped_name(bits, group, "packed" if weights.get("symmetric") is False else "none")
    return name or _unstated(f"compressed-tensors {bits or 'unknown'} bits")


def _of_group(method: str, quantization: Mapping[str, Any]) -> str:
    """GPTQ and AWQ store a packed zero for each group even where it is symmetric."""
    zeros, usual_group = _GROUPED[method]
    if zeros == "none" and quantization.get("sym", quantization.get("symmetric")) is False:
        zeros = "packed"
    bits = next((_whole(quantization[key]) for key in ("bits", "w_bit", "num_bits") if quantization.get(key)), 0)
    size = quantization.get("group_size", quantization.get("q_group_size"))
    name = grouped_name(bits, _group(size, usual_group), zeros)
    if name == "int4-gptq" and method.startswith("awq"):
        return "int4-awq"
    return name or _unstated(f"{method} {bits or 'unknown'} bits")


def _of_hqq(quantization: Mapping[str, Any]) -> str:
    """Each matrix may have bits of its own; then only the files tell."""
    own = quantization.get("quant_config")
    own = own if isinstance(own, Mapping) else {}
    weights = own.get("weight_quant_params")
    stated = weights if isinstance(weights, Mapping) else quantization
    bits = _whole(stated.get("nbits")) or _whole(stated.get("bits"))
    name = grouped_name(bits, _group(stated.get("group_size"), usual=64), "float")
    return name or _unstated(f"hqq {bits or 'unknown'} bits")


def _of_quanto(quantization: Mapping[str, Any]) -> str:
    stored = {"int8": "int8", "float8": "fp8", "int4": "int4-hqq-g128", "int2": "int2-hqq-g128"}
    weights = str(quantization.get("weights"))[:20]
    return stored.get(weights) or _unstated(f"quanto {weights}")


def _of_torchao(quantization: Mapping[str, Any]) -> str:
    """`quant_type` is a name such as int4_weight_only, or a configuration class with its arguments."""
    kind: Any = quantization.get("quant_type")
    if isinstance(kind, Mapping):
        kind = kind.get("default", kind)
    arguments = kind.get("_data") if isinstance(kind, Mapping) else quantization.get("quant_type_kwargs")
    words = str(kind.get("_type") if isinstance(kind, Mapping) else kind).lower()[:80]
    if re.search(r"int4_?weight|int4dynamic|int4_?weight_?only", words):
        usual = 32 if "dynamic" in words else 128
        group = _group(arguments.get("group_size"), usual) if isinstance(arguments, Mapping) else usual
        return grouped_name(4, group, "none" if "dynamic" in words else "float") or _unstated("torchao int4")
    if re.search(r"int8_?weight", words):
        return "int8"
    return "fp8" if re.search(r"float8_?weight|float8dynamic|float8_dynamic", words) else _unstated(f"torchao {words}")


def _of_fp_quant(quantization: Mapping[str, Any]) -> str:
    kind = str(quantization.get("forward_dtype"))
    return kind if kind in ("nvfp4", "mxfp4") else _unstated("fp_quant")


def _of_quark(quantization: Mapping[str, Any]) -> str:
    whole = quantization.get("global_quant_config")
    weights = whole.get("weight") if isinstance(whole, Mapping) else None
    if not isinstance(weights, Mapping) or quantization.get("layer_quant_config"):
        return _unstated("quark")
    kind, group = str(weights.get("dtype")).lower(), _group(weights.get("group_size"), usual=0)
    if kind == "fp4":
        return "mxfp4" if group == 32 else _unstated("quark fp4")
    if kind.startswith("fp8"):
        return "fp8"
    bits = {"int4": 4, "uint4": 4, "int8": 8, "uint8": 8}.get(kind, 0)
    return grouped_name(bits, group, "packed" if kind.startswith("u") else "none") or _unstated(f"quark {kind[:20]}")


class _NoGroup(ValueError):
    """A group_size that can be none."""


def _group(value: Any, usual: int) -> int:
    """Weights that share a scale: 0, a row of them, for -1; `usual` where the config says nothing."""
    if value is None or value == -1:
        return usual if value is None else 0
    if not _whole(value):
        raise _NoGroup(repr(value)[:20])
    return _whole(value)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6 else 0

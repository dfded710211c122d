"""How weights are stored: names for it in free text, and bits per weight with all that belongs to it.

Bits include the group's scale and zero point: AWQ and GPTQ at group 128 hold a 16-bit scale and a 4-bit zero for
128 weights; symmetric schemes hold no zero; NF4 keeps a float32 maximum for 64 weights, or with double
quantisation 0.127 bits (QLoRA, arXiv 2305.14314); MXFP4 one byte for 32 (OCP MX specification), NVFP4 one byte for 16.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from apps.planning.shapes import CannotEstimate


@dataclass(frozen=True, slots=True)
class Precision:
    """`bits` a weight in the matrices that are quantised; all else stays at `other_bits`. `gguf`: by its own rules."""

    name: str
    bits: float
    other_bits: int = 16
    gguf: bool = False


PRECISIONS: dict[str, Precision] = {
    each.name: each
    for each in (
        Precision("fp32", 32, 32),
        Precision("bf16", 16),
        Precision("fp16", 16),
        Precision("fp8", 8),
        Precision("int8", 8),
        Precision("int8-gptq", 8.1875),
        Precision("int4-awq", 4.15625),
        Precision("int4-gptq", 4.15625),
        Precision("int4-gptq-g64", 4.3125),
        Precision("int4-gptq-g32", 4.625),
        Precision("int4", 4.125),  # symmetric, group 128: compressed-tensors W4A16, AutoRound
        Precision("int4-g32", 4.5),  # symmetric, group 32: Kimi-K2-Thinking
        Precision("nf4", 4.127),
        Precision("nf4-plain", 4.5),  # without double quantisation: what engines make at load time
        Precision("mxfp4", 4.25),
        Precision("nvfp4", 4.5),
        Precision("int3", 3.15625),
        Precision("int2", 2.15625),
    )
}
_SPELLINGS = {
    "float32": "fp32", "float": "fp32", "f32": "fp32", "bfloat16": "bf16", "float16": "fp16", "half": "fp16",
    "f16": "fp16", "auto": "bf16", "": "bf16", "awq": "int4-awq", "gptq": "int4-gptq", "bnb-4bit": "nf4",
    "int8-w8a8": "int8", "16bit": "bf16", "16-bit": "bf16", "8bit": "int8", "8-bit": "int8", "4bit": "int4",
    "4-bit": "int4", "none": "bf16", "fp4": "nvfp4", "full": "bf16", "modelopt_fp4": "nvfp4",
}  # fmt: skip
# Words that settle the precision, the narrow ones first.
_WORDS = (
    (r"nvfp4|fp4.*nv", "nvfp4"), (r"mxfp4", "mxfp4"), (r"double|unsloth|bnb-4bit", "nf4"),
    (r"(bnb|bitsandbytes).*(?<!\d)8(?!\d)", "int8"), (r"bnb|bitsandbytes|nf4|qlora", "nf4-plain"),
    (r"(gptq|awq).*(g|group[ -_]?)32\b", "int4-gptq-g32"), (r"(gptq|awq).*(g|group[ -_]?)64\b", "int4-gptq-g64"),
    (r"gptq.*(?<!\d)8(?!\d)", "int8-gptq"), (r"fp8|float8|e4m3|e5m2", "fp8"),
    (r"w8a16|w8a8|int8|(?<![.\d])8[ -]?bit|llm\.int8", "int8"),
    (r"gptq", "int4-gptq"), (r"awq", "int4-awq"), (r"(int4|w4a16).*(native|g32)", "int4-g32"),
    (r"w4a16|autoround|int4|4[ -]?bit|w4a8", "int4"), (r"int3|3[ -]?bit", "int3"),
    (r"bf16|bfloat16", "bf16"), (r"fp16|float16|half|f16", "fp16"), (r"fp32|float32", "fp32"),
)  # fmt: skip
_GGUF = re.compile(r"(?:^|[^a-z0-9])((?:ud[-_])?(?:i?q\d(?:_[a-z0-9]+)*|tq\d_\d))(?:$|[^a-z0-9_])", re.I)


def precision_name(text: str) -> str:
    """The name of a plain precision in PRECISIONS; raises CannotEstimate for anything else, GGUF included."""
    found = read_precision(text)
    if found.gguf:
        raise CannotEstimate(f"{found.name} is a GGUF quantisation; it is sized tensor by tensor.")
    return found.name


def read_precision(text: str | None) -> Precision:
    """A precision from free text: "awq int4", "fp8 (Marlin)", "Q4_K_M". Raises CannotEstimate for unknown text."""
    lowered = (text or "").strip().lower()[:80]
    name = _SPELLINGS.get(lowered, lowered)
    if name in PRECISIONS:
        return PRECISIONS[name]
    gguf = _GGUF.search(lowered)
    if gguf:
        return Precision(gguf[1].upper().replace("UD_", "UD-"), 0, gguf=True)
    for pattern, known in _WORDS:
        if re.search(pattern, lowered):
            return PRECISIONS[known]
    near = get_close_matches(lowered, [*PRECISIONS, *_SPELLINGS], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    known_names = ", ".join(PRECISIONS)
    raise CannotEstimate(f"Precision {text!r} is not known; use one of {known_names}, or a GGUF one: Q4_K_M.{hint}")

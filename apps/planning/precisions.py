"""How weights are stored: names for it in free text, and bits per weight with all that belongs to it.

Bits include the group's scale and zero point: AWQ and GPTQ at group 128 hold a 16-bit scale and a 4-bit zero for
128 weights; symmetric schemes hold no zero; HQQ, quanto and torchao a 16-bit one; NF4 keeps a float32 maximum for 64
weights, or with double quantisation 0.127 bits (QLoRA, arXiv 2305.14314); MXFP4 and MXFP8 one byte for 32 (OCP MX
specification), NVFP4 one byte for 16; BitNet packs four ternary weights into a byte (arXiv 2402.17764).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from apps.planning.shapes import CannotEstimate

Zeros = Literal["none", "packed", "float"]


@dataclass(frozen=True, slots=True)
class Precision:
    """`bits` a weight in the matrices that are quantised; all else stays at `other_bits`. `gguf`: by its own rules."""

    name: str
    bits: float
    other_bits: int = 16
    gguf: bool = False


# Weights at 16 bits or in a format of their own.
_NAMED = (
    Precision("fp32", 32, 32),
    Precision("bf16", 16),
    Precision("fp16", 16),
    Precision("fp8", 8),
    Precision("mxfp8", 8.25),
    Precision("int8", 8),  # a scale for each row
    Precision("int4-awq", 4.15625),
    Precision("nf4", 4.127),
    Precision("nf4-plain", 4.5),  # without double quantisation: what engines make at load time
    Precision("mxfp4", 4.25),
    Precision("nvfp4", 4.5),
    Precision("bitnet", 2),
)
UNSTATED = "unstated"  # only the files tell; the bits serve to split them over GPUs
WHOLE_BITS, _GROUPS = (2, 3, 4, 8), (16, 32, 64, 128, 256, 512, 1024)
# Symmetric group 128: compressed-tensors W4A16, AutoRound; symmetric group 32: Kimi-K2-Thinking, with these names.
_SHORT = {
    "int4-g128": "int4", "int8-channel": "int8", "int4-gptq-g128": "int4-gptq", "int8-gptq-g128": "int8-gptq",
    "int3-gptq-g128": "int3", "int2-gptq-g128": "int2",
}  # fmt: skip
_ZEROS: dict[Zeros, str] = {"none": "", "packed": "-gptq", "float": "-hqq"}


def grouped_name(bits: int, group: int, zeros: Zeros) -> str:
    """The name for whole bits with a scale for each `group` weights (0: each row); empty where no such is stored."""
    size = f"g{group}" if group else "channel"
    name = f"int{bits}{_ZEROS[zeros]}-{size}"
    name = _SHORT.get(name, name)
    return name if name in PRECISIONS else ""


def _grouped() -> Iterator[Precision]:
    for bits in WHOLE_BITS:
        for zeros, words in _ZEROS.items():
            yield Precision(_SHORT.get(f"int{bits}{words}-channel", f"int{bits}{words}-channel"), bits)
            zero_bits = {"none": 0, "packed": bits, "float": 16}[zeros]
            for group in _GROUPS:
                name = f"int{bits}{words}-g{group}"
                yield Precision(_SHORT.get(name, name), bits + (16 + zero_bits) / group)


PRECISIONS: dict[str, Precision] = {each.name: each for each in (*_NAMED, *_grouped(), Precision(UNSTATED, 4.5))}
_SPELLINGS = {
    "float32": "fp32", "float": "fp32", "f32": "fp32", "bfloat16": "bf16", "float16": "fp16", "half": "fp16",
    "f16": "fp16", "auto": "bf16", "": "bf16", "awq": "int4-awq", "gptq": "int4-gptq", "bnb-4bit": "nf4",
    "int8-w8a8": "int8", "16bit": "bf16", "16-bit": "bf16", "8bit": "int8", "8-bit": "int8", "4bit": "int4",
    "4-bit": "int4", "none": "bf16", "fp4": "nvfp4", "full": "bf16", "modelopt_fp4": "nvfp4", "eetq": "int8",
}  # fmt: skip
_UNDERSTOOD = (
    "fp32, bf16, fp16, fp8, mxfp8, int8, mxfp4, nvfp4, nf4, bitnet, w8a8, w4a16; awq, gptq, hqq, quanto or torchao "
    "with bits and group as in 'gptq int3 g128'; or a GGUF one: Q4_K_M"
)
_BNB = r"bnb|bitsandbytes"
# Words that settle the precision, the narrow ones first.
_FORMATS = (
    (r"nvfp4|fp4.*nv", "nvfp4"), (r"mxfp4", "mxfp4"), (r"mxfp8", "mxfp8"),
    (rf"(?=.*(?:{_BNB}))(?!.*(?:nf4|int4|4[ _-]?bit)).*(?<![\d.])8(?!\d|b\b)", "int8"),
    (rf"(?=.*(?:double|dq\b|unsloth)).*(?:{_BNB}|nf4|qlora|int4|4[ _-]?bit)|bnb-4bit", "nf4"),
    (rf"{_BNB}|nf4|qlora", "nf4-plain"),
    (r"fp_?quant", "nvfp4"), (r"bitnet|1\.58", "bitnet"), (r"fp8|float8|e4m3|e5m2", "fp8"), (r"eetq", "int8"),
    (r"(int4|w4a16).*native|\bq4f(16|32)_", "int4-g32"),  # the latter MLC's, with a 16-bit scale for 32
)  # fmt: skip
_PLAIN = ((r"bf16|bfloat16", "bf16"), (r"fp16|float16|half|(?<![a-z\d])f16", "fp16"), (r"fp32|float32", "fp32"))
_ONLY_FILES_TELL = re.compile(rf"aqlm|vptq|higgs|spqr|exl[23]|quip|squeezellm|{UNSTATED}")
# Quantiser -> where its zero points are, usual bits (0: said each time) and usual group.
_SCHEMES: dict[str, tuple[Zeros, int, int]] = {
    "gptq": ("packed", 4, 128), "awq": ("packed", 4, 128), "hqq": ("float", 0, 64), "quanto": ("float", 0, 128),
    "torchao": ("float", 0, 128), "weight[ _-]?only|int\\d+wo": ("float", 0, 128),
    "int\\d|w\\d|\\d[ _-]?bit|autoround": ("none", 4, 128),
}  # fmt: skip
_BITS = re.compile(r"(?:u?int|\bw)(\d+)(?!\d)|(?<![.\d])(\d+)[ _-]?bits?\b|(?<=gptq[ _-])(\d)\b|(?<=awq[ _-])(\d)\b")
_GROUP = re.compile(r"(?:(?<![a-z])g|gs|group)(?:[ _-]?size)?[ _=:-]*(\d+)|int\d+wo-(\d+)")
_CACHE = re.compile(
    r"(?:\b(?:fp8|int8|fp16|bf16|nvfp4|e[45]m[23]|auto)[ _-])?\bkv(?:[ _-]?cache)?(?:_dtype)?"
    r"(?:[ :=_-]*(?:in )?(?:fp8|int8|int4|fp16|bf16|nvfp4|e[45]m[23]|auto)\w*)?"
)
_GGUF = re.compile(r"(?:^|[^a-z0-9])((?:ud[-_])?(?:i?q\d(?:_[a-z0-9]+)*|tq\d_\d))(?:$|[^a-z0-9_])", re.I)


def precision_name(text: str) -> str:
    """The name of a plain precision in PRECISIONS; raises CannotEstimate for anything else, GGUF included."""
    found = read_precision(text)
    if found.gguf:
        raise CannotEstimate(f"{found.name} is a GGUF quantisation; it is sized tensor by tensor.")
    return found.name


def average_bits(text: str) -> float:
    """Bits a weight of a mix that names its average, such as "exl2 4.0bpw"; 0 for any other text."""
    found = re.search(r"exl[23].*?(?<![\d.])(\d+(?:\.\d+)?) ?bpw", text.lower()[:80])
    return float(found[1]) if found and 1 <= float(found[1]) <= 16 else 0.0


def read_precision(text: str | None, *, is_sized: bool = False) -> Precision:
    """A precision from free text: "awq int4", "fp8 (Marlin)", "Q4_K_M".

    `is_sized`: the bytes of the files are known, so a quantiser that does not state its bits is UNSTATED. Raises
    CannotEstimate for one without, and for unknown text.
    """
    lowered = (text or "").strip().lower()[:80]
    name = _SPELLINGS.get(lowered, lowered)
    if name in PRECISIONS:
        return PRECISIONS[name]
    gguf = _GGUF.search(lowered)
    if gguf:
        return Precision(gguf[1].upper().replace("UD_", "UD-"), 0, gguf=True)
    if _ONLY_FILES_TELL.search(lowered):
        if is_sized:
            return PRECISIONS[UNSTATED]
        words = lowered.replace(UNSTATED, "").strip()
        each = " matrix by matrix" if "bpw" in words else ""  # the average of a mix
        raise CannotEstimate(
            f"Precision {words!r} does not state its bits{each}; give weights_bytes, the size of its files."
        )
    words = _CACHE.sub(" ", lowered)  # "bf16 (fp8 kv)" speaks of the weights first
    name = _of_words(words) or ("" if lowered.startswith("kv") else _of_words(lowered))
    if name:
        return PRECISIONS[name]
    near = get_close_matches(lowered, [*PRECISIONS, *_SPELLINGS], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise CannotEstimate(f"Precision {text!r} is not known; use {_UNDERSTOOD}.{hint}")


def _of_words(words: str) -> str:
    """A name of PRECISIONS, or empty. Raises CannotEstimate for bits or groups that no quantiser stores."""
    found = _first(_FORMATS, words)
    if found:
        return found
    for scheme, (zeros, usual_bits, usual_group) in _SCHEMES.items():
        if re.search(scheme, words):
            return _of_scheme(words, scheme, zeros, usual_bits, usual_group)
    return _first(_PLAIN, words)


def _of_scheme(words: str, scheme: str, zeros: Zeros, usual_bits: int, usual_group: int) -> str:
    bits, group = _number(_BITS, words) or usual_bits, _number(_GROUP, words)
    if not bits:
        raise CannotEstimate(f"Precision {words!r} does not state its bits; write it as in '{scheme} int4'.")
    if bits == 8 and not group and zeros != "packed" and scheme != "hqq":
        return "int8"  # a scale for each row
    if zeros == "none" and bits < 4 and not group:
        zeros = "packed"  # what "int3" alone stands for
    if scheme == "awq" and (bits, group or 128) == (4, 128):
        return "int4-awq"
    found = grouped_name(bits, group or usual_group, zeros)
    if not found:
        groups = ", ".join(map(str, _GROUPS))
        raise CannotEstimate(
            f"Precision {words.strip()!r} is not known: {bits} bits in groups of {group or usual_group}. "
            f"Quantisers store {', '.join(map(str, WHOLE_BITS))} bits in groups of {groups}."
        )
    return found


def _first(patterns: tuple[tuple[str, str], ...], words: str) -> str:
    return next((name for pattern, name in patterns if re.search(pattern, words)), "")


def _number(pattern: re.Pattern[str], words: str) -> int:
    found = pattern.search(words)
    return int(next(filter(None, found.groups()))) if found else 0

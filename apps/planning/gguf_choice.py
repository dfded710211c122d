"""Whether a question means a GGUF file, and at which quantisation: by its precision, its model's name, its engine."""

from __future__ import annotations

import re

from apps.planning.other_engines import LLAMA_CPP
from apps.planning.precisions import Precision
from apps.planning.shapes import CannotEstimate

USUAL = "Q4_K_M"  # what llama.cpp and Ollama fetch of a repository unless told
_QUANTISATION = r"(?:UD[-_])?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d)"
_FILE = re.compile(rf"(?:[-_.](?P<mix>{_QUANTISATION}))?(?P<gguf>[-_.]gguf)?(?::(?P<tag>[\w-]+))?$", re.I)
_SAME = {"fp32": "F32", "fp16": "F16", "bf16": "BF16", "mxfp4": "MXFP4_MOE"}
_NEAREST = {"int4": USUAL, "int8": "Q8_0"}  # bits in words, without a method


def named_file(model_id: str) -> tuple[str, str, bool]:
    """The model's name alone, the quantisation named with it, and whether it names GGUF files.

    Such as "x/Qwen3-8B-GGUF:Q8_0", "Qwen3-8B-Q4_K_M.gguf" and "x/Qwen3-8B-Q4_K_M-GGUF".
    """
    found = _FILE.search(model_id)
    if not found or not (found["gguf"] or found["mix"]):
        return model_id, "", False
    return model_id[: found.start()], found["tag"] or found["mix"] or "", True


def chosen_quantisation(
    precision: Precision, *, is_asked: bool, is_file: bool, engine: str
) -> tuple[str, tuple[str, ...]]:
    """The quantisation and what was assumed for it; empty where no GGUF file is meant.

    `is_asked`: somebody named the precision. Raises CannotEstimate for one that llama.cpp does not load.
    """
    if precision.gguf:
        return precision.name, ()
    if not is_file and engine != LLAMA_CPP:
        return "", ()
    if precision.name in _SAME and (is_asked or precision.name == "mxfp4"):
        return _SAME[precision.name], ()
    if precision.name in _NEAREST and is_asked:
        nearest = _NEAREST[precision.name]
        return nearest, (f"{nearest} is taken as the GGUF quantisation of {precision.name}.",)
    if is_asked:
        raise CannotEstimate(
            f"precision is {precision.name!r}, but llama.cpp loads GGUF files; use one of theirs such as {USUAL} or "
            "Q8_0, or another engine such as vllm."
        )
    return USUAL, (f"No quantisation is named; {USUAL} is taken, which llama.cpp and Ollama fetch unless told.",)

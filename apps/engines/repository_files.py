"""What the files of a model repository or folder are: formats, and the GGUF quantisations to choose from.

Names only; nothing is read. A quantisation may be split into numbered parts, and may lie in a folder of its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

Format = Literal["safetensors", "gguf", "pytorch", "onnx", "tensorrt", "mlmodel"]
# Formats that no engine here serves, with what a person may do instead.
REFUSED: dict[Format, str] = {
    "pytorch": "pickled weights, which can run code when they are loaded; convert them to safetensors",
    "onnx": "ONNX, which none of the engines here serves; look for the safetensors original",
    "tensorrt": "a TensorRT engine, built for one kind of GPU; look for the safetensors original",
    "mlmodel": "Core ML, which runs on Apple devices only; look for the safetensors original",
}
_SUFFIXES: dict[str, Format] = {
    ".safetensors": "safetensors", ".gguf": "gguf", ".bin": "pytorch", ".pt": "pytorch", ".pth": "pytorch",
    ".ckpt": "pytorch", ".pkl": "pytorch", ".onnx": "onnx", ".onnx_data": "onnx", ".engine": "tensorrt",
    ".plan": "tensorrt", ".mlmodel": "mlmodel", ".mlpackage": "mlmodel",
}  # fmt: skip
_NOT_WEIGHTS = re.compile(
    r"((training_args|optimizer|scheduler|rng_state|scaler)[^/]*\.(bin|pt|pth)|openvino[^/]*\.bin)$", re.I
)
_CORE_ML = re.compile(r"\.mlpackage(/|$)", re.I)  # a folder; its weights end in .bin
_MAIN = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors-\d+-of-\d+\.safetensors")
# The same weights once more: as their maker's own code names them, or as a variant that transformers takes if asked.
_COPY = re.compile(
    r"original/.*|consolidated[^/]*\.safetensors"
    r"|model\.(fp16|bf16|fp32|float16|bfloat16|float32|int8|non_ema)(-\d+-of-\d+)?\.safetensors"
)
_PART = re.compile(r"-(\d{5})-of-(\d{5})$")
_LABEL = re.compile(
    r"(?:^|[-._/ ])((?:UD[-_])?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|B?F16|F32|MXFP4(?:_MOE)?))(?=$|[-._/ ])", re.I
)
_BESIDE = re.compile(r"(^|[-._/])(mmproj|imatrix|mtp)([-._/]|$)", re.I)  # projectors, statistics, drafts
CONFIG = "config.json"
# Beside it, where a model may name Python of a repository, which transformers runs where it is trusted.
CODE_NAMING = (
    "tokenizer_config.json", "processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json",
)  # fmt: skip
MOST_CODE_NAMING_BYTES = 10_000_000  # a tokenizer's holds each of its added words
MOST_LABEL = 60
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


@dataclass(frozen=True)
class GgufChoice:
    """One quantisation as its maker calls it; `files` in the order of their parts."""

    label: str
    files: tuple[str, ...]
    size_bytes: int


def without_copies(names: Iterable[str]) -> list[str]:
    """The files, but for copies of the same weights where those lie under their usual names."""
    known = list(names)
    if not any(_MAIN.fullmatch(name) for name in known):
        return known
    return [name for name in known if not _COPY.fullmatch(name)]


def weight_files(names: Iterable[str]) -> list[str]:
    """The safetensors that are loaded together, sorted: those beside the config.json by which they are loaded."""
    known = without_copies(names)
    beside = sorted(name for name in known if name.endswith(".safetensors") and "/" not in name)
    return beside if CONFIG in known else []


def names_code(text: str) -> bool:
    """Whether a config has an `auto_map` at any depth; read as text, for what names no code need not be sound."""
    return '"auto_map"' in text


def formats_of(sizes: Mapping[str, int]) -> dict[Format, int]:
    """Format -> bytes of its files, by their names; of safetensors, of those that are loaded."""
    weights = weight_files(sizes)
    found: dict[Format, int] = {"safetensors": sum(sizes[name] for name in weights)} if weights else {}
    for name, size in sizes.items():
        kind = "mlmodel" if _CORE_ML.search(name) else _SUFFIXES.get(PurePosixPath(name).suffix.lower())
        if kind is not None and kind != "safetensors" and not _NOT_WEIGHTS.search(name):
            found[kind] = found.get(kind, 0) + size
    return found


def gguf_choices(sizes: Mapping[str, int]) -> list[GgufChoice]:
    """Every quantisation whose parts are all there, smallest first; `sizes` are bytes by path."""
    parts: dict[str, dict[int, str]] = {}
    wanted: dict[str, int] = {}
    for name in sizes:
        if not name.lower().endswith(".gguf") or _BESIDE.search(name):
            continue
        stem = name[: -len(".gguf")]
        numbered = _PART.search(stem)
        whole = stem[: numbered.start()] if numbered else stem
        parts.setdefault(whole, {})[int(numbered[1]) if numbered else 1] = name
        wanted[whole] = int(numbered[2]) if numbered else 1
    complete = {
        whole: tuple(found[number] for number in sorted(found))
        for whole, found in parts.items()
        if sorted(found) == list(range(1, wanted[whole] + 1))
    }
    labels = _labels(list(complete))
    choices = [
        GgufChoice(labels[whole], files, sum(sizes[each] for each in files)) for whole, files in complete.items()
    ]
    return sorted(choices, key=lambda choice: (choice.size_bytes, choice.label))


def quantisation_label(name: str) -> str:
    """The quantisation in a file's name, as it is written there; empty where it names none."""
    found = _LABEL.findall(_PART.sub("", re.sub(r"\.gguf$", "", name, flags=re.I)))
    return str(found[-1]).upper().replace("UD_", "UD-") if found else ""


def _labels(stems: list[str]) -> dict[str, str]:
    """By quantisation where that tells them apart, else by file name."""
    short = {stem: quantisation_label(stem) for stem in stems}
    often = list(short.values())
    return {stem: label if label and often.count(label) == 1 else _safe(stem) for stem, label in short.items()}


def _safe(stem: str) -> str:
    """A file's name as a label: what an address and a folder's name may hold."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[-MOST_LABEL:].lstrip("-._") or "gguf"

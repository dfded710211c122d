"""What a line of `stackweb fit` asks: which model, as which engine would load it, on which GPUs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from apps.planning.config_precision import fp8_block, precision_of
from apps.planning.gguf import GgufSize, gguf_file_bytes
from apps.planning.gguf_choice import chosen_quantisation, named_file
from apps.planning.gpu_memory import NamedGpu, read_gpu
from apps.planning.line_fields import MOST_BYTES, flag, model_of, number, text, unread, version, whole
from apps.planning.other_engines import LLAMA_CPP, TRANSFORMERS, VLLM, engine_notes, read_engine
from apps.planning.parallel import split_over, tensor_problem
from apps.planning.precisions import PRECISIONS, UNSTATED, Precision, average_bits, read_precision
from apps.planning.reference import Reference
from apps.planning.serving_plan import Memory, ServingPlan
from apps.planning.shapes import EMBEDDING, OUTPUT, CannotEstimate, ModelShape
from apps.planning.weights import EXPERTS_ONLY

KEYS = (
    "id", "model_id", "model", "config", "weights_bytes", "precision", "engine", "engine_version", "gpu",
    "gpu_memory_gib", "gpus", "tensor_parallel", "pipeline_parallel", "enable_expert_parallel",
    "gpu_memory_utilization", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "kv_cache_dtype",
    "enforce_eager", "lora_slots", "lora_rank",
)  # fmt: skip
_STORED = ("fp32", "bf16", "fp16")
_OF_VLLM = (
    "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "enforce_eager", "lora_slots", "lora_rank",
    "enable_expert_parallel",
)  # fmt: skip
_DTYPES = (*_STORED, "auto", "float", "float16", "float32", "float64", "bfloat16", "half", "double")
_FAR = 1.5  # times the bits
_HEAD_BITS = 6


@dataclass(frozen=True, slots=True)
class Question:
    """`gguf` is the file that is meant, if any. `notes` say what was assumed, `is_doubtful` that it matters."""

    plan: ServingPlan
    memory: Memory
    gpu: NamedGpu
    engine: str
    gguf: GgufSize | None = None
    notes: tuple[str, ...] = ()
    is_doubtful: bool = False

    @property
    def loads_gguf(self) -> bool:
        """True where llama.cpp loads it; a GGUF file without an engine is its."""
        return self.gguf is not None and self.engine in ("", LLAMA_CPP)


def read_question(line: Mapping[str, Any]) -> Question:
    """The question of one line. Raises CannotEstimate naming the key that is wrong."""
    shape, reference, config = model_of(line)
    engine, said_version = read_engine(text(line, "engine")), version(line)
    precision, gguf, notes = _stored(line, shape, reference, config, engine)
    memory_gib = number(line, "gpu_memory_gib", least=0.1, most=1024)
    gpu = read_gpu(text(line, "gpu") or _missing_gpu(memory_gib), memory_gib)
    quantization = None if gguf else _quantization(config)
    experts_whole = bool(flag(line, "enable_expert_parallel")) or _says_expert_parallel(line)
    block = fp8_block(quantization or {}, precision.name)
    tensor, pipeline = _parallel(line, gpu, shape, block, experts_whole)
    if gguf and engine in ("", LLAMA_CPP):  # which gives each GPU whole layers
        tensor, pipeline = 1, tensor * pipeline
    plan = ServingPlan(
        shape=shape,
        precision="bf16" if gguf else precision.name,
        file_bytes=_file_bytes(line, gguf, engine) or _average_bytes(line, shape),
        kv_cache_dtype=text(line, "kv_cache_dtype") or "auto",
        max_model_len=whole(line, "max_model_len"),
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        gpu_memory_utilisation=number(line, "gpu_memory_utilization", least=0.01, most=1.0),
        max_num_seqs=whole(line, "max_num_seqs", most=10**6),
        max_num_batched_tokens=whole(line, "max_num_batched_tokens", most=10**7),
        enforce_eager=bool(flag(line, "enforce_eager")),
        expert_parallel=experts_whole,
        lora_slots=whole(line, "lora_slots", least=0, most=1024) or 0,
        lora_rank=whole(line, "lora_rank", most=4096) or 16,
        quantization=quantization,
        engine_version=(said_version or text(line, "engine")) if engine in ("", VLLM) else "",
    )
    notes += _narrower(shape, tensor, pipeline, block, experts_whole)
    memory = Memory("gpu", gpu.usable_bytes, text(line, "gpu"), gpu.kind is None and memory_gib is None)
    notes += engine_notes(engine, said_version, is_gguf=gguf is not None) + unread(line, KEYS)
    notes += _without_effect(line) if gguf and engine in ("", LLAMA_CPP) else ()
    contradicts = _contradiction(line, precision, config) or (() if gguf else _unreadable(line, config))
    notes += contradicts
    is_doubtful = bool(contradicts) or engine not in ("", VLLM, LLAMA_CPP) or (engine == VLLM and gguf is not None)
    return Question(plan, memory, gpu, engine, gguf, notes, is_doubtful or (gguf is not None and gguf.is_own_mix))


def _stored(
    line: Mapping[str, Any], shape: ModelShape, reference: Reference | None, config: Mapping[str, Any], engine: str
) -> tuple[Precision, GgufSize | None, tuple[str, ...]]:
    """How the weights are stored: their precision, or the GGUF file, and what was assumed about it."""
    model_id = text(line, "model_id") or text(line, "model")
    _, named, is_file = named_file(model_id)
    said = text(line, "precision")
    asked = named if said.strip().lower() == "auto" else said or named
    words = re.sub("gguf", "", asked, flags=re.I).strip(" ()")
    by_name = reference.precision if reference and not _quantization(config) else ""
    own = (reference.precision if reference else "") or _own_precision(config)
    precision = _precision(line, words or own, model_id)
    if precision.name == "int4" and own in EXPERTS_ONLY:  # its own width, not another format
        precision = PRECISIONS[own]
    is_file, is_asked = is_file or "gguf" in asked.lower(), bool(words or by_name)
    quantisation, notes = chosen_quantisation(precision, is_asked=is_asked, is_file=is_file, engine=engine)
    if not quantisation:
        return precision, None, notes
    size = gguf_file_bytes(shape, quantisation)
    exact = whole(line, "weights_bytes", most=MOST_BYTES)
    if exact:
        return precision, replace(size, low=exact, middle=exact, high=exact, is_own_mix=False), notes
    if size.is_own_mix:
        notes += (f"{quantisation} is a maker's own mix: its file is not known better than its range.",)
    return precision, size, notes


def _precision(line: Mapping[str, Any], asked: str, model_id: str) -> Precision:
    is_sized = line.get("weights_bytes") is not None or average_bits(text(line, "precision")) > 0
    precision = read_precision(asked, is_sized=is_sized)
    if precision.name == "nf4-plain" and re.search("bnb-4bit|unsloth", model_id.lower()):
        return PRECISIONS["nf4"]  # such releases are stored with double quantisation
    return precision


def _contradiction(line: Mapping[str, Any], asked: Precision, config: Mapping[str, Any]) -> tuple[str, ...]:
    """A precision that the model's own quantization_config is far from."""
    own = _own_precision(config) if _quantization(config) else ""
    if asked.gguf or not own or own.startswith(UNSTATED) or asked.name == UNSTATED:
        return ()
    stored = read_precision(own)
    if max(stored.bits, asked.bits) < _FAR * min(stored.bits, asked.bits):
        return ()
    return (f"config.json says {stored.name}, precision says {text(line, 'precision')}: {asked.name} is counted.",)


def _without_effect(line: Mapping[str, Any]) -> tuple[str, ...]:
    given = [key for key in _OF_VLLM if line.get(key) is not None]
    return (f"Of no effect in llama.cpp: {', '.join(given)}.",) if given else ()


def _unreadable(line: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, ...]:
    """What a config says of its weights without saying anything, where nothing else does."""
    said = next((key for key in ("quantization_config", "torch_dtype", "dtype") if config.get(key) is not None), "")
    value = config.get(said)
    is_read = isinstance(value, Mapping) and value if said == "quantization_config" else _is_dtype(value)
    if is_read or text(line, "precision").strip().lower() not in ("", "auto"):
        return ()
    counted = "bf16 is counted" if line.get("weights_bytes") is None else "weights_bytes alone are counted"
    return (f"config.json has {said} = {repr(value)[:40]}, which is not understood: {counted}.",)


def _is_dtype(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.removeprefix("torch.") in _DTYPES)


def _missing_gpu(memory_gib: float | None) -> str:
    if memory_gib is None:
        raise CannotEstimate("Give gpu, such as 'H100 80GB', or gpu_memory_gib.")
    return f"{memory_gib}GB class"


def _says_expert_parallel(line: Mapping[str, Any]) -> bool:
    """True for a precision such as "fp8 (DP8+EP)"."""
    return bool(re.search(r"(?i)\bep\d*\b|expert[ _-]parallel", text(line, "precision")))


def _parallel(
    line: Mapping[str, Any], gpu: NamedGpu, shape: ModelShape, block: int, experts_whole: bool
) -> tuple[int, int]:
    """Tensor and pipeline parallel. Where only the number of GPUs is given, all are used as the heads allow."""
    tensor, pipeline = whole(line, "tensor_parallel", most=1024), whole(line, "pipeline_parallel", most=1024)
    asked = whole(line, "gpus", most=4096)
    gpus = gpu.gpus(asked) if asked or gpu.count > 1 or gpu.is_slice else None
    if tensor is None and pipeline is None:
        return split_over(shape, gpus or 1, block, expert_parallel=experts_whole)
    pipeline = pipeline or 1
    tensor = tensor or max(1, (gpus or 1) // pipeline)
    if gpus is not None and tensor * pipeline > gpus:
        why = ": no engine joins MIG slices" if gpu.is_slice else ""
        raise CannotEstimate(
            f"tensor_parallel {tensor} x pipeline_parallel {pipeline} is more than gpus = {gpus}{why}."
        )
    return tensor, pipeline


def _narrower(shape: ModelShape, tensor: int, pipeline: int, block: int, experts_whole: bool) -> tuple[str, ...]:
    """Says where heads would allow more tensor parallel than FP8 blocks do."""
    by_heads = next(size for size in range(tensor * pipeline, 0, -1)
                    if tensor * pipeline % size == 0 and not tensor_problem(shape, size))  # fmt: skip
    problem = tensor_problem(shape, by_heads, block, expert_parallel=experts_whole) if by_heads > tensor else ""
    return (f"{problem}; planned as tensor parallel {tensor} x pipeline parallel {pipeline}.",) if problem else ()


def _file_bytes(line: Mapping[str, Any], gguf: GgufSize | None, engine: str) -> int | None:
    """Of the weights as they are loaded: transformers widens GGUF files to 16 bits, which the shape knows."""
    if gguf is not None:
        return None if engine == TRANSFORMERS else gguf.middle
    return whole(line, "weights_bytes", most=MOST_BYTES)


def _average_bytes(line: Mapping[str, Any], shape: ModelShape) -> int | None:
    """Of EXL2 and EXL3 files: the layers at the average, the embedding at 16 bits and the head at 6 (ExLlamaV2's
    convert.py, -b and -hb)."""
    bits = average_bits(text(line, "precision"))
    if not bits:
        return None
    head, table = shape.parameters_of((OUTPUT,)), shape.parameters_of((EMBEDDING,))
    return round((shape.parameters - head - table) * bits / 8 + head * _HEAD_BITS / 8 + table * 2)


def _own_precision(config: Mapping[str, Any]) -> str:
    """What a config.json says of its weights: the quantiser's method, else torch_dtype."""
    own = _quantization(config)
    if own:
        return precision_of(own)
    dtype = str(config.get("torch_dtype") or config.get("dtype") or "").removeprefix("torch.")
    return "bf16" if dtype not in _STORED else dtype


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    own = config.get("quantization_config")
    return own if isinstance(own, Mapping) else None

"""vLLM: serves a model over an OpenAI-compatible API. CPU build where the host has no GPU."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from apps.engines.base import Command, Engine, Event, Placement, Probe, Result, RunSpec, Strict
from apps.engines.failures import bare_line, read_failure
from apps.engines.offline import offline_environment

GIB = 2**30
ADVANCED: dict[str, JsonValue] = {"advanced": True}


class Options(Strict):
    max_model_len: int | None = Field(
        None, ge=16, le=10_000_000, title="Context length",
        description="Longest prompt and answer together. Empty: as much as the model and the memory allow.",
        json_schema_extra={"unit": "tokens"},
    )  # fmt: skip
    max_num_seqs: int = Field(
        8, ge=1, le=4096, title="Requests at once",
        description="More requests share the memory and wait for each other.",
        json_schema_extra={"unit": "requests"},
    )  # fmt: skip
    gpu_memory_utilization: float = Field(
        0.9, gt=0, le=1, title="Share of GPU memory",
        description="Part of each GPU that vLLM takes for weights and KV cache. Not used on the CPU.",
    )  # fmt: skip
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", title="Precision",
        description="Auto takes the model's own on a GPU, and float32 on the CPU, where it is fastest.",
    )  # fmt: skip
    quantization: Literal["none", "fp8"] = Field(
        "none", title="Quantise at load",
        description="FP8 halves 16-bit weights while they load. On GPUs only; quality is nearly kept.",
        json_schema_extra=ADVANCED,
    )  # fmt: skip
    tensor_parallel: int | None = Field(
        None, ge=1, le=64, title="Tensor parallel", description="GPUs that share each layer. Empty: all given GPUs.",
        json_schema_extra={"unit": "GPUs", **ADVANCED},
    )  # fmt: skip
    kv_cache_dtype: Literal["auto", "fp8", "fp8_e4m3", "fp8_e5m2"] = Field(
        "auto", title="KV cache precision", description="FP8 holds twice the context in the same memory.",
        json_schema_extra=ADVANCED,
    )  # fmt: skip
    cpu_kv_cache_gib: int | None = Field(
        None, ge=1, le=1024, title="KV cache on the CPU",
        description="Memory for context on the CPU device. Empty: a quarter of the reserved RAM.",
        json_schema_extra={"unit": "GiB", **ADVANCED},
    )  # fmt: skip
    enforce_eager: bool = Field(
        False, title="Start faster, answer slower",
        description="Skips CUDA graphs. Always on for the CPU.", json_schema_extra=ADVANCED,
    )  # fmt: skip
    enable_prefix_caching: bool = Field(
        True, title="Prefix caching", description="Reuses the KV cache of prompts that begin alike.",
        json_schema_extra=ADVANCED,
    )  # fmt: skip
    max_lora_rank: Literal[8, 16, 32, 64, 128, 256] = Field(
        16, title="Highest LoRA rank", description="Counts only when an adapter is served.", json_schema_extra=ADVANCED
    )  # fmt: skip


_READ = [
    re.compile(r"Model loading took (?P<weights_gib>[\d.]+) GiB(?: memory)?(?: and (?P<load_seconds>[\d.]+) s)?"),
    re.compile(r"Loading model weights took (?P<weights_gb>[\d.]+) GB"),
    re.compile(r"Loading weights took (?P<load_seconds>[\d.]+) seconds"),
    re.compile(r"Available KV cache memory: (?P<kv_cache_gib>-?[\d.]+) GiB"),
    re.compile(r"KV cache size: (?P<kv_cache_tokens>[\d,]+) tokens"),
    re.compile(r"Maximum concurrency for [\d,]+ tokens per request: (?P<max_concurrency>[\d.]+)x"),
    re.compile(r"Graph capturing finished in \d+ secs, took (?P<cuda_graph_gib>-?[\d.]+) GiB"),
    re.compile(r"init engine .* took (?P<init_seconds>[\d.]+) s"),
    re.compile(r"Avg prompt throughput: (?P<prompt_tokens_per_second>[\d.]+) tokens/s, Avg generation "
               r"throughput: (?P<tokens_per_second>[\d.]+) tokens/s, Running: (?P<requests_running>\d+) reqs, "
               r"Waiting: (?P<requests_waiting>\d+) reqs"),
]  # fmt: skip
_SHARDS = re.compile(r"checkpoint shards: +\d+% Completed \| (\d+)/(\d+)")


class Vllm(Engine):
    name = "vllm"
    title = "vLLM"
    version = "0.32.0"
    kind = "serve"
    Options = Options
    environment = "vllm"

    def command(self, spec: RunSpec, placement: Placement) -> Command:
        options = Options.model_validate(spec.options)
        argv = [placement.bin("vllm"), "serve", placement.model_path, *_names(spec, placement, options)]
        argv += ["--host", "127.0.0.1", "--port", str(placement.port)]
        argv += ["--max-model-len", str(options.max_model_len or "auto")]
        argv += ["--max-num-seqs", str(options.max_num_seqs)]
        argv += ["--disable-access-log-for-endpoints", "/health,/metrics,/v1/models"]
        if not options.enable_prefix_caching:
            argv.append("--no-enable-prefix-caching")
        if spec.trusts_code:
            argv.append("--trust-remote-code")
        env = offline_environment(placement) | {"VLLM_NO_USAGE_STATS": "1"}
        if placement.variant == "cpu":
            return Command(argv=argv + _cpu_arguments(options), env=env | _cpu_environment(options, placement))
        return Command(argv=argv + _cuda_arguments(options, placement), env=env)

    def probe(self, spec: RunSpec) -> Probe:
        return Probe(path="/health")

    def read_line(self, line: str) -> Event | None:
        bare = bare_line(line)
        if "Application startup complete" in bare:
            return Event(phase="ready")
        if "Resolved architecture" in bare:
            return Event(phase="loading")
        if shards := _SHARDS.search(bare):
            done, total = map(float, shards.groups())
            return Event(phase="loading", progress_done=done, progress_total=total, progress_unit="shards")
        if measured := _measurements(bare):
            return Event(measurements=measured)
        return read_failure(line)

    def collect(self, spec: RunSpec, work_dir: Path) -> Result:
        return Result(ok=True)


def _names(spec: RunSpec, placement: Placement, options: Options) -> list[str]:
    """The public name; with an adapter the adapter carries it and the base gets its own."""
    if not placement.adapter_path:
        return ["--served-model-name", spec.served_name]
    return [
        "--served-model-name", f"{spec.served_name}-base", "--enable-lora", "--max-loras", "1",
        "--max-lora-rank", str(options.max_lora_rank),
        "--lora-modules", f"{spec.served_name}={placement.adapter_path}",
    ]  # fmt: skip


def _cpu_arguments(options: Options) -> list[str]:
    # Half precision is many times slower than float32 on CPUs without native support.
    return ["--dtype", "float32" if options.dtype == "auto" else options.dtype, "--enforce-eager"]


def _cpu_environment(options: Options, placement: Placement) -> dict[str, str]:
    gib = options.cpu_kv_cache_gib or max(1, placement.ram_bytes // (4 * GIB))
    # The automatic binding puts two instances on the same core.
    return {"VLLM_CPU_KVCACHE_SPACE": str(gib), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def _cuda_arguments(options: Options, placement: Placement) -> list[str]:
    gpus = options.tensor_parallel or max(1, len(placement.devices))
    argv = ["--dtype", options.dtype, "--kv-cache-dtype", options.kv_cache_dtype]
    argv += ["--gpu-memory-utilization", str(options.gpu_memory_utilization)]
    argv += ["--tensor-parallel-size", str(gpus)]
    if options.quantization != "none":
        argv += ["--quantization", options.quantization]
    return argv + (["--enforce-eager"] if options.enforce_eager else [])


def _measurements(line: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for pattern in _READ:
        if match := pattern.search(line):
            found |= {name: float(value.replace(",", "")) for name, value in match.groupdict().items() if value}
    # Older versions print GB and mean GiB.
    renamed = re.compile(r"_gi?b$")
    return {
        renamed.sub("_bytes", name): value * GIB if renamed.search(name) else value for name, value in found.items()
    }

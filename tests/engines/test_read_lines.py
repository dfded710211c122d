"""What each engine's real lines tell; the quotes are from runs and from public bug reports."""

from __future__ import annotations

from typing import Any

import pytest

from apps.engines.base import Event
from apps.engines.lines import failed_line, measured_line, metric_line, progress_line, read_own_line
from apps.engines.registry import get_engine

GIB = 2**30
LENGTH = (
    "ValueError: To serve at least one request with the models's max seq len (221000), (10.12 GiB KV cache is "
    "needed, which is larger than the available KV cache memory (5.59 GiB). Based on the available memory, the "
    "estimated maximum model length is 122080."
)
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.96 GiB. GPU 0 has a total capacity of 23.64 GiB"

VLLM: list[tuple[str, dict[str, Any]]] = [
    (
        "(APIServer pid=26396) INFO 11-22 20:08:39 [model.py:733] Resolved architecture: LlamaForCausalLM",
        {"phase": "loading"},
    ),
    (
        "Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:07<00:00,  7.82s/it]",
        {"phase": "loading", "progress_done": 1, "progress_total": 1, "progress_unit": "shards"},
    ),
    (
        "(Worker pid=29590) INFO 11-22 20:10:31 [default_loader.py:501] Loading weights took 7.85 seconds",
        {"measurements": {"load_seconds": 7.85}},
    ),
    (
        "(EngineCore pid=28196) INFO 11-22 20:10:37 [kv_cache_utils.py:2327] CPU KV cache size: 23,296 tokens, "
        "Maximum concurrency for 2,048 tokens per request: 11.38x",
        {"measurements": {"kv_cache_tokens": 23296, "max_concurrency": 11.38}},
    ),
    (
        "(VllmWorker rank=0 pid=105) INFO 04-29 01:07:41 [gpu_model_runner.py:1347] Model loading took 14.2474 GiB "
        "and 558.868858 seconds",
        {"measurements": {"weights_bytes": 14.2474 * GIB, "load_seconds": 558.868858}},
    ),
    (
        "Model loading took 61.29 GiB memory and 227.558701 seconds",
        {"measurements": {"weights_bytes": 61.29 * GIB, "load_seconds": 227.558701}},
    ),
    ("Loading model weights took 14.9595 GB", {"measurements": {"weights_bytes": 14.9595 * GIB}}),
    ("Available KV cache memory: 39.06 GiB", {"measurements": {"kv_cache_bytes": 39.06 * GIB}}),
    ("GPU KV cache size: 284,416 tokens", {"measurements": {"kv_cache_tokens": 284416}}),
    ("Maximum concurrency for 40,960 tokens per request: 6.94x", {"measurements": {"max_concurrency": 6.94}}),
    ("Graph capturing finished in 5 secs, took 0.55 GiB", {"measurements": {"cuda_graph_bytes": 0.55 * GIB}}),
    ("INFO:     Application startup complete.", {"phase": "ready"}),
    (
        "(APIServer pid=26396) INFO 11-22 20:13:09 [loggers.py:335] Engine 000: Avg prompt throughput: 18.6 tokens/s, "
        "Avg generation throughput: 3.3 tokens/s, Running: 1 reqs, Waiting: 0 reqs, CPU KV cache usage: 0.6%",
        {
            "measurements": {
                "prompt_tokens_per_second": 18.6,
                "tokens_per_second": 3.3,
                "requests_running": 1,
                "requests_waiting": 0,
            }
        },
    ),
    (f"(EngineCore pid=7) ERROR 11-22 20:10:37 [core.py:402] {OOM}", {"reason": "out_of_memory", "cause": OOM}),
    (f"(EngineCore pid=7) ERROR 11-22 20:10:37 [core.py:402] {LENGTH}", {"reason": "out_of_memory", "cause": LENGTH}),
    (
        "OSError: [Errno 98] Address already in use",
        {"reason": "port_taken", "cause": "OSError: [Errno 98] Address already in use"},
    ),
    (
        "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name'",
        {"reason": "model_not_found"},
    ),
    ("ModuleNotFoundError: No module named 'torchvision'", {"reason": "environment_failed"}),
    ("vllm: error: argument --dtype: invalid choice: 'float3'", {"reason": "bad_config"}),
    ("RuntimeError: a thing nobody has seen", {"cause": "RuntimeError: a thing nobody has seen"}),
]
LM_EVAL: list[tuple[str, dict[str, Any]]] = [
    (
        "Running loglikelihood requests:  38%|███▊      | 76/200 [00:12<00:20,  6.11it/s]",
        {"phase": "running", "progress_done": 76, "progress_total": 200, "progress_unit": "requests"},
    ),
    (
        "Requesting API: 100%|██████████| 50/50 [00:13<00:00,  3.7it/s]",
        {"phase": "running", "progress_done": 50, "progress_total": 50, "progress_unit": "requests"},
    ),
    ("ValueError: Tasks not found: mmluu", {"reason": "bad_config", "cause": "lm-eval knows no task mmluu"}),
]
AXOLOTL: list[tuple[str, dict[str, Any]]] = [
    (
        "metric step=1 loss=4.150343894958496 learning_rate=0.0 grad_norm=13.06102180480957",
        {"step": 1, "metrics": {"loss": 4.150343894958496, "learning_rate": 0, "grad_norm": 13.06102180480957}},
    ),
    ("metric step=0 eval_loss=6.640262603759766", {"step": 0, "metrics": {"eval_loss": 6.640262603759766}}),
    ("[1/54 steps] Training", {"progress_done": 1, "progress_total": 54, "progress_unit": "steps"}),
    ("measured peak_memory_bytes=1948000000", {"measurements": {"peak_memory_bytes": 1948000000}}),
    (
        "metric step=7 loss=nan",
        {"reason": "not_a_number", "cause": "loss was not a number at step 7; try a lower learning rate"},
    ),
]
LINES = [(name, *each) for name, lines in
         (("vllm", VLLM), ("lm-eval", LM_EVAL), ("axolotl", AXOLOTL)) for each in lines]  # fmt: skip


@pytest.mark.parametrize(("engine", "line", "told"), LINES)
def test_a_line_tells(engine: str, line: str, told: dict[str, Any]) -> None:
    event = get_engine(engine).read_line(line)
    assert event is not None
    found = event.model_dump(exclude_defaults=True)
    assert {
        name: pytest.approx(found.get(name)) if name == "measurements" else found.get(name) for name in told
    } == told


@pytest.mark.parametrize(
    "line",
    [
        "",
        'INFO:     127.0.0.1:51234 - "POST /v1/chat/completions HTTP/1.1" 200 OK',
        "(EngineCore pid=7) ERROR 11-22 20:10:37 [core.py:402] Traceback (most recent call last):",
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        '  File "/v/lib/python3.11/site-packages/vllm/v1/core.py", line 7, in __init__',
    ],
)
def test_noise_tells_nothing(line: str) -> None:
    assert get_engine("vllm").read_line(line) is None


def test_our_own_lines_read_back() -> None:
    assert read_own_line(progress_line(3, 6, "steps", "Installing")) == Event(
        progress_done=3, progress_total=6, progress_unit="steps"
    )
    assert read_own_line(metric_line(2, loss=0.5)) == Event(step=2, metrics={"loss": 0.5})
    assert read_own_line(measured_line(weights_bytes=10)) == Event(measurements={"weights_bytes": 10})
    assert read_own_line(failed_line("disk_full", "No room")) == Event(reason="disk_full", cause="No room")
    assert read_own_line("phase: loading") == Event(phase="loading")
    assert read_own_line("phase: dreaming") is None

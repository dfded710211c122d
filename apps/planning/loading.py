"""How long the weights take to come: over the network to a disk, and from the disk into an engine that answers.

Both depend on the place more than on the model, so the ranges are wide: a home line to a fast one in a data centre, a
network disk to NVMe. Two runs that were logged read at 0.11 and 0.29 GB/s from cold disks (vllm-project/vllm #17469;
an H100 with gpt-oss-120b). What a host really needed stands in the calibration ledger.
"""

from __future__ import annotations

from apps.planning.durations import Duration

FORMULA_VERSION = "loading-1"
_LINK_BYTES_PER_SECOND = (12e6, 120e6, 600e6)  # 100 Mbit/s, 1 and 5 Gbit/s, less the protocol's share
_DISK_BYTES_PER_SECOND = (0.1e9, 1e9, 5e9)
_ENGINE_SECONDS = (120.0, 40.0, 10.0)  # imports, profiling, compilation and graphs after the weights
_LLAMA_CPP_SECONDS = (20.0, 3.0, 0.5)  # no Python and nothing to compile; 5 s from claim to answer on two CPU cores


def download_duration(size: int) -> Duration:
    """From the Hub to a host's disk; `size` in bytes."""
    slow, middle, fast = (size / rate for rate in _LINK_BYTES_PER_SECOND)
    return Duration(middle, fast, slow, "formula")


def load_duration(size: int, engine: str = "vllm") -> Duration:
    """From the disk until the first request is answered; `size` in bytes of all weights on one host."""
    starts = _LLAMA_CPP_SECONDS if engine == "llama-cpp" else _ENGINE_SECONDS
    slow, middle, fast = (size / rate + start for rate, start in zip(_DISK_BYTES_PER_SECOND, starts, strict=True))
    return Duration(middle, fast, slow, "formula")

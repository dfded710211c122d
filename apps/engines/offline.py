"""The environment variables of every engine run: nothing is fetched, counted or written outside its folder."""

from __future__ import annotations

from apps.engines.base import Placement


def offline_environment(placement: Placement) -> dict[str, str]:
    """Offline switches, private home and caches, and the CPU threads this attempt may use."""
    variables = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": f"{placement.work_dir}/hf",
        "HOME": placement.work_dir,
        "PYTHONNOUSERSITE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(placement.cpu_count),
        # Empty hides every GPU from a run that was placed on the CPU device.
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, placement.devices)),
    }
    if placement.variant == "cpu":
        # Runs share the CPU device: threads that spin while they wait would stall each other's steps.
        variables["OMP_WAIT_POLICY"] = "PASSIVE"
    return variables

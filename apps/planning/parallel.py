"""How a model is split over GPUs: which tensor parallel sizes its heads allow, and what a number of GPUs makes of it.

vLLM gives each GPU equally many attention heads. Key and value heads are dealt out where there are at least as many as
GPUs, else each is copied to equally many GPUs (vllm model_executor/layers/linear.py, QKVParallelLinear). Weights in FP8
blocks must be cut between blocks, so a GPU's part of a feed-forward layer or expert is a whole number of them; experts
that are dealt out whole (expert parallel) are not cut (vllm-project/vllm #17569, #52997). Layers go to pipeline stages
in any number.
"""

from __future__ import annotations

from apps.planning.shapes import EXPERTS, CannotEstimate, ModelShape

_SIZES_NAMED = (1, 2, 3, 4, 5, 6, 7, 8, 16)


def tensor_problem(shape: ModelShape, tensor: int, block: int = 0, *, expert_parallel: bool = False) -> str:
    """Why the model cannot be split over `tensor` GPUs; empty where it can. `block`: of weights in FP8, else 0."""
    if tensor < 1 or shape.attention_heads % tensor:
        return f"Tensor parallel {tensor} does not divide the {shape.attention_heads} attention heads"
    for heads in _kv_heads(shape):
        if heads >= tensor and heads % tensor:
            return f"Tensor parallel {tensor} does not divide the {heads} key and value heads"
        if heads < tensor and tensor % heads:
            return f"Tensor parallel {tensor} is no multiple of the {heads} key and value heads, so copies differ"
    return _block_problem(shape, tensor, block, expert_parallel) if block and tensor > 1 else ""


def _block_problem(shape: ModelShape, tensor: int, block: int, expert_parallel: bool) -> str:
    for each in shape.matrices:
        cut = each.name.startswith("ffn_down") and not (expert_parallel and each.name in EXPERTS)
        if cut and each.columns % (tensor * block):
            what, instead = ("experts", " without enable_expert_parallel") if each.name in EXPERTS else ("layers", "")
            part = f"{each.columns / tensor:g} of the {each.columns:,} columns of its {what}{instead}"
            return f"Tensor parallel {tensor} gives each GPU {part}, no multiple of the FP8 block of {block}"
    return ""


def check_parallel(
    shape: ModelShape, tensor: int, pipeline: int, block: int = 0, *, expert_parallel: bool = False
) -> None:
    """Raises CannotEstimate saying what does not divide and what would."""

    def problem(size: int) -> str:
        return tensor_problem(shape, size, block, expert_parallel=expert_parallel)

    if problem(tensor):
        whole = ", ".join(str(size) for size in _SIZES_NAMED if not problem(size))
        raise CannotEstimate(f"{problem(tensor)}; use one of {whole}, and pipeline parallel for the other GPUs.")
    if not 1 <= pipeline <= shape.layers:
        raise CannotEstimate(f"Pipeline parallel {pipeline} must be from 1 to the {shape.layers} layers.")


def split_over(shape: ModelShape, gpus: int, block: int = 0, *, expert_parallel: bool = False) -> tuple[int, int]:
    """Tensor and pipeline parallel that use all of `gpus`: as much tensor parallel as heads and blocks allow.

    Raises CannotEstimate where the model has fewer layers than stages would be needed.
    """
    tensor = next(
        size
        for size in range(gpus, 0, -1)
        if gpus % size == 0 and not tensor_problem(shape, size, block, expert_parallel=expert_parallel)
    )
    check_parallel(shape, tensor, gpus // tensor)
    return tensor, gpus // tensor


def _kv_heads(shape: ModelShape) -> list[int]:
    """Numbers of heads whose keys and values are split; a latent vector is copied whole, a state has none."""
    return sorted({each.heads for each in shape.caches if each.kind not in ("latent", "state") and each.heads})

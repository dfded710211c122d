"""What a running model keeps of each token: bytes, blocks, and how many requests a cache holds.

vLLM hands out blocks of 16 tokens. Where layers keep different things (a window beside everything), it forms
groups of equally many layers that share one pool; a request takes blocks from the pool for each group, and a
group with a window never more than window and batch together (vllm v1/core/kv_cache_utils.py and
v1/kv_cache_interface.py, checked against start-up logs). Before 0.10 every layer kept everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.planning.shapes import Cache, ModelShape

BLOCK_TOKENS = 16
_GROUPS_SINCE = (0, 10)
_PRINTS_CAPACITY_SINCE = (0, 19)  # from here the printed tokens are concurrency x length, before blocks / groups
_ALMOST_EQUAL = 1.25  # layer counts this close become one group size, padded (vLLM's own figure)
_ALIGNED_IN, _ALIGNED_BYTES = (0, 7), 256  # only 0.7 filled a latent vector up (vllm-project/vllm #13109)
_SPARSE_LATENT_BYTES = 656  # fp8_ds_mla: 512 fp8 values, their scales and 64 bf16 values a token and layer


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share a block table. `window` 0: everything is kept; `is_state`: `blocks` a request."""

    layers: int
    window: int = 0
    is_state: bool = False
    blocks: int = 1


@dataclass(frozen=True, slots=True)
class KvLayout:
    """How one GPU's cache is cut up. `block_bytes` is one block of the pool, for all layers of a group."""

    block_bytes: int
    groups: tuple[Group, ...]
    batch_tokens: int
    token_bytes: int  # of one token in a request's growing part, all layers together
    prints_capacity: bool = True

    def blocks(self, cache_bytes: float) -> int:
        return max(0, int(cache_bytes // self.block_bytes)) if self.block_bytes else 0

    def blocks_of_request(self, length: int) -> int:
        """Blocks that one request of `length` tokens holds at the most."""
        total = 0
        for group in self.groups:
            if group.is_state:
                total += group.blocks
            elif group.window:
                kept = min(group.window - 1 + self.batch_tokens, length)
                total += min(-(-kept // BLOCK_TOKENS) + 1, -(-length // BLOCK_TOKENS))
            else:
                total += -(-length // BLOCK_TOKENS)
        return total

    def request_bytes(self, length: int) -> int:
        return self.blocks_of_request(length) * self.block_bytes

    def concurrency(self, cache_bytes: float, length: int) -> float:
        """Requests of `length` tokens that fit at once."""
        return self.blocks(cache_bytes) / max(1, self.blocks_of_request(length))

    def tokens(self, cache_bytes: float, length: int) -> int:
        """Tokens in the cache when every request has `length` of them, in whole blocks."""
        if len(self.groups) == 1:
            return self.blocks(cache_bytes) * BLOCK_TOKENS
        if not self.prints_capacity:
            return self.blocks(cache_bytes) // sum(each.blocks for each in self.groups) * BLOCK_TOKENS
        return int(self.concurrency(cache_bytes, length) * length)

    def longest(self, cache_bytes: float, limit: int) -> int:
        """The longest request that fits, at most `limit`; 0 where not even one block does."""
        blocks, low, high = self.blocks(cache_bytes), 0, max(0, limit)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.blocks_of_request(middle) <= blocks else (low, middle - 1)
        return low


def kv_layout(
    shape: ModelShape,
    *,
    value_bytes: float,
    sparse_latent: bool = False,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    batch_tokens: int = 2048,
    version: tuple[int, int] = (99, 0),
) -> KvLayout:
    """The layout on each GPU; with pipeline parallel, on the stage that has the most layers."""
    caches = [_on_stage(each, pipeline_parallel) for each in shape.caches]
    growing = [each for each in caches if each.kind != "state"]
    sizes = [_layer_bytes(each, value_bytes, sparse_latent, tensor_parallel, version) for each in growing]
    token_bytes = round(sum(size * each.layers for size, each in zip(sizes, growing, strict=True)))
    if version < _GROUPS_SINCE:
        growing = [Cache(each.kind, each.layers, each.heads, each.width) for each in growing]
    states = [each for each in caches if each.kind == "state"]
    if len({(each.kind == "latent", each.window) for each in growing}) <= 1 and not states:
        return KvLayout(token_bytes * BLOCK_TOKENS, (_one_group(growing),), batch_tokens, token_bytes)
    size = _group_size([each.layers for each in [*growing, *states]])
    page = max(sizes, default=0) * BLOCK_TOKENS
    groups = [Group(size, each.window) for each in growing for _ in range(-(-each.layers // size))]
    prints = version >= _PRINTS_CAPACITY_SINCE
    if not growing:
        block = size * max(each.state_bytes for each in states)
        return KvLayout(block, tuple(_state_groups(states, size, 1)), batch_tokens, 0, prints)
    # A state is as large as many blocks of tokens: the pool's block stays, and the state takes several of them.
    for each in states:
        groups += _state_groups([each], size, max(1, round(each.state_bytes / tensor_parallel / page)))
    return KvLayout(round(page * size), tuple(groups), batch_tokens, token_bytes, prints)


def _on_stage(cache: Cache, stages: int) -> Cache:
    layers = -(-cache.layers // stages)
    return Cache(cache.kind, layers, cache.heads, cache.width, cache.window, cache.state_bytes)


def _layer_bytes(
    cache: Cache, value_bytes: float, sparse_latent: bool, tensor_parallel: int, version: tuple[int, int]
) -> float:
    """Of one token in one layer on each GPU. A head that cannot be split is copied; a latent vector always is."""
    if cache.kind == "latent":
        size = _SPARSE_LATENT_BYTES if sparse_latent else cache.width * value_bytes
        return -(-size // _ALIGNED_BYTES) * _ALIGNED_BYTES if version == _ALIGNED_IN else size
    return max(1, -(-cache.heads // tensor_parallel)) * cache.width * value_bytes


def _one_group(growing: Sequence[Cache]) -> Group:
    return Group(sum(each.layers for each in growing), growing[0].window if growing else 0)


def _state_groups(states: Sequence[Cache], size: int, blocks: int) -> list[Group]:
    return [Group(size, is_state=True, blocks=-(-each.layers // size) * blocks) for each in states]


def _group_size(counts: list[int]) -> int:
    least, most = min(counts), max(counts)
    return most if most < least * _ALMOST_EQUAL else least

"""Which layer of a model does what: full attention, a window, a state instead of attention, experts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from apps.planning.class_defaults import LAYERS_SAID_BY
from apps.planning.config_fields import Fields
from apps.planning.families import Family
from apps.planning.shapes import CannotEstimate

_KINDS = {
    "full_attention": "full", "attention": "full", "global": "full", "deepseek_sparse_attention": "full",
    "sliding_attention": "sliding", "local": "sliding", "local_attention": "sliding",
    "chunked_attention": "chunked",
    "linear_attention": "state", "mamba": "state", "mamba2": "state", "conv": "state", "recurrent": "state",
    "hybrid": "both",
}  # fmt: skip
MOST_LAYERS = 5000  # each one is looked at, so a lie must not cost memory
_LETTERS = {"mamba": "M", "linear_attention": "M", "attention": "*", "full_attention": "*", "mlp": "-", "moe": "E"}
_PATTERN = {"M": "state", "*": "full", "-": "none", "E": "none"}


@dataclass(frozen=True, slots=True)
class LayerKinds:
    """Numbers of layers of each kind. `both` layers have attention and a state (Falcon-H1)."""

    total: int
    full: int = 0
    sliding: int = 0
    chunked: int = 0
    state: int = 0
    both: int = 0
    window: int = 0
    # Nemotron-H gives attention, state and feed-forward layers of their own; others have both parts in each.
    dense_alone: int | None = None
    experts_alone: int | None = None


def layer_kinds(fields: Fields, name: str, family: Family) -> LayerKinds:
    """Counts the layers of each kind. Raises CannotEstimate where the config's list does not add up."""
    said_by = LAYERS_SAID_BY.get(name, ())
    if said_by and not any(fields.raw(each) for each in said_by):
        raise CannotEstimate(f"config.json lacks {said_by[0]}, which says what each layer of {name} is made of.")
    pattern = _pattern(fields)
    total = fields.count_or("num_hidden_layers", len(pattern)) or fields.count("num_hidden_layers")
    if total > MOST_LAYERS:
        raise CannotEstimate(f"config.json has num_hidden_layers = {total:,}; no model has more than {MOST_LAYERS:,}.")
    if pattern:
        return _from_pattern(pattern, total)
    counts = Counter(_listed(fields, name, family, total))
    window = _window(fields, "chunked" in counts)
    if "sliding" in counts and not window:
        counts["full"] += counts.pop("sliding")
    return LayerKinds(
        total, counts["full"], counts["sliding"], counts["chunked"], counts["state"], counts["both"], window
    )


def _pattern(fields: Fields) -> str:
    """One letter for each layer of a model whose layers hold one part each; empty for all others."""
    named = [str(each) for each in fields.list_of("layers_block_type")]
    if {"mlp", "moe"} & set(named):
        return "".join(_LETTERS.get(each, "?") for each in named)
    return fields.text("hybrid_override_pattern")


def _from_pattern(pattern: str, total: int) -> LayerKinds:
    unknown = set(pattern) - set(_PATTERN)
    if unknown or len(pattern) != total:
        raise CannotEstimate(f"hybrid_override_pattern has {len(pattern)} letters of M, *, - and E for {total} layers.")
    counts = Counter(pattern)
    return LayerKinds(total, counts["*"], state=counts["M"], dense_alone=counts["-"], experts_alone=counts["E"])


def _window(fields: Fields, chunked: bool) -> int:
    return fields.count_or("attention_chunk_size", 8192) if chunked else fields.first_or("sliding_window", 0)


def _listed(fields: Fields, name: str, family: Family, total: int) -> list[str]:
    """The kind of each layer."""
    named = fields.list_of("layer_types") or fields.list_of("layers_block_type")
    if named:
        return _named(named, total)
    if name in ("mamba", "mamba2", "falcon_mamba") or (name == "bamba" and not fields.list_of("attn_layer_indices")):
        return ["state"] * total
    if name == "falcon_h1":
        return ["both"] * total
    return _by_index(fields, total) or _by_rhythm(fields, name, family, total)


def _named(named: list[object], total: int) -> list[str]:
    kinds = [_KINDS.get(str(each), "") for each in named[:total]]
    if len(named) < total:
        raise CannotEstimate(f"layer_types names {len(named)} layers; num_hidden_layers says {total}.")
    if "" in kinds:
        raise CannotEstimate(f"layer_types has {str(named[kinds.index('')])[:40]!r}, a kind that is not known.")
    return kinds


def _by_index(fields: Fields, total: int) -> list[str]:
    """Families that list the layers with attention, all others having a state."""
    attending = _indices(fields, "full_attn_idxs") or _indices(fields, "attn_layer_indices")
    counted_from_one = _indices(fields.inner("linear_attn_config"), "full_attn_layers")
    attending = {each - 1 for each in counted_from_one} or attending
    if attending:
        return ["full" if index in attending else "state" for index in range(total)]
    listed = fields.list_of("attn_type_list")
    return ["full" if each else "state" for each in listed[:total]] if len(listed) >= total else []


def _indices(fields: Fields, name: str) -> set[int]:
    listed = fields.list_of(name)
    for each in listed:
        if type(each) is not int:
            raise CannotEstimate(f"config.json has {name} with {repr(each)[:40]}, which is no layer's number.")
    return set(listed)


def _by_rhythm(fields: Fields, name: str, family: Family, total: int) -> list[str]:
    if name == "jamba":
        period, offset = fields.count_or("attn_layer_period", 8), fields.count_or("attn_layer_offset", 4)
        return ["full" if index % max(1, period) == offset else "state" for index in range(total)]
    interval = fields.count_or("full_attention_interval", 0)
    if interval:
        return ["state" if (index + 1) % interval else "full" for index in range(total)]
    other = "chunked" if name == "llama4_text" else "sliding"
    if not (other == "chunked" or _uses_window(fields)):
        return ["full"] * total
    every = _alternation(fields, family)
    if every:
        return [other if (index + 1) % every else "full" for index in range(total)]
    from_layer = fields.count_or("max_window_layers", 0) if fields.flag("use_sliding_window") else 0
    return ["full"] * min(from_layer, total) + ["sliding"] * max(0, total - from_layer)


def _alternation(fields: Fields, family: Family) -> int:
    pattern = fields.raw("sliding_window_pattern")
    if isinstance(pattern, str):
        return len(pattern)
    return fields.count_or("sliding_window_pattern", 0) or family.alternation


def _uses_window(fields: Fields) -> bool:
    """True when some layers look back only so far (Qwen's configs carry a window that they do not use)."""
    window = fields.first_or("sliding_window", 0)
    context = fields.count_or("max_position_embeddings", 0)
    return 0 < window < (context or window + 1) and fields.raw("use_sliding_window") is not False

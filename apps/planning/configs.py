"""Reads a Hugging Face config.json of any known architecture into a ModelShape.

An unknown family whose fields are all there is read as a plain transformer, with low confidence; a config that
lacks what the sizes depend on, or contradicts itself, is refused in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from apps.planning.class_defaults import CLASS_DEFAULTS, READ_ONLY_BY
from apps.planning.config_attention import attention_layers
from apps.planning.config_feedforward import feedforward_layers
from apps.planning.config_fields import Fields
from apps.planning.config_heads import Heads, read_heads
from apps.planning.config_layers import layer_kinds
from apps.planning.config_modalities import image_peak, modality_matrices
from apps.planning.config_plausible import check_fields, check_shape
from apps.planning.families import FAMILIES, NESTED_DEFAULTS, TEXT_FAMILIES, Family
from apps.planning.own_context import own_context
from apps.planning.shapes import EMBEDDING, OUTPUT, CannotEstimate, Confidence, Matrix, ModelShape

_UNREAD = {
    "gemma3n_text": "its layers share caches and parameters",
    "gemma3n": "its layers share caches and parameters",
    "nemotron_nas": "each of its layers has a size of its own",
    "longcat_flash": "its layers hold two attention blocks and experts without weights",
    **dict.fromkeys(("t5", "mt5", "bart", "whisper", "marian"), "it is an encoder with a decoder"),
    **dict.fromkeys(("bert", "roberta", "xlm_roberta", "modernbert", "distilbert"), "it is an encoder without a cache"),
}
_HEAD_MATTERS = 0.005  # of all parameters
_EITHER_WAY = frozenset({"starcoder2", "falcon"})  # tied by default, untied in the largest of them


def shape_from_config(config: Mapping[str, Any]) -> ModelShape:
    """The shape that `config` describes. Raises CannotEstimate saying what is missing or contradictory."""
    config = _served_part(config)
    text = _text_part(config)
    name = _family_name(config, text)
    family = FAMILIES.get(name)
    fields = _fields(text, name, family, is_nested=text is not config)
    check_fields(fields)
    heads = read_heads(fields, name)
    kinds = layer_kinds(fields, name, family or Family())
    tied = _is_tied(config, text, family)
    layers, caches = attention_layers(fields, name, family or Family(), heads, kinds)
    feed, moe = feedforward_layers(fields, name, family or Family(), heads.hidden_size, kinds)
    _check_experts_are_read(text, fields, is_known=family is not None or moe.experts > 0)
    others = modality_matrices(config, heads.hidden_size)
    matrices = (*_outer(fields, family or Family(), heads, tied), *layers, *feed, *others)
    _say_unless_tied(config, text, fields, name, matrices)
    notes, confidence = _notes(name, family, fields, bool(others))
    shape = ModelShape(
        family=name,
        layers=kinds.total,
        hidden_size=heads.hidden_size,
        attention_heads=heads.count,
        kv_heads=heads.kv_count,
        head_dim=heads.key_size,
        ffn_size=moe.dense_size or moe.expert_size * max(1, moe.used),
        vocab_size=fields.count("vocab_size"),
        max_context=own_context(config, fields.count_or("max_position_embeddings", 0)),
        tied_embeddings=tied,
        matrices=matrices,
        caches=tuple(caches),
        experts=moe.experts,
        experts_used=moe.used,
        expert_size=moe.expert_size,
        image_peak=image_peak(config),
        image_for_each=config.get("model_type") == "mllama",
        confidence=confidence,
        notes=notes,
    )
    check_shape(shape)
    return shape


def _fields(text: Mapping[str, Any], name: str, family: Family | None, *, is_nested: bool) -> Fields:
    """With what its classes take for missing ones, and without what only other families' classes read."""
    nested = NESTED_DEFAULTS.get(name, {}) if is_nested else {}
    defaults = {**CLASS_DEFAULTS.get(name, {}), **(family or Family()).defaults, **nested}
    others = [key for key, readers in READ_ONLY_BY.items() if text.get(key) and name not in readers]
    return Fields(text, defaults, ignored=others if family else ())


def _check_experts_are_read(text: Mapping[str, Any], fields: Fields, *, is_known: bool) -> None:
    """An unknown family whose experts go by other names would come out many times too small: CannotEstimate."""
    counts = (key for key, value in text.items()
              if re.search("expert|moe", str(key)[:80], re.I) and type(value) is int and value > 1)  # fmt: skip
    key = "" if is_known else next(counts, "")
    if key and fields.raw("num_experts") is None:
        raise CannotEstimate(
            f"config.json says {key[:80]} = {text[key]}, experts of an architecture that is not known. Name them as "
            "num_experts, num_experts_per_tok and moe_intermediate_size."
        )


def _served_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """All of it, but of Qwen's Omni models the thinker: the talker stays out."""
    if not isinstance(config, Mapping):
        raise CannotEstimate("A config.json must be a JSON object.")
    thinker = config.get("thinker_config")
    return thinker if isinstance(thinker, Mapping) else config


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("text_config", "llm_config", "language_config"):
        inner = config.get(name)
        if isinstance(inner, Mapping) and inner:
            return inner
    return config


def _family_name(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    own = text.get("model_type") if isinstance(text.get("model_type"), str) else ""
    outer = config.get("model_type") if isinstance(config.get("model_type"), str) else ""
    name = str(own or outer or "").replace("-", "_").lower()
    if name in _UNREAD:
        raise CannotEstimate(f"The architecture {name} is not estimated: {_UNREAD[name]}.")
    return TEXT_FAMILIES.get(name, name) if name not in FAMILIES or text is config else name


def _is_tied(config: Mapping[str, Any], text: Mapping[str, Any], family: Family | None) -> bool:
    for part in (text, config):
        value = part.get("tie_word_embeddings")
        if isinstance(value, bool):
            return value
    return family.tied if family else False


def _say_unless_tied(
    config: Mapping[str, Any],
    text: Mapping[str, Any],
    fields: Fields,
    name: str,
    matrices: Sequence[Matrix],
) -> None:
    """A silent config gets what its class takes; said where the other way would change the size."""
    family = FAMILIES.get(name)
    silent = not any(isinstance(part.get("tie_word_embeddings"), bool) for part in (config, text))
    if not silent or (family and family.tied and name not in _EITHER_WAY):
        return
    head = next(each.parameters for each in matrices if each.name == EMBEDDING)
    if head > _HEAD_MATTERS * sum(each.parameters for each in matrices):
        fields.defaulted.append("tie_word_embeddings")


def _outer(fields: Fields, family: Family, heads: Heads, tied: bool) -> list[Matrix]:
    """What stands before and after the layers. Tied embeddings are one matrix, used twice."""
    vocab, hidden = fields.count("vocab_size"), heads.hidden_size
    inner = fields.count_or("word_embed_proj_dim", hidden)
    matrices = [Matrix(EMBEDDING, vocab, inner, 1, 1), Matrix("norm", hidden, 1, 1 + family.norm_bias, 1)]
    if not tied:
        matrices.append(Matrix(OUTPUT, vocab, inner, 1, 1))
    own = fields.count_or("hidden_size_per_layer_input", 0) if fields.raw("vocab_size_per_layer_input") else 0
    if own:  # Gemma 4 E2B and E4B: a small embedding for each layer, projected in and out
        layers = fields.count("num_hidden_layers")
        per_layer = fields.count("vocab_size_per_layer_input")
        matrices.append(Matrix("per_layer_token_embd", per_layer, layers * own, 1, 0))
        matrices.append(Matrix("per_layer_proj", layers * own, 3 * hidden, 1, 1))
    if family.positions:
        matrices.append(Matrix("position_embd", fields.count("max_position_embeddings"), hidden, 1, 1))
    return matrices


def _notes(name: str, family: Family | None, fields: Fields, others: bool) -> tuple[tuple[str, ...], Confidence]:
    notes: list[str] = []
    confidence: Confidence = "high"
    if others:
        notes.append("The part for images or sound is counted from its own config.")
        confidence = "medium"
    if fields.defaulted:
        missing = ", ".join(sorted(set(fields.defaulted)))
        notes.append(f"config.json leaves out {missing}; the family's defaults are used.")
        confidence = "medium"
    if fields.ignored:
        named, these = ", ".join(fields.ignored), "it is" if len(fields.ignored) == 1 else "they are"
        notes.append(f"config.json has {named}, which models of the type {name} do not read; {these} left out.")
        confidence = "medium"
    if family is None:
        called = f"The architecture {name}" if name else "An architecture without a model_type"
        notes.append(f"{called} is not known; it is read as a plain transformer, and takes at least about that.")
        confidence = "low"
    return tuple(notes), confidence

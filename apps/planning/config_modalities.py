"""What a multimodal model has for images and sound, as far as its own config tells: transformers, and what joins them.

How each family joins its images to the text is read off the classes of transformers 5.19.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from apps.planning.config_fields import LARGEST
from apps.planning.shapes import Matrix

# Three matrices in the feed-forward part instead of two.
_GATED = ("qwen2_5_vl", "qwen2_5_omni", "mistral3", "pixtral", "glm4v")
_DEFAULTS = {"pixtral": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}}
_ROTARY = ("qwen2_vl", "qwen2_5_vl", "mistral3", "pixtral")  # without a table of positions

_PATCHES, _VALUES_HELD = 65_536, 26
_TILES_PEAK = round(36.63 / 128 * 2**30)  # 128 sequences of Llama-3.2-11B-Vision: vllm-project/vllm #12126


def modality_matrices(config: Mapping[str, Any], text_size: int) -> list[Matrix]:
    """A matrix for each part, which stands for all of it; none where the config names no sizes.

    `text_size` is the hidden size of the text part.
    """
    parts = {"vision": _vision(config, text_size), "audio": _audio(config, text_size)}
    return [Matrix(name, parameters, 1, 1, 1) for name, parameters in parts.items() if parameters]


def image_peak(config: Mapping[str, Any]) -> int:
    """Bytes that the vision part holds at once for the largest image of vLLM's profiling run; 0 where it is small.

    Qwen2-VL and Qwen2.5-VL take 65,536 patches, 16,384 tokens. Both figures are measured ones of vLLM 0.6 and 0.7.
    """
    family, vision = str(config.get("model_type")), config.get("vision_config")
    if not isinstance(vision, Mapping):
        return 0
    if family == "mllama":
        return _TILES_PEAK
    if family.startswith(("qwen2_vl", "qwen2_5_vl")):
        return _PATCHES * _VALUES_HELD * (_size(vision, "embed_dim") or _size(vision, "hidden_size")) * 2
    return 0


def _audio(config: Mapping[str, Any], text_size: int) -> int:
    """An encoder as Whisper's: two convolutions before its layers, one linear after them."""
    audio = config.get("audio_config")
    if not isinstance(audio, Mapping):
        return 0
    size, layers = _size(audio, "d_model", "hidden_size"), _size(audio, "encoder_layers", "num_hidden_layers")
    inner = _size(audio, "encoder_ffn_dim", "intermediate_size")
    bins = _size(audio, "num_mel_bins") or 128
    blocks = layers * (4 * size * size + 2 * size * inner)
    return blocks + 3 * size * (bins + size) + size * text_size if blocks else 0


def _vision(config: Mapping[str, Any], text_size: int) -> int:
    vision = config.get("vision_config")
    if not isinstance(vision, Mapping):
        return 0
    vision = {**_DEFAULTS.get(str(vision.get("model_type")), {}), **vision}
    # Qwen2-VL calls the text's size hidden_size here, and its own embed_dim.
    size, layers = _size(vision, "embed_dim", "hidden_size", "width"), _size(vision, "num_hidden_layers", "depth")
    if not size or not layers:
        return 0
    layers += _size(vision, "num_global_layers")
    family = str(config.get("model_type"))
    inner = _size(vision, "intermediate_size") or round(size * (_ratio(vision) or 4))
    if family.startswith("glm4v"):
        inner = _size(vision, "out_hidden_size") or inner
    gated = 3 if family.startswith(_GATED) or vision.get("model_type") == "pixtral" else 2
    blocks = layers * (4 * size * size + gated * size * inner)
    joint = next((joint for name, joint in _JOINTS.items() if family.startswith(name)), _two_linears)
    return blocks + _patches(vision, family, size) + joint(config, vision, size, text_size)


def _patches(vision: Mapping[str, Any], family: str, size: int) -> int:
    """What turns pixels into the first layer's input, and the table of positions."""
    patch = _size(vision, "patch_size") or 14
    channels = _size(vision, "in_channels", "num_channels", "in_chans") or 3
    frames = _size(vision, "temporal_patch_size") or (2 if family.startswith("qwen") else 1)
    rotary = family.startswith(_ROTARY) or vision.get("model_type") == "pixtral"
    side = 0 if rotary else _size(vision, "image_size") // patch
    return size * (channels * frames * patch * patch + (_size(vision, "num_position_embeddings") or side * side))


def _two_linears(config: Mapping[str, Any], vision: Mapping[str, Any], size: int, text: int) -> int:
    return size * text + text * text


def _one_linear(config: Mapping[str, Any], vision: Mapping[str, Any], size: int, text: int) -> int:
    return size * text * (_size(config, "scale_factor") or 1) ** 2


def _qwen_mergers(config: Mapping[str, Any], vision: Mapping[str, Any], size: int, text: int) -> int:
    """Neighbouring patches side by side, through two linears; once more for each layer that deepstack taps."""
    merged = size * (_size(vision, "spatial_merge_size") or 2) ** 2
    taps = vision.get("deepstack_visual_indexes")
    return (1 + (len(taps) if isinstance(taps, list) else 0)) * (merged * merged + merged * text)


def _pixel_shuffle(config: Mapping[str, Any], vision: Mapping[str, Any], size: int, text: int) -> int:
    out = _size(vision, "vision_output_dim") or 4096
    return 4 * size * out + out * out + out * text


def _patch_merger(config: Mapping[str, Any], vision: Mapping[str, Any], size: int, text: int) -> int:
    return size * size * (_size(config, "spatial_merge_size") or 1) ** 2 + size * text + text * text


def _four_side_by_side(config: Mapping[str, Any], vision: Mapping[str, Any], size: int, text: int) -> int:
    return 4 * size * text + text * text


def _tiles(config: Mapping[str, Any], vision: Mapping[str, Any], size: int, text: int) -> int:
    """Llama 3.2 Vision has positions for each of four tiles in each of nine arrangements."""
    patches = (_size(vision, "image_size") // (_size(vision, "patch_size") or 14)) ** 2 + 1
    tables = 9 * 4 * size * (patches + 2)
    return tables + _size(vision, "vision_output_dim") * text


def _glm_merger(config: Mapping[str, Any], vision: Mapping[str, Any], size: int, text: int) -> int:
    merged = size * (_size(vision, "spatial_merge_size") or 2) ** 2
    return merged * text + text * text + 3 * text * _size(vision, "intermediate_size")


_JOINTS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], int, int], int]] = {
    "qwen": _qwen_mergers,
    "llama4": _pixel_shuffle,
    "gemma": _one_linear,
    "idefics3": _one_linear,
    "smolvlm": _one_linear,
    "mistral3": _patch_merger,
    "internvl": _four_side_by_side,
    "glm4v": _glm_merger,
    "mllama": _tiles,
}


def _size(values: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = values.get(name)
        if isinstance(value, list) and value:
            value = value[0]  # sides of an image or a patch
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST:
            return value
    return 0


def _ratio(vision: Mapping[str, Any]) -> float:
    value = vision.get("mlp_ratio")
    return float(value) if isinstance(value, int | float) and 0 < value < 100 else 0.0

"""How weights are stored, from free text and from what quantisers write: the bits are read, or asked for."""

from __future__ import annotations

from typing import Any

import pytest

from apps.planning import fit_lines
from apps.planning.config_precision import precision_of
from apps.planning.precisions import PRECISIONS, read_precision
from apps.planning.reference import reference_model
from apps.planning.shapes import CannotEstimate

LLAMA = reference_model("Llama-3.1-8B-Instruct").config
ASKED = {"gpu": "H100 80GB", "max_model_len": 4096}


@pytest.mark.parametrize(
    ("words", "bits"),
    [
        ("gptq int2", 2 + 18 / 128), ("gptq int3", 3 + 19 / 128), ("gptq 8bit", 8 + 24 / 128),
        ("gptq int4 g64", 4 + 20 / 64), ("awq int4 g32", 4 + 20 / 32), ("int4 g128", 4.125), ("int4 g64", 4.25),
        ("w4a16", 4.125), ("w3a16", 3 + 19 / 128), ("w8a8", 8), ("w8a16", 8), ("hqq 3bit", 3.5), ("hqq int2 g32", 3),
        ("quanto int2", 2.25), ("quanto int4", 4.25), ("quanto int8", 8), ("quanto float8", 8),
        ("torchao int8 weight-only", 8), ("int4_weight_only", 4.25), ("int4wo-64", 4.5), ("eetq", 8),
        ("fp_quant", 4.5), ("nvfp4", 4.5), ("mxfp4", 4.25), ("mxfp8", 8.25), ("e4m3", 8), ("bitnet", 2),
        ("bf16 (fp8 kv)", 16), ("fp16 + kv_cache_dtype=fp8", 16), ("bf16, KV cache fp8", 16), ("fp8 (kv fp8)", 8),
    ],
)  # fmt: skip
def test_bits_and_groups_are_read_from_free_text(words: str, bits: float) -> None:
    assert read_precision(words).bits == pytest.approx(bits)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("bnb int8", "int8"), ("int8 (bnb)", "int8"), ("8bit bnb", "int8"), ("8-bit (bitsandbytes)", "int8"),
        ("unsloth int8", "int8"), ("bnb nf4 (8B model)", "nf4-plain"), ("bnb int4", "nf4-plain"),
        ("bitsandbytes", "nf4-plain"), ("bnb nf4 double quant", "nf4"), ("unsloth 4-bit", "nf4"),
        ("unsloth-bnb-4bit", "nf4"), ("unsloth bf16", "bf16"), ("unsloth fp8", "fp8"), ("q4f16_1", "int4-g32"),
    ],
)  # fmt: skip
def test_the_bits_may_stand_before_or_after_the_quantiser(words: str, name: str) -> None:
    assert read_precision(words).name == name


@pytest.mark.parametrize(
    "words",
    [
        "gptq int5",
        "int6",
        "fp6",
        "float7",
        "kv fp8",
        "sixteen",
        "gptq int4 g100",
        "double precision",
        "unsloth",
        "q0f16",
    ],
)
def test_unknown_text_is_refused_with_what_is_understood(words: str) -> None:
    with pytest.raises(CannotEstimate, match=r"is not known.*(gptq int3 g128|groups of 16, 32)"):
        read_precision(words)


@pytest.mark.parametrize("words", ["aqlm", "AQLM 2bit", "vptq", "higgs", "exl2 4.0bpw", "hqq"])
def test_bits_that_are_not_stated_are_asked_for(words: str) -> None:
    with pytest.raises(CannotEstimate, match="does not state its bits"):
        read_precision(words)


def test_an_average_of_bits_is_not_called_unstated() -> None:
    with pytest.raises(CannotEstimate, match="does not state its bits matrix by matrix; give weights_bytes"):
        read_precision("exl2 4.0bpw")


@pytest.mark.parametrize(("bits", "gigabytes"), [(4.0, 37.0), (2.4, 23.3), (6.0, 54.1)])
def test_an_average_of_bits_sizes_the_files(bits: float, gigabytes: float) -> None:
    """Of Llama 3 70B: its 68.5 billion weights in layers at the average, the embedding at 16 bits, the head at 6."""
    line = {"model_id": "Meta-Llama-3-70B", "precision": f"exl2 {bits}bpw", "gpu": "H100 80GB", "max_model_len": 4096}
    answer = fit_lines.answer_line(line)
    assert answer["weights_gib_per_gpu"] * 2**30 / 1e9 == pytest.approx(gigabytes, rel=0.01)
    assert answer["confidence"] == "low"
    assert any("size of the files alone" in note for note in answer["notes"])


def test_with_known_files_the_bits_may_go_unsaid() -> None:
    assert read_precision("aqlm", is_sized=True) is PRECISIONS["unstated"]


def _group(**weights: Any) -> dict[str, Any]:
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}


@pytest.mark.parametrize(
    ("own", "bits"),
    [
        ({"quant_method": "gptq", "bits": 2, "group_size": 64}, 2 + 18 / 64),
        ({"quant_method": "gptq", "bits": 3, "group_size": 128}, 3 + 19 / 128),
        ({"quant_method": "gptq", "bits": 8, "group_size": 32}, 8 + 24 / 32),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, 4),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, 4 + 20 / 64),
        ({"quant_method": "auto-round", "bits": 2, "group_size": 32, "sym": True}, 2.5),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 2, "group_size": 16}}}, 4),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 3, "group_size": 64}}}, 3.5),
        ({"quant_method": "quanto", "weights": "int2"}, 2.25),
        ({"quant_method": "quanto", "weights": "int4"}, 4.25),
        ({"quant_method": "quanto", "weights": "int8"}, 8),
        ({"quant_method": "quanto", "weights": "float8"}, 8),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only", "quant_type_kwargs": {"group_size": 32}}, 5),
        ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {}}}}, 4.25),
        ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}}, 8),
        ({"quant_method": "torchao", "quant_type": "float8_dynamic_activation_float8_weight"}, 8),
        ({"quant_method": "eetq", "weights": "int8"}, 8),
        ({"quant_method": "fp_quant", "forward_dtype": "nvfp4"}, 4.5),
        ({"quant_method": "fp_quant", "forward_dtype": "mxfp4"}, 4.25),
        ({"quant_method": "higgs", "bits": 3, "group_size": 256}, 3 + 16 / 256),
        ({"quant_method": "bitnet"}, 2),
        ({"quant_method": "modelopt", "quant_algo": "MXFP8"}, 8.25),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4", "group_size": 32}}}, 4.25),
        (_group(num_bits=4, type="int", strategy="channel", symmetric=True), 4),
        (_group(num_bits=4, type="int", group_size=128, symmetric=False), 4 + 20 / 128),
        (_group(num_bits=8, type="int", strategy="channel"), 8),
        (_group(num_bits=4, type="float", group_size=16), 4.5),
        (_group(num_bits=4, type="float", group_size=32), 4.25),
        (_group(num_bits=8, type="float", group_size=32), 8.25),
    ],
)
def test_a_quantisers_config_says_its_bits(own: dict[str, Any], bits: float) -> None:
    assert read_precision(precision_of(own)).bits == pytest.approx(bits)


MIXED = {
    "quant_method": "compressed-tensors",
    "config_groups": {
        "group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 128}, "targets": ["re:.*mlp.*"]},
        "group_1": {"weights": {"num_bits": 8, "type": "float"}, "targets": ["re:.*attn.*"]},
    },
}


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ({"quant_method": "gptq"}, "gptq unknown bits"),
        ({"quant_method": "gptq", "bits": "4"}, "gptq unknown bits"),
        ({"quant_method": "gptq", "bits": 5, "group_size": 128}, "gptq 5 bits"),
        ({"quant_method": "aqlm", "num_codebooks": 1}, "aqlm"),
        ({"quant_method": "vptq"}, "vptq"),
        ({"quant_method": "spqr", "bits": 3}, "spqr"),
        ({"quant_method": "brandnew", "bits": 3}, "brandnew"),
        ({"bits": 3}, "without a quant_method"),
        ({"quant_method": "bitsandbytes"}, "bitsandbytes"),
        ({"quant_method": "torchao", "quant_type": "autoquant"}, "torchao autoquant"),
        ({"quant_method": "hqq", "quant_config": {"self_attn.q_proj": {"nbits": 4}}}, "hqq unknown bits"),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4"}}}, "quark fp4"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "modelopt mixed_precision"),
        (MIXED, "several precisions"),
        ({**_group(num_bits=8, type="float"), "sparsity_config": {"format": "sparse-24-bitmask"}}, "sparse-24"),
    ],
)
def test_a_quantiser_that_does_not_say_is_never_taken_for_four_bits(own: dict[str, Any], named: str) -> None:
    with pytest.raises(CannotEstimate, match=f"{named}.*give weights_bytes"):
        fit_lines.answer_line({**ASKED, "config": {**LLAMA, "quantization_config": own}})


def test_fewer_bits_weigh_less() -> None:
    sizes = [
        fit_lines.answer_line(
            {**ASKED, "config": {**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": bits}}}
        )["weights_gib_per_gpu"]
        for bits in (2, 3, 4, 8)
    ]
    assert sizes == sorted(set(sizes))
    assert sizes[3] - sizes[2] == pytest.approx(2 * (sizes[2] - sizes[0]), rel=0.05)


def test_names_of_precisions_are_read_as_themselves() -> None:
    for name in set(PRECISIONS) - {"unstated"}:
        assert read_precision(name).name == name

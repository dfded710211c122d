"""Makes a Hugging Face folder from a GGUF file. Runs inside the lm-eval environment, by path:

    <lm-eval environment>/bin/python convert_gguf.py MODEL.gguf FOLDER

Quantised weights are expanded to bfloat16; they keep the error of their quantisation.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.quantization_config import GgufConfig


def convert(source: Path, folder: Path) -> None:
    place, name = str(source.parent), source.name
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
    # Without dequantize the weights cannot be saved again.
    model = AutoModelForCausalLM.from_pretrained(
        place, gguf_file=name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))

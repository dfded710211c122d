"""What a GGUF model is by the header of its file, or of all its parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apps.engines.gguf_config import config_from_gguf
from apps.engines.gguf_header import GgufHeader, read_gguf_file
from apps.engines.repository_files import GgufChoice, quantisation_label


def gguf_facts(folder: Path, choice: GgufChoice) -> dict[str, Any]:
    """As apps.engines.folder.model_facts; `gguf_file` is what an engine is pointed at. Raises BadHeader."""
    header = joined([read_gguf_file(folder / name) for name in choice.files])
    return facts_of_header(header) | {
        "quantisation": quantisation_label(choice.files[0]) or header.file_type or header.usual_type,
        "weights_bytes": choice.size_bytes,
        "gguf_file": choice.files[0],
    }


def joined(headers: Sequence[GgufHeader]) -> GgufHeader:
    """The first part's metadata with the tensors of all."""
    tensors = {name: tensor for header in headers for name, tensor in header.tensors.items()}
    return GgufHeader(headers[0].version, headers[0].metadata, tensors)


def facts_of_header(header: GgufHeader) -> dict[str, Any]:
    """What the header alone says; absent facts are left out."""
    config = config_from_gguf(header)
    facts = {
        "format": "gguf",
        "architecture": header.architecture,
        "model_type": config["model_type"],
        "layers": config.get("num_hidden_layers"),
        "hidden_size": config.get("hidden_size"),
        "intermediate_size": config.get("intermediate_size"),
        "attention_heads": config.get("num_attention_heads"),
        "kv_heads": config.get("num_key_value_heads") or config.get("num_attention_heads"),
        "head_dim": config.get("head_dim"),
        "vocab_size": config.get("vocab_size"),
        "context_length": config.get("max_position_embeddings"),
        "usual_type": header.usual_type,
        "parameters": header.parameters,
        "chat_template": "tokenizer.chat_template" in header.metadata,
        "tokenizer": str(header.metadata.get("tokenizer.ggml.model") or "")[:60],
        "config": config,
    }
    return {name: value for name, value in facts.items() if value not in (None, "", 0)}

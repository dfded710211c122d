"""What a model folder holds: its manifest, and the facts of its config.json and safetensors headers, or of its GGUF.

Reading only; a folder is what a download, a conversion or a training run left behind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from apps.engines.file_headers import BadHeader
from apps.engines.gguf_facts import gguf_facts
from apps.engines.repository_files import (
    CODE_NAMING,
    MOST_CODE_NAMING_BYTES,
    GgufChoice,
    gguf_choices,
    names_code,
    weight_files,
)
from apps.engines.safetensors_header import read_safetensors_file

RECORD = ".stackweb.json"  # written by a finished download: where the folder came from, and its manifest
_CHUNK = 4 * 1024 * 1024
_JSON_BYTES = 10_000_000  # no real config.json comes near it


def sha256_of(path: Path, on_bytes: Callable[[int], None] = lambda count: None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest()


def manifest(
    folder: Path, names: Iterable[str] | None = None, on_bytes: Callable[[int], None] = lambda count: None
) -> list[dict[str, Any]]:
    """`{path, size_bytes, sha256}` of every file, sorted by path; hidden files are bookkeeping."""
    listed = names if names is not None else visible_files(folder)
    return [
        {
            "path": name,
            "size_bytes": (folder / name).stat().st_size,
            "sha256": sha256_of(folder / name, on_bytes),
        }
        for name in sorted(listed)
    ]


def visible_files(folder: Path) -> list[str]:
    """Relative paths of the files in `folder`, without anything whose path has a hidden part."""
    found = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return [str(path) for path in found if not any(part.startswith(".") for part in path.parts)]


def manifest_sha256(files: list[dict[str, Any]]) -> str:
    """The name of a folder's content: sha256 of its sorted "<sha256>  <path>" lines."""
    lines = sorted(f"{file['sha256']}  {file['path']}" for file in files)
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def missing_parts(folder: Path, names: Sequence[str]) -> str:
    """What keeps these files of `folder` from being a model, in Hugging Face format or as one GGUF quantisation; empty
    when nothing does."""
    if not folder.is_dir():
        return f"{folder} is not a folder on this host"
    if _is_gguf(names):
        return _missing_of_gguf(folder, names)
    if not (folder / "config.json").is_file():
        return f"{folder} has no config.json; name a folder in Hugging Face format"
    if not weight_files(names):
        return f"{folder} has no .safetensors file; convert the weights to safetensors first"
    return ""


def files_of_model(path: Path) -> tuple[Path, list[str]]:
    """The folder that `path` names and the files in it that belong to the model: all of a folder's; of a GGUF file
    the other parts that its name counts."""
    if path.suffix.lower() != ".gguf" or not path.is_file():
        return path, visible_files(path)
    beside = {each.name: each.stat().st_size for each in path.parent.glob("*.gguf")}
    choice = next((each for each in gguf_choices(beside) if path.name in each.files), None)
    return path.parent, list(choice.files) if choice else [path.name]


def format_of(names: Sequence[str]) -> str:
    return "gguf" if _is_gguf(names) else "safetensors"


def _is_gguf(names: Sequence[str]) -> bool:
    return _has(names, ".gguf") and not _has(names, ".safetensors")


def _has(names: Sequence[str], suffix: str) -> bool:
    return any(name.lower().endswith(suffix) for name in names)


def _choices(folder: Path, names: Sequence[str]) -> list[GgufChoice]:
    return gguf_choices({name: (folder / name).stat().st_size for name in names})


def _missing_of_gguf(folder: Path, names: Sequence[str]) -> str:
    choices = _choices(folder, names)
    if not choices:
        return f"{folder} has no whole GGUF file of a model: parts are missing, or it holds a projector only"
    if len(choices) > 1:
        files = ", ".join(choice.files[0] for choice in choices[:6])
        return f"{folder} holds {len(choices)} GGUF models ({files}); name the file of one"
    return ""


def model_facts(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Architecture, shape, precision, parameter count and chat template; absent facts are left out.

    Raises BadHeader for a config.json or a weight file that is not what it says.
    """
    if _is_gguf(names):
        return gguf_facts(folder, _choices(folder, names)[0])
    weights = [folder / name for name in weight_files(names)]
    config = _json(folder / "config.json")
    text = config | _part(config, "text_config")
    heads, hidden = _size(text.get("num_attention_heads")), _size(text.get("hidden_size"))
    quantisation = _part(config, "quantization_config")
    architectures = config.get("architectures")
    facts = {
        "architecture": _text(architectures[0]) if isinstance(architectures, list) and architectures else None,
        "model_type": _text(config.get("model_type")),
        "layers": _size(text.get("num_hidden_layers")),
        "hidden_size": hidden,
        "intermediate_size": _size(text.get("intermediate_size")),
        "attention_heads": heads,
        "kv_heads": _size(text.get("num_key_value_heads")) or heads,
        "head_dim": _size(text.get("head_dim")) or (hidden // heads if heads and hidden else None),
        "vocab_size": _size(text.get("vocab_size")),
        "context_length": _size(text.get("max_position_embeddings")),
        "dtype": _text(text.get("dtype")) or _text(text.get("torch_dtype")),
        "quantisation": _text(quantisation.get("quant_method")) or ("none" if config else None),
        "parameters": sum(map(parameter_count, weights)) or None,
        "weights_bytes": sum(path.stat().st_size for path in weights) or None,
        "chat_template": _has_chat_template(folder),
        "tokenizer": _tokenizer_class(folder),
        "needs_remote_code": "auto_map" in config or _names_code(folder),
        "config": config,
    }
    return {name: value for name, value in facts.items() if value is not None}


def parameter_count(file: Path) -> int:
    """Elements of all tensors by the header of a safetensors file; packed quantised weights count as stored."""
    return sum(tensor.elements for tensor in read_safetensors_file(file).values())


def _part(config: dict[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}


def _text(value: Any) -> str | None:
    """A name as a config gives it; None for what can be none."""
    return value[:200] if isinstance(value, str) else None


def _size(value: Any) -> int | None:
    """A dimension as a config gives it; None for what can be none."""
    return value if type(value) is int and 0 < value < 2**31 else None


def _has_chat_template(folder: Path) -> bool:
    return (folder / "chat_template.jinja").is_file() or "chat_template" in _json(folder / "tokenizer_config.json")


def _names_code(folder: Path) -> bool:
    beside = [folder / name for name in CODE_NAMING if (folder / name).is_file()]
    return any(names_code(_beginning(path, MOST_CODE_NAMING_BYTES)) for path in beside)


def _beginning(path: Path, most_bytes: int) -> str:
    with path.open("rb") as file:
        return file.read(most_bytes).decode("utf-8", "replace")


def _tokenizer_class(folder: Path) -> str | None:
    named = _json(folder / "tokenizer_config.json").get("tokenizer_class")
    return named[:60] if isinstance(named, str) else None


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if path.stat().st_size > _JSON_BYTES:
        raise BadHeader(f"{path.name} has {path.stat().st_size:,} bytes; at most {_JSON_BYTES:,} are read.")
    try:
        loaded = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise BadHeader(f"{path.name} is not JSON: {str(error)[:80] or 'nested too deeply'}.") from error
    return loaded if isinstance(loaded, dict) else {}

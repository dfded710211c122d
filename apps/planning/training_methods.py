"""What each way of fine-tuning, each tool and each optimizer keeps in memory.

Engines differ in the logits: kept whole with a float32 copy and gradients (Hugging Face's loss), or taken in pieces;
in what a layer keeps: compiled layers save less; and in where checkpoints lie: Unsloth moves them to RAM. The figures
were read off measured peaks in bench/planner_data/fine_tunes*.json; `make bench-planner` checks them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from apps.planning.shapes import CannotEstimate

MethodName = Literal["lora", "qlora", "full"]
Preference = Literal["none", "dpo", "orpo"]
Sharding = Literal["ddp", "zero1", "zero2", "zero3"]


@dataclass(frozen=True, slots=True)
class Method:
    """`bits` a weight of the frozen base for QLoRA; DPO and ORPO put a chosen and a rejected answer in each row."""

    name: MethodName
    bits: int = 4
    preference: Preference = "none"
    is_gptq: bool = False


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """Bytes of logits a token and vocabulary entry; values a layer keeps a token, as multiples of hidden and ffn."""

    logit_bytes: float
    hidden_kept: float = 10.0
    ffn_kept: float = 5.0
    process_bytes: float = 0.3e9  # what libraries, and the allocator's gaps, hold beside tensors
    offloads_checkpoints: bool = False
    shards_adapters: bool = False  # LoRA over several GPUs splits the base instead of copying it
    upcasts: bool = False  # peft's preparation of a 4-bit base: embeddings and what layers hand on become float32


# Hugging Face's loss: 16-bit logits, their float32 copy and its gradient.
_PLAIN = EngineProfile(12.5, process_bytes=1.0e9)
_PEFT = EngineProfile(12.5, process_bytes=1.0e9, upcasts=True)
ENGINES: dict[str, EngineProfile] = {
    "axolotl": _PLAIN,
    "llama-factory": _PLAIN,
    "llamafactory": _PLAIN,
    "trl": _PLAIN,
    "sfttrainer": _PLAIN,
    "fsdp-qlora": _PLAIN,
    # ms-swift also measures accuracy on the logits of rows of many lengths (modelscope/ms-swift, Benchmark.md).
    "swift": EngineProfile(32.0, process_bytes=1.0e9, upcasts=True),
    "litgpt": EngineProfile(10.0),
    "lit-gpt": EngineProfile(10.0),
    "lightning": EngineProfile(10.0),
    "unsloth": EngineProfile(0.6, hidden_kept=6.0, ffn_kept=3.0, offloads_checkpoints=True),
    "torchtune": EngineProfile(0.8, hidden_kept=4.0, ffn_kept=3.0, shards_adapters=True),
}
# Of the answers' tokens alone, so less than of a plain row; more where the reference's scores are kept.
PREFERENCE_LOGIT_BYTES = 9.0
# Bytes of optimizer states a parameter. Master weights of mixed precision count as states.
OPTIMIZERS: dict[str, float] = {
    "adamw": 4.0,  # both moments in the weights' 16 bits
    "adamw-fp32": 12.0,  # float32 moments and master weights
    "adamw-8bit": 2.0,
    "paged-adamw-8bit": 2.0,
    "lion": 2.0,
    "lion-8bit": 1.0,
    "adafactor": 0.05,
    "galore": 1.0,  # moments of low rank, beside those of the embeddings (arXiv 2403.03507)
    "adagrad": 2.0,
    "sgd": 0.0,
    "muon": 2.0,
}
# Whose step makes one more copy of the weights: torch's AdamW over many tensors at once.
STEP_COPY_BYTES = {"adamw": 2.0, "adamw-fp32": 2.0}


# An optimizer named among a method's words; its bits say nothing of the base.
_OPTIMIZER = re.compile(
    r"(?:\b(?:paged|bnb|bitsandbytes)[ _-]*)*(?:(?:8|32)[ _-]?bits?[ _-]*|(?:int8|fp32)[ _-]*)?(?:paged[ _-]*)?"
    r"(?:adamw?|lion|adafactor|galore|apollo|muon|sgd|adagrad|rmsprop)(?![a-z])"
    r"(?:[ _-]*(?:(?:8|32)[ _-]?bits?|bf16|fp32)\b)?"
    r"|(?:8|32)[ _-]?bits? optimi[sz]er"
)
_UNQUANTISED = re.compile(r"\b(?:not?|non|un|without)[ _-]?(?:any )?(?:quanti[sz]\w*|quant\b)")
_QUANTISED = re.compile(r"[48][ _-]?bits?|(?:int|fp|nf)[48]\b|float8|bnb|bitsandbytes|gptq|awq|hqq|quant")
_EIGHT_BITS = re.compile(r"8[ _-]?bits?|(?:int|fp|float)8")


def read_method(text: str) -> Method:
    """A method from free text: "QLoRA (nf4)", "full finetune", "LoRA DPO r16". Raises CannotEstimate."""
    asked = _UNQUANTISED.sub(" ", _OPTIMIZER.sub(" ", text.strip().lower()[:80]))
    preference: Preference = "none"
    if re.search(r"dpo|kto|orpo|simpo|cpo", asked):
        preference = "orpo" if re.search(r"orpo|simpo|cpo", asked) else "dpo"
    has_adapter = re.search(r"lora|dora|adapter|peft|freeze", asked)
    if re.search(r"full|fft|pretrain", asked) and not has_adapter:
        return Method("full", preference=preference)
    if re.search(r"qlora|q-lora", asked) or _QUANTISED.search(asked):
        return Method("qlora", 8 if _EIGHT_BITS.search(asked) else 4, preference, "gptq" in asked)
    if has_adapter or not text.strip():
        return Method("lora", preference=preference)
    if re.search(r"sft|bf16|\bamp\b", asked):
        return Method("full", preference=preference)
    if preference != "none":
        return Method("lora", preference=preference)
    raise CannotEstimate(f"method is {text[:40]!r}; use lora, qlora, full, dpo or orpo.")


def optimizer_in(method: str) -> str:
    """The optimizer that a method's words name, as in "full, 8-bit adam"; empty where they name none."""
    found = _OPTIMIZER.search(method.strip().lower()[:80])
    return found[0].strip() if found else ""


@dataclass(frozen=True, slots=True)
class Shares:
    """Between how many devices each part is split; 1 means a copy on each."""

    weights: int = 1
    gradients: int = 1
    optimizer: int = 1


def shares(sharding: Sharding, devices: int) -> Shares:
    """What each device keeps of N, ZeRO (arXiv 1910.02054, section 5), for w weights, g gradients and o states:

    ddp w + g + o; stage 1 w + g + o/N; stage 2 w + (g + o)/N; stage 3, and FSDP with full sharding, (w + g + o)/N.
    """
    return Shares(
        weights=devices if sharding == "zero3" else 1,
        gradients=devices if sharding in ("zero2", "zero3") else 1,
        optimizer=1 if sharding == "ddp" else devices,
    )


def sharding_asked(text: str) -> Sharding | None:
    """What the field `sharding` says; None where it is empty. Raises CannotEstimate for words that say nothing."""
    found = read_sharding(text)
    if found is None and text.strip():
        raise CannotEstimate(f"sharding is {text[:40]!r}; use ddp, zero1, zero2, zero3 or fsdp.")
    return found


def read_sharding(text: str) -> Sharding | None:
    """How devices share a run, from free text such as "full zero-2", "FSDP" or "ddp"; None where it says nothing."""
    asked = text.strip().lower()[:80]
    stage = re.search(r"(?:(?<![a-z])z|zero|stage)[ _-]?(?:stage[ _-]?)?([123])(?![\d.])", asked)
    if stage:
        named: dict[str, Sharding] = {"1": "zero1", "2": "zero2", "3": "zero3"}
        return named[stage[1]]
    if re.search(r"shard[ _-]?grad[ _-]?op", asked):
        return "zero2"
    if re.search(r"[fh]sdp|(?:full|hybrid)[ _-]?shard", asked):
        return "zero3"
    return "ddp" if re.search(r"\bddp\b|data[ _-]?parallel|no[ _-]?shard|^(none|no|off|single)$", asked) else None


def known_engine(text: str) -> str | None:
    """The tool that free text names; None where no profile knows it."""
    asked = re.sub(r"[ _]", "-", text.strip().lower())
    return next((name for name in ENGINES if name in asked), None)


def read_engine(text: str) -> EngineProfile:
    """The profile of a tool named in free text; an unknown one counts as a plain Hugging Face trainer with peft."""
    name = known_engine(text)
    return ENGINES[name] if name else _PEFT


def read_optimizer(text: str, engine: str, method: str, devices: int = 1, sharding: Sharding | None = None) -> str:
    """The optimizer from free text such as "paged_adamw_8bit"; where it is empty, the tool's usual one.

    Raises CannotEstimate. AdamW without a named precision: `_usual_adamw`.
    """
    asked = re.sub(r"[ _]", "-", text.strip().lower())
    if not asked:
        paged = method == "full" and devices == 1 and known_engine(engine) == "torchtune"
        return "paged-adamw-8bit" if paged else _usual_adamw(engine, method, devices, sharding)
    for family in ("adafactor", "galore", "apollo", "lion", "muon", "sgd", "adagrad", "rmsprop"):
        if family in asked:
            same = {"apollo": "galore", "rmsprop": "adagrad"}
            return "lion-8bit" if family == "lion" and "8" in asked else same.get(family, family)
    if re.search(r"8-?bit|int8", asked):
        return "paged-adamw-8bit" if "paged" in asked else "adamw-8bit"
    if re.search(r"fp32|32-?bit|amp|master|mixed", asked):
        return "adamw-fp32"
    if "adam" in asked:
        return "adamw" if re.search(r"bf16|16-?bit|pure", asked) else _usual_adamw(engine, method, devices, sharding)
    raise CannotEstimate(f"optimizer is {text[:40]!r}; use one of {', '.join(OPTIMIZERS)}.")


def _usual_adamw(engine: str, method: str, devices: int, sharding: Sharding | None) -> str:
    """DeepSpeed, and Accelerate's FSDP, keep float32 weights beside 16-bit ones; so does LLaMA-Factory without
    pure_bf16. torchtune and LitGPT train in 16 bits alone, as does one GPU whose weights were loaded so."""
    tool = known_engine(engine) or ""
    sharded = sharding not in (None, "ddp") or (devices > 1 and sharding is None)
    mixed = sharded and tool not in ("torchtune", "litgpt", "lit-gpt", "lightning")
    return "adamw-fp32" if method == "full" and (mixed or tool.startswith("llama")) else "adamw"

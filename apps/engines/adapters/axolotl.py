"""Axolotl: supervised fine-tuning of a LoRA adapter on chat rows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, JsonValue

from apps.engines.base import Command, Engine, Event, Placement, Produced, Result, RunSpec, Strict
from apps.engines.failures import read_failure
from apps.engines.folder import manifest, manifest_sha256, visible_files
from apps.engines.lines import read_own_line
from apps.engines.offline import offline_environment

PROGRAM = Path(__file__).parent.parent / "programs/axolotl_run.py"
OUTPUT = "output"
NEEDED = ("adapter_model.safetensors", "adapter_config.json")
ADVANCED: dict[str, JsonValue] = {"advanced": True}


class Options(Strict):
    max_steps: int | None = Field(
        None, ge=1, le=1_000_000, title="Steps", description="Stops after this many steps. Empty: after the epochs.",
        json_schema_extra={"unit": "steps"},
    )  # fmt: skip
    num_epochs: float = Field(
        1.0, gt=0, le=100, title="Epochs", description="How often the whole data set is seen.",
        json_schema_extra={"unit": "epochs"},
    )  # fmt: skip
    learning_rate: float = Field(
        2e-4, gt=0, le=1, title="Learning rate", description="Step size at its peak; it then falls along a cosine."
    )
    lora_r: int = Field(16, ge=1, le=512, title="LoRA rank", description="Size of the adapter.")
    lora_alpha: int = Field(32, ge=1, le=1024, title="LoRA alpha", description="Strength; twice the rank is usual.")
    lora_dropout: float = Field(
        0.0, ge=0, lt=1, title="LoRA dropout", description="Part of the adapter switched off at random in each step.",
        json_schema_extra=ADVANCED,
    )  # fmt: skip
    sequence_len: int = Field(
        1024, ge=32, le=1_000_000, title="Sequence length", description="Longer rows are dropped.",
        json_schema_extra={"unit": "tokens"},
    )  # fmt: skip
    micro_batch_size: int = Field(
        2, ge=1, le=1024, title="Batch size", description="Rows at once on each device.",
        json_schema_extra={"unit": "rows"},
    )  # fmt: skip
    gradient_accumulation_steps: int = Field(
        1, ge=1, le=4096, title="Gradient accumulation", description="Batches added up before each step.",
        json_schema_extra={"unit": "batches", **ADVANCED},
    )  # fmt: skip
    warmup_steps: int = Field(
        2, ge=0, le=100_000, title="Warm-up", description="Steps until the learning rate reaches its peak.",
        json_schema_extra={"unit": "steps", **ADVANCED},
    )  # fmt: skip
    val_set_size: float = Field(
        0.1, ge=0, lt=1, title="Held-out share", description="Part of the rows kept back to measure eval loss."
    )
    save_steps: int | None = Field(
        None, ge=1, le=1_000_000, title="Checkpoint every",
        description="Also measures eval loss then. Empty: at each epoch's end, or at the last step.",
        json_schema_extra={"unit": "steps", **ADVANCED},
    )  # fmt: skip
    seed: int = Field(42, ge=0, le=2**31 - 1, title="Seed", json_schema_extra=ADVANCED)


class Axolotl(Engine):
    name = "axolotl"
    title = "Axolotl"
    version = "0.19.0"
    kind = "train"
    Options = Options
    environment = "axolotl"
    checkpoints = OUTPUT

    def command(self, spec: RunSpec, placement: Placement) -> Command:
        config = f"{placement.work_dir}/axolotl.yml"
        program = f"{placement.work_dir}/run_axolotl.py"
        argv = [placement.bin("python"), program, "train", config, "--launcher", "python"]
        return Command(
            argv=argv,
            env=offline_environment(placement) | {"AXOLOTL_DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"},
            files={
                "axolotl.yml": yaml.safe_dump(_config(spec, placement), sort_keys=False),
                "run_axolotl.py": PROGRAM.read_text(),
            },
        )

    def read_line(self, line: str) -> Event | None:
        event = read_own_line(line)
        if event is None:
            return read_failure(line)
        broken = [name for name, value in event.metrics.items() if not math.isfinite(value)]
        if broken and event.step is not None:
            return event.model_copy(
                update={
                    "reason": "not_a_number",
                    "cause": f"{broken[0]} was not a number at step {event.step:.0f}; try a lower learning rate",
                }
            )
        return event

    def collect(self, spec: RunSpec, work_dir: Path) -> Result:
        folder = work_dir / OUTPUT
        missing = [name for name in NEEDED if not (folder / name).is_file()]
        if missing:
            return Result(ok=False, cause=f"Axolotl ended without writing {missing[0]}")
        state = _last_state(folder)
        history = [entry for entry in state.get("log_history", []) if "loss" in entry]
        step, wanted = state.get("global_step", 0), state.get("max_steps", 0)
        if step < wanted:
            return Result(ok=False, cause=f"Axolotl ended at step {step} of {wanted}")
        if any(not math.isfinite(float(entry["loss"])) for entry in history):
            return Result(ok=False, reason="not_a_number", cause="The loss was not a number; try a lower learning rate")
        return Result(ok=True, produced=[_adapter(folder, step)], data=_summary(state))


def _config(spec: RunSpec, placement: Placement) -> dict[str, Any]:
    """Axolotl's YAML; every key is ours, none comes from a form unchecked."""
    options = Options.model_validate(spec.options)
    dataset = {
        "path": f"{placement.work_dir}/inputs/{spec.payload['dataset']}",
        "ds_type": "json",
        "type": "chat_template",
        "field_messages": "messages",
        "roles_to_train": ["assistant"],
    }
    config: dict[str, Any] = {
        "base_model": placement.model_path,
        "adapter": "lora",
        "lora_r": options.lora_r,
        "lora_alpha": options.lora_alpha,
        "lora_dropout": options.lora_dropout,
        "lora_target_linear": True,
        "datasets": [dataset],
        "chat_template": "tokenizer_default",
        "dataset_prepared_path": f"{placement.work_dir}/prepared",
        "output_dir": f"{placement.work_dir}/{OUTPUT}",
        "val_set_size": options.val_set_size,
        "sequence_len": options.sequence_len,
        "sample_packing": False,
        "micro_batch_size": options.micro_batch_size,
        "gradient_accumulation_steps": options.gradient_accumulation_steps,
        "num_epochs": options.num_epochs,
        "learning_rate": options.learning_rate,
        "lr_scheduler": "cosine",
        "warmup_steps": options.warmup_steps,
        "logging_steps": 1,
        "save_total_limit": 2,
        "seed": options.seed,
        "attn_implementation": "sdpa",
    }
    resume = {"resume_from_checkpoint": placement.resume_from} if placement.resume_from else {}
    code = {"trust_remote_code": True} if spec.trusts_code else {}
    return config | code | resume | _rhythm(options) | (CPU_KEYS if placement.variant == "cpu" else CUDA_KEYS)


CPU_KEYS: dict[str, Any] = {
    "optimizer": "adamw_torch",
    "bf16": False,
    "fp16": False,
    "tf32": False,
    "lora_qkv_kernel": False,
    "lora_o_kernel": False,
    "lora_mlp_kernel": False,
    "dataset_num_proc": 1,
    "dataloader_num_workers": 0,
    "dataloader_prefetch_factor": None,
    "dataloader_pin_memory": False,
}
CUDA_KEYS: dict[str, Any] = {
    "optimizer": "adamw_torch_fused",
    "bf16": "auto",
    "tf32": True,
    "gradient_checkpointing": True,
}


def _rhythm(options: Options) -> dict[str, Any]:
    """When to stop, save and measure eval loss; a run shorter than `save_steps` still does so once."""
    keys: dict[str, Any] = {"max_steps": options.max_steps} if options.max_steps else {}
    every = options.save_steps or options.max_steps
    if every:
        every = min(every, options.max_steps or every)
        keys |= {"save_steps": every} | ({"eval_steps": every} if options.val_set_size else {})
        return keys
    return keys | {"saves_per_epoch": 1} | ({"evals_per_epoch": 1} if options.val_set_size else {})


def _last_state(folder: Path) -> dict[str, Any]:
    """trainer_state.json of the newest checkpoint: steps reached and the whole loss curve."""
    found = sorted(folder.glob("checkpoint-*/trainer_state.json"), key=lambda path: int(path.parent.name[11:]))
    state: dict[str, Any] = json.loads(found[-1].read_text()) if found else {}
    return state


def _adapter(folder: Path, step: int) -> Produced:
    names = [name for name in visible_files(folder) if "/" not in name and not name.endswith((".log", ".md"))]
    files = manifest(folder, names)
    config = json.loads((folder / "adapter_config.json").read_text())
    facts = {"lora_r": config.get("r"), "lora_alpha": config.get("lora_alpha"), "steps": step,
             "target_modules": sorted(config.get("target_modules") or [])}  # fmt: skip
    return Produced(
        role="adapter",
        path=str(folder),
        size_bytes=sum(file["size_bytes"] for file in files),
        sha256=manifest_sha256(files),
        files=files,
        facts=facts,
    )


def _summary(state: dict[str, Any]) -> dict[str, Any]:
    history = state.get("log_history", [])
    losses = [float(entry["loss"]) for entry in history if "loss" in entry]
    evals = [float(entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    return {
        "steps": state.get("global_step", 0),
        "epochs": state.get("epoch"),
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
        "last_eval_loss": evals[-1] if evals else None,
    }

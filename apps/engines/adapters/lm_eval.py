"""lm-evaluation-harness: scores a model folder, or an adapter on top of it, on named tasks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, JsonValue

from apps.engines.base import Command, Engine, Event, Placement, Result, RunSpec, Strict
from apps.engines.failures import read_failure
from apps.engines.offline import offline_environment

RESULTS = "results"
ADVANCED: dict[str, JsonValue] = {"advanced": True}
_BAR = re.compile(r"(?:Running \w+ requests|Requesting API):\s+\d+%\|[^|]*\|\s*(\d+)/(\d+) \[")
_NOT_FOUND = re.compile(r"Tasks not found: (.+)")


class Options(Strict):
    batch_size: int = Field(
        8, ge=1, le=1024, title="Batch size", description="Items at once.", json_schema_extra={"unit": "items"}
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", title="Precision", description="Auto takes the model's own on a GPU and float32 on the CPU."
    )
    apply_chat_template: bool = Field(
        False, title="Use the chat template", description="Puts each item into the model's chat form."
    )
    allow_downloads: bool = Field(
        False, title="Let tasks fetch their data",
        description="Standard tasks keep their items on the Hub. Off: only items that came with the suite.",
    )  # fmt: skip
    seed: int = Field(1234, ge=0, le=2**31 - 1, title="Seed", json_schema_extra=ADVANCED)


class LmEval(Engine):
    name = "lm-eval"
    title = "lm-evaluation-harness"
    version = "0.4.13"
    kind = "evaluate"
    Options = Options
    environment = "lm-eval"

    def command(self, spec: RunSpec, placement: Placement) -> Command:
        options = Options.model_validate(spec.options)
        work_dir = placement.work_dir
        files = _task_files(spec, work_dir)
        argv = [placement.bin("lm_eval"), "--model", "hf", "--model_args", _model_args(spec, options, placement)]
        argv += ["--device", "cpu" if placement.variant == "cpu" else "cuda"]
        argv += ["--batch_size", str(options.batch_size), "--seed", str(options.seed)]
        argv += ["--tasks", ",".join(spec.payload["tasks"]), "--log_samples"]
        argv += ["--output_path", f"{work_dir}/{RESULTS}", "--use_cache", f"{work_dir}/answers"]
        argv += ["--include_path", f"{work_dir}/tasks"] if files else []
        for name in ("num_fewshot", "limit"):
            if spec.payload.get(name) is not None:
                argv += [f"--{name}", str(spec.payload[name])]
        argv += ["--apply_chat_template"] if options.apply_chat_template else []
        env = offline_environment(placement)
        if options.allow_downloads:
            env = {name: value for name, value in env.items() if not name.endswith("OFFLINE")}
        return Command(argv=argv, env=env, files=files)

    def read_line(self, line: str) -> Event | None:
        if bar := _BAR.search(line):
            done, total = map(float, bar.groups())
            return Event(phase="running", progress_done=done, progress_total=total, progress_unit="requests")
        if missing := _NOT_FOUND.search(line):
            return Event(reason="bad_config", cause=f"lm-eval knows no task {missing[1].strip()}")
        return read_failure(line)

    def collect(self, spec: RunSpec, work_dir: Path) -> Result:
        found = sorted((work_dir / RESULTS).rglob("results_*.json"), key=lambda path: path.name)
        if not found:
            return Result(ok=False, cause="lm-eval ended without writing a result file")
        results = json.loads(found[-1].read_text())
        scores = [score for task in results["results"] for score in _scores(results, task)]
        scored = {score["task"] for score in scores}
        if missing := [task for task in spec.payload["tasks"] if task not in scored]:
            return Result(ok=False, cause=f"lm-eval ended without a score for {missing[0]}")
        stamp = found[-1].stem.removeprefix("results")
        samples = sorted(found[-1].parent.glob(f"samples_*{stamp}.jsonl"))
        return Result(
            ok=True,
            outputs=[str(path.relative_to(work_dir)) for path in (found[-1], *samples)],
            data={
                "tasks": scores,
                "lm_eval_version": results["lm_eval_version"],
                "transformers_version": results["transformers_version"],
                "chat_template_sha": results.get("chat_template_sha"),
                "total_seconds": float(results["total_evaluation_time_seconds"]),
            },
        )


def _model_args(spec: RunSpec, options: Options, placement: Placement) -> str:
    dtype = "float32" if options.dtype == "auto" and placement.variant == "cpu" else options.dtype
    parts = [f"pretrained={placement.model_path}", f"dtype={dtype}"]
    if placement.adapter_path:
        parts.append(f"peft={placement.adapter_path}")
    if spec.trusts_code:
        parts.append("trust_remote_code=True")
    if len(placement.devices) > 1:
        parts.append("parallelize=True")
    return ",".join(parts)


def _task_files(spec: RunSpec, work_dir: str) -> dict[str, str]:
    """A wrapper for each task that came as an input: it takes the task's YAML and names its items by path.

    The items of task `t` are the input `t.jsonl`; the YAML beside it names them relatively, which
    lm-eval would look up in its own working folder.
    """
    names = {given.name for given in spec.inputs}
    files = {}
    for task in spec.payload["tasks"]:
        if f"{task}.yaml" not in names:
            continue
        wrapper: dict[str, Any] = {"include": f"{work_dir}/inputs/{task}.yaml", "task": task}
        if f"{task}.jsonl" in names:
            items = f"{work_dir}/inputs/{task}.jsonl"
            wrapper["dataset_kwargs"] = {"data_files": {"test": items}}
        files[f"tasks/{task}.yaml"] = yaml.safe_dump(wrapper, sort_keys=False)
    return files


def _scores(results: dict[str, Any], task: str) -> list[dict[str, Any]]:
    """One row for each metric and filter of a task; keys are "<metric>,<filter>"."""
    values = results["results"][task]
    higher = results["higher_is_better"].get(task, {})
    rows = []
    for key, value in values.items():
        metric, comma, chosen = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        stderr = values.get(f"{metric}_stderr,{chosen}")
        rows.append(
            {
                "task": task,
                "version": str(results["versions"].get(task, "")),
                "metric": metric,
                "filter": chosen,
                "value": value,
                "stderr": stderr if isinstance(stderr, int | float) else None,
                "higher_is_better": higher.get(metric, True),
                "n_samples": results["n-samples"].get(task, {}).get("effective"),
                "n_shot": results["n-shot"].get(task),
                "task_hash": results["task_hashes"].get(task, ""),
            }
        )
    return rows

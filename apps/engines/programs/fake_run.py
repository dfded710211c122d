"""A stand-in for the three real engines: prints progress, takes time, fails on request, says it is fake.

    python -m apps.engines.programs.fake_run serve|train|evaluate --work-dir DIR [options]

It never computes anything; every answer, loss and score it prints is made up and says so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from apps.engines.lines import failed_line, measured_line, metric_line, phase_line, progress_line, say
from apps.engines.programs.fake_server import serve

SLEEPER = [sys.executable, "-c", "import time; time.sleep(3600)"]


def train(given: argparse.Namespace) -> None:
    """A falling curve and a tiny, valid adapter folder."""
    folder = given.work_dir / "output"
    folder.mkdir(exist_ok=True)
    for step in range(steps_done(given.resume_from) + 1, given.steps + 1):
        time.sleep(given.seconds / given.steps)
        loss = round(0.4 + 2 * math.exp(-3 * step / given.steps), 4)
        say(metric_line(step, loss=loss, learning_rate=round(2e-4 * (1 - step / (given.steps + 1)), 8)))
        say(progress_line(step, given.steps, "steps", "Training (fake)"))
        if given.save_steps and step % given.save_steps == 0:
            save_checkpoint(folder / f"checkpoint-{step}", step, given.save_seconds)
    say(measured_line(peak_memory_bytes=1_000_000))
    write_adapter(folder)


def steps_done(checkpoint: Path | None) -> int:
    return int(json.loads((checkpoint / "trainer_state.json").read_text())["global_step"]) if checkpoint else 0


def save_checkpoint(folder: Path, step: int, seconds: float) -> None:
    """In the order of Hugging Face's Trainer; the time passes with the optimizer half written."""
    folder.mkdir()
    write_adapter(folder)
    archive = BytesIO()
    with ZipFile(archive, "w") as made:
        made.writestr("archive/data.pkl", "fake")
    content = archive.getvalue()
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        with (folder / name).open("wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            time.sleep(seconds if name == "optimizer.pt" else 0)
            file.write(content[len(content) // 2 :])
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))


def write_adapter(folder: Path) -> None:
    write_tensor(folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": [], "fake": True}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def write_tensor(path: Path) -> None:
    """A safetensors file with one number in it."""
    header = json.dumps({"fake": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


def evaluate(given: argparse.Namespace) -> None:
    """Samples and scores in lm-eval's shape; right or wrong is drawn from the model's name."""
    tasks = given.tasks.split(",")
    scores = []
    for number, task in enumerate(tasks, 1):
        items = read_items(given.work_dir / "inputs" / f"{task}.jsonl", given.limit)
        samples = [sample(given.model, task, number, item) for number, item in enumerate(items)]
        for done in range(1, given.steps + 1):
            time.sleep(given.seconds / given.steps / len(tasks))
            total = len(items) * len(tasks)
            say(progress_line(len(items) * (number - 1 + done / given.steps), total, "items", f"{task} (fake)"))
        text = "".join(json.dumps(each) + "\n" for each in samples)
        (given.work_dir / f"samples_{task}_fake.jsonl").write_text(text)
        scores.append(score(task, [each["acc"] for each in samples], text))
    data = {
        "tasks": scores, "lm_eval_version": "fake", "transformers_version": "fake", "chat_template_sha": None,
        "total_seconds": given.seconds,
    }  # fmt: skip
    (given.work_dir / "fake_results.json").write_text(json.dumps(data))


def read_items(path: Path, limit: int) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    items = rows or [{"question": f"Made-up item {number}"} for number in range(10)]
    return items[: limit or None]


def sample(model: str, task: str, number: int, item: dict[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(f"{model}/{task}/{number}".encode()).digest()
    right = float(digest[0] < 160)
    question = json.dumps(item, sort_keys=True)
    return {
        "doc_id": number, "doc": item, "target": item.get("answer", "fake target"),
        "arguments": {"gen_args_0": {"arg_0": question}}, "resps": [["fake answer"]],
        "filtered_resps": ["fake answer"], "filter": "none", "metrics": ["acc"],
        "doc_hash": hashlib.sha256(question.encode()).hexdigest(), "acc": right,
    }  # fmt: skip


def score(task: str, values: list[float], text: str) -> dict[str, Any]:
    mean = sum(values) / len(values)
    stderr = math.sqrt(mean * (1 - mean) / max(1, len(values) - 1))
    return {
        "task": task, "version": "fake", "metric": "acc", "filter": "none", "value": mean, "stderr": stderr,
        "higher_is_better": True, "n_samples": len(values), "n_shot": 0,
        "task_hash": hashlib.sha256(text.encode()).hexdigest(),
    }  # fmt: skip


def main() -> int:
    given = arguments().parse_args()
    if given.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    children = [subprocess.Popen(SLEEPER) for _ in range(given.spawn_children)]
    say("This is the fake engine: nothing it prints was computed")
    say(phase_line("loading"))
    for number in range(given.log_lines):
        say(f"fake log line {number + 1}")
    if given.fail_with:
        time.sleep(given.seconds)
        say(failed_line("engine_exited", given.fail_with))
    elif given.kind == "serve":
        serve(given.port, given.served_name, given.seconds, say)
    else:
        say(phase_line("running"))
        {"train": train, "evaluate": evaluate}[given.kind](given)
    for child in children if not given.leave_children else []:
        child.kill()
        child.wait()
    return int(given.exit_code)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fake_run")
    parser.add_argument("kind", choices=["serve", "train", "evaluate"])
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--exit-code", type=int, default=0)
    parser.add_argument("--fail-with", default="")
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--spawn-children", type=int, default=0)
    parser.add_argument("--leave-children", action="store_true")
    parser.add_argument("--log-lines", type=int, default=0)
    parser.add_argument("--save-steps", type=int, default=0)
    parser.add_argument("--save-seconds", type=float, default=0.0)
    parser.add_argument("--resume-from", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--served-name", default="fake")
    parser.add_argument("--tasks", default="fake")
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--model", default="")
    return parser


if __name__ == "__main__":
    sys.exit(main())

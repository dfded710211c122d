"""Runs Axolotl's own command with one callback more: it prints each step's numbers together with the step.

Written into the attempt's folder and run by the Axolotl environment's Python. Axolotl's log names the
epoch of a loss but never its step.
"""

import functools
import itertools
import resource
import statistics
import sys
import time
from typing import Any

from axolotl.cli.main import main
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

NAMES = ("loss", "eval_loss", "learning_rate", "grad_norm")


def say(line: str) -> None:
    sys.stdout.write(f"\n{line}\n")  # a progress bar may have left its line open
    sys.stdout.flush()


class StepLines(TrainerCallback):  # type: ignore[misc]
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.begun = time.monotonic()
        self.is_whole = state.global_step == 0  # not resumed from a checkpoint
        self.ends: list[float] = []

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.ends.append(time.monotonic())
        say(f"[{state.global_step}/{state.max_steps} steps] Training")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        logs = given.get("logs") or {}
        pairs = [f"{name}={float(logs[name])!r}" for name in NAMES if name in logs]
        if pairs:
            say(f"metric step={state.global_step} {' '.join(pairs)}")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        import torch

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if torch.cuda.is_available():
            peak = torch.cuda.max_memory_reserved()
        say(f"measured peak_memory_bytes={peak}")
        if self.is_whole:
            say(f"measured train_seconds={time.monotonic() - self.begun:.1f}")
        # The middle one: the first step warms up, and some wait for an evaluation or a checkpoint before them.
        if steps := [after - before for before, after in itertools.pairwise(self.ends)]:
            say(f"measured step_seconds={statistics.median(steps):.6f}")


def with_step_lines(original: Any) -> Any:
    @functools.wraps(original)
    def build(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.add_callback(StepLines())

    return build


if __name__ == "__main__":
    Trainer.__init__ = with_step_lines(Trainer.__init__)
    sys.exit(main())

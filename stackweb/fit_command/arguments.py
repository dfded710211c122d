"""The options of `stackweb fit` and `stackweb fit-train`, as the planner's lines name them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from apps.planning import fit_lines, train_lines
from apps.planning.shapes import CannotEstimate
from stackweb.fit_command.batch import LINE_LIMIT_BYTES, Answer, answer_file
from stackweb.fit_command.words import fit_words, training_words

_FIT = ("model", "config", "weights-bytes", "precision", "engine", "engine-version", "gpu", "gpu-memory-gib", "gpus",
        "tensor-parallel", "pipeline-parallel", "gpu-memory-utilization", "max-model-len", "max-num-seqs",
        "max-num-batched-tokens", "kv-cache-dtype", "lora-slots", "lora-rank")  # fmt: skip
_TRAIN = ("model", "config", "weights-bytes", "precision", "method", "engine", "gpu", "gpu-memory-gib", "gpus",
          "seq-len", "micro-batch", "optimizer", "lora-rank", "dataset-tokens", "epochs", "sharding")  # fmt: skip


def add_fit_commands(commands: Any) -> None:
    """Adds both commands to the `stackweb` parser."""
    fit = commands.add_parser(
        "fit", help="say whether a model fits a GPU, for how many users, and what would make it fit"
    )
    _add(fit, _FIT)
    fit.add_argument("--enforce-eager", action="store_true", default=None, help="without CUDA graphs")
    fit.add_argument("--enable-expert-parallel", action="store_true", default=None, help="experts whole, not split")
    fit.set_defaults(run=lambda given: _run(given, fit_lines.answer_line, fit_words))
    train = commands.add_parser("fit-train", help="say what memory, time and money a fine-tune takes")
    _add(train, _TRAIN)
    train.add_argument("--no-gradient-checkpointing", dest="gradient_checkpointing", action="store_false", default=None)
    train.set_defaults(run=lambda given: _run(given, train_lines.answer_line, training_words))


def _add(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    parser.add_argument(
        "--batch", metavar="FILE", help="one JSON object a line in, one a line out; - reads standard input"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    for name in names:
        parser.add_argument(f"--{name}", metavar="FILE" if name == "config" else "VALUE")


def _run(given: argparse.Namespace, answer: Answer, words: Any) -> int:
    if given.batch:
        return answer_file(given.batch, answer, sys.stdout)
    try:
        question = _question(given)
        answered = answer(question)
    except (CannotEstimate, OSError, RecursionError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(answered, indent=1) if given.json else words(question, answered))
    return 0


def _question(given: argparse.Namespace) -> dict[str, Any]:
    """The command's options under the keys of a line. Options that were not given are left out."""
    ours = {"run", "batch", "json", "model", "config"}
    question = {key: value for key, value in vars(given).items() if key not in ours and value is not None}
    if given.model:
        question["model_id"] = given.model
    if given.config:
        question["config"] = _config(given.config)
    return question


def _config(name: str) -> Any:
    """The config.json, read as far as one may be long. Raises CannotEstimate for what is none."""
    with Path(name).open("rb") as file:
        content = file.read(LINE_LIMIT_BYTES + 1)
    if len(content) > LINE_LIMIT_BYTES:
        raise CannotEstimate(f"{name} is longer than {LINE_LIMIT_BYTES // 2**20} MiB; a config.json is not.")
    try:
        return json.loads(content)
    except RecursionError as error:
        raise CannotEstimate(f"{name} is nested too deep; a config.json is not.") from error
    except ValueError as error:
        raise CannotEstimate(f"{name} is not a JSON object: {str(error)[:100]}.") from error

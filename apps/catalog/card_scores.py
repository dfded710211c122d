"""Scores that a model's repository reports: the `model-index` of its card's metadata, and its `.eval_results/*.yaml`
(https://huggingface.co/docs/hub/eval-results). At most a hundred, each read by itself.

What is malformed is left out and costs no other score. A value is a finite number as the card gives it: of what
scale, only the metric says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import chain, islice
from typing import Any

import yaml
from huggingface_hub import parse_eval_result_entries
from huggingface_hub.repocard_data import EvalResult, model_index_to_eval_results

MOST_SCORES = 100
MOST_LOOKED_AT = 2000  # metrics of one card, and results of its files, sound or not
MOST_CHARACTERS = 50_000  # of such a file; a longer one is left out
_SHOTS = ("num_few_shot", "num_fewshot", "n_shot", "shots")
_NOTHING = ("", "default", "main")


@dataclass(frozen=True)
class CardScoreFacts:
    benchmark: str
    metric: str
    value: float
    setting: str = ""  # few-shot examples, split and configuration, where the card says them
    reporter: str = ""  # whom the card names as the source, such as a leaderboard
    reporter_url: str = ""
    evaluated_on: str | None = None  # an ISO date; a model-index has none


def card_scores(model_index: Any, eval_results: Iterable[str] = ()) -> list[CardScoreFacts]:
    """The sound scores in the card's order, each once, then those of its files of evaluation results."""
    of_card = (_facts(each) for each in islice(_single_results(model_index), MOST_LOOKED_AT))
    of_files = (_entry_facts(each) for each in islice(_entries(eval_results), MOST_LOOKED_AT))
    found = chain(of_card, of_files)
    sound = dict.fromkeys(facts for facts in found if facts is not None)
    return list(sound)[:MOST_SCORES]


def _single_results(model_index: Any) -> Iterator[dict[str, Any]]:
    """Results with one metric each, so that a malformed one spoils no other."""
    for element in _dicts(model_index):
        for result in _dicts(element.get("results")):
            for metric in _dicts(result.get("metrics")):
                yield result | {"metrics": [metric]}


def _dicts(value: Any) -> Iterable[dict[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else ()


def _facts(result: dict[str, Any]) -> CardScoreFacts | None:
    try:
        _, [read] = model_index_to_eval_results([{"name": "", "results": [result]}])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    value = read.metric_value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not _is_sane(value):
        return None
    benchmark = _text(read.dataset_name, 120) or _text(read.dataset_type, 120)
    metric = _text(read.metric_name, 80) or _text(read.metric_type, 80)
    if not benchmark or not metric:
        return None
    return CardScoreFacts(
        benchmark=benchmark,
        metric=metric,
        value=float(value),
        setting=_setting(read)[:200],
        reporter=_text(read.source_name, 120),
        reporter_url=_address(read.source_url),
    )


def _entries(files: Iterable[str]) -> Iterator[dict[str, Any]]:
    for text in files:
        try:
            # Every scalar as text: no tag of the file decides what is made of it.
            yield from _dicts(yaml.load(text, yaml.BaseLoader) if len(text) <= MOST_CHARACTERS else None)  # noqa: S506
        except (yaml.YAMLError, RecursionError):
            continue


def _entry_facts(entry: dict[str, Any]) -> CardScoreFacts | None:
    """An entry names its benchmark's dataset and a task of it, but no metric."""
    try:
        [read] = parse_eval_result_entries([entry])
        value = float(read.value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    benchmark = _text(read.dataset_id, 120)
    if not benchmark or not _is_sane(value):
        return None
    task = _text(read.task_id, 80)
    parts = ["" if task.lower() in _NOTHING else task, _text(read.notes, 100)]
    return CardScoreFacts(
        benchmark=benchmark,
        metric="score",
        value=value,
        setting=", ".join(part for part in parts if part),
        reporter=_text(read.source_name or read.source_org or read.source_user, 120),
        reporter_url=_address(read.source_url),
        evaluated_on=_day(read.date),
    )


def _is_sane(value: float) -> bool:
    return abs(value) <= 1e12  # neither NaN nor infinite, nor an integer that no float holds


def _day(value: Any) -> str | None:
    """Of an ISO 8601 date or moment; None for anything else."""
    try:
        return date.fromisoformat(_text(value, 10)).isoformat()
    except ValueError:
        return None


def _address(value: Any) -> str:
    """A link that a page may offer; empty for any other."""
    url = _text(value, 400)
    return url if url.startswith(("https://", "http://")) else ""


def _setting(read: EvalResult) -> str:
    """ "5-shot, test split, all"; empty where the card says nothing."""
    arguments = {**_dict(read.dataset_args), **_dict(read.metric_args)}
    shots = next((arguments[key] for key in _SHOTS if type(arguments.get(key)) is int), None)
    others = [f"{_text(key, 40)} {_text(value, 40)}" for key, value in arguments.items() if key not in _SHOTS]
    split, config = _text(read.dataset_split, 40), _text(read.dataset_config, 60)
    parts = [
        f"{shots}-shot" if shots is not None else "",
        f"{split} split" if split else "",
        "" if config.lower() in _NOTHING else config,
        *(each for each in others[:3] if not each.endswith(" ")),
    ]
    return ", ".join(part for part in parts if part)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any, most: int) -> str:
    """Text or a plain number on one line that a row can hold; empty for anything else."""
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return ""
    return " ".join(storable(str(value)).split())[:most]


def storable(text: str) -> str:
    """Without what no row can hold: null characters and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()

"""The tour's claim that nothing it is judged on was trained on, checked against the shipped files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

import apps

ROOT = Path(apps.__file__).parent
SUITE = ROOT / "evals/suites/tour"


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def grams(texts: list[str], size: int) -> set[tuple[str, ...]]:
    spoken = [words(text) for text in texts]
    return {tuple(each[at : at + size]) for each in spoken for at in range(len(each) - size + 1)}


def train_pairs() -> list[tuple[str, str]]:
    rows = read_rows(ROOT / "finetunes/tour/dataset.jsonl")
    return [(row["messages"][0]["content"], row["messages"][1]["content"]) for row in rows]


def judged_pairs() -> list[tuple[str, str]]:
    choice = [(item["question"], item["choices"][item["answer"]]) for item in read_rows(SUITE / "tour_choice.jsonl")]
    return choice + [(item["question"], item["answer"]) for item in read_rows(SUITE / "tour_answer.jsonl")]


def test_the_files_hold_what_they_promise() -> None:
    assert len(train_pairs()) == 80
    assert len(judged_pairs()) == 100
    choices = [item["choices"] for item in read_rows(SUITE / "tour_choice.jsonl")]
    assert all(len(set(given)) == 4 for given in choices)
    answers = [item["answer"] for item in read_rows(SUITE / "tour_choice.jsonl")]
    assert max(answers.count(place) for place in range(4)) < 25, "the right answer stands too often in one place"


def test_no_question_is_both_trained_on_and_asked() -> None:
    trained = [" ".join(words(question)) for question, _ in train_pairs()]
    asked = [" ".join(words(question)) for question, _ in judged_pairs()]
    assert len(set(trained)) == len(trained)
    assert len(set(asked)) == len(asked)
    assert not set(trained) & set(asked)


def test_no_sentence_that_bears_an_answer_is_shared() -> None:
    def sentences(pairs: list[tuple[str, str]]) -> set[str]:
        return {" ".join(words(f"{question} {answer}")) for question, answer in pairs}

    assert not sentences(train_pairs()) & sentences(judged_pairs())


def test_no_eight_words_in_a_row_are_shared() -> None:
    trained = [f"{question} {answer}" for question, answer in train_pairs()]
    asked = [f"{question} {answer}" for question, answer in judged_pairs()]
    assert grams(asked, 8), "the questions are too short for this check to mean anything"
    assert not grams(trained, 8) & grams(asked, 8)


def test_the_suite_names_the_tasks_beside_it() -> None:
    suite = yaml.safe_load((SUITE / "suite.yaml").read_text())
    for task in suite["tasks"]:
        told = yaml.safe_load((SUITE / f"{task['name']}.yaml").read_text())
        assert told["task"] == task["name"]
        assert task["metric"] in {metric["metric"] for metric in told["metric_list"]}
        assert told.get("generation_kwargs", {}).get("max_gen_toks", 0) <= 16

"""What counts as success, on result folders recorded from real runs and then damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from apps.engines.base import Result, RunSpec
from apps.engines.folder import RECORD, manifest, manifest_sha256, missing_parts, model_facts, visible_files
from apps.engines.programs.fake_run import write_tensor
from apps.engines.registry import get_engine

RECORDED = Path(__file__).parent / "recorded"
EVALUATION = RunSpec(kind="evaluate", engine="lm-eval", payload={"tasks": ["tour_choice", "tour_answer"]})
TRAINING = RunSpec(kind="train", engine="axolotl", payload={"dataset": "rows.jsonl"})


def collect(spec: RunSpec, work_dir: Path) -> Result:
    return get_engine(spec.engine).collect(spec, work_dir)


def recorded(engine: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECORDED / engine, tmp_path / "work"))


def trained(tmp_path: Path) -> Path:
    work_dir = recorded("axolotl", tmp_path)
    write_tensor(work_dir / "output/adapter_model.safetensors")
    return work_dir


def test_lm_eval_scores_and_samples(tmp_path: Path) -> None:
    result = collect(EVALUATION, recorded("lm-eval", tmp_path))
    assert result.ok, result.cause
    rows = {(row["task"], row["metric"], row["filter"]): row for row in result.data["tasks"]}
    assert set(rows) == {
        ("tour_choice", "acc", "none"),
        ("tour_choice", "acc_norm", "none"),
        ("tour_answer", "exact_match", "bare"),
    }
    row = rows["tour_choice", "acc", "none"]
    assert (row["value"], row["n_samples"], row["n_shot"], row["version"]) == (0.76, 50, 0, "1")
    assert row["stderr"] == pytest.approx(0.06101, abs=1e-5)
    assert len(row["task_hash"]) == 64
    assert (result.data["lm_eval_version"], result.data["transformers_version"]) == ("0.4.13", "5.19.0")
    assert result.data["total_seconds"] == pytest.approx(321.19, abs=0.01)
    assert [name.rsplit("/", 1)[1][:19] for name in result.outputs] == [
        "results_2026-11-23T", "samples_tour_answer", "samples_tour_choice",
    ]  # fmt: skip


def test_lm_eval_without_a_score_for_an_asked_task_failed(tmp_path: Path) -> None:
    spec = EVALUATION.model_copy(update={"payload": {"tasks": ["tour_choice", "gsm8k"]}})
    result = collect(spec, recorded("lm-eval", tmp_path))
    assert not result.ok
    assert "gsm8k" in result.cause


def test_an_evaluation_that_wrote_nothing_failed(tmp_path: Path) -> None:
    assert not collect(EVALUATION, tmp_path).ok


def test_axolotl_leaves_an_adapter_with_its_manifest(tmp_path: Path) -> None:
    work_dir = trained(tmp_path)
    result = collect(TRAINING, work_dir)
    assert result.ok, result.cause
    (adapter,) = result.produced
    assert (adapter.role, adapter.path) == ("adapter", str(work_dir / "output"))
    assert [file["path"] for file in adapter.files] == ["adapter_config.json", "adapter_model.safetensors"]
    assert adapter.sha256 == manifest_sha256(adapter.files)
    assert adapter.facts["lora_r"] == 8
    assert result.data["steps"] == 3
    assert result.data["last_eval_loss"] == pytest.approx(3.846, abs=0.001)


@pytest.mark.parametrize(
    ("damage", "reason", "cause"),
    [
        ({"max_steps": 9}, None, "ended at step 3 of 9"),
        ({"log_history": [{"loss": float("nan"), "step": 1}]}, "not_a_number", "not a number"),
    ],
)
def test_axolotl_that_stopped_early_or_diverged_failed(
    tmp_path: Path, damage: dict[str, Any], reason: str | None, cause: str
) -> None:
    work_dir = trained(tmp_path)
    state = work_dir / "output/checkpoint-3/trainer_state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | damage))
    result = collect(TRAINING, work_dir)
    assert (result.ok, result.reason) == (False, reason)
    assert cause in result.cause


def test_axolotl_without_its_adapter_failed(tmp_path: Path) -> None:
    result = collect(TRAINING, recorded("axolotl", tmp_path))
    assert not result.ok
    assert "adapter_model.safetensors" in result.cause


def make_model(folder: Path) -> Path:
    folder.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 30, "hidden_size": 576,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192,
        "dtype": "bfloat16",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    write_tensor(folder / "model.safetensors")
    return folder


def test_a_download_tells_what_the_model_is(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    record = {"path": str(folder), "source": "hub:a/b@main", "revision": "c0ffee", "files": manifest(folder)}
    (tmp_path / "download.json").write_text(json.dumps(record))
    result = collect(RunSpec(kind="download", engine="download", payload={"source": "hub:a/b"}), tmp_path)
    (weights,) = result.produced
    expected = {
        "architecture": "LlamaForCausalLM", "layers": 30, "hidden_size": 576, "attention_heads": 9, "kv_heads": 3,
        "head_dim": 64, "vocab_size": 49152, "context_length": 8192, "dtype": "bfloat16", "parameters": 1,
        "quantisation": "none", "chat_template": True, "revision": "c0ffee",
    }  # fmt: skip
    assert {name: weights.facts[name] for name in expected} == expected
    (folder / "model.safetensors").unlink()
    gone = collect(RunSpec(kind="download", engine="download", payload={"source": "hub:a/b"}), tmp_path)
    assert (gone.ok, gone.reason) == (False, "model_not_found")


def test_a_manifest_names_content_not_place_or_bookkeeping(tmp_path: Path) -> None:
    one, other = make_model(tmp_path / "one"), make_model(tmp_path / "other")
    (other / RECORD).write_text("{}")
    assert manifest_sha256(manifest(one)) == manifest_sha256(manifest(other))
    (other / "config.json").write_text("{}")
    assert manifest_sha256(manifest(one)) != manifest_sha256(manifest(other))


def test_what_keeps_a_folder_from_being_a_model(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    assert missing_parts(folder, visible_files(folder)) == ""
    (folder / "model.safetensors").unlink()
    assert "no .safetensors" in missing_parts(folder, visible_files(folder))
    (folder / "config.json").unlink()
    assert "no config.json" in missing_parts(folder, visible_files(folder))
    assert "not a folder" in missing_parts(tmp_path / "nowhere", [])
    assert model_facts(folder, visible_files(folder)).get("layers") is None


@pytest.mark.parametrize("engine", ["fake-train", "fake-eval", "download", "install"])
def test_nothing_promised_was_left_behind(engine: str, tmp_path: Path) -> None:
    spec = RunSpec(kind=get_engine(engine).kind, engine=engine)
    result = collect(spec, tmp_path)
    assert not result.ok
    assert result.cause

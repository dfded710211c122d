"""A save that was cut off is never gone on from, wherever it was cut and in whatever order its files were written."""

from __future__ import annotations

import json
import random
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from apps.engines.checkpoints import newest_checkpoint


def tensors(*names: str) -> bytes:
    entries = {
        name: {"dtype": "F32", "shape": [2], "data_offsets": [8 * at, 8 * at + 8]} for at, name in enumerate(names)
    }
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8 * len(names))


def archive(*entries: str) -> bytes:
    """As torch saves it."""
    file = BytesIO()
    with ZipFile(file, "w") as made:
        for name in entries:
            made.writestr(f"archive/{name}", name * 40)
    return file.getvalue()


WEIGHTS = {
    "adapter": {"adapter_config.json": b'{"r": 4}', "adapter_model.safetensors": tensors("a", "b")},
    "model": {"model.safetensors": tensors("a", "b", "c")},
    "shards": {
        "model-00001-of-00002.safetensors": tensors("a", "b"),
        "model-00002-of-00002.safetensors": tensors("c"),
        "model.safetensors.index.json": json.dumps(
            {"weight_map": {name: f"model-0000{1 + (name == 'c')}-of-00002.safetensors" for name in "abc"}}
        ).encode(),
    },
}


def files(step: int, weights: str) -> dict[str, bytes]:
    state = json.dumps({"global_step": step, "log_history": [{"loss": 1.5, "step": step}]}).encode()
    return WEIGHTS[weights] | {
        "optimizer.pt": archive("data.pkl", "data/0", "data/1"),
        "scheduler.pt": archive("data.pkl"),
        "rng_state.pth": archive("data.pkl", "data/0"),
        "trainer_state.json": state,
    }


def save(folder: Path, step: int, content: dict[str, bytes]) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    for name, data in content.items():
        (made / name).write_bytes(data)
    return made


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("seed", range(50))
def test_r15_a_kill_in_the_middle_of_a_save_costs_that_save_alone(tmp_path: Path, seed: int, weights: str) -> None:
    """In order until the cut, as after a kill; or all there but one cut short or lost, as after a power loss."""
    dice = random.Random(f"{seed} {weights}")
    whole = files(200, weights)
    order = list(whole)
    dice.shuffle(order)
    for at, name in enumerate(order):
        cut = {name: whole[name][: dice.randrange(len(whole[name]))]}
        before = {each: whole[each] for each in order[:at]}
        others = {each: whole[each] for each in order if each != name}
        for number, content in enumerate((before, before | cut, others, others | cut)):
            alone, after_another = tmp_path / f"{at}-{number}-a", tmp_path / f"{at}-{number}-b"
            save(alone, 200, content)
            assert newest_checkpoint(alone) is None, (order, at, number)
            save(after_another, 200, content)
            save(after_another, 100, files(100, weights))
            found = newest_checkpoint(after_another)
            assert found is not None
            assert (found.step, found.path.name) == (100, "checkpoint-100"), (order, at, number)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_newest_whole_one_is_taken_by_its_step(tmp_path: Path, weights: str) -> None:
    for step in (900, 1000, 80):
        save(tmp_path, step, files(step, weights))
    (tmp_path / "checkpoint-2000").mkdir()
    save(tmp_path, 3000, files(2999, weights))  # another step's files
    (tmp_path / "checkpoint-last").mkdir()
    (tmp_path / "checkpoint-4000").write_text("a file")
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 1000


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("trainer_state.json", b"[]"),
        ("trainer_state.json", b"[" * 100_000),
        ("trainer_state.json", b"\xff\xfe"),
        ("model.safetensors.index.json", b"{}"),
        ("model.safetensors.index.json", b'{"weight_map": []}'),
        ("model.safetensors.index.json", b'{"weight_map": {"a": 1}}'),
        ("model.safetensors.index.json", b'{"weight_map": {}}'),
        ("model.safetensors.index.json", b'{"weight_map": {"z": "model-00002-of-00002.safetensors"}}'),
        ("optimizer.pt", bytes(500)),
        ("tokens_state.json", b'{"total": 4'),  # of Axolotl, which reads it where it is there
    ],
)
def test_nonsense_is_no_checkpoint_and_no_error(tmp_path: Path, name: str, data: bytes) -> None:
    save(tmp_path, 5, files(5, "shards") | {name: data})
    assert newest_checkpoint(tmp_path) is None

"""What `stackweb fit` is given and should not be: an error for that line or file alone, in bounded time and memory."""

from __future__ import annotations

import io
import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from apps.planning import fit_lines, train_lines
from apps.planning.fit_lines import answer_line
from apps.planning.gpu_memory import read_gpu
from apps.planning.reference import reference_model
from apps.planning.shapes import CannotEstimate
from stackweb.cli import main
from stackweb.fit_command.batch import LINE_LIMIT_BYTES, answer_file
from stackweb.fit_command.line_ids import id_of

ASKED = {"model_id": "Qwen/Qwen3-8B", "gpu": "RTX 4090", "max_model_len": 4096}
GIB = 2**30


def answers(file: Path, content: str | bytes, answer: Any = answer_line) -> list[dict[str, Any]]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    out = io.StringIO()
    assert answer_file(str(file), answer, out) == 0
    return [json.loads(line, parse_constant=pytest.fail) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "q", "config": ' + "[" * 100_000,
        '{"model_id": "x", "gpus": 1, "id": "q", "config": {"a": "' + "y" * LINE_LIMIT_BYTES + '"}}',
        '{"config": {"id": "not this", "a": "' + "y" * LINE_LIMIT_BYTES + '"}, "gpus": 1, "id": "q", "engine": null}',
        '{"id": "q", "max_model_len": ' + "9" * 5000 + "}",
        '{"id": "q", "gpu": "H100"',
    ],
    ids=["deep", "long, id ahead", "long, id behind", "a number of 5,000 digits", "cut off"],
)
def test_a_line_that_cannot_be_read_keeps_its_id(line: str, tmp_path: Path) -> None:
    broken, good = answers(tmp_path / "lines", f"{line}\n{json.dumps({**ASKED, 'id': 'next'})}\n")
    assert (broken["id"], "error" in broken) == ("q", True)
    assert (good["id"], good["fits"]) == ("next", True)


@pytest.mark.parametrize(
    "line", [b"", b"[1]", b'{"a": {"id": 1}}', b'{"id": [1]}', b'{"id": "\xff", "a": ', b'"id": 1']
)
def test_no_id_is_made_up(line: bytes) -> None:
    assert id_of(line) is None


def test_looking_for_an_id_takes_no_time() -> None:
    began = time.process_time()
    for pattern in (b',"id":1', b'{"a":"b",', b'\\"', b'"', b"\\", b'"a":1,', b',"id":"'):
        id_of(pattern * 600_000)
        id_of(b'{"a": 1, ' + pattern * 600_000)
    assert time.process_time() - began < 5


def test_a_fault_of_the_planner_costs_one_line(tmp_path: Path) -> None:
    def answer(line: Any) -> dict[str, Any]:
        return {"id": line["id"], "value": 1 / line["id"]}

    found = answers(tmp_path / "lines", '{"id": 0}\n{"id": 2}\n', answer)
    assert found == [{"id": 0, "error": "The planner failed on this line: ZeroDivisionError."}, {"id": 2, "value": 0.5}]


def test_an_id_that_is_no_json_becomes_null(tmp_path: Path) -> None:
    found = answers(tmp_path / "lines", '{"id": NaN, "gpu": "H100"}\n{"id": Infinity}\n')
    assert [each["id"] for each in found] == [None, None]


def test_memory_stays_bounded_whatever_the_length(tmp_path: Path) -> None:
    """A line of 300 MB: far less than that is held at once."""
    file = tmp_path / "lines"
    with file.open("wb") as out:
        out.write(b'{"id": 1, "config": "')
        for _ in range(300):
            out.write(b"x" * 10**6)
        out.write(b'"}\n' + json.dumps({**ASKED, "id": 2}).encode())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out_text = io.StringIO()
    answer_file(str(file), answer_line, out_text)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 64 * 2**20
    assert [json.loads(line)["id"] for line in out_text.getvalue().splitlines()] == [1, 2]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[" * 200_000, "nested too deep"),
        (b'{"a": "' + b"x" * LINE_LIMIT_BYTES + b'"}', "longer than 4 MiB"),
        (b"\xff\xfe{", "is not a JSON object"),
        (b"{", "is not a JSON object"),
        (b"[1, 2]", "config must be a config.json object"),
    ],
    ids=["deep", "long", "bytes", "cut off", "list"],
)
def test_a_config_file_that_is_none(
    content: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    assert main(["fit", "--config", str(file), "--gpu", "H100"]) == 1
    assert says in capsys.readouterr().err


def test_a_config_without_end_is_not_read_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", "/dev/zero", "--gpu", "H100"]) == 1
    assert "longer than 4 MiB" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["gpu", "precision", "engine", "engine_version", "model_id", "kv_cache_dtype"])
@pytest.mark.parametrize("piece", ["(", "x", "1", "Q4_", "8x"])
def test_long_texts_are_refused_before_they_are_searched(key: str, piece: str) -> None:
    began = time.process_time()
    with pytest.raises(CannotEstimate, match=f"{key} starts with .* it must be short text"):
        answer_line({**ASKED, key: piece * 10**6})
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "gib", "count"),
    [("2x24GB", 23.59, 2), ("2 x 24GB", 23.59, 2), ("24GBx2", 23.59, 2), ("H100x8", 79.18, 8), ("H100:4", 79.18, 4),
     ("L40Sx2", 44.4, 2), ("2x4090", 23.64, 2), ("2 RTX 4090", 23.64, 2), ("MI300Xx8", 191.69, 8), ("24 GB", 23.59, 1),
     ("A100-80GB", 79.15, 1), ("RX 7900 XTX", 23.59, 1), ("RTX3090", 23.58, 1), ("RTX 4090 Laptop 16GB", 15.73, 1)],
)  # fmt: skip
def test_counts_and_sizes_as_people_write_them(text: str, gib: float, count: int) -> None:
    found = read_gpu(text)
    assert (round(found.usable_bytes / GIB, 2), found.count) == (gib, count)


@pytest.mark.parametrize(
    ("text", "says"),
    [("-5GB", "no GPU has"), ("1e9GB", "no GPU has"), ("24,5GB", "no GPU has"), ("0GB", "no GPU has"),
     ("9999GB", "no GPU has"), ("Voodoo 5", "not known")],
)  # fmt: skip
def test_what_is_no_gpu_is_refused(text: str, says: str) -> None:
    with pytest.raises(CannotEstimate, match=says):
        read_gpu(text)


def test_a_laptops_chip_has_not_the_cards_speed() -> None:
    answer = answer_line({**ASKED, "gpu": "RTX 4090 Laptop 16GB", "precision": "Q4_K_M"})
    assert (answer["fits"], answer["decode_tokens_per_s"]) == (True, None)
    assert read_gpu("RTX 4090 Laptop", 16.0).usable_bytes == 16 * GIB


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("precison", "precision"), ("kv_dtype", "kv_cache_dtype"), ("tp", "tensor_parallel"),
        ("contex", "max_model_len"), ("gpu_memory_utilisation", "gpu_memory_utilization"),
    ],
)  # fmt: skip
def test_a_misspelt_key_is_named_with_what_it_may_mean(key: str, meant: str) -> None:
    plain = {"model_id": "Llama-3.1-8B", "gpu": "H100 80GB", "max_model_len": 4096}
    answer = fit_lines.answer_line({**plain, key: "int4"})
    assert answer == {**fit_lines.answer_line(plain), "notes": [f"Not read: {key} (did you mean {meant}?)."]}
    assert fit_lines.answer_line({**plain, key: None})["notes"] == []


def test_keys_that_training_does_not_read_are_named_and_bounded() -> None:
    plain = {"model_id": "Llama-3.1-8B", "gpu": "H100 80GB"}
    assert "Not read: epoch (did you mean epochs?)." in train_lines.answer_line({**plain, "epoch": 3})["notes"]
    notes = fit_lines.answer_line(plain | {f"zz{number}" + "y" * 1000: 1 for number in range(1000)})["notes"]
    assert notes[-1].endswith("992 more.")
    assert len(notes[-1]) < 500


@pytest.mark.parametrize("version", ["banana", "any", "latest"])
@pytest.mark.parametrize("engine", [None, "vLLM"])
def test_a_version_that_is_none_is_told(engine: str | None, version: str) -> None:
    line = {**ASKED, "engine": engine}
    note = f"engine_version {version!r} names no version of vLLM; the rules of the newest are used."
    assert note in answer_line({**line, "engine_version": version})["notes"]
    assert answer_line({**line, "engine_version": "0.10.2"})["notes"] == answer_line(line)["notes"]


def test_a_gguf_line_is_told_what_llama_cpp_does_not_take() -> None:
    line = {**ASKED, "precision": "Q4_K_M", "engine_version": "b4000", "gpu_memory_utilization": 0.5, "max_num_seqs": 4}
    notes = answer_line(line)["notes"]
    assert "llama.cpp b4000: the version is noted, not applied; only vLLM's are known." in notes
    assert "Of no effect in llama.cpp: gpu_memory_utilization, max_num_seqs." in notes


@pytest.mark.parametrize("version", [0.10, 1, 11.0])
def test_a_version_is_no_number(version: float) -> None:
    with pytest.raises(CannotEstimate, match=r"engine_version is the number .*; write it as text, such as '0\.10\.2'"):
        answer_line({**ASKED, "engine_version": version})


@pytest.mark.parametrize(("precision", "is_told"), [("fp16", True), ("awq int4", False), ("auto", False), ("", False)])
def test_a_precision_that_the_config_contradicts_is_told(precision: str, is_told: bool) -> None:
    own = {"quant_method": "awq", "bits": 4, "group_size": 128}
    config = {**reference_model("Llama-3.1-8B").config, "quantization_config": own}
    line = {"config": config, "gpu": "H100 80GB", "max_model_len": 4096, "precision": precision}
    answer = fit_lines.answer_line(line)
    told = ["config.json says int4-awq, precision says fp16: fp16 is counted."] if is_told else []
    assert (answer["notes"], answer["confidence"]) == (told, "low" if is_told else "high")

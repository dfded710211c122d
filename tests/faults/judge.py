"""After healing: was anything lost, run twice, held by the dead, or accepted too late?"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.faults import witness
from tests.faults.crowd import Promise
from tests.faults.host import with_environment
from tests.faults.run import Run

SETTLE_SECONDS, ORPHAN_SECONDS = 300.0, 60.0
OVER = ("succeeded", "failed", "cancelled")
RETRIES = 4
LATE_JOBS = 60  # as many more jobs are written to late, nine writes each
# What a person would run again: a fault took it, not its own fault.
TAKEN_BY_FAULTS = ("engine_exited", "disk_full", "worker_lost", "environment_failed", "server_error", "")


@dataclass(frozen=True)
class Bar:
    id: str
    what: str
    value: float
    target: str
    ok: bool
    unit: str = "count"
    found: str = ""


def settle(run: Run) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Heals, runs what a fault ended again as a person would, and waits until every job is over.

    Returns the jobs in full, and how often each reason made a person act.
    """
    run.rig.crowd.go_home()
    run.rig.heal()
    acted: Counter[str] = Counter()
    tries: Counter[str] = Counter()
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        rows = run.site.all("jobs", kind="train")
        taken = [row for row in rows if row["status"] in ("failed", "held") and tries[row["id"]] < RETRIES]
        for row in taken:
            if row["status"] == "held" or row["reason"] in TAKEN_BY_FAULTS:
                tries[row["id"]] += 1
                acted[row["reason"] or "held"] += 1
                run.site.api.post(f"jobs/{row['id']}/retry")
        is_over = all(row["status"] in OVER for row in rows) and not any(tries[row["id"]] < RETRIES for row in taken)
        if is_over or time.monotonic() > deadline:
            return [run.site.get(f"jobs/{row['id']}") for row in rows], acted
        time.sleep(1.0)


def judge(run: Run, jobs: list[dict[str, Any]]) -> list[Bar]:
    promises = run.rig.crowd.promises
    by_id = {job["id"]: job for job in jobs}
    lost = [each.job for each in promises if by_id.get(each.job, {}).get("status") not in (*OVER, "held")]
    unasked = set(by_id) - {each.job for each in promises}
    done = [job for job in jobs if job["status"] == "succeeded"]
    doubles = witness.lines_of(run.rig.witness / "double_use")
    versions: Counter[str] = Counter()
    for model in run.site.all("models"):
        versions[model["name"]] += len(model["versions"])
    curves = {job["id"]: run.site.get(f"jobs/{job['id']}/metrics") for job in jobs}
    known = [(each, by_id[each.job], curves[each.job]) for each in promises if each.job in by_id]
    twice = [found for promise, job, series in known for found in duplicates(run, promise, job, series, versions)]
    gaps = [found for promise, job, series in known for found in points_lost(run, promise, job, series)]
    late = run.rig.late
    for job in run.random.sample(jobs, min(len(jobs), LATE_JOBS)):
        late.send(job, run.random)
    orphans = wait_for_orphans(run)
    held = [f"{host['name']}:{device['index']}" for host in run.site.get("hosts")["items"]
            for device in host["devices"] if device["kind"] == "gpu" and device["is_held"]]  # fmt: skip
    share = len(done) / max(1, len(promises))
    return [
        zero("jobs_lost", "accepted jobs lost", lost),
        zero("jobs_unasked", "jobs that nobody was promised", sorted(unasked)),
        Bar("jobs_done", "jobs that ran to their end", round(share, 3), ">= 0.9", share >= 0.9, "share",
            f"{len(done)} of {len(promises)}"),
        zero("double_uses", "GPU double uses by the witness", doubles),
        zero("duplicates", "duplicate visible effects", twice),
        zero("points_lost", "curves of finished runs with a gap", gaps),
        zero("stale_writes", "stale writes accepted", late.accepted, f"{late.sent} sent"),
        zero("orphans", f"orphan processes {ORPHAN_SECONDS:g} s after healing", orphans),
        zero("gpus_held", "GPUs still held after everything ended", held),
        Bar("readopted", "engines adopted again after kill -9 of their agent",
            run.adopted / max(1, run.adoptions), "1.0", run.adopted == run.adoptions, "share",
            f"{run.adopted} of {run.adoptions}"),
        zero("misses", "faults that were not survived as they must be", [f"{id}: {what}" for id, what in run.misses]),
    ]  # fmt: skip


def zero(id: str, what: str, found: list[str], note: str = "") -> Bar:
    return Bar(id, what, len(found), "0", not found, found="; ".join(found[:5]) or note)


def duplicates(
    run: Run, promise: Promise, job: dict[str, Any], curves: list[dict[str, Any]], versions: Counter[str]
) -> list[str]:
    """What a person can see of one job more than once: ends, results, metric points, model versions."""
    found = []
    good = [each for each in job["attempts"] if each["ended_at"] and not each["reason"]]
    expected = 1 if job["status"] == "succeeded" else 0
    if len(good) != expected:
        found.append(f"{job['id']} {job['status']} with {len(good)} attempts that ended well")
    if len({each["epoch"] for each in job["attempts"]}) != len(job["attempts"]):
        found.append(f"{job['id']}: one epoch twice")
    if versions[promise.name] != expected:
        found.append(f"{job['id']} {job['status']}: {versions[promise.name]} versions of {promise.name}")
    for series in curves:
        steps = series["steps"]
        if len(set(steps)) != len(steps) or not set(steps) <= set(range(1, promise.steps + 1)):
            found.append(f"{job['id']}: steps of {series['name']} are {steps}")
    effects = witness.lines_of(run.rig.witness / "effects")
    for each in job["attempts"]:
        if effects.count(each["uuid"]) > 1:
            found.append(f"{each['uuid']} did its work twice")
        if not each["reason"] and each["ended_at"] and each["uuid"] not in effects:
            found.append(f"{each['uuid']} ended well without having done its work")
    return found


def points_lost(run: Run, promise: Promise, job: dict[str, Any], curves: list[dict[str, Any]]) -> list[str]:
    """Steps of a finished run that nobody can look up. A host whose disk was full may have lost them with its log."""
    if job["status"] != "succeeded" or run.disk_was_full(job):
        return []
    wanted = list(range(1, promise.steps + 1))
    loss = next((series["steps"] for series in curves if series["name"] == "loss"), None)
    return [] if loss == wanted else [f"{job['id']}: steps of its loss are {loss}"]


def wait_for_orphans(run: Run) -> list[str]:
    """What of any attempt still lives when it no longer may."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while True:
        marked = with_environment(b"STACKWEB_ATTEMPT=") & with_environment(str(run.rig.folder).encode())
        left = [f"process {pid}" for pid in sorted(marked)] + witness.held_locks(run.rig.witness)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(1.0)

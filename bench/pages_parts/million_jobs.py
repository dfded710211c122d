"""Rows of jobs and attempts by the million, made by the database itself."""

from __future__ import annotations

# Jobs of three years: 5 % failed, 3 % cancelled, servers always so, the others done; one team has nearly all, and
# one only old ones.
JOBS = """
WITH facts AS (SELECT %s::bigint[] AS teams, %s::bigint[] AS people)
INSERT INTO jobs_job (team_id, created_by_id, created_at, kind, name, engine, spec, preview, priority, variant,
    gpus_needed, vram_bytes_needed, gpu_share_needed, spread, ram_bytes_needed, status, phase, reason, cause,
    wait_reason, wait_hint, infrastructure_losses, "references", progress_unit, result, started_at, finished_at)
SELECT teams[CASE WHEN n %% 5000 = 0 AND n < %s / 10 THEN 3 WHEN n %% 20 = 0 THEN 2 ELSE 1 END],
    people[1 + abs(hashint8(n * 3)) %% 20], now() - (%s - n) * interval '90 seconds',
    (ARRAY['evaluate', 'train', 'serve', 'download'])[1 + n %% 4],
    'Evaluate llama-' || n %% 1000 || ' on suite ' || n %% 37,
    (ARRAY['lm-eval', 'axolotl', 'vllm', 'download'])[1 + n %% 4],
    '{}', '{}', 0, 'cuda', 1, 0, 0, false, 0,
    CASE WHEN chance < 5 THEN 'failed' WHEN chance < 8 OR n %% 4 = 2 THEN 'cancelled' ELSE 'succeeded' END, '',
    CASE WHEN chance < 5 THEN 'engine_exited' WHEN chance < 8 OR n %% 4 = 2 THEN 'cancelled_by_user' ELSE '' END,
    '', '', '', 0, '{}', '', '{}', now() - interval '2 hours', now() - interval '1 hour'
        - (%s - n) * interval '90 seconds'
FROM generate_series(1, %s::bigint) n, facts, LATERAL (SELECT abs(hashint8(n)) %% 100 AS chance) luck
"""
OPEN = """
WITH facts AS (SELECT %s::bigint AS team, %s::bigint[] AS people)
INSERT INTO jobs_job (team_id, created_by_id, created_at, kind, name, engine, spec, preview, priority, variant,
    gpus_needed, vram_bytes_needed, gpu_share_needed, spread, ram_bytes_needed, status, phase, reason, cause,
    wait_reason, wait_hint, infrastructure_losses, "references", progress_unit, result, started_at)
SELECT team, people[1 + n %% 20], now(), 'train', 'Fine-tune qwen-' || n, 'axolotl', '{}', '{}', 0, 'cuda', 1, 0, 0,
    false, 0, CASE WHEN n <= 100 THEN 'running' ELSE 'queued' END, '', '', '', 'Every GPU is busy.', '', 0, '{}', '',
    '{}', CASE WHEN n <= 100 THEN now() END
FROM generate_series(1, 400) n, facts
"""
ATTEMPTS = """
WITH facts AS (SELECT %s::bigint[] AS hosts)
INSERT INTO jobs_attempt (uuid, job_id, epoch, host_id, lease_token, device_indexes, phase, ran, measurements,
    log_size_bytes, boot_id, stop_reason, reason, cause, created_at, claimed_at, ended_at,
    saw_claim, exit_code)
SELECT gen_random_uuid(), id, 1, hosts[1 + abs(hashint8(id * 7)) %% array_length(hosts, 1)], 'token', '[0]', '',
    '{}', '{}', 0, '', '', reason, '', started_at, started_at, finished_at,
    true, 0
FROM jobs_job, facts WHERE finished_at IS NOT NULL
"""
OPEN_ATTEMPTS = """
WITH facts AS (SELECT %s::bigint[] AS hosts)
INSERT INTO jobs_attempt (uuid, job_id, epoch, host_id, lease_token, lease_expires_at, device_indexes, phase, ran,
    measurements, log_size_bytes, boot_id, stop_reason, reason, cause, created_at, claimed_at, saw_claim)
SELECT gen_random_uuid(), id, 1, hosts[1 + id %% array_length(hosts, 1)], 'token', now() + interval '1 hour',
    '[0]', 'running', '{}', '{}', 0, '', '', '',
    '', now(), now(), true
FROM jobs_job, facts WHERE status = 'running'
"""


def fill(count: int) -> None:
    """`count` jobs of the past and 400 open ones, of the teams, `user…` people and hosts that are there."""
    from django.db import connection

    from apps.accounts.models import Team, User
    from apps.fleet.models import Host

    teams = list(Team.objects.order_by("pk").values_list("pk", flat=True))
    people = list(User.objects.filter(username__startswith="user").order_by("pk").values_list("pk", flat=True))
    hosts = list(Host.objects.order_by("pk").values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(JOBS, [teams, people, *[count] * 4])
        cursor.execute(OPEN, [teams[0], people])
        cursor.execute(ATTEMPTS, [hosts])
        cursor.execute(OPEN_ATTEMPTS, [hosts])
        cursor.execute("VACUUM ANALYZE jobs_job, jobs_attempt, accounts_user, accounts_team, fleet_host")

"""An import as a host carries it out: the download's own program, its result, and what the server makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from django.utils import timezone

from apps.catalog.models import ModelImport, ModelVersion
from apps.catalog.registration import register_download
from apps.engines.base import RunSpec
from apps.engines.registry import get_engine
from apps.jobs.models import Job
from tests.factories import make_attempt, make_host


def fetched(row: ModelImport, folder: Path) -> ModelVersion:
    """What a host would do: fetch, record, report."""
    host = row.job.pinned_host or make_host()
    argv = [sys.executable, "-m", "workers.downloads", row.job.spec["payload"]["source"]]
    argv += ["--into", str(folder / "model"), "--record", str(folder / "work/download.json")]
    subprocess.run(argv, check=True, env=os.environ | {"HF_HUB_DISABLE_XET": "1"}, capture_output=True)
    result = get_engine("download").collect(RunSpec.model_validate(row.job.spec), folder / "work")
    assert result.ok, result.cause
    make_attempt(row.job, host=host)
    ended = {"status": "succeeded", "finished_at": timezone.now(), "result": result.model_dump(mode="json")}
    Job.objects.filter(pk=row.job_id).update(**ended)
    register_download(Job.objects.get(pk=row.job_id))
    version = ModelImport.objects.get(pk=row.pk).version
    assert version is not None
    return version

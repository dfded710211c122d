"""REST: the result files of a job."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from apps.accounts.file_response import StreamedFile
from apps.accounts.rest import page_of
from apps.jobs.blobs import blob_path
from apps.jobs.lookups import visible_job
from apps.jobs.models import Output
from apps.jobs.outputs import media_type, output_file
from apps.jobs.schemas import OutputPage

router = Router(tags=["jobs"])


@router.get("/jobs/{job_id}/outputs", response=OutputPage)
def list_outputs(request: HttpRequest, job_id: str, cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    """The files that its attempts uploaded, newest first. What a run left on its host is in the job's result."""
    rows = visible_job(request, job_id).outputs.select_related("attempt")
    return page_of(rows, cursor=cursor, limit=limit, show=_output_out)


def _output_out(output: Output) -> dict[str, Any]:
    return {
        "id": str(output.pk),
        "name": output.name,
        "size_bytes": output.size_bytes,
        "sha256": output.sha256,
        "media_type": media_type(output.name),
        "epoch": output.attempt.epoch,
        "created_at": output.created_at,
        "is_stored": blob_path(output.sha256).exists(),
    }


@router.get("/jobs/{job_id}/outputs/{output_id}", response=None)
def download_output(request: HttpRequest, job_id: str, output_id: str) -> StreamedFile:
    """Its bytes as they were uploaded, as a download."""
    return output_file(visible_job(request, job_id), output_id)

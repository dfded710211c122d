"""The result files of a job: what they are, and their bytes as they were uploaded."""

from __future__ import annotations

import mimetypes
from pathlib import PurePosixPath

from django.http import Http404

from apps.accounts.file_response import StreamedFile
from apps.accounts.paging import whole_number
from apps.jobs.blobs import blob_path
from apps.jobs.models import Job, Output

UNKNOWN = "application/octet-stream"


def media_type(name: str) -> str:
    """As the name says; the bytes are never looked at."""
    if name.endswith(".jsonl"):
        return "application/jsonl"
    return mimetypes.guess_type(name)[0] or UNKNOWN


def output_file(job: Job, output_id: str) -> StreamedFile:
    """A download that no browser opens in place. Raises Http404, also when its bytes are gone from this server."""
    row: Output | None = job.outputs.filter(pk=whole_number(output_id) or 0).first()
    if row is None:
        raise Http404(f"{job.public_id} has no output {output_id[:40]}.")
    path = blob_path(row.sha256)
    if not path.exists():
        raise Http404(f"The bytes of {row.name} are not on this server any more.")
    name = PurePosixPath(row.name).name
    return StreamedFile(path.open("rb"), as_attachment=True, filename=name, content_type=UNKNOWN)

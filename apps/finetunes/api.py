"""REST: data sets and fine-tunes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import File, Form, Router, Schema, Status, UploadedFile

from apps.accounts.access import team_for, visible_or_404
from apps.accounts.rest import create_once, page_of, signed_in
from apps.calibration.schemas import EstimateOut, estimates_out
from apps.finetunes import services
from apps.finetunes.models import Dataset, FineTune
from apps.finetunes.submitting import FineTuneIn, submit_fine_tune
from apps.jobs.api import job_out
from apps.jobs.schemas import JobOut

router = Router(tags=["fine-tunes"])


class DatasetOut(Schema):
    id: str
    name: str
    description: str
    sha256: str
    size_bytes: int
    row_count: int
    created_at: datetime


class DatasetPage(Schema):
    items: list[DatasetOut]
    next: str | None


class DatasetDetailOut(DatasetOut):
    sample_rows: list[dict[str, Any]]


class FineTuneOut(Schema):
    id: str
    name: str
    base: str
    dataset: str
    engine: str
    method: str
    options: dict[str, Any]
    output: str | None  # the model version it made
    created_at: datetime
    job: JobOut


class FineTuneDetailOut(FineTuneOut):
    estimates: list[EstimateOut]


class FineTunePage(Schema):
    items: list[FineTuneOut]
    next: str | None


def dataset_out(row: Dataset) -> dict[str, Any]:
    names = "name description sha256 size_bytes row_count created_at"
    return {"id": row.public_id} | {name: getattr(row, name) for name in names.split()}


def fine_tune_out(row: FineTune) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "name": row.name,
        "base": row.base.public_id,
        "dataset": row.dataset.public_id,
        "engine": row.engine,
        "method": row.method,
        "options": row.options,
        "output": row.output.public_id if row.output else None,
        "created_at": row.created_at,
        "job": job_out(row.job),
    }


@router.get("/datasets", response=DatasetPage)
def list_datasets(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    rows = Dataset.objects.visible_to(signed_in(request))
    return page_of(rows, cursor=cursor, limit=limit, show=dataset_out)


@router.post("/datasets", response={201: DatasetOut})
def create_dataset(
    request: HttpRequest,
    name: Form[str],
    file: File[UploadedFile],
    description: Form[str] = "",
    team: Form[str | None] = None,
) -> Status[dict[str, Any]]:
    user = signed_in(request)
    data = file.read()

    def create() -> dict[str, Any]:
        owner = team_for(user, team)
        return dataset_out(
            services.create_dataset(team=owner, user=user, name=name, data=data, description=description)
        )

    return Status(*create_once(request, create))


@router.get("/datasets/{dataset_id}", response=DatasetDetailOut)
def get_dataset(request: HttpRequest, dataset_id: str) -> dict[str, Any]:
    row: Dataset = visible_or_404(Dataset.objects.all(), signed_in(request), dataset_id, noun="data set")
    return dataset_out(row) | {"sample_rows": row.sample_rows}


@router.get("/fine-tunes", response=FineTunePage)
def list_fine_tunes(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    rows = FineTune.objects.visible_to(signed_in(request)).select_related(
        "base", "dataset", "output", "job__team", "job__created_by"
    )
    return page_of(rows.prefetch_related("job__attempts__host"), cursor=cursor, limit=limit, show=fine_tune_out)


@router.post("/fine-tunes", response={201: FineTuneOut})
def create_fine_tune(request: HttpRequest, payload: FineTuneIn) -> Status[dict[str, Any]]:
    user = signed_in(request)

    def create() -> dict[str, Any]:
        return fine_tune_out(submit_fine_tune(user, payload))

    return Status(*create_once(request, create))


@router.get("/fine-tunes/{fine_tune_id}", response=FineTuneDetailOut)
def get_fine_tune(request: HttpRequest, fine_tune_id: str) -> dict[str, Any]:
    row: FineTune = visible_or_404(FineTune.objects.all(), signed_in(request), fine_tune_id, noun="fine-tune")
    return fine_tune_out(row) | {"estimates": estimates_out(row.job)}

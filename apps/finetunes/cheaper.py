"""Smaller ways to the same fine-tune, for while it waits: fewer rows at once, and more batches added up before a step,
so that a step still learns from as many rows. Each by the same estimate as the run's own plan.

Quantised bases (QLoRA) are not among them: the engines here train on the base as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from apps.engines.registry import get_engine
from apps.finetunes.estimates import estimate_training
from apps.finetunes.models import FineTune
from apps.jobs.kinds import CheaperPlan
from apps.jobs.models import Job
from apps.jobs.services import planned_device

BATCH, ADDED_UP = "micro_batch_size", "gradient_accumulation_steps"


def cheaper_plans(job: Job) -> Iterator[CheaperPlan]:
    """The smallest change first: half of the rows, a quarter, and so on to one."""
    fine_tune = FineTune.objects.select_related("base", "dataset").filter(job=job).first()
    if fine_tune is None:
        return
    rows, batches = int(fine_tune.options.get(BATCH) or 1), int(fine_tune.options.get(ADDED_UP) or 1)
    on_gpu = job.gpus_needed > 0
    device = planned_device(get_engine(job.engine), gpus=job.gpus_needed)
    asked = job.vram_bytes_needed if on_gpu else job.ram_bytes_needed
    while rows % 2 == 0:
        rows, batches = rows // 2, batches * 2
        options = fine_tune.options | {BATCH: rows, ADDED_UP: batches}
        estimate = estimate_training(base=fine_tune.base, dataset=fine_tune.dataset, options=options, device=device)
        if estimate is not None and estimate.total_bytes < asked:
            size = estimate.total_bytes
            words = f"with {BATCH} {rows} and {ADDED_UP} {batches}"
            yield CheaperPlan(words, job.gpus_needed, size if on_gpu else 0, 0 if on_gpu else size)

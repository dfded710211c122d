"""Python of a model's own repository: only where a team's admin granted it, and nothing runs it after that."""

from __future__ import annotations

import json
import re

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import AuditEvent, Team, User
from apps.accounts.problems import Problem
from apps.catalog.copies import bring_copies
from apps.catalog.models import ModelImport, ModelVersion
from apps.catalog.placement import prepare_model, resolve_model
from apps.catalog.policies import rule_against
from apps.catalog.registration import CannotRegister, register_download
from apps.catalog.services import copy_version, import_model
from apps.engines.base import Result
from apps.engines.repository_files import CODE_NAMING, CONFIG
from apps.evals.services import create_eval_run
from apps.finetunes.services import create_dataset, create_fine_tune
from apps.fleet.models import Host
from apps.jobs.kinds import CannotPrepare
from apps.jobs.models import Job
from apps.serving.services import create_endpoint
from tests.catalog.hub_server import Hub, tiny_repo
from tests.catalog.test_policies import ROW, allow
from tests.factories import make_attempt, make_host, make_produced, make_stored_version, make_suite

pytestmark = pytest.mark.django_db


def test_remote_code_waits_for_an_admins_grant(client: Client, team: Team, admin: User, alice: User) -> None:
    version = make_stored_version(team, host=make_host(), needs_remote_code=True)
    dataset = create_dataset(team=team, user=alice, name="rows", data=ROW * 3)
    client.force_login(alice)
    page = client.get(f"/models/{version.model.public_id}").text
    assert "tiny needs Python code of its repository, which Lab does not allow. ada may change that" in page
    with pytest.raises(Problem, match="needs Python code") as refused:
        create_endpoint(team=team, user=alice, version=version)
    assert (refused.value.status, refused.value.errors[0].field) == (403, "version")
    with pytest.raises(Problem, match="needs Python code"):
        create_fine_tune(team=team, user=alice, name="tuned", base=version, dataset=dataset)
    with pytest.raises(Problem, match="needs Python code"):
        create_eval_run(team=team, user=alice, version=version, suite=make_suite())
    allow(team, admin, remote_code=True)
    assert create_endpoint(team=team, user=alice, version=version)
    granted = AuditEvent.objects.get(action="team.remote_code_granted")
    assert (granted.actor, granted.team) == (admin, team)
    allow(team, admin, remote_code=True, licenses=["gemma"])
    assert AuditEvent.objects.filter(action__startswith="team.remote_code").count() == 1, "nothing new was granted"
    allow(team, admin)
    assert AuditEvent.objects.filter(action="team.remote_code_revoked").exists()
    assert rule_against(version, team)


def with_code(team: Team) -> ModelVersion:
    version = make_stored_version(team, host=make_host(), needs_remote_code=True)
    artifact = version.artifacts.get()
    artifact.files.append({"path": "modeling_tiny.py", "size_bytes": 9, "sha256": "ab" * 32})
    artifact.save()
    return version


def test_granted_code_is_in_every_command_and_said_before(client: Client, team: Team, admin: User, alice: User) -> None:
    allow(team, admin, remote_code=True)
    version, dataset = with_code(team), create_dataset(team=team, user=alice, name="rows", data=ROW * 3)
    suite = make_suite()
    jobs = [
        create_endpoint(team=team, user=alice, version=version).replicas.get().job,
        create_fine_tune(team=team, user=alice, name="tuned", base=version, dataset=dataset).job,
        create_eval_run(team=team, user=alice, version=version, suite=suite).job,
    ]
    assert [job.spec["payload"]["trusts_code"] for job in jobs] == [True] * 3
    assert all(resolve_model(job, Host.objects.get()).trusts_code for job in jobs)
    client.force_login(alice)
    previews = {
        "/endpoints/preview": ({"version": version.pk, "engine": "vllm"}, "--trust-remote-code"),
        "/fine-tunes/preview": (
            {"base": version.pk, "dataset": dataset.pk, "name": "again"},
            "trust_remote_code: true",
        ),
        "/evaluations/preview": ({"version": version.pk, "suite": suite.pk}, "trust_remote_code=True"),
    }
    for address, (sent, flag) in previews.items():
        page = re.sub(r"</?span[^>]*>", "", client.post(address, sent).text)
        assert "This runs Python code of lab/tiny at 0123456789ab, as Lab allows." in page, address
        assert flag in page, address
    allow(team, admin)
    for address, (sent, flag) in previews.items():
        page = re.sub(r"</?span[^>]*>", "", client.post(address, sent).text)
        assert "tiny needs Python code of its repository, which Lab does not allow. ada may" in page, address
        assert flag not in page, address


def test_a_withdrawn_grant_refuses_what_has_not_begun(team: Team, admin: User, alice: User) -> None:
    allow(team, admin, remote_code=True)
    job = create_endpoint(team=team, user=alice, version=with_code(team)).replicas.get().job
    host = Host.objects.get()
    allow(team, admin)
    for begin in (prepare_model, resolve_model):
        with pytest.raises(CannotPrepare, match="needs Python code of its repository, which Lab does not allow"):
            begin(job, host)
    allow(team, admin, remote_code=True)
    assert resolve_model(job, host).trusts_code


def test_a_model_that_needs_no_code_is_never_trusted(team: Team, admin: User, alice: User) -> None:
    allow(team, admin, remote_code=True)
    version = make_stored_version(team, host=make_host())
    job = create_endpoint(team=team, user=alice, version=version).replicas.get().job
    assert "trusts_code" not in job.spec["payload"]
    assert not resolve_model(job, Host.objects.get()).trusts_code


def test_without_the_code_an_engine_is_not_told_to_run_it(team: Team, admin: User, alice: User) -> None:
    allow(team, admin, remote_code=True)
    version = make_stored_version(team, host=make_host(), needs_remote_code=True)
    job = create_endpoint(team=team, user=alice, version=version).replicas.get().job
    assert not resolve_model(job, Host.objects.get()).trusts_code


def test_a_copy_has_the_files_of_the_first_whatever_is_granted_now(team: Team, admin: User, alice: User) -> None:
    """Their hashes are those of the first, so a copy with more or fewer files would be refused when all have come."""
    coded = with_code(team)
    plain = make_stored_version(team, host=Host.objects.get(), name="plain", needs_remote_code=True)
    brio = make_host("brio", disk_free_bytes=10**12)
    for is_granted in (True, False):
        allow(team, admin, remote_code=is_granted)
        payloads = [copy_version(version=each, host=brio).job.spec["payload"] for each in (coded, plain)]
        assert ["trusts_code" in each for each in payloads] == [True, False]
        Job.objects.filter(kind="download").delete()
    with pytest.raises(Problem, match="needs Python code of its repository"):
        bring_copies(version=coded, hosts=[brio], user=alice)
    assert len(bring_copies(version=plain, hosts=[brio], user=alice)) == 1


def test_the_preview_says_when_the_code_did_not_come(client: Client, team: Team, admin: User, alice: User) -> None:
    allow(team, admin, remote_code=True)
    version = make_stored_version(team, host=make_host(), needs_remote_code=True)
    client.force_login(alice)
    assert (
        "which was not fetched with it"
        in client.post("/endpoints/preview", {"version": version.pk, "engine": "vllm"}).text
    )


@pytest.mark.parametrize(
    "facts",
    [{"config": {"auto_map": {"AutoModel": "modeling_tiny.TinyModel"}}}, {"config": {}, "needs_remote_code": True}],
    ids=["of an older worker", "of a tokenizer"],
)
def test_a_folders_code_is_judged_once_it_is_read(
    team: Team, admin: User, alice: User, facts: dict[str, object]
) -> None:
    host = make_host()
    result = Result(ok=True, produced=[make_produced().model_copy(update={"facts": facts})]).model_dump()

    def brought(ref: str) -> Job:
        job = import_model(team=team, user=alice, source="path", source_ref=ref, host=host).job
        make_attempt(job, host)
        job.status, job.result, job.finished_at = "succeeded", result, timezone.now()
        job.save()
        return job

    refused = brought("/models/tiny")
    with pytest.raises(CannotRegister, match="tiny needs Python code of its repository, which Lab does not allow"):
        register_download(refused)
    assert not ModelVersion.objects.exists()
    allow(team, admin, remote_code=True)
    register_download(refused)
    assert ModelVersion.objects.get().needs_remote_code


@pytest.mark.parametrize("name", [CONFIG, *CODE_NAMING])
def test_remote_code_is_refused_before_it_is_fetched(hub: Hub, team: Team, admin: User, alice: User, name: str) -> None:
    repo = tiny_repo()
    before = {} if name == CONFIG else {"added_tokens_decoder": "x" * 500_000}  # as long as that of real tokenizers
    said = json.loads(repo.files.get(name, b"{}")) | before | {"auto_map": {"AutoModel": "modeling_tiny.TinyModel"}}
    repo.files[name] = json.dumps(said).encode()
    hub.repos["tiny/model"] = repo
    make_host()
    with pytest.raises(Problem, match="needs Python code") as refused:
        import_model(team=team, user=alice, source="hub", source_ref="tiny/model")
    assert refused.value.errors[0].field == "source_ref"
    assert not ModelImport.objects.exists()
    allow(team, admin, remote_code=True)
    granted = import_model(team=team, user=alice, source="hub", source_ref="tiny/model")
    assert granted.job.spec["payload"]["trusts_code"] is True
    hub.repos["tiny/plain"] = tiny_repo()
    plain = import_model(team=team, user=alice, source="hub", source_ref="tiny/plain")
    assert "trusts_code" not in plain.job.spec["payload"]

"""What a card says its model was made from becomes an edge as soon as both are here, in whichever order they came."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from apps.accounts.models import Team
from apps.catalog.card_lineage import base_models
from apps.catalog.lineage_edges import join_lineage
from apps.catalog.model_facts import lineage_tree, version_facts
from apps.catalog.models import LineageEdge, Model, ModelVersion
from apps.catalog.services import import_model
from tests.catalog.bringing import fetched
from tests.catalog.hub_server import Hub, tiny_repo
from tests.factories import make_stored_version, make_team, make_user
from tests.threads import Beside


@pytest.mark.parametrize(
    ("card", "tags", "found"),
    [
        ({"base_model": "a/b"}, [], [("a/b", "fine_tune")]),
        ({"base_model": ["a/b"]}, ["base_model:a/b", "base_model:quantized:a/b"], [("a/b", "quantisation")]),
        ({"base_model": "a/b", "base_model_relation": "distillation"}, [], [("a/b", "distillation")]),
        ({"base_model": ["a/b", "c/d"]}, [], [("a/b", "merge"), ("c/d", "merge")]),
        ({"base_model": ["a/b", "a/b", 3, None, "no name", "../x/y"]}, None, [("a/b", "fine_tune")]),
        ({"base_model": {"a": 1}}, [7, None], []),
        ({}, [], []),
    ],
)
def test_bases_are_read_with_their_relation(card: Any, tags: Any, found: list[tuple[str, str]]) -> None:
    assert [(each["name"], each["relation"]) for each in base_models(card, tags)] == found


def bring(team: Team, hub: Hub, name: str, tmp_path: Path, **repo: Any) -> ModelVersion:
    hub.repos[f"tiny/{name}"] = tiny_repo(**repo)
    user = team.users.first() or make_user(team=team)
    return fetched(import_model(team=team, user=user, source="hub", source_ref=f"tiny/{name}"), tmp_path / name)


@pytest.mark.django_db
@pytest.mark.parametrize("first", ["base", "child"])
def test_the_edge_comes_with_the_second_of_the_two(hub: Hub, tmp_path: Path, first: str) -> None:
    team = make_team()
    child = {"base_model": "tiny/base", "tags": ["base_model:quantized:tiny/base"]}
    order = ["base", "child"] if first == "base" else ["child", "base"]
    made = {name: bring(team, hub, name, tmp_path, **(child if name == "child" else {})) for name in order}
    edge = LineageEdge.objects.get()
    assert (edge.parent, edge.child, edge.relation) == (made["base"], made["child"], "quantisation")
    rows = lineage_tree(make_user(team=team), made["child"])
    assert [(row.version.model.name, row.relation) for row in rows] == [
        ("base", "Hugging Face Hub"), ("child", "Quantisation"),
    ]  # fmt: skip
    assert ("Base model", "tiny/base (quantisation)") in version_facts(made["child"])


@pytest.mark.django_db
def test_a_merge_names_all_that_it_was_made_from(hub: Hub, tmp_path: Path, client: Client) -> None:
    team = make_team()
    one, two = (bring(team, hub, name, tmp_path) for name in ("one", "two"))
    merged = bring(team, hub, "merged", tmp_path, base_model=["tiny/one", "tiny/two"])
    user = team.users.get()
    top, below = lineage_tree(user, merged)
    assert (top.version, list(top.others)) == (one, [])
    assert [(edge.parent, edge.relation) for edge in below.others] == [(two, "merge")]
    client.force_login(user)
    page = client.get(f"/models/{merged.model.public_id}").text.split('id="lineage-h"')[1]
    assert f'also from <a class="link" href="/models/{two.model.public_id}?' in page
    [only, under] = lineage_tree(user, two)
    assert (only.version, [edge.parent for edge in under.others]) == (two, [one])


@pytest.mark.django_db
@pytest.mark.parametrize("names", [["one", "two"], ["one", "two", "three"], ["one", "two", "three", "four"]])
def test_cards_that_name_each_other_in_a_circle_make_no_ring(hub: Hub, tmp_path: Path, names: list[str]) -> None:
    team = make_team()
    made = [bring(team, hub, name, tmp_path, base_model=f"tiny/{names[at - 1]}") for at, name in enumerate(names)]
    edges = list(LineageEdge.objects.order_by("child_id").values_list("parent_id", "child_id"))
    assert edges == [(parent.pk, child.pk) for parent, child in pairwise(made)], "all but the one that closes the ring"


@pytest.mark.django_db
def test_a_ring_is_refused_whichever_edge_comes_last(hub: Hub, tmp_path: Path) -> None:
    """The last to come lies in the middle: the edge to its base is drawn, the one from its child closes the ring."""
    team = make_team()
    bring(team, hub, "one", tmp_path, base_model="tiny/three")
    bring(team, hub, "three", tmp_path, base_model="tiny/two")
    bring(team, hub, "two", tmp_path, base_model="tiny/one")
    joined = LineageEdge.objects.values_list("parent__model__name", "child__model__name")
    assert set(joined) == {("three", "one"), ("one", "two")}


@pytest.mark.django_db
def test_other_teams_are_not_joined(hub: Hub, tmp_path: Path) -> None:
    bring(make_team(), hub, "one", tmp_path)
    bring(make_team(), hub, "two", tmp_path, base_model="tiny/one")
    assert not LineageEdge.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_that_come_at_the_same_moment_the_second_sees_the_first() -> None:
    team = make_team()
    base, child = make_stored_version(team, name="base"), make_stored_version(team, name="child")
    Model.objects.filter(name="child").update(base_models=[{"name": "lab/base", "relation": "merge"}])
    Model.objects.filter(name="base").update(base_models=[{"name": "lab/child", "relation": "merge"}])
    with transaction.atomic():
        join_lineage(ModelVersion.objects.get(pk=base.pk))
        beside = Beside(lambda: transaction.atomic(join_lineage)(ModelVersion.objects.get(pk=child.pk)))
        beside.until_it_waits()
    assert beside.end() is None
    assert LineageEdge.objects.count() == 1

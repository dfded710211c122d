"""Words of names, summaries and cards find models; nothing that a person types is an error."""

from __future__ import annotations

import string
from urllib.parse import quote

import pytest
from django.db import connection
from django.db.models import TextField
from django.db.models.functions import Cast
from django.test import Client

from apps.accounts.models import Team, User
from apps.catalog.model_list import models_with
from apps.catalog.models import Model
from apps.catalog.text_search import MOST_LETTERS, query_of
from tests.factories import api_headers, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return make_team()


@pytest.fixture
def headers(team: Team, client: Client) -> dict[str, str]:
    alice = make_user("alice", team=team)
    client.force_login(alice)
    return api_headers(alice)


def make_model(team: Team, name: str, **fields: str) -> Model:
    return Model.objects.create(team=team, name=name, source="hub", **fields)


def found(text: str) -> list[str]:
    """Among the models of every team."""
    root = User.objects.filter(is_superuser=True).first() or make_user(is_superuser=True)
    return sorted(models_with(root, text).values_list("name", flat=True))


def on_page(client: Client, query: str) -> list[str]:
    return [row.model.name for row in client.get(f"/models?{query}").context["rows"]]


def test_words_of_a_card_are_found_by_how_they_begin(team: Team) -> None:
    make_model(team, "plain", card="# Weights\n\nThese are **quantised** to 4 bits; see owner/other-model.")
    make_model(team, "other", card="Nothing of the kind, unquantised.")
    assert found("quant") == ["plain"]
    assert found("QUANTISED") == ["plain"]
    assert found("quantisedX") == []
    assert found("owner") == ["plain"]
    assert found("other-model") == ["plain"]
    assert found("model-other") == []
    assert found("quant bits plain") == ["plain"]
    assert found("quant nowhere") == []
    assert found("q") == []


def test_letters_beyond_ascii_are_found_in_either_case(team: Team) -> None:
    make_model(team, "german", card="Ein Modell für Übersetzungen, Größe 7B.")
    make_model(team, "russian", card="Модель для перевода")
    assert found("übersetz") == ["german"]
    assert found("grö") == ["german"]
    assert found("модел") == ["russian"]


def test_the_name_counts_more_than_the_card_and_only_a_search_is_ranked(
    client: Client, team: Team, headers: dict[str, str]
) -> None:
    make_model(team, "coder-7b")
    make_model(team, "by-publisher", publisher="Coder Lab")
    make_model(team, "summed-up", summary="a coder")
    make_model(team, "mentioned", card="coder " * 300)
    make_model(team, "unrelated")
    assert on_page(client, "q=coder") == ["coder-7b", "by-publisher", "summed-up", "mentioned"]
    assert on_page(client, "q=coder&sort=name") == ["by-publisher", "coder-7b", "mentioned", "summed-up"]
    assert on_page(client, "q=coder&sort=-added") == ["mentioned", "summed-up", "by-publisher", "coder-7b"]
    assert on_page(client, "") == ["unrelated", "mentioned", "summed-up", "by-publisher", "coder-7b"]


def test_a_name_that_holds_the_text_stands_before_cards_that_do(
    client: Client, team: Team, headers: dict[str, str]
) -> None:
    make_model(team, "alphabet")
    make_model(team, "mentioned", card="bets on it")
    assert on_page(client, "q=bet") == ["alphabet", "mentioned"]


def test_rest_searches_cards_too_newest_first(client: Client, team: Team, headers: dict[str, str]) -> None:
    make_model(team, "translator")
    make_model(team, "mentioned", card="also a translator")
    hidden = make_team()
    make_model(hidden, "not-ours", card="a translator")
    items = client.get("/api/v1/models?q=translat", headers=headers).json()["items"]
    assert [item["name"] for item in items] == ["mentioned", "translator"]


@pytest.mark.parametrize(
    "text",
    [
        "'", "''", '"', "\\", "'\\", "a' | b", "!quant", "quant & ", "quant <-> ", "quant:*", "(quant", "quant)", ":*",
        "quant:A", "'; DROP TABLE catalog_model; --", "%", "a_b", "x" * 200, "x " * 100, "quant-" * 40, "é" * 200,
        "\u202e\u0301", "²", "🙂 🙂", "<script>", "\u2028", string.punctuation, "𐌰" * 200,
    ],
)  # fmt: skip
def test_nothing_that_is_typed_is_an_error(client: Client, team: Team, headers: dict[str, str], text: str) -> None:
    make_model(team, "plain", card="quantised")
    assert client.get(f"/models?q={quote(text)}").status_code == 200
    assert client.get(f"/api/v1/models?q={quote(text)}", headers=headers).status_code == 200


def test_text_that_no_row_can_hold_is_refused_and_names_its_field(
    client: Client, team: Team, headers: dict[str, str]
) -> None:
    answer = client.get("/api/v1/models?q=a%00b", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "q"
    assert client.get("/models?q=a%00b").status_code < 500


@pytest.mark.parametrize(
    "card",
    [
        "".join(f"𐌰{number:x}-" for number in range(MOST_LETTERS)),
        "".join(f"http://{number}.example.org/{number}?a={number} " for number in range(20_000)),
        "x" * 400_000,
        "<b>" * 100_000,
        "'\\%" * 100_000,
    ],
    ids=["other words", "addresses", "one word", "marks", "quotes"],
)
def test_any_card_can_be_kept(team: Team, card: str) -> None:
    model = make_model(team, "plain", card=card)
    model.refresh_from_db()
    assert model.card == card
    model.summary = "changed"
    model.save()
    assert found("changed") == ["plain"]


def test_the_index_answers_the_search_of_cards(team: Team) -> None:
    """Also where every row holds the word, and Postgres would rather read them all."""
    Model.objects.bulk_create(
        Model(team=team, name=f"m{number}", source="hub", card=f"word{number} " * 50) for number in range(400)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE catalog_model")
    assert "Seq Scan" in Model.objects.filter(search=query_of("word")).explain()
    before = scans_of_the_index()
    assert len(found("word")) == 400
    assert scans_of_the_index() == before + 1


def scans_of_the_index() -> int:
    """By this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_get_xact_numscans('model_search'::regclass)")
        return int(cursor.fetchone()[0])


def test_a_model_is_read_without_its_search_vector(team: Team) -> None:
    make_model(team, "plain", card="quantised")
    assert Model.objects.get().search is None
    assert "'quantised'" in Model.objects.values_list(Cast("search", TextField())).get()[0]

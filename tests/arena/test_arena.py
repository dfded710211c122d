"""Blind battles: names stay hidden until the one vote."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import Role, Team, User
from apps.accounts.problems import Problem
from apps.arena.answering import answer_battle, read_answer
from apps.arena.models import Battle, Vote
from apps.arena.services import create_battle, vote_on_battle
from apps.arena.standings import standings
from apps.fleet.local_host import host_name
from apps.fleet.models import Host
from apps.serving.models import Endpoint
from tests.factories import api_headers, make_attempt, make_endpoint, make_host, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def team(db: None) -> Team:
    return make_team("Red")


@pytest.fixture
def alice(team: Team, client: Client) -> User:
    user = make_user("alice", team=team)
    client.force_login(user)
    return user


def live(team: Team, name: str, port: int = 9000) -> Endpoint:
    endpoint = make_endpoint(team, name, status="running", phase="ready")
    here = host_name(socket.gethostname())  # the gateway reaches engines of its own machine
    host = Host.objects.filter(name=here).first() or make_host(here)
    now = timezone.now()
    lease = now + timezone.timedelta(hours=1)
    make_attempt(endpoint.replicas.get().job, host, phase="ready", port=port, claimed_at=now, lease_expires_at=lease)
    return endpoint


@pytest.fixture
def pair(team: Team) -> tuple[Endpoint, Endpoint]:
    return live(team, "qwen-secret"), live(team, "smol-secret")


def answered(team: Team, left: Endpoint, right: Endpoint, **fields: Any) -> Battle:
    return Battle.objects.create(
        team=team, prompt="Why?", left=left, right=right, left_answer="One", right_answer="Two",
        **({"answered_at": timezone.now()} | fields),
    )  # fmt: skip


def test_a_battle_asks_two_different_live_endpoints(team: Team, alice: User, pair: tuple[Endpoint, Endpoint]) -> None:
    make_endpoint(team, "asleep")
    battle = create_battle(team=team, user=alice, prompt=" Why? ")
    assert {battle.left, battle.right} == set(pair)
    assert (battle.prompt, battle.state) == ("Why?", "waiting")


def test_sides_are_drawn(team: Team, alice: User, pair: tuple[Endpoint, Endpoint]) -> None:
    first, second = pair
    battles = [create_battle(team=team, user=alice, prompt="?", first=first, second=second) for _ in range(24)]
    assert {battle.left_id for battle in battles} == {first.pk, second.pk}  # fails once in eight million runs


@pytest.mark.parametrize("prompt", ["", "  \n", "x" * 8001])
def test_a_wrong_prompt_is_named(team: Team, alice: User, pair: tuple[Endpoint, Endpoint], prompt: str) -> None:
    with pytest.raises(Problem) as refused:
        create_battle(team=team, user=alice, prompt=prompt)
    assert refused.value.errors[0].field == "prompt"


def test_pairs_that_cannot_fight_are_refused(team: Team, alice: User, pair: tuple[Endpoint, Endpoint]) -> None:
    with pytest.raises(Problem, match="other than qwen-secret"):
        create_battle(team=team, user=alice, prompt="?", first=pair[0], second=pair[0])
    asleep = make_endpoint(team, "asleep")
    with pytest.raises(Problem, match="asleep"):
        create_battle(team=team, user=alice, prompt="?", first=asleep)
    lonely = make_team("Lonely")
    with pytest.raises(Problem, match="needs two live endpoints; Lonely has 0") as refused:
        create_battle(team=lonely, user=make_user(team=lonely), prompt="?")
    assert refused.value.status == 409


def test_names_are_hidden_until_the_vote(
    team: Team, alice: User, pair: tuple[Endpoint, Endpoint], client: Client
) -> None:
    battle = answered(team, *pair)
    url, headers = f"/arena/{battle.public_id}", api_headers(alice)
    listed = client.get("/api/v1/arena/battles", headers=headers).json()["items"][0]
    assert (listed["left"], listed["right"], listed["state"]) == (None, None, "open")
    assert "secret" not in json.dumps(listed)
    assert "secret" not in client.get(url).content.decode()
    assert client.post(f"{url}/vote", {"choice": "left"}).status_code == 302
    page = client.get(url).content.decode()
    assert "qwen-secret won this one" in page
    shown = client.get("/api/v1/arena/battles", headers=headers).json()["items"][0]
    assert (shown["left"], shown["choice"]) == ("qwen-secret", "left")


def test_one_vote_each_battle(team: Team, alice: User, pair: tuple[Endpoint, Endpoint], client: Client) -> None:
    battle = answered(team, *pair)
    path, headers = f"/api/v1/arena/battles/{battle.public_id}/vote", api_headers(alice)

    def vote(choice: str) -> Any:
        return client.post(path, {"choice": choice}, "application/json", headers=headers)

    wrong = vote("lift")
    assert (wrong.status_code, wrong.json()["errors"][0]["nearest"]) == (422, "left")
    assert vote("tie").json()["choice"] == "tie"
    assert vote("left").status_code == 409
    stale = Battle.objects.get(pk=battle.pk)
    assert Vote.objects.get(battle=stale).choice == "tie"


def test_no_vote_before_both_answered(team: Team, alice: User, pair: tuple[Endpoint, Endpoint]) -> None:
    for fields, state in (({"answered_at": None}, "waiting"), ({"left_error": "gone"}, "failed")):
        battle = answered(team, *pair, **fields)
        assert battle.state == state
        with pytest.raises(Problem, match="lacks an answer"):
            vote_on_battle(battle=battle, user=alice, choice="left")
    old = answered(team, *pair, answered_at=None, created_at=timezone.now() - timezone.timedelta(minutes=5))
    assert old.state == "lost"


def test_standings_count_a_tie_as_half(team: Team, alice: User, pair: tuple[Endpoint, Endpoint]) -> None:
    qwen, smol = pair
    for left, right, choice in (
        (qwen, smol, "left"),
        (smol, qwen, "right"),
        (qwen, smol, "tie"),
        (smol, qwen, "both_bad"),
    ):
        Vote.objects.create(battle=answered(team, left, right), user=alice, choice=choice)
    first, second = standings(alice)
    assert (first.endpoint, first.wins, first.ties, first.losses, first.both_bad) == ("qwen-secret", 2, 1, 0, 1)
    assert first.share is not None
    assert (first.share.value, first.share.n) == (2.5 / 3, 3)
    assert second.share is not None
    assert second.share.value == pytest.approx(0.5 / 3)
    assert standings(make_user(team=make_team("Blue"))) == []


def test_strangers_and_viewers(team: Team, alice: User, pair: tuple[Endpoint, Endpoint], client: Client) -> None:
    battle = answered(team, *pair)
    carol = make_user("carol", team=make_team("Blue"))
    client.force_login(carol)
    assert client.get(f"/arena/{battle.public_id}").status_code == 404
    assert client.post(f"/arena/{battle.public_id}/vote", {"choice": "left"}).status_code == 404
    body = {"prompt": "?", "first": "qwen-secret"}
    answer = client.post("/api/v1/arena/battles", body, "application/json", headers=api_headers(carol))
    assert answer.json()["errors"][0]["field"] == "first"
    client.force_login(make_user("bob", team=team, role=Role.VIEWER))
    assert client.get(f"/arena/{battle.public_id}").status_code == 200
    assert client.post(f"/arena/{battle.public_id}/vote", {"choice": "left"}).status_code == 403
    assert not Vote.objects.exists()


def test_the_form_asks_both(
    team: Team, alice: User, pair: tuple[Endpoint, Endpoint], client: Client, redis_url: str
) -> None:
    assert "Ask both" in client.get("/arena").content.decode()
    made = client.post("/arena", {"prompt": "Why?", "first": pair[0].public_id, "second": ""})
    battle = Battle.objects.get()
    assert made["Location"] == f"/arena/{battle.public_id}"
    assert client.post("/arena", {"prompt": ""}).status_code == 422


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"choices": [{"message": {"content": " Hi\x00 "}}]}, ("Hi\ufffd", "")),
        (200, {"choices": [{"message": {"content": None}}]}, ("", "The answer is empty.")),
        (503, {"error": {"message": "It is loading."}}, ("", "It is loading.")),
        (200, [], ("", "The endpoint answered 200 with something that is no chat completion.")),
    ],
)
def test_answers_are_read_with_care(status: int, body: Any, expected: tuple[str, str]) -> None:
    assert read_answer(status, json.dumps(body).encode()) == expected


class Engine(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        words = f"{asked['model']} says yes to {asked['messages'][0]['content']}"
        body = json.dumps(
            {"choices": [{"message": {"content": words}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
        )
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: Any) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def engine_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.django_db(transaction=True)
def test_both_answers_come_through_the_gateway(engine_port: int, settings: Any, tmp_path: Any) -> None:
    settings.SPOOL_DIR = tmp_path
    team = make_team("Red")
    left, right = live(team, "left-one", engine_port), live(team, "right-one", 1)
    battle = Battle.objects.create(team=team, prompt="Why?", left=left, right=right)
    answer_battle(battle.pk)
    battle.refresh_from_db()
    assert (battle.left_answer, battle.left_error) == ("left-one says yes to Why?", "")
    assert "right-one does not answer" in battle.right_error
    assert battle.state == "failed"
    before = battle.answered_at
    answer_battle(battle.pk)
    battle.refresh_from_db()
    assert battle.answered_at == before

"""The first steps of a new installation; they replace the Overview until an endpoint answered once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from apps.accounts.access import has_role
from apps.accounts.models import Role, User
from apps.catalog.models import ModelVersion
from apps.dashboard.fleet_picture import HostPicture, fleet_picture
from apps.dashboard.overview import EndpointRow, endpoint_rows
from apps.dashboard.words import gib

HEADLINES = {
    "admin": "Next: make the first admin",
    "host": "Waiting for a first host",
    "model": "Next: pick a first model",
    "ask": "Next: ask a model something",
}


@dataclass(frozen=True)
class Step:
    key: str
    title: str
    detail: str
    is_done: bool
    url: str = ""
    action: str = ""


def first_run_facts(user: User) -> dict[str, Any]:
    hosts = fleet_picture(user)
    steps = [_admin(user), _host(hosts), _model(user), _ask(endpoint_rows(user))]
    current = next((step for step in steps if not step.is_done), steps[-1])
    return {
        "steps": steps,
        "current": current,
        "headline": HEADLINES[current.key],
        "hosts": hosts,
        "may_act": has_role(user, Role.MEMBER),
        "done_count": sum(step.is_done for step in steps),
        "gpu_count": sum(len(host.gpus) for host in hosts),
    }


def _admin(user: User) -> Step:
    first = User.objects.admins().order_by("date_joined").first()
    who = f"{first}, {first.date_joined:%-d %b}" if first else "An admin signs in with the claim link."
    return Step("admin", "Create the first admin", who, first is not None)


def _host(hosts: list[HostPicture]) -> Step:
    ready = [host for host in hosts if host.state == "Schedulable"]
    if not ready:
        detail = "This machine connects by itself within seconds. Other hosts join with one command."
        return Step("host", "Connect a host", detail, False, reverse("hardware"), "Hardware")
    found = [f"{host.host.name} ({host.hardware}, {gib(host.host.ram_bytes)} of memory)" for host in ready]
    return Step("host", "Connect a host", ", ".join(found), True)


def _model(user: User) -> Step:
    versions = ModelVersion.objects.visible_to(user).select_related("model").order_by("-pk")
    version = versions.first()
    if version is None:
        detail = "From the Hub, a folder on a host, or the small one that the tour brings."
        return Step("model", "Pick a first model", detail, False, reverse("model_import"), "Choose")
    return Step("model", "Pick a first model", str(version.model), True)


def _ask(endpoints: list[EndpointRow]) -> Step:
    title = "Ask it something"
    live = next((row for row in endpoints if row.state.word == "Live"), None)
    if live:
        url = reverse("endpoint", args=[live.endpoint.public_id])
        return Step("ask", title, f"{live.endpoint.name} is live.", False, url, "Open playground")
    if endpoints:
        first = endpoints[0]
        url = reverse("endpoint", args=[first.endpoint.public_id])
        return Step("ask", title, first.state.sentence, False, url, "Open endpoint")
    return Step("ask", title, "Serve the model, then open its playground.", False, reverse("endpoint_new"), "Serve")

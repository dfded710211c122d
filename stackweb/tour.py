"""`stackweb tour`: starts the tour over the REST API, shows its progress, and ends as it ended."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

POLL_SECONDS = 1.0
LOST_SECONDS = 60.0


class CannotTour(Exception):
    """Why it could not begin or go on."""


def run_tour(*, home: Path, url: str) -> int:
    """0 when every step passed, 1 otherwise. Finds the server's token in `home`."""
    token_file = home / "admin-token"
    if not token_file.exists():
        raise CannotTour(f"No {token_file}: start Stackweb first with make up, or set STACKWEB_HOME.")
    headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"}
    with httpx.Client(base_url=f"{url}/api/v1/", headers=headers, timeout=30) as client:
        tour = _start(client)
        sys.stdout.write(f"{tour['plan']}\nFollow it at {urljoin(url, tour['url'])}\n\n")
        return 0 if _follow(client, tour) == "passed" else 1


def _start(client: httpx.Client) -> dict[str, Any]:
    try:
        response = client.post("tours", json={})
    except httpx.TransportError as error:
        raise CannotTour(f"{client.base_url} does not answer ({error}). Is Stackweb up?") from None
    if response.status_code == 409 and "tour" in response.json():
        sys.stdout.write("A tour runs already; this follows it and starts none.\n")
        return _read(client, response.json()["tour"])
    if response.status_code != 201:
        raise CannotTour(f"The server refused: {response.text[:500]}")
    tour: dict[str, Any] = response.json()
    return tour


def _read(client: httpx.Client, tour_id: str) -> dict[str, Any]:
    """The tour now; patient while the server restarts."""
    deadline = time.monotonic() + LOST_SECONDS
    while True:
        try:
            response = client.get(f"tours/{tour_id}")
            response.raise_for_status()
            tour: dict[str, Any] = response.json()
            return tour
        except httpx.HTTPError as error:
            if time.monotonic() > deadline:
                raise CannotTour(f"The server was lost on the way: {error}") from None
            time.sleep(POLL_SECONDS)


def _follow(client: httpx.Client, tour: dict[str, Any]) -> str:
    shown: dict[str, str] = {}
    while True:
        for number, step in enumerate(tour["steps"], start=1):
            _show(number, step, shown)
        if tour["status"] != "running":
            total = sum(step["seconds"] or 0 for step in tour["steps"])
            sys.stdout.write(f"\nThe tour {tour['status']} after {total / 60:.1f} minutes.\n")
            return str(tour["status"])
        time.sleep(POLL_SECONDS)
        tour = _read(client, tour["id"])


def _show(number: int, step: dict[str, Any], shown: dict[str, str]) -> None:
    """A line when a step's state or activity changes; not one for every percent."""
    if step["status"] == "waiting" or shown.get(step["key"]) == f"{step['status']} {step['detail']}":
        return
    shown[step["key"]] = f"{step['status']} {step['detail']}"
    mark = {"done": "✓", "failed": "✗"}.get(step["status"], "·")
    seconds = f"{step['seconds']:5.0f} s" if step["seconds"] is not None else "       "
    sys.stdout.write(f"{mark} {seconds}  {number}. {step['title']}: {step['detail'] or 'started'}\n")
    sys.stdout.flush()

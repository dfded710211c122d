"""`stackweb tour` says which tour it shows."""

from __future__ import annotations

import httpx
import pytest

from stackweb.tour import _start


@pytest.mark.parametrize("runs_already", [True, False])
def test_only_a_tour_that_ran_before_is_called_so(capsys: pytest.CaptureFixture[str], runs_already: bool) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"id": "tour-1"})
        return httpx.Response(409 if runs_already else 201, json={"tour": "tour-1", "id": "tour-1"})

    with httpx.Client(base_url="http://stackweb/", transport=httpx.MockTransport(answer)) as client:
        assert _start(client)["id"] == "tour-1"
    assert ("A tour runs already" in capsys.readouterr().out) == runs_already

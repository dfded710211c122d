"""From the model's public name to one engine: weighted choice of an endpoint, least busy replica."""

from __future__ import annotations

import difflib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from apps.gateway.answers import Refusal
from apps.gateway.directory import EndpointFacts, ReplicaFacts, RouteFacts, Snapshot


def route_of(snapshot: Snapshot, team_id: int, name: str) -> RouteFacts:
    """Raises Refusal 404 naming the nearest route that exists."""
    routes = snapshot.routes.get(team_id, {})
    if name in routes:
        return routes[name]
    near = difflib.get_close_matches(name, list(routes), n=1, cutoff=0.4)
    known = ", ".join(sorted(routes)[:10]) or "none yet"
    hint = f"Did you mean “{near[0]}”?" if near else f"Known: {known}."
    raise Refusal(404, f"There is no model “{name[:120]}”. {hint}", code="model_not_found", param="model")


class Router:
    """Remembers how many requests each replica is working on."""

    def __init__(self, pick: Callable[[float], float] = lambda total: random.uniform(0, total)) -> None:  # noqa: S311
        self._pick = pick
        self._inflight: Counter[str] = Counter()

    def endpoint_of(self, route: RouteFacts) -> EndpointFacts:
        """Raises Refusal 503 saying why no replica is ready."""
        ready = [(endpoint, weight) for endpoint, weight in route.targets if endpoint.replicas and weight > 0]
        if not ready:
            raise not_ready([endpoint for endpoint, _ in route.targets], route.name)
        left = self._pick(sum(weight for _, weight in ready))
        for endpoint, weight in ready:
            left -= weight
            if left <= 0:
                return endpoint
        return ready[-1][0]

    def replicas_of(self, endpoint: EndpointFacts) -> list[ReplicaFacts]:
        """Least busy first. Raises Refusal 503 where there is none."""
        if not endpoint.replicas:
            raise not_ready([endpoint], endpoint.name)
        return sorted(endpoint.replicas, key=lambda replica: self._inflight[replica.attempt])

    @contextmanager
    def working(self, replica: ReplicaFacts) -> Iterator[None]:
        self._inflight[replica.attempt] += 1
        try:
            yield
        finally:
            self._inflight[replica.attempt] -= 1
            if not self._inflight[replica.attempt]:
                del self._inflight[replica.attempt]


def not_ready(endpoints: list[EndpointFacts], name: str) -> Refusal:
    soonest = min(endpoints, key=lambda endpoint: endpoint.retry_after_seconds, default=None)
    why = soonest.why_not if soonest else f"The route “{name}” leads to no endpoint."
    return Refusal(
        503,
        why,
        kind="api_error",
        code="no_ready_replica",
        param="model",
        retry_after_seconds=soonest.retry_after_seconds if soonest else 60,
    )

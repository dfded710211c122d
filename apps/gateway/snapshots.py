"""Reads from the database what the gateway keeps in memory."""

from __future__ import annotations

from collections import defaultdict

from apps.fleet.local_host import is_local
from apps.gateway.directory import EndpointFacts, KeyFacts, ReplicaFacts, RouteFacts, Snapshot
from apps.gateway.models import VirtualKey
from apps.serving.models import Endpoint, RouteTarget
from apps.serving.states import EndpointState, endpoint_state


def load_snapshot() -> Snapshot:
    """Keys that work, every route, and every endpoint with its ready replicas."""
    keys = VirtualKey.objects.filter(revoked_at=None)
    found = keys.values_list("digest", "pk", "team_id", "requests_per_minute")
    endpoints = {row.pk: _endpoint(row) for row in Endpoint.objects.with_newest_job()}
    return Snapshot(
        keys={digest: KeyFacts(pk, team, limit) for digest, pk, team, limit in found},
        routes=_routes(endpoints),
        endpoints=endpoints,
    )


def _routes(endpoints: dict[int, EndpointFacts]) -> dict[int, dict[str, RouteFacts]]:
    targets = defaultdict(list)
    for row in RouteTarget.objects.select_related("route").order_by("pk"):
        if row.endpoint_id in endpoints:
            targets[row.route].append((endpoints[row.endpoint_id], row.weight))
    routes: dict[int, dict[str, RouteFacts]] = defaultdict(dict)
    for route, found in targets.items():
        created = int(route.created_at.timestamp())
        routes[route.team_id][route.name] = RouteFacts(route.name, created, tuple(found))
    return dict(routes)


def _endpoint(row: Endpoint) -> EndpointFacts:
    state = endpoint_state(row)
    replicas, why_not = _replicas(state)
    return EndpointFacts(
        endpoint_id=row.pk,
        team_id=row.team_id,
        name=row.name,
        served_name=row.name,
        replicas=replicas,
        why_not=why_not or state.sentence,
        retry_after_seconds=state.retry_after_seconds,
    )


def _replicas(state: EndpointState) -> tuple[tuple[ReplicaFacts, ...], str]:
    attempt = state.attempt
    if not state.is_ready or attempt is None:
        return (), ""
    if not is_local(attempt.host):
        # Engines listen on loopback, so another machine's port would be somebody else's here.
        return (), f"It runs on {attempt.host}; this gateway reaches engines on its own machine only."
    return (ReplicaFacts(str(attempt.uuid), f"http://127.0.0.1:{attempt.port}"),), ""

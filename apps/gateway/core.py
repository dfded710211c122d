"""The gateway without any transport: who calls, what they want, which engine answers, what it cost."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from apps.gateway.answers import Answer, Refusal, json_answer
from apps.gateway.auth import Caller, caller_of
from apps.gateway.body import Envelope, EventStream, prepared_body, read_envelope, usage_of
from apps.gateway.directory import Directory, EndpointFacts, ReplicaFacts, RouteFacts, Snapshot
from apps.gateway.limits import RateLimits
from apps.gateway.meter import CLIENT_GONE, ENGINE_GONE, Meter
from apps.gateway.metering import Spool
from apps.gateway.relay import StreamRelay
from apps.gateway.routing import Router, route_of
from apps.gateway.upstream import UpstreamAnswer, UpstreamGone

COMPLETION_PATHS = ("/v1/chat/completions", "/v1/completions")  # the only paths that reach an engine


class Engines(Protocol):
    """How to reach an engine: apps.gateway.upstream.Upstream, or a stand-in."""

    def post(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[UpstreamAnswer]: ...


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    authorization: str
    read_body: Callable[[], Awaitable[bytes]]


class Gateway:
    def __init__(self, directory: Directory, engines: Engines, spool: Spool) -> None:
        self._directory, self._engines, self._spool = directory, engines, spool
        self._router, self._limits = Router(), RateLimits()

    async def handle(self, call: Call) -> Answer:
        """Answers one request to /v1; a refusal is an answer too."""
        request_id = str(uuid.uuid4())
        try:
            answer = await self._dispatch(call, request_id)
        except Refusal as refusal:
            answer = refusal.answer()
        answer.headers["x-request-id"] = request_id
        return answer

    async def _dispatch(self, call: Call, request_id: str) -> Answer:
        snapshot = await self._directory.snapshot()
        caller = caller_of(call.authorization, snapshot)
        if call.path == "/v1/models" or call.path.startswith("/v1/models/"):
            _need_method(call, "GET")
            return self._models(snapshot, caller, call.path.removeprefix("/v1/models").lstrip("/"))
        if call.path not in COMPLETION_PATHS:
            raise Refusal(404, f"There is no {call.path} here. Known: /v1/models, {', '.join(COMPLETION_PATHS)}.")
        _need_method(call, "POST")
        self._limits.take(caller)
        body = await call.read_body()
        envelope = read_envelope(body)
        route = route_of(snapshot, caller.team_id, envelope.model)
        endpoint = self._router.endpoint_of(route)
        meter = Meter(self._spool, caller, endpoint, route.name, request_id, bool(envelope.stream), len(body))
        return await self._complete(call.path, body, envelope, endpoint, meter)

    async def chat(self, *, endpoint_id: int, body: bytes) -> Answer:
        """A chat completion by one endpoint, for a person whom the caller has already let in."""
        request_id = str(uuid.uuid4())
        try:
            endpoint = (await self._directory.snapshot()).endpoints.get(endpoint_id)
            if endpoint is None:
                raise Refusal(404, "This endpoint does not exist any more.", code="model_not_found")
            envelope = read_envelope(body)
            caller, is_stream = Caller(endpoint.team_id), bool(envelope.stream)
            meter = Meter(self._spool, caller, endpoint, endpoint.name, request_id, is_stream, len(body))
            answer = await self._complete(COMPLETION_PATHS[0], body, envelope, endpoint, meter)
        except Refusal as refusal:
            answer = refusal.answer()
        answer.headers["x-request-id"] = request_id
        return answer

    def _models(self, snapshot: Snapshot, caller: Caller, name: str) -> Answer:
        if name:
            route = route_of(snapshot, caller.team_id, name)
            self._router.endpoint_of(route)
            return json_answer(_model(route))
        routes = snapshot.routes.get(caller.team_id, {}).values()
        ready = [route for route in routes if any(endpoint.replicas for endpoint, _ in route.targets)]
        return json_answer({"object": "list", "data": [_model(route) for route in ready]})

    async def _complete(
        self, path: str, body: bytes, envelope: Envelope, endpoint: EndpointFacts, meter: Meter
    ) -> Answer:
        prepared = prepared_body(body, envelope, served_name=endpoint.served_name)
        replicas = self._router.replicas_of(endpoint)
        gone: UpstreamGone | None = None
        for replica in (replicas * 2)[:2]:  # once more, elsewhere where there is another
            try:
                return await self._ask(replica, path, prepared, meter, EventStream(envelope.wants_usage))
            except UpstreamGone as error:
                gone = error
                if not error.may_retry:
                    break
        meter.write(ENGINE_GONE, None)
        raise Refusal(
            502,
            f"{endpoint.name} does not answer: {gone}.",
            kind="api_error",
            code="engine_gone",
            retry_after_seconds=5,
        )

    async def _ask(self, replica: ReplicaFacts, path: str, body: bytes, meter: Meter, events: EventStream) -> Answer:
        """Streams hold the connection until the relay is closed; everything else is read here, whole."""
        async with AsyncExitStack() as held:
            held.enter_context(self._router.working(replica))
            try:
                headers = {"content-type": "application/json", "x-request-id": meter.request_id}
                answer = await held.enter_async_context(self._engines.post(replica.url + path, body, headers))
                kind = {"content-type": answer.content_type}
                if answer.content_type.startswith("text/event-stream"):
                    chunks: AsyncIterator[bytes] = StreamRelay(held.pop_all(), answer, meter, events)
                    return Answer(answer.status, kind | {"cache-control": "no-cache"}, chunks=chunks)
                data = await answer.read()
            except UpstreamGone:
                raise
            except BaseException:  # cancelled: the client went away while the engine worked
                meter.write(CLIENT_GONE, None)
                raise
            meter.write(answer.status, usage_of(data), pieces=0)
            return Answer(answer.status, kind, data)


def _need_method(call: Call, method: str) -> None:
    if call.method != method:
        raise Refusal(405, f"{call.path} takes {method}, not {call.method}.")


def _model(route: RouteFacts) -> dict[str, Any]:
    return {"id": route.name, "object": "model", "created": route.created_at, "owned_by": "stackweb"}

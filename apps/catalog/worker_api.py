"""The call of the worker protocol that touches models (docs/worker-protocol.md)."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Field, Router, Schema

from apps.catalog.peers import PeerFilesOut, opened_files
from apps.fleet.worker_api import calling_host

router = Router()


class TicketIn(Schema):
    ticket: str = Field(max_length=2000)


@router.post("/peer-files", response=PeerFilesOut)
def peer_files(request: HttpRequest, payload: TicketIn) -> PeerFilesOut:
    """What a ticket, which a peer has shown to the calling host, opens there."""
    return opened_files(calling_host(request), payload.ticket)

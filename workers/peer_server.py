"""Lets peers copy models from this host: files of ready copies, read-only, for a ticket of the control plane.

GET /files/<path in the model's folder>, `Authorization: Bearer <ticket>`, optionally `Range: bytes=N-`. What a ticket
opens is asked of the control plane, which wrote it: one folder and the names of its files. Everything else is refused.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from workers.client import PeerFiles, Refused, Server, Unreachable
from workers.config import ConfigError

logger = logging.getLogger(__name__)
ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):(\d{1,5})")
AT_ONCE = 16  # connections; a further one is closed, and asks again
IDLE_SECONDS = 30.0
TICKET_SECONDS = 30.0  # for which an answer of the control plane is believed


def start_peer_server(server: Server) -> str:
    """The address that other hosts may copy from, empty for none. Raises ConfigError for a setting that is none."""
    address = os.environ.get("STACKWEB_PEER_ADDRESS", "")
    if not address:
        return ""
    found = ADDRESS.fullmatch(address)
    if found is None or found[1] in ("0.0.0.0", "[::]"):  # noqa: S104  # refused, not bound
        raise ConfigError(f"STACKWEB_PEER_ADDRESS {address}: write where other hosts find this one: 10.0.0.5:8460.")
    try:
        serving = PeerServer((found[1].strip("[]"), int(found[2])), server)
    except (OSError, OverflowError) as error:
        logger.error("Peers cannot copy from %s: %s", address, error)
        return ""
    logger.info("Other hosts may copy models from %s.", address)
    threading.Thread(target=serving.serve_forever, name="peers", daemon=True).start()
    return address


class PeerServer(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], server: Server) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.server = server
        self.slots = threading.BoundedSemaphore(AT_ONCE)
        self.opened: dict[str, tuple[float, PeerFiles]] = {}  # by ticket, with the time of its end
        super().__init__(address, Handler)

    def files_of(self, ticket: str) -> PeerFiles:
        """What the ticket opens on this host. Raises Refused or Unreachable."""
        now = time.monotonic()
        self.opened = {each: known for each, known in self.opened.items() if known[0] > now}
        known = self.opened.get(ticket) or (now + TICKET_SECONDS, self.server.peer_files(ticket))
        self.opened[ticket] = known
        return known[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("The connection of %s broke", client_address, exc_info=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: PeerServer

    def do_GET(self) -> None:
        name = unquote(urlsplit(self.path).path).removeprefix("/files/")
        scheme, _, ticket = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not ticket:
            return self._refuse(401, name, "no ticket")
        try:
            allowed = self.server.files_of(ticket)
        except Unreachable as trouble:
            return self._refuse(503, name, str(trouble))
        except Refused as refusal:
            return self._refuse(403, name, refusal.detail)
        if name not in allowed.files:
            return self._refuse(404, name, "not among the files of this ticket")
        try:
            with open_inside(Path(allowed.path), name) as file:
                self._send(file)
        except FileNotFoundError:
            self._refuse(404, name, "it is not here")
        except PermissionError as refusal:
            self._refuse(403, name, str(refusal))

    def _send(self, file: BinaryIO) -> None:
        size = os.fstat(file.fileno()).st_size
        asked = re.fullmatch(r"bytes=(\d{1,18})-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if asked and start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        if size > start:
            self.connection.sendfile(file, start, size - start)

    def _refuse(self, status: int, name: str, why: str) -> None:
        logger.warning("Peer %s does not get %r: %s", self.client_address[0], name, why)
        said = f"{why}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet: refusals are told, the rest is told by who copies."""


def open_inside(folder: Path, name: str) -> BinaryIO:
    """A regular file of the folder. Raises PermissionError where a link or `..` leads out of it, FileNotFoundError."""
    path = Path(os.path.realpath(folder / name))
    if not path.is_relative_to(os.path.realpath(folder)):
        raise PermissionError("it leads out of the model's folder")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would wait for its writer
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PermissionError("it is no regular file")
    return os.fdopen(descriptor, "rb")

"""Files as they go out under ASGI: whole, in pieces, with their headers, and without Django's warning."""

from __future__ import annotations

import asyncio
from pathlib import Path

from django.conf import settings
from django.test import AsyncClient, Client

from apps.accounts.file_response import StreamedFile

URL = "/static/css/stackweb.css"


async def pieces_of(response: StreamedFile) -> list[bytes]:
    return [piece async for piece in response]


def test_a_static_file_streams_under_asgi_with_the_headers_of_before() -> None:
    async def fetch() -> tuple[dict[str, str], list[bytes]]:
        response = await AsyncClient().get(URL)
        assert isinstance(response, StreamedFile)
        pieces = await pieces_of(response)
        response.close()
        return dict(response.headers), pieces

    headers, pieces = asyncio.run(fetch())
    text = (settings.BASE_DIR / "static/css/stackweb.css").read_bytes()
    assert b"".join(pieces) == text
    assert headers["Content-Length"] == str(len(text))
    assert headers["Content-Type"] == 'text/css; charset="utf-8"'
    assert headers["Cache-Control"] == "max-age=60, public"
    same = Client().get(URL, headers={"if-none-match": headers["ETag"]})
    assert (same.status_code, same.getvalue()) == (304, b"")


def test_a_file_comes_in_pieces_and_ends_where_it_stood(tmp_path: Path) -> None:
    path = tmp_path / "attempt.log"
    path.write_bytes(b"a" * StreamedFile.block_size + b"end\n")
    with path.open("rb") as file, path.open("ab") as growing:
        response = StreamedFile(file)
        growing.write(b"later\n")
        growing.flush()
        assert [len(piece) for piece in asyncio.run(pieces_of(response))] == [StreamedFile.block_size, 4]

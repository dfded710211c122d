"""WhiteNoise's static files, with its headers, in an answer that streams under ASGI."""

from __future__ import annotations

from django.http import FileResponse, HttpRequest
from whitenoise.middleware import WhiteNoiseFileResponse, WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from apps.accounts.file_response import StreamedFile


class StaticFileResponse(StreamedFile, WhiteNoiseFileResponse):  # type: ignore[misc]
    """Sets no header of its own."""


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> FileResponse:
        answer = static_file.get_response(request.method, request.META)
        response = StaticFileResponse(answer.file or (), status=int(answer.status))
        del response["content-type"]  # Django's default
        for name, value in answer.headers:
            response[name] = value
        return response

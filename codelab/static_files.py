"""Static files, compressed in memory: `make run` has no step that would compress them on disk.

Only text of this service is compressed. Answers to users are not: with a secret in them, their size could tell it.
"""

import gzip
from functools import lru_cache
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseFileResponse, WhiteNoiseMiddleware

COMPRESSED_TYPES = ("text/", "application/javascript", "image/svg+xml", "application/json")
#: All of the page's own files and those of the admin have room.
MAX_CACHED_FILES = 512


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """WhiteNoise with compression for clients that accept it."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponseBase:
        found = static_file.get_response(request.method, request.META)
        headers = dict(found.headers)
        is_text = headers.get("Content-Type", "").startswith(COMPRESSED_TYPES)
        if is_text:
            headers["Vary"] = "Accept-Encoding"
        accepts = "gzip" in request.headers.get("Accept-Encoding", "")
        if found.file and found.status == 200 and is_text and accepts:
            with found.file as file:
                content = _compress(file.read())
            headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(content))}
            return HttpResponse(content, headers=headers)
        response = WhiteNoiseFileResponse(found.file or (), status=found.status)
        # Django's guess; a 304 has none.
        del response["Content-Type"]
        for name, value in headers.items():
            response[name] = value
        return cast(HttpResponseBase, response)


@lru_cache(maxsize=MAX_CACHED_FILES)
def _compress(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)

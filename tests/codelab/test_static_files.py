"""Static files come compressed, and answers to users do not."""

from __future__ import annotations

import gzip

import pytest
from django.test import Client

FILE = "/static/sessions/chat.css"


def test_text_is_compressed_for_clients_that_accept_it() -> None:
    client = Client()
    plain, packed = client.get(FILE), client.get(FILE, headers={"accept-encoding": "br, gzip"})
    assert "Content-Encoding" not in plain
    assert packed["Content-Encoding"] == "gzip"
    assert packed["Vary"] == plain["Vary"] == "Accept-Encoding"
    assert int(packed["Content-Length"]) == len(packed.content) < int(plain["Content-Length"]) / 2
    assert gzip.decompress(packed.content) == plain.getvalue()
    again = client.get(FILE, headers={"accept-encoding": "gzip", "if-none-match": packed["ETag"]})
    assert again.status_code == 304
    head = client.head(FILE, headers={"accept-encoding": "gzip"})
    assert "Content-Encoding" not in head


@pytest.mark.django_db
def test_pages_are_not_compressed() -> None:
    assert "Content-Encoding" not in Client().get("/login", headers={"accept-encoding": "gzip"})

"""Rendering Markdown over REST, in real processes of the renderer."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import pytest

from sessions.api.markdown import renderer
from tests.sessions.api.rest.conftest import Http

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/v1/markdown"
#: Takes the parser several seconds.
SLOW = "\\(" * 30_000


async def documents(http: Http, *texts: str, is_open: bool = False) -> list[Any]:
    answer: dict[str, list[Any]] = await http.ok("POST", PATH, {"texts": texts, "open": is_open})
    return answer["documents"]


async def test_texts_become_trees(as_alice: Http) -> None:
    title, code = await documents(as_alice, "# Sum\n\nIt is **4**.", "```python\n2\n```")
    assert title == {"blocks": [["h1", {}, "Sum"], ["p", {}, "It is ", ["strong", {}, "4"], "."]], "length": 19}
    assert code == {"blocks": [["pre", {"info": "python"}, ["number", "2"]]], "length": 15}
    assert await documents(as_alice, "# Sum\nIt", is_open=True) == [{"blocks": [["h1", {}, "Sum"]], "length": 6}]


async def test_a_text_that_takes_too_long_stays_plain_and_delays_no_one_else(as_alice: Http, as_bob: Http) -> None:
    slow = asyncio.create_task(documents(as_alice, SLOW, "a"))
    await asyncio.sleep(0)
    quick = await asyncio.wait_for(documents(as_bob, "b"), 30)
    assert quick == [{"blocks": [["p", {}, "b"]], "length": 1}]
    assert await slow == [None, {"blocks": [["p", {}, "a"]], "length": 1}]
    # Remembered: no process is ended for it again.
    before = renderer._cache.get(renderer.key_of(SLOW, is_open=False))
    assert before == renderer.PLAIN
    assert await documents(as_alice, SLOW) == [None]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"texts": []}, "invalid_field"),
        ({"texts": ["x"] * 51}, "invalid_field"),
        ({"texts": ["x" * 200_001]}, "invalid_field"),
        ({"texts": ["\0"]}, "invalid_text"),
        ({"texts": "x"}, "invalid_field"),
    ],
)
async def test_what_is_too_large_or_cannot_be_text_is_refused(as_alice: Http, body: Any, code: str) -> None:
    assert await as_alice.refused("POST", PATH, body) == (400, code)


async def test_a_user_has_few_requests_at_once(as_alice: Http) -> None:
    texts = [f"{number} " * 5000 for number in range(renderer.MAX_WAITING + 4)]
    calls = [renderer.render(1, [text], is_open=False) for text in texts]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Exception)]
    assert [getattr(error, "code", None) for error in refused] == ["rate_limited"] * 3
    assert renderer._turns._waiting == {}


def test_the_cache_forgets_the_oldest_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "MAX_CACHE_BYTES", 10 + 2 * renderer.ENTRY_BYTES)
    cache = renderer._Cache()
    for key in (b"a", b"b"):
        cache.add(key, b"12345")
    assert cache.get(b"a") == b"12345"
    cache.add(b"c", b"123")
    assert (cache.get(b"a"), cache.get(b"b"), cache.get(b"c")) == (b"12345", None, b"123")


def test_many_short_documents_take_no_more_memory_than_few_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "MAX_CACHE_BYTES", 1024 * 1024)
    cache = renderer._Cache()
    tracemalloc.start()
    try:
        for number in range(20_000):
            cache.add(renderer.key_of(str(number), is_open=False), b'{"blocks":[],"length":%d}' % number)
        assert tracemalloc.get_traced_memory()[0] < 2 * renderer.MAX_CACHE_BYTES
    finally:
        tracemalloc.stop()

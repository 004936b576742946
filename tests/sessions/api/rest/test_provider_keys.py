"""Users' keys for providers: stored encrypted, and decrypted only in a worker."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from pytest_django import Settings

from sessions.billing import encryption, provider_keys
from sessions.database import in_thread
from sessions.errors import ModelCallDenied
from sessions.models import ProviderKey
from tests.sessions.api.rest.conftest import Http

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/v1/provider-keys/openai"
KEY = "sk-the-key-of-alice-1234"


async def test_a_key_is_listed_but_never_shown(
    as_alice: Http, as_bob: Http, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    assert await as_alice.refused("GET", PATH) == (404, "provider_key_not_found")
    stored = await as_alice.ok("PUT", PATH, {"api_key": KEY})
    shown = await as_alice.ok("GET", PATH)
    assert shown == stored
    assert shown.keys() == {"provider", "last_four", "api_base", "updated_at"}
    assert (shown["provider"], shown["last_four"]) == ("openai", "1234")
    assert await as_bob.refused("GET", PATH) == (404, "provider_key_not_found")
    assert await as_bob.refused("DELETE", PATH) == (404, "provider_key_not_found")
    assert KEY not in caplog.text

    def rows() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT t::text FROM agent_sessions_providerkey t")
            return str(cursor.fetchall())

    assert KEY not in await in_thread(rows)()
    endpoint = await in_thread(provider_keys.endpoint)(alice.pk, "openai")
    assert endpoint
    assert (endpoint.api_key, endpoint.allow_private) == (KEY, False)
    assert KEY not in repr(endpoint)
    await as_alice.ok("PUT", PATH, {"api_key": "short", "api_base": "https://models.example/v1"})
    shown = await as_alice.ok("GET", PATH)
    assert (shown["last_four"], shown["api_base"]) == ("", "https://models.example/v1")
    await as_alice.ok("DELETE", PATH)
    assert await in_thread(provider_keys.endpoint)(alice.pk, "openai") is None


@pytest.mark.parametrize(
    ("path", "body", "refused"),
    [
        ("/api/v1/provider-keys/nobody", {"api_key": KEY}, (404, "unknown_provider")),
        (PATH, {}, (400, "invalid_field")),
        (PATH, {"api_key": ""}, (400, "invalid_field")),
        (PATH, {"api_key": f"{KEY}\r\nX-Header: x"}, (400, "invalid_field")),
        (PATH, {"api_key": f"{KEY} {KEY}"}, (400, "invalid_field")),
        (PATH, {"api_key": " \ufeff\n"}, (400, "invalid_field")),
        (PATH, {"api_key": f"{KEY}ключ"}, (400, "invalid_field")),
        (PATH, {"api_key": [KEY]}, (400, "invalid_field")),
        (PATH, {"api_key": KEY * 100}, (400, "invalid_field")),
        (PATH, {"api_key": KEY, "api_base": "http://models.example/v1"}, (400, "invalid_field")),
        (PATH, {"api_key": KEY, "api_base": "https://alice:secret@models.example/v1"}, (400, "invalid_field")),
        (PATH, {"api_key": KEY, "api_base": "https://models.example/v1?key=x"}, (400, "invalid_field")),
        (PATH, {"api_key": KEY, "api_base": "https://[bad/v1"}, (400, "invalid_field")),
        (PATH, {"api_key": KEY, "api_base": "file:///etc/passwd"}, (400, "invalid_field")),
    ],
)
async def test_an_invalid_key_is_refused_without_repeating_it(
    as_alice: Http, path: str, body: dict[str, object], refused: tuple[int, str]
) -> None:
    status, answer = await as_alice("PUT", path, body)
    assert (status, answer["error_code"]) == refused
    assert "sk-the-key" not in str(answer)
    assert not await in_thread(ProviderKey.objects.exists)()


async def test_an_operator_may_allow_plain_http(as_alice: Http, settings: Settings) -> None:
    settings.CODELAB_PRIVATE_MODEL_ADDRESSES = True
    await as_alice.ok("PUT", PATH, {"api_key": KEY, "api_base": "http://127.0.0.1:1234/v1"})


def test_secrets_are_rotated_by_putting_a_new_one_first(settings: Settings) -> None:
    settings.CODELAB_ENCRYPTION_KEYS = ["old" * 16]
    token = encryption.encrypt(KEY, "a place")
    settings.CODELAB_ENCRYPTION_KEYS = ["new" * 16, "old" * 16]
    assert encryption.decrypt(token, "a place") == KEY
    newer = encryption.encrypt(KEY, "a place")
    settings.CODELAB_ENCRYPTION_KEYS = ["new" * 16]
    assert encryption.decrypt(newer, "a place") == KEY
    for unreadable, place in ((token, "a place"), (newer, "another"), ("nonsense", "a place")):
        with pytest.raises(encryption.Unreadable):
            encryption.decrypt(unreadable, place)


def test_a_key_that_was_copied_to_another_user_cannot_be_read(alice: User, bob: User) -> None:
    provider_keys.store(alice.pk, "openai", KEY, "")
    ProviderKey.objects.update(owner=bob)
    with pytest.raises(ModelCallDenied) as caught:
        provider_keys.endpoint(bob.pk, "openai")
    assert caught.value.code == "provider_key_unreadable"

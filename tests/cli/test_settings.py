"""Settings, credentials and what a folder remembers."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import httpx
import keyring
import pytest
from keyring.backend import KeyringBackend

from codelab_cli.credentials import CredentialStore, SharedCredentials
from codelab_cli.failures import Failure
from codelab_cli.items import Shown
from codelab_cli.main import with_url_first
from codelab_cli.memory import Memory, Unsent
from codelab_cli.settings import Settings, load_settings
from codelab_client import Tokens


def test_an_option_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('url = "http://file:1"\nmarkdown = false\n')
    environment = {"CODELAB_CONFIG": str(file)}
    assert load_settings(environment).url == "http://file:1"
    assert not load_settings(environment).markdown
    environment |= {"CODELAB_URL": "http://environment:1", "CODELAB_API_KEY": " clk_1 "}
    assert load_settings(environment).url == "http://environment:1"
    assert load_settings(environment).api_key == "clk_1"
    assert load_settings(environment, url="http://option:1").url == "http://option:1"


@pytest.mark.parametrize("text", ["url = 1", "unknown = 1", "url =", 'url = "ftp://x"', 'url = "http://x:port"'])
def test_a_file_that_cannot_be_used_is_a_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(Failure):
        load_settings({"CODELAB_CONFIG": str(file)})


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="does not exist"):
        load_settings({"CODELAB_CONFIG": str(tmp_path / "none.toml")})


def test_url_may_stand_anywhere() -> None:
    assert with_url_first(["chat", "--url", "x", "name"]) == ["--url", "x", "chat", "name"]
    assert with_url_first(["run", "--url=x", "--", "--url"]) == ["--url=x", "run", "--", "--url"]
    assert with_url_first(["run", "--", "--url"]) == ["run", "--", "--url"]


def settings(folder: Path, **more: Any) -> Settings:
    return Settings(state_dir=folder, **more)


def test_a_credential_without_a_keyring_is_in_a_private_file(tmp_path: Path) -> None:
    store = CredentialStore(settings(tmp_path / "state", keyring=False))
    store.save(Tokens("access", "refresh", 5.0))
    (file,) = (tmp_path / "state").glob("credentials.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert store.load() == Tokens("access", "refresh", 5.0)
    other = CredentialStore(settings(tmp_path / "state", keyring=False, url="http://other:1"))
    assert other.load() is None
    store.forget()
    assert store.load() is None


class MemoryKeyring(KeyringBackend):
    """A keyring that forgets everything at the end of a test."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self.entries.pop((service, username))


def test_a_credential_is_in_the_keyring_where_there_is_one(tmp_path: Path) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(MemoryKeyring())
    try:
        store = CredentialStore(settings(tmp_path))
        store.save(Tokens("access"))
        assert store.place == "the system's keyring"
        assert store.load() == Tokens("access")
        assert list(tmp_path.iterdir()) == []
        store.forget()
        assert store.load() is None
    finally:
        keyring.set_keyring(before)


async def test_a_token_that_another_process_has_refreshed_is_used(tmp_path: Path) -> None:
    store = CredentialStore(settings(tmp_path, keyring=False))
    store.save(Tokens("old", "r1", 0.0))
    mine = SharedCredentials(store)
    store.save(Tokens("new", "r2", 9e12))
    # A request would fail: nothing listens there.
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9") as http:
        assert await mine.renew(http, "old") == "new"


def test_a_folder_remembers_its_session_what_was_shown_and_what_was_not_sent(tmp_path: Path) -> None:
    root = tmp_path / "my project (1)"
    root.mkdir()
    memory = Memory(settings(tmp_path / "state"), root)
    name = memory.session_name()
    assert name.startswith("my-project-1-")
    memory.state.session = "other"
    memory.state.outbox.append(Unsent("other", "Hi", "id1", ["image"]))
    memory.remember_shown("other", Shown(7, "m1", "Hal"))
    again = Memory(settings(tmp_path / "state"), root)
    assert again.session_name() == "other"
    assert again.default_name() == name
    assert again.shown("other") == Shown(7, "m1", "Hal")
    assert again.state.outbox == [Unsent("other", "Hi", "id1", ["image"])]
    elsewhere = Memory(settings(tmp_path / "state", url="http://other:1"), root)
    assert elsewhere.shown("other") == Shown()


def test_a_broken_memory_is_an_empty_one(tmp_path: Path) -> None:
    memory = Memory(settings(tmp_path), tmp_path)
    memory.save()
    (file,) = (tmp_path / "folders").iterdir()
    for text in ("", "{", "[]", '{"session": 1}'):
        file.write_text(text)
        assert Memory(settings(tmp_path), tmp_path).state.outbox == []

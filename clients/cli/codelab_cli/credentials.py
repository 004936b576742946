"""The credential of each server: in the system's keyring, or in a file that only its owner can read.

Several terminals share one sign-in, and a refresh token is good once. So a token is refreshed under a lock, after the
store was read again: another process may have done it.
"""

import asyncio
import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict

import httpx

from codelab_cli.failures import Failure
from codelab_cli.private_files import write_private
from codelab_cli.settings import Settings
from codelab_client.credentials import Credentials, Tokens

SERVICE = "codelab"


class CredentialStore:
    """The stored credential of one server."""

    def __init__(self, settings: Settings) -> None:
        self._url, self._uses_keyring = settings.url.rstrip("/"), settings.keyring
        self._file = settings.state_dir / "credentials.json"

    def load(self) -> Tokens | None:
        """Return the credential, or None where the user is not signed in."""
        text = self._from_keyring()
        if text is None:
            text = self._read_file().get(self._url)
        try:
            return Tokens(**json.loads(text)) if text else None
        except (ValueError, TypeError):
            return None

    def save(self, tokens: Tokens) -> None:
        """Store a credential in place of the last one. Raises Failure."""
        text = json.dumps(asdict(tokens))
        if self._to_keyring(text):
            return
        self._write_file(self._read_file() | {self._url: text})

    def forget(self) -> None:
        """Delete the credential. Raises Failure."""
        if self._uses_keyring:
            import keyring
            from keyring.errors import KeyringError

            with suppress(KeyringError, RuntimeError, OSError):
                keyring.delete_password(SERVICE, self._url)
        entries = self._read_file()
        if entries.pop(self._url, None) is not None:
            self._write_file(entries)

    @property
    def place(self) -> str:
        """Return where the credential is, for people."""
        return "the system's keyring" if self._from_keyring() is not None else str(self._file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process refresh meanwhile."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._file.parent / "credentials.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _from_keyring(self) -> str | None:
        if not self._uses_keyring:
            return None
        # Imported here, because looking for a keyring takes longer than most commands.
        import keyring
        from keyring.errors import KeyringError

        try:
            return keyring.get_password(SERVICE, self._url)
        except (KeyringError, RuntimeError, OSError):
            return None

    def _to_keyring(self, text: str) -> bool:
        if not self._uses_keyring:
            return False
        import keyring
        from keyring.errors import KeyringError

        try:
            keyring.set_password(SERVICE, self._url, text)
            # A backend that keeps nothing says no word about it.
            return keyring.get_password(SERVICE, self._url) == text
        except (KeyringError, RuntimeError, OSError):
            return False

    def _read_file(self) -> dict[str, str]:
        try:
            entries = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}

    def _write_file(self, entries: dict[str, str]) -> None:
        try:
            write_private(self._file, json.dumps(entries, indent=2))
        except OSError as error:
            raise Failure(
                f"{self._file} cannot be written: {error.strerror}.", "Set XDG_STATE_HOME to a folder of yours."
            ) from error


class SharedCredentials(Credentials):
    """A sign-in that other processes use and refresh, too."""

    def __init__(self, store: CredentialStore) -> None:
        super().__init__(store.load(), save=store.save)
        self._store = store

    async def renew(self, http: httpx.AsyncClient, refused: str) -> str:
        """Return another token than the refused one: that of another process, or a fresh one."""
        lock = self._store.locked()
        await asyncio.to_thread(lock.__enter__)
        try:
            stored = self._store.load()
            if stored is not None:
                self.tokens = stored
            return await super().renew(http, refused)
        finally:
            lock.__exit__(None, None, None)

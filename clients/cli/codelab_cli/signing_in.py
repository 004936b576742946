"""What `login` and `logout` do."""

import asyncio
import getpass
import sys

import httpx

from codelab_cli.connecting import connected, explained
from codelab_cli.credentials import CredentialStore
from codelab_cli.failures import ExitCode, Failure
from codelab_cli.settings import Settings
from codelab_client import Tokens


async def sign_in(settings: Settings, username: str, *, is_key: bool) -> None:
    """Sign in or store a key, after the server has accepted it. Raises Failure."""
    store = CredentialStore(settings)
    if is_key:
        key = await asyncio.to_thread(_ask_secret, "API key: ")
        tokens = Tokens(key)
    async with connected(settings) as client:
        if is_key:
            client.credentials.tokens = tokens
        else:
            if not username:
                username = await asyncio.to_thread(_ask, "Name: ")
            password = await asyncio.to_thread(_ask_secret, "Password: ")
            client.credentials.tokens = None
            with explained(settings):
                tokens = await client.sign_in(username, password)
        # Says no for a wrong key.
        await client.request("GET", "/sessions", params={"limit": 1})
    await asyncio.to_thread(store.save, tokens)
    sys.stderr.write(f"Signed in at {settings.url}. The credential is in {store.place}.\n")


async def sign_out(settings: Settings) -> None:
    """End the sign-in at the server and forget it here. Raises Failure."""
    store = CredentialStore(settings)
    tokens = await asyncio.to_thread(store.load)
    if tokens is None:
        sys.stderr.write(f"You are not signed in at {settings.url}.\n")
        return
    note = ""
    if tokens.refresh:
        try:
            async with httpx.AsyncClient(base_url=settings.url, timeout=10) as http:
                (await http.post("/oauth/revoke", data={"token": tokens.refresh})).raise_for_status()
        except httpx.HTTPError:
            note = " The server could not be told; the sign-in ends there within 30 days."
    await asyncio.to_thread(store.forget)
    sys.stderr.write(f"Signed out of {settings.url}.{note}\n")


def _ask(question: str) -> str:
    if not sys.stdin.isatty():
        raise Failure("A name is needed.", "Give it with --username.", code=ExitCode.USAGE)
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _ask_secret(question: str) -> str:
    secret = getpass.getpass(question) if sys.stdin.isatty() else sys.stdin.readline()
    if not secret.strip():
        raise Failure("Nothing was entered.", code=ExitCode.USAGE)
    return secret.rstrip("\r\n")

"""Who the client is: nothing (open access), a token or API key, or a sign-in whose tokens are refreshed in time.

A refresh token is good once, so refreshes never run side by side, and `save` gets the new one before it is used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from codelab_client.errors import CodelabError, ServerUnreachable, SignInRequired

CLIENT_ID = "codelab-flutter-app"

#: A token is refreshed so long before its end, because a request takes time.
MARGIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """An access token, and what renews it."""

    access: str
    refresh: str | None = None
    #: By `time.time()`; None for a token or key that this client does not refresh.
    expires_at: float | None = None


type Save = Callable[[Tokens], None]


async def sign_in(http: httpx.AsyncClient, username: str, password: str, *, client_id: str = CLIENT_ID) -> Tokens:
    """Return tokens for a name and a password. Raises SignInRequired when they are wrong."""
    form = {"grant_type": "password", "username": username, "password": password, "client_id": client_id}
    return await _request(http, form)


class Credentials:
    """Gives each request and each socket a token that is valid."""

    def __init__(self, tokens: Tokens | None = None, *, save: Save | None = None, client_id: str = CLIENT_ID) -> None:
        self.tokens = tokens
        self._save, self._client_id = save, client_id
        self._refreshing = asyncio.Lock()

    async def token(self, http: httpx.AsyncClient) -> str | None:
        """Return a valid token, None with open access. Raises SignInRequired, ServerUnreachable."""
        tokens = self.tokens
        if tokens is None:
            return None
        if tokens.expires_at is None or time.time() < tokens.expires_at - MARGIN_SECONDS:
            return tokens.access
        return await self.renew(http, tokens.access)

    async def renew(self, http: httpx.AsyncClient, refused: str) -> str:
        """Return another token than the one that was refused. Raises SignInRequired, ServerUnreachable."""
        async with self._refreshing:
            tokens = self.tokens
            if tokens is not None and tokens.access != refused:
                return tokens.access
            if tokens is None or tokens.refresh is None:
                raise SignInRequired("TOKEN_EXPIRED", "The token or key is not valid any more. Sign in again.")
            form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh, "client_id": self._client_id}
            self.tokens = fresh = await _request(http, form)
            if self._save is not None:
                self._save(fresh)
            return fresh.access


async def _request(http: httpx.AsyncClient, form: dict[str, str]) -> Tokens:
    try:
        response = await http.post("/oauth/token", data=form)
    except httpx.HTTPError as error:
        raise ServerUnreachable(f"The server does not answer: {error or type(error).__name__}") from None
    body: dict[str, Any] = _json(response)
    if response.status_code != httpx.codes.OK:
        text = body.get("error_description") or body.get("error") or f"HTTP {response.status_code}"
        if response.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise SignInRequired(str(body.get("error", "invalid_grant")), str(text), status=response.status_code)
        raise CodelabError(str(body.get("error", "server_error")), str(text), status=response.status_code)
    return Tokens(body["access_token"], body.get("refresh_token"), time.time() + float(body["expires_in"]))


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}

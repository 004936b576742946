"""A server and who calls it: requests by REST, and sessions over sockets."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from codelab_client.credentials import Credentials, Save, Tokens, sign_in
from codelab_client.errors import CodelabError, ServerUnreachable, SignInRequired
from codelab_client.events import Event, Json
from codelab_client.session import Session
from codelab_client.tools import AnyTools

REQUEST_TIMEOUT_SECONDS = 30.0


class Client:
    """A server, and the credential that its requests and sockets carry.

    `token` is an access token or an API key; `tokens` are those of a sign-in, refreshed in time and handed to `save`.
    Without either the server has to allow open access, as `make run` does for callers on its machine.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        tokens: Tokens | None = None,
        save: Save | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.credentials = Credentials(Tokens(token) if token else tokens, save=save)
        self.http = httpx.AsyncClient(base_url=self.url, timeout=REQUEST_TIMEOUT_SECONDS)
        self._save = save

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Sessions are closed by themselves."""
        await self.http.aclose()

    async def sign_in(self, username: str, password: str) -> Tokens:
        """Sign in, and use the tokens from here on. Raises SignInRequired when name or password is wrong."""
        tokens = await sign_in(self.http, username, password)
        self.credentials.tokens = tokens
        if self._save is not None:
            self._save(tokens)
        return tokens

    def session(
        self,
        name: str,
        *,
        tools: AnyTools = None,
        workspace: Json | None = None,
        plans: bool = False,
        client_id: str | None = None,
        after: int | None = None,
    ) -> Session:
        """Return a session to be entered with `async with`. It is made on first use.

        `tools` are those that this client runs; None: it runs none and the session's tools stay as they are.
        `client_id` is a name that stays the same when the program starts again: by it open calls come back. `after` is
        the number of the last event that the caller has; without it the events begin with a snapshot.
        """
        return Session(self, name, tools=tools, workspace=workspace, plans=plans, client_id=client_id, after=after)

    async def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request below `/api/v1` and return its JSON. Raises CodelabError."""
        response = await self._send(method, f"/api/v1{path}", **options)
        if response.status_code == httpx.codes.UNAUTHORIZED and (token := self.credentials.tokens) is not None:
            await self.credentials.renew(self.http, token.access)
            response = await self._send(method, f"/api/v1{path}", **options)
        if response.is_success:
            return response.json() if response.content else None
        raise _error(response)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        token = await self.credentials.token(self.http)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            return await self.http.request(method, path, headers=headers | options.pop("headers", {}), **options)
        except httpx.HTTPError as error:
            raise ServerUnreachable(f"{self.url} does not answer: {error or type(error).__name__}") from None

    async def sessions(self, *, limit: int = 100, offset: int = 0) -> list[Json]:
        """Return the user's sessions, the one used last first."""
        answer = await self.request("GET", "/sessions", params={"limit": limit, "offset": offset})
        return list(answer["sessions"])

    async def history(self, name: str) -> list[Json]:
        """Return all messages of a session, oldest first."""
        messages: list[Json] = []
        path, before = f"/sessions/{quote(name, safe='')}/history", None
        while True:
            page = await self.request("GET", path, params={"before": before} if before else {})
            messages[:0] = page["messages"]
            if not page["has_more"]:
                return messages
            before = page["messages"][0]["id"]

    async def events(self, name: str, *, after: int = 0) -> list[Event]:
        """Return the events of a session behind a number, up to now."""
        events: list[Event] = []
        while True:
            page = await self.request("GET", f"/sessions/{quote(name, safe='')}/events", params={"after": after})
            events += [Event.of_frame(event) for event in page["events"]]
            if not page["events"] or events[-1].number >= page["last_number"]:
                return events
            after = events[-1].number

    async def agents(self) -> list[Json]:
        """Return the agents that can answer."""
        answer = await self.request("GET", "/agents")
        return list(answer["agents"] if isinstance(answer, dict) else answer)

    async def delete_session(self, name: str) -> None:
        """Delete a session with everything in it."""
        await self.request("DELETE", f"/sessions/{quote(name, safe='')}")

    async def set_mode(self, name: str, mode: str) -> None:
        """Set the session's approval mode, such as `ask`."""
        await self.request("PATCH", f"/sessions/{quote(name, safe='')}", json={"mode": mode})

    async def upload_image(self, name: str, data: bytes) -> str:
        """Store an image in a session and return its id, for `send(images=…)` and for parts of results."""
        answer = await self.request("POST", f"/sessions/{quote(name, safe='')}/images", content=data)
        return str(answer["image_id"])


def _error(response: httpx.Response) -> CodelabError:
    try:
        body = response.json()
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    code = str(body.get("error_code") or body.get("code") or f"http_{response.status_code}")
    text = str(body.get("error") or body.get("detail") or f"The server answered HTTP {response.status_code}.")
    kind = SignInRequired if response.status_code == httpx.codes.UNAUTHORIZED else CodelabError
    return kind(code, text, status=response.status_code, retry_after=body.get("retry_after"))

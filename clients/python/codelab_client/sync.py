"""The client for programs without an event loop: the same, with calls that wait.

A loop runs in a thread of its own as long as the client is open.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import start_blocking_portal

from codelab_client.client import Client
from codelab_client.events import Answer, Event, Json
from codelab_client.tools import Tools


class SyncClient:
    """A server, for programs without an event loop. Its arguments are those of `Client`."""

    def __init__(self, url: str = "http://127.0.0.1:8000", **options: Any) -> None:
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal())

        async def client() -> Client:
            return Client(url, **options)

        self._client = self._stack.enter_context(self._portal.wrap_async_context_manager(self._portal.call(client)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the loop."""
        self._stack.close()

    def sign_in(self, username: str, password: str) -> None:
        """Sign in. Raises SignInRequired when name or password is wrong."""
        self._portal.call(self._client.sign_in, username, password)

    def sessions(self) -> list[Json]:
        """Return the user's sessions, the one used last first."""
        return self._portal.call(self._client.sessions)

    def history(self, name: str) -> list[Json]:
        """Return all messages of a session, oldest first."""
        return self._portal.call(self._client.history, name)

    def delete_session(self, name: str) -> None:
        """Delete a session with everything in it."""
        self._portal.call(self._client.delete_session, name)

    def ask(
        self,
        name: str,
        text: str,
        *,
        tools: Tools | None = None,
        workspace: Json | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: Any,
    ) -> Answer:
        """Send a message to a session, run its tools, and return the answer. Raises TurnFailed, CodelabError.

        `on_event` is called in the loop's thread.
        """

        async def ask() -> Answer:
            async with self._client.session(name, tools=tools, workspace=workspace) as session:
                return await session.ask(text, on_event=on_event, **options)

        return self._portal.call(ask)

"""One session as the commands use it: events become items on a screen, and calls become runs of tools.

What was shown is remembered after each event, so a client that is killed goes on where its screen ended.
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import quote

from codelab_cli.items import Item, Note, describe_call
from codelab_cli.memory import Memory
from codelab_cli.outcome import Outcome
from codelab_cli.tools import Toolbox
from codelab_cli.view import ENDED_TURN_KINDS, View
from codelab_cli.workspace import facts
from codelab_client import Client, CodelabError, Event, Session, ToolCall

#: No session has so many events.
MAX_NUMBER = 2**31 - 1
#: Between two writes of what was shown, while text streams.
REMEMBER_SECONDS = 0.5


async def last_number(client: Client, name: str) -> int:
    """Return the number of a session's last event. Raises CodelabError."""
    path = f"/sessions/{quote(name, safe='')}/events"
    page = await client.request("GET", path, params={"after": MAX_NUMBER})
    return int(page["last_number"])


class Screen(Protocol):
    """Where a conversation is shown."""

    async def show(self, items: Iterable[Item]) -> None:
        """Show items for good, then the text that streams. Marks as shown what stays on the screen."""

    async def event(self, event: Event) -> None:
        """Take notice of an event that was applied to the view."""


class Conversation:
    """A session, its view, and the tools of this client for it."""

    def __init__(
        self, client: Client, session: Session, *, name: str, view: View, memory: Memory, toolbox: Toolbox | None = None
    ) -> None:
        self.client, self.session, self.name = client, session, name
        self.view, self.memory, self.toolbox = view, memory, toolbox
        #: Number of the last event when this client came: a question of before it may have been answered long ago.
        self.came_at = 0
        #: Approvals are a person's, and not those of an option.
        self.has_person = True
        #: Of the whole session: dollars, and tokens that were read and written.
        self.cost: float | None = None
        self.tokens = (0, 0)
        #: Sentences about what this client has left out.
        self.problems: list[str] = []
        self.running: ToolCall | None = None
        self.running_since = 0.0
        self._tool: asyncio.Task[Outcome] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._remembered_at = 0.0

    @property
    def is_current(self) -> bool:
        """Return whether all that happened before this client came has been read."""
        return self.view.number >= self.came_at

    async def follow(self, screen: Screen) -> None:
        """Show all events from now on. Ends with an exception of the client: the session is closed for this user."""
        async for event in self.session.events():
            items = self.view.take(event.number, event.kind, event.payload)
            self._stop_tool(event)
            if event.kind == "turn_completed" and event.number > self.view.before.number:
                await self.read_cost()
            await screen.show(items)
            await screen.event(event)
            if event.kind in ENDED_TURN_KINDS and event.number > self.view.before.number:
                await self._tell_workspace()
            self._remember(event)

    async def run_tools(self, screen: Screen) -> None:
        """Run the calls that this client is given, one after the other, and send their results."""
        if self.toolbox is None:
            return
        async for call in self.session.calls():
            self.running, self.running_since = call, time.monotonic()
            self._tool = asyncio.create_task(
                self.toolbox.run(
                    call.call_id,
                    call.name,
                    call.arguments,
                    turn_id=call.turn_id or "",
                    approved_by_person=self.has_person and call.call_id in self.view.asked,
                )
            )
            try:
                outcome = await self._tool
            except asyncio.CancelledError:
                if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # a task runs this
                    self._tool.cancel()
                    raise
                continue
            finally:
                self.running = self._tool = None
            try:
                await self.session.result(
                    call.call_id,
                    result=outcome.result,
                    error=outcome.error,
                    parts=outcome.parts,
                    is_error=outcome.is_error,
                )
            except CodelabError as error:
                called = describe_call({"tool": call.name, "arguments": call.arguments})
                await screen.show([Note(f"The result of {called} was not taken: {error}", "bad")])

    async def read_cost(self) -> None:
        """Ask what the session has cost. Figures are not worth a failure."""
        with suppress(CodelabError):
            path = f"/events/metrics/session/{quote(self.name, safe='')}"
            figures: dict[str, Any] = await self.client.request("GET", path, params={"limit": 1})
            self.cost = figures.get("total_cost")
            self.tokens = figures.get("total_prompt_tokens") or 0, figures.get("total_completion_tokens") or 0

    async def _tell_workspace(self) -> None:
        """Tell the server what the turn has changed: branch, tree, instructions of folders that were worked in."""
        if self.toolbox is None or self._telling is not None:
            return

        async def tell(toolbox: Toolbox) -> None:
            workspace = await asyncio.to_thread(facts, toolbox.root, list(toolbox.touched))
            if workspace != self.session.workspace:
                with suppress(CodelabError):
                    await self.session.set_workspace(workspace)
            self._telling = None

        # Not awaited: without a connection it would take as long as that is away.
        self._telling = asyncio.create_task(tell(self.toolbox))

    def remember(self) -> None:
        """Note what was shown."""
        self.memory.remember_shown(self.name, self.view.shown)

    def _remember(self, event: Event) -> None:
        now = asyncio.get_running_loop().time()
        if event.number <= self.view.before.number:
            return
        if not event.kind.endswith("_delta") or now - self._remembered_at > REMEMBER_SECONDS:
            self._remembered_at = now
            self.remember()

    def _stop_tool(self, event: Event) -> None:
        """End the run of a tool whose turn has ended: its result is not wanted any more."""
        has_ended = event.kind in ENDED_TURN_KINDS and self.running and self.running.turn_id == event.turn_id
        if has_ended and self._tool is not None:
            self._tool.cancel()

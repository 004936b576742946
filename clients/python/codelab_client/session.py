"""A session: messages out, events in, each once and in order, over any number of sockets, servers and restarts."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

from codelab_client.connection import ANSWER_SECONDS, Connection
from codelab_client.errors import CodelabError, ServerUnreachable, SessionClosed
from codelab_client.events import Answer, Event, Json, Message, Result, ToolCall
from codelab_client.feed import Feed
from codelab_client.outbox import Outbox
from codelab_client.tools import AnyTools, Tools
from codelab_client.turns import TurnWatch

if TYPE_CHECKING:
    from codelab_client.client import Client

FRAME_TOO_LARGE = "frame_too_large"
#: Refusals of a result that is what it is.
UNUSABLE_CODES = frozenset({FRAME_TOO_LARGE, "invalid_field", "invalid_text", "image_not_found"})

type When = Literal["queue", "interrupt", "steer"]


class Session:
    """A session over a socket, entered with `async with`. Entering it waits for the server's welcome."""

    def __init__(
        self,
        client: Client,
        name: str,
        *,
        tools: AnyTools,
        workspace: Json | None,
        plans: bool,
        client_id: str | None,
        after: int | None,
    ) -> None:
        self.name = name
        self._client = client
        self.workspace = workspace
        self._tools, self._plans = tools, plans
        self._client_id = client_id or str(uuid.uuid4())
        self._connection = Connection(
            f"{client.url}/ws/{quote(name, safe='/')}",
            http=client.http,
            credentials=client.credentials,
            hello=self._hello,
            receive=self._receive,
            closed=self._handle_close,
        )
        self._outbox = Outbox(self._connection.send, self._connection.drop)
        self._feed = Feed(after, self._connection.drop)
        self._sending = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._opened = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._run()))
        if isinstance(self._tools, Tools):
            # Before the first event: a snapshot has the questions that wait.
            self._tasks.append(loop.create_task(self._tools.run(self)))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._opened.wait()
        except TimeoutError:
            await self.close()
            raise self._connection.last_error or ServerUnreachable("The server does not answer.") from None
        if self._feed.error is not None:
            await self.close()
            raise self._feed.error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def number(self) -> int | None:
        """Return the number of the newest event that has arrived, None before the first."""
        return self._feed.number

    @property
    def is_connected(self) -> bool:
        """Return whether a socket is open. What is sent meanwhile waits for the next one."""
        return self._outbox.is_open

    async def close(self) -> None:
        """Leave the session. Turns go on in the server."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What a client says

    async def send(
        self,
        text: str,
        *,
        when: When = "queue",
        agent: str | None = None,
        images: Sequence[str] = (),
        message_id: str | None = None,
    ) -> Message:
        """Send a message, and return when the server has stored it: from then on it cannot be lost.

        `when` it counts while a turn runs: after it (`queue`), instead of it (`interrupt`), or at its next step
        (`steer`). `message_id` makes it safe to send again in another process. Raises CodelabError.
        """
        frame: Json = {"type": "user_message", "content": text, "client_message_id": message_id or str(uuid.uuid4())}
        if when != "queue":
            frame["when"] = when
        if agent is not None:
            frame["agent_type"] = agent
        if images:
            frame["images"] = list(images)
        # One at a time, so that a message that has to wait is not overtaken.
        async with self._sending:
            answer = await self._deliver(frame)
        return Message(answer["message_id"], answer["turn_id"], answer["repeated"], answer.get("number") or 1)

    async def ask(self, text: str, *, on_event: Callable[[Event], None] | None = None, **options: Any) -> Answer:
        """Send a message and return the answer. `options` are those of `send`. Raises TurnFailed."""
        watch = TurnWatch(on_event)
        forget = self.listen(watch.take)
        try:
            message = await self.send(text, **options)
            # Its turn may have ended long ago, and then no event will tell it.
            earlier = await self._client.events(self.name, after=message.number - 1) if message.repeated else []
            watch.start(message.message_id, message.turn_id, earlier)
            waiting: set[asyncio.Future[Any]] = {watch.answer, self._tasks[0]}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not watch.answer.done():
                raise self._feed.error or SessionClosed("session_closed", "The session was closed.")
            return watch.answer.result()
        finally:
            forget()

    async def result(
        self,
        call_id: str,
        result: Any = None,
        *,
        error: str | None = None,
        parts: Sequence[Json] | None = None,
        is_error: bool = False,
    ) -> None:
        """Send the result of a tool call. Raises CodelabError, such as `tool_call_finished`."""
        fields = Result(result, error, parts, is_error).fields()
        try:
            await self._deliver({"type": "tool_result", "call_id": call_id} | fields)
        except CodelabError as refusal:
            if refusal.code not in UNUSABLE_CODES:
                raise
            # The call must not stay open: the model can ask for less, or for something else.
            advice = " Ask for less at a time." if refusal.code == FRAME_TOO_LARGE else ""
            text = f"The tool has run, but the server cannot take its result: {refusal}{advice}"
            await self._deliver({"type": "tool_result", "call_id": call_id, "error": text})
        self._feed.finish_call(call_id)

    async def decide(
        self,
        call_id: str,
        decision: Literal["approve", "edit", "reject"],
        *,
        arguments: Json | None = None,
        feedback: str | None = None,
    ) -> None:
        """Answer an approval. Raises CodelabError: `approval_decided` when another answer came first."""
        fields = {"modified_arguments": arguments, "feedback": feedback}
        given = {name: value for name, value in fields.items() if value is not None}
        await self._deliver({"type": "hitl_decision", "call_id": call_id, "decision": decision} | given)

    async def decide_plan(
        self,
        plan_id: str,
        decision: Literal["approve", "edit", "reject"],
        *,
        subtasks: Sequence[Json] | None = None,
        feedback: str | None = None,
    ) -> None:
        """Answer a plan. Raises CodelabError: `approval_decided` when another answer came first."""
        frame: Json = {"type": "plan_decision", "plan_id": plan_id, "decision": decision}
        if subtasks is not None:
            frame["modified_subtasks"] = list(subtasks)
        if feedback is not None:
            frame["feedback"] = feedback
        await self._deliver(frame)

    async def cancel(self, turn_id: str | None = None) -> None:
        """Stop a turn; without an id the one that runs, waits or is next. Raises CodelabError `nothing_to_cancel`."""
        await self._deliver({"type": "cancel"} | ({"turn_id": turn_id} if turn_id else {}))

    async def edit_message(self, message_id: str, text: str) -> None:
        """Change a message that waits. Raises CodelabError `message_begun`."""
        await self._deliver({"type": "edit_message", "message_id": message_id, "content": text})

    async def withdraw_message(self, message_id: str) -> None:
        """Take back a message that waits. Raises CodelabError `message_begun`."""
        await self._deliver({"type": "withdraw_message", "message_id": message_id})

    async def switch_agent(self, agent: str) -> None:
        """Let another agent answer from here on. Raises CodelabError."""
        await self._deliver({"type": "switch_agent", "agent_type": agent})

    async def set_workspace(self, workspace: Json) -> None:
        """Tell the agents about the workspace as it is now."""
        self.workspace = workspace
        await self._deliver({"type": "workspace", "workspace": workspace})

    # What the server says

    def events(self) -> AsyncIterator[Event]:
        """Yield every event once and in order. A `snapshot` replaces all that came before it.

        Only one loop may read them. Ends with SessionClosed or SignInRequired.
        """
        return self._feed.events()

    def calls(self) -> AsyncIterator[ToolCall]:
        """Yield the tool calls that this client has to run, each once. Only one loop may read them."""
        return self._feed.calls()

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with each event as it arrives; the function that is returned ends that."""
        self._feed.listeners.append(listener)
        return lambda: self._feed.listeners.remove(listener)

    # The socket

    def _hello(self) -> Json:
        hello: Json = {"type": "hello", "plans": self._plans}
        if self._feed.number is not None:
            hello["after"] = self._feed.number
        if self._tools is not None:
            tools = self._tools.definitions() if isinstance(self._tools, Tools) else list(self._tools)
            hello |= {"tools": tools, "client_id": self._client_id}
        return hello | ({"workspace": self.workspace} if self.workspace is not None else {})

    def _receive(self, frame: Json) -> None:
        match frame["type"]:
            case "welcome":
                self._feed.take_welcome(frame)
                self._opened.set()
                self._outbox.open()
            case "event":
                self._feed.take_event(Event.of_frame(frame))
            case "tool_call":
                self._feed.take_call(ToolCall.of_frame(frame))
            case _:
                self._outbox.take(frame)

    def _handle_close(self) -> None:
        self._outbox.close()

    async def _run(self) -> None:
        error: CodelabError = SessionClosed("session_closed", "The session was closed.")
        try:
            await self._connection.run()
        except CodelabError as ended:
            error = ended
        finally:
            self._feed.end(error)
            self._outbox.fail(error)
            self._opened.set()

    async def _deliver(self, frame: Json) -> Json:
        if self._feed.error is not None:
            raise self._feed.error
        return await self._outbox.deliver(frame)

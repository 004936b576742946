"""What the server asks of an editor through `codelab acp`: to run a tool, to ask the user, and anything else."""

import asyncio
import contextlib
from typing import Any

from codelab_cli.acp_link import LinkLost, ServerLink
from codelab_cli.acp_sessions import OpenSession, question_of
from codelab_cli.acp_stdio import INTERNAL_ERROR, Editor, EditorFailed, Message


class ServerRequests:
    """The requests of the server that are being served. They go on while the connection is away."""

    def __init__(self, link: ServerLink, editor: Editor) -> None:
        self._link, self._editor = link, editor
        #: What runs for a request of the server, by its id on this connection.
        self._served: dict[Any, asyncio.Task[None]] = {}
        self._asked: dict[Any, tuple[OpenSession | None, str]] = {}
        self.tasks: set[asyncio.Task[Any]] = set()

    def lost(self) -> None:
        """Forget the ids of a connection that has ended. The server asks again on the next one."""
        self._served.clear()
        self._asked.clear()

    def serve(self, message: Message, session: OpenSession | None) -> None:
        """Begin to serve a request."""
        number, method, params = message["id"], message["method"], message["params"]
        if method == "_codelab/run_tool" and session is not None:
            work = self._run_tool(number, session, params)
        elif method == "session/request_permission" and session is not None:
            self._asked[number] = session, question_of(params)
            work = self._ask_user(number, session, params)
        else:
            work = self._ask_editor(number, method, params)
        task = asyncio.ensure_future(work)
        self._served[number] = task
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _run_tool(self, number: Any, session: OpenSession, params: Message) -> None:
        call_id, turn_id = params["callId"], str(params.get("turnId", ""))
        is_approved = params.get("approved") is True
        try:
            outcome = await session.toolbox.run(
                call_id, params["name"], params["arguments"], turn_id=turn_id, approved_by_person=is_approved
            )
        except asyncio.CancelledError:
            # The one who began it may have been a request of an earlier connection.
            session.toolbox.cancel(call_id, turn_id=turn_id)
            raise
        await self._answer(number, result=outcome.fields())

    async def _ask_user(self, number: Any, session: OpenSession, params: Message) -> None:
        """Ask the editor's user. A question stays open while the connection to the server is away."""
        # A call that became unknown is another question.
        call_id = question_of(params)
        question = session.questions.get(call_id)
        if question is None:
            question = asyncio.create_task(self._editor.request("session/request_permission", params))
            session.questions[call_id] = question
        try:
            await self._answer(number, result=await asyncio.shield(question))
        except EditorFailed as error:
            session.questions.pop(call_id, None)
            await self._answer(number, error={"code": INTERNAL_ERROR, "message": str(error)})

    async def _ask_editor(self, number: Any, method: str, params: Message) -> None:
        try:
            await self._answer(number, result=await self._editor.request(method, params))
        except EditorFailed as error:
            await self._answer(number, error={"code": INTERNAL_ERROR, "message": str(error)})

    async def _answer(self, number: Any, **fields: Any) -> None:
        # An answer belongs to the connection of its request; on another one the server asks again.
        if self._served.get(number) is asyncio.current_task():
            del self._served[number]
            with contextlib.suppress(LinkLost):
                await self._link.send({"id": number, **fields})

    def withdraw(self, number: Any) -> None:
        """Stop what a request has begun: a question that was answered elsewhere, a tool of a turn that has ended."""
        session, name = self._asked.pop(number, (None, ""))
        if session is not None and (question := session.questions.pop(name, None)):
            question.cancel()
        if task := self._served.pop(number, None):
            task.cancel()

"""Runs the tool calls that a client gets: by its own tools, or by the editor's file system and terminal.

A call is run once on one connection. When the connection ends before the result is known, nothing is reported: a client
with a name and a journal gets the call again, for all others it becomes a question to the user.
"""

import asyncio
from typing import Any

import structlog
from django.db import Error as DatabaseError
from pydantic import ValidationError

from sessions.api.acp.editor import Editor
from sessions.api.acp.peer import ClientFailed, Peer
from sessions.api.commands import announce, handle_frame, store_timeout
from sessions.callers import Action, Caller
from sessions.errors import AccessDenied, ToolCallRejected
from sessions.models import Session, ToolCall
from sessions.protocol.client import ToolResult
from sessions.protocol.codes import MAX_MESSAGE_LENGTH, Rejected

logger = structlog.get_logger(__name__)

RUN_TOOL = "_codelab/run_tool"
#: Seconds before a result that could not be stored is stored again, and at most.
RETRY_DELAY_SECONDS, MAX_RETRY_DELAY_SECONDS = 0.5, 10.0
#: It may have run, and a call without a result would wait for a day.
NOT_USABLE = "The client's answer to the call is not usable, and it may have run: {problem}."


class ToolRuns:
    """The calls of one session that run on one connection."""

    def __init__(self, session: Session, peer: Peer, caller: Caller, editor: Editor | None) -> None:
        self._session, self._peer, self._caller, self._editor = session, peer, caller, editor
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._turns: dict[str, str] = {}
        self._storing: set[str] = set()

    def start(self, call: ToolCall) -> None:
        """Run a call, unless it runs already."""
        if call.call_id not in self._runs:
            self._turns[call.call_id] = str(call.turn_id)
            self._runs[call.call_id] = asyncio.create_task(self._run(call))

    def stop(self, call_id: str) -> None:
        """Stop a call whose result is not wanted any more."""
        self._turns.pop(call_id, None)
        run = self._runs.pop(call_id, None)
        # A result that is being stored is not wanted by its own event any more, but its events must be announced.
        if run is not None and call_id not in self._storing:
            run.cancel()

    def stop_turn(self, turn_id: str) -> None:
        """Stop the calls of a turn that has ended."""
        for call_id in [each for each, turn in self._turns.items() if turn == turn_id]:
            self.stop(call_id)

    def close(self) -> None:
        """Stop all calls."""
        for call_id in list(self._runs):
            self.stop(call_id)

    async def _run(self, call: ToolCall) -> None:
        try:
            frame = await self._result(call)
            self._storing.add(call.call_id)
            await self._store(call.call_id, frame)
        except Exception:
            logger.exception("tool_run_crashed")
        finally:
            self._storing.discard(call.call_id)
            if self._runs.get(call.call_id) is asyncio.current_task():
                self.stop(call.call_id)

    async def _result(self, call: ToolCall) -> ToolResult:
        try:
            answer = await self._answer(call)
        except ClientFailed as error:
            answer = {"error": str(error)}
        except Exception as error:
            # An editor may answer anything.
            logger.warning("answer_not_usable", error=type(error).__name__)
            return _failure(call, NOT_USABLE.format(problem="its fields have other types"))
        if not isinstance(answer, dict):
            return _failure(call, NOT_USABLE.format(problem="it is no object with `result`, `parts` or `error`"))
        fields = {name: answer[name] for name in ("result", "parts", "is_error") if answer.get(name) is not None}
        if isinstance(answer.get("error"), str):
            fields["error"] = answer["error"][:MAX_MESSAGE_LENGTH]
        try:
            return ToolResult.model_validate({"type": "tool_result", "call_id": call.call_id, **fields})
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, problem["loc"]))
            return _failure(call, NOT_USABLE.format(problem=f"`{place}`: {problem['msg']}"))

    async def _answer(self, call: ToolCall) -> Any:
        if self._editor is not None:
            return {"result": await self._editor.run(call.call_id, call.tool, call.arguments)}
        params: dict[str, Any] = {"sessionId": self._session.key, "callId": call.call_id, "name": call.tool}
        params |= {"arguments": call.arguments, "turnId": str(call.turn_id)}
        # A call that asked has been approved when it may run.
        params |= {"approved": call.requires_approval, "edited": call.edited}
        return await self._peer.request(RUN_TOOL, params)

    async def _store(self, call_id: str, frame: ToolResult) -> None:
        """Store a result, again and again while that fails: the tool must not run a second time."""
        delay = RETRY_DELAY_SECONDS
        while True:
            try:
                await self._caller.authorize(Action.WRITE)
                async with store_timeout() as deadline:
                    announce(await handle_frame(self._session, frame, deadline=deadline))
                return
            except ToolCallRejected as error:
                logger.info("result_dropped", error_code=str(error.code))
                return
            except (DatabaseError, TimeoutError, AccessDenied) as error:
                logger.warning("result_not_stored", error=type(error).__name__)
            except Rejected as error:
                # Such as parts that name an image that does not exist.
                frame = ToolResult(type="tool_result", call_id=call_id, error=str(error))
            await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_RETRY_DELAY_SECONDS)


def _failure(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(type="tool_result", call_id=call.call_id, error=text)

"""Tools as functions: their signature is what the model is offered, and a call runs them.

Calls run side by side. What goes wrong in a function is told to the model and ends nothing.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from codelab_client.errors import CodelabError
from codelab_client.events import TURN_ENDS, Event, Json, Result, ToolCall
from codelab_client.questions import Approve, Questions
from codelab_client.schemas import schema_of

if TYPE_CHECKING:
    from codelab_client.session import Session

logger = logging.getLogger(__name__)

type Kind = Literal["read", "edit", "command", "other"]
type Function = Callable[..., Any]

#: Names that the server knows: it describes these tools itself, and only the name is sent.
KNOWN = frozenset(
    {
        "read_file",
        "list_files",
        "search_in_code",
        "write_file",
        "create_directory",
        "execute_command",
        "apply_diff",
        "delete_file",
        "move_file",
        "git_diff",
        "git_commit",
    }
)


#: The server takes no text of an error that is much longer, and no model needs one.
MAX_ERROR_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class Tool:
    """A function, and how the model sees it."""

    name: str
    function: Function
    description: str
    parameters: Json
    kind: Kind
    #: None: the kind and the session's mode decide.
    approval: Literal["ask", "never"] | None

    def definition(self) -> str | Json:
        """Return its entry of `hello.tools`."""
        if self.name in KNOWN:
            return self.name
        fields = ("name", "description", "parameters", "kind", "approval")
        return {field: value for field in fields if (value := getattr(self, field)) is not None}


class Tools:
    """The tools of a client. `approve` is asked about each call that needs a person's word; without it others decide.

    ```python
    tools = Tools()

    @tools.tool(kind="read")
    async def weather(city: str, days: int = 1) -> str:
        \"\"\"Tell the weather of a city.\"\"\"
    ```
    """

    def __init__(self, *, approve: Approve | None = None) -> None:
        self.approve = approve
        self._tools: dict[str, Tool] = {}
        #: What runs now: by call, its turn and the task.
        self._running: dict[str, tuple[str | None, asyncio.Task[None]]] = {}

    @overload
    def tool[F: Function](self, function: F, /) -> F: ...
    @overload
    def tool[F: Function](
        self,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Json | None = None,
        kind: Kind = "other",
        approval: Literal["ask", "never"] | None = None,
    ) -> Callable[[F], F]: ...
    def tool(self, function: Function | None = None, /, **options: Any) -> Any:
        """Add a function as a tool: plain, or async. Its name, docstring and signature describe it."""
        if function is None:
            return functools.partial(self._add, **options)
        return self._add(function)

    def _add(
        self,
        function: Function,
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Json | None = None,
        kind: Kind = "other",
        approval: Literal["ask", "never"] | None = None,
    ) -> Function:
        named = name or function.__name__
        if named in self._tools:
            raise ValueError(f"A tool named {named} exists already.")
        if parameters is None:
            # The server describes its own tools.
            parameters = {} if named in KNOWN else schema_of(function)
        about = description or inspect.getdoc(function) or ""
        self._tools[named] = Tool(named, function, about, parameters, kind, approval)
        return function

    def definitions(self) -> list[str | Json]:
        """Return `hello.tools`."""
        return [tool.definition() for tool in self._tools.values()]

    async def execute(self, call: ToolCall) -> Result:
        """Run a call and return its result, whatever happens."""
        tool = self._tools.get(call.name)
        if tool is None:
            return Result(error=f"This client has no tool {call.name}.")
        # `from` cannot be a name in Python, so the parameter for it may be `from_`.
        parameters = inspect.signature(tool.function).parameters
        renamed = {name: f"{name}_" for name in call.arguments if f"{name}_" in parameters}
        arguments = {renamed.get(name, name): value for name, value in call.arguments.items()}
        try:
            if inspect.iscoroutinefunction(tool.function):
                value = await tool.function(**arguments)
            else:
                value = await asyncio.to_thread(tool.function, **arguments)
            result = value if isinstance(value, Result) else Result(value)
            json.dumps(result.fields(), allow_nan=False)
            return result
        except Exception as error:
            logger.debug("A tool failed.", exc_info=True)
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return Result(error=text[:MAX_ERROR_CHARACTERS])

    async def run(self, session: Session) -> None:
        """Run the calls of a session, and ask about those that need a person's word, until cancelled."""
        questions = Questions(session, self.approve) if self.approve is not None else None
        forget = [session.listen(self._take)] + ([session.listen(questions.take)] if questions is not None else [])
        try:
            async with asyncio.TaskGroup() as group:
                async for call in session.calls():
                    self._running[call.call_id] = call.turn_id, group.create_task(self._run(session, call))
        except* CodelabError:
            # The session has ended, and tells its own readers why.
            logger.debug("The session has ended.")
        finally:
            for one in forget:
                one()

    async def _run(self, session: Session, call: ToolCall) -> None:
        try:
            result = await self.execute(call)
            await session.result(
                call.call_id, result.value, error=result.error, parts=result.parts, is_error=result.is_error
            )
        except CodelabError as error:
            # Its turn has ended, or the session.
            logger.debug("The result of %s was not taken: %s", call.call_id, error)
        finally:
            self._running.pop(call.call_id, None)

    def _take(self, event: Event) -> None:
        """Stop what belongs to a turn that has ended."""
        if event.kind in TURN_ENDS:
            for turn_id, task in list(self._running.values()):
                if turn_id == event.turn_id:
                    task.cancel()


#: A client's tools: functions; or names and definitions, whose calls the caller runs; None for a client without tools.
type AnyTools = Tools | Sequence[str | Json] | None

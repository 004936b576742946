"""An editor for tests: the official Python SDK of the Agent Client Protocol, over a WebSocket or a program's pipes.

Each message of the agent is compared with the published schema (acp-schema-v1.json), in both transports.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import acp
import websockets
from acp import schema
from acp.connection import StreamDirection, StreamEvent
from jsonschema import Draft202012Validator

from tests.live.service import Service

type Message = dict[str, Any]

SCHEMA = json.loads((Path(__file__).with_name("acp-schema-v1.json")).read_text(encoding="utf-8"))


def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})


def _named(side: str, ending: str) -> dict[str, Draft202012Validator]:
    """Return the validators of the params or results of a side, by method."""
    return {
        fields["x-method"]: _validator(name)
        for name, fields in SCHEMA["$defs"].items()
        if fields.get("x-side") == side and name.endswith(ending)
    }


RESULTS = _named("agent", "Response")
REQUESTS = _named("client", "Request")
NOTIFICATIONS = _named("client", "Notification") | _named("protocol", "Notification")
ERROR = _validator("Error")


class Judge:
    """Compares an agent's messages with the schema."""

    def __init__(self) -> None:
        self._methods: dict[Any, str] = {}

    def sent(self, message: Message) -> None:
        """Remember which method an answer will be about."""
        if "method" in message and "id" in message:
            self._methods[message["id"]] = message["method"]

    def check(self, message: Message) -> None:
        """Raise ValidationError for a message that breaks the schema."""
        assert message["jsonrpc"] == "2.0"
        if "method" not in message:
            if "error" in message:
                ERROR.validate(message["error"])
                return
            method = self._methods[message["id"]]
            if not method.startswith("_"):
                RESULTS[method].validate(message["result"])
            return
        method = message["method"]
        if method.startswith("_"):
            return
        kinds = REQUESTS if "id" in message else NOTIFICATIONS
        kinds[method].validate(message["params"])
        if method == "session/update":
            assert message["params"]["_meta"]["acp/cursor"]


class CheckedSocket:
    """A WebSocket as the SDK's transport."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection
        self.received: list[Message] = []
        self.problems: list[Exception] = []
        self._judge = Judge()

    async def send(self, message: Message) -> None:
        self._judge.sent(message)
        await self.connection.send(json.dumps(message))

    async def receive(self) -> Message | None:
        try:
            message: Message = json.loads(await self.connection.recv())
        except websockets.ConnectionClosed:
            return None
        self.received.append(message)
        try:
            self._judge.check(message)
        except Exception as error:
            self.problems.append(error)
        return message

    async def close(self) -> None:
        await self.connection.close()


class Terminal:
    """A program that the editor runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process, self.output = process, b""
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout
        self.output += await self.process.stdout.read()


class Editor:
    """What the SDK calls: it collects updates, answers questions, and has files and terminals in a folder."""

    def __init__(self, folder: Path, answers: list[str] | None = None) -> None:
        self.folder = folder
        #: The options to choose, one for each question; without any left a question stays open.
        self.answers = answers or []
        self.questions: list[Any] = []
        self.updates: list[Any] = []
        self.cursors: list[str] = []
        self.terminals: dict[str, Terminal] = {}
        self.ended_questions: list[str] = []
        self.changed = asyncio.Event()
        self.agent: Any = None

    def on_connect(self, agent: Any) -> None:
        self.agent = agent

    def text(self, kind: Any = schema.AgentMessageChunk) -> str:
        """Return the text that the agent has said."""
        return "".join(each.content.text for each in self.updates if isinstance(each, kind))

    def of(self, kind: type) -> list[Any]:
        return [each for each in self.updates if isinstance(each, kind)]

    async def session_update(self, session_id: str, update: Any, **meta: Any) -> None:
        self.updates.append(update)
        self.cursors.append(meta["acp/cursor"])
        self.changed.set()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[Any], **meta: Any
    ) -> schema.RequestPermissionResponse:
        self.questions.append((tool_call, options))
        self.changed.set()
        await self.until(lambda: self.answers, timeout=60)
        outcome = schema.AllowedOutcome(outcome="selected", option_id=self.answers.pop(0))
        return schema.RequestPermissionResponse(outcome=outcome)

    async def read_text_file(
        self, session_id: str, path: str, line: int | None = None, limit: int | None = None, **meta: Any
    ) -> schema.ReadTextFileResponse:
        text = await asyncio.to_thread(Path(path).read_text, encoding="utf-8")
        lines = text.splitlines(keepends=True)
        first = (line or 1) - 1
        return schema.ReadTextFileResponse(content="".join(lines[first : first + limit if limit else None]))

    async def write_text_file(self, session_id: str, path: str, content: str, **meta: Any) -> None:
        await asyncio.to_thread(Path(path).write_text, content, encoding="utf-8")

    async def create_terminal(
        self, session_id: str, command: str, args: list[str] | None = None, cwd: str | None = None, **meta: Any
    ) -> schema.CreateTerminalResponse:
        process = await asyncio.create_subprocess_exec(
            command, *args or (), cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        name = f"term_{len(self.terminals)}"
        self.terminals[name] = Terminal(process)
        return schema.CreateTerminalResponse(terminal_id=name)

    async def wait_for_terminal_exit(self, session_id: str, terminal_id: str, **meta: Any) -> Any:
        await self.terminals[terminal_id].reading
        code = await self.terminals[terminal_id].process.wait()
        return schema.WaitForTerminalExitResponse(exit_code=code)

    async def terminal_output(self, session_id: str, terminal_id: str, **meta: Any) -> Any:
        terminal = self.terminals[terminal_id]
        return schema.TerminalOutputResponse(output=terminal.output.decode(), truncated=False)

    async def kill_terminal(self, session_id: str, terminal_id: str, **meta: Any) -> None:
        with suppress(ProcessLookupError):
            self.terminals[terminal_id].process.kill()

    async def release_terminal(self, session_id: str, terminal_id: str, **meta: Any) -> None:
        terminal = self.terminals.pop(terminal_id)
        with suppress(ProcessLookupError):
            terminal.process.kill()
        await terminal.process.wait()
        await terminal.reading

    async def until(self, condition: Any, timeout: float = 60) -> Any:
        """Wait until a condition holds, and return its value."""
        async with asyncio.timeout(timeout):
            while not (value := condition()):
                self.changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await self.changed.wait()
        return value


FILES_AND_TERMINAL = schema.ClientCapabilities(
    fs=schema.FileSystemCapabilities(read_text_file=True, write_text_file=True), terminal=True
)
NOTHING = schema.ClientCapabilities()


@asynccontextmanager
async def connected(
    service: Service,
    editor: Editor,
    capabilities: schema.ClientCapabilities = FILES_AND_TERMINAL,
    *,
    path: str = "/acp",
    **options: Any,
) -> AsyncIterator[Any]:
    """Connect an editor to `/acp`. At the end no message may have broken the schema."""
    url = f"ws://127.0.0.1:{service.port}{path}"
    async with websockets.connect(url, max_size=None, proxy=None, **options) as socket:
        transport = CheckedSocket(socket)
        client: Any = editor
        agent = acp.connect_to_agent(client, transport)
        try:
            await agent.initialize(protocol_version=1, client_capabilities=capabilities)
            yield agent
        finally:
            await agent.close()
    assert transport.problems == []


@asynccontextmanager
async def bridged(
    url: str,
    editor: Editor,
    state: Path,
    capabilities: schema.ClientCapabilities = FILES_AND_TERMINAL,
    *,
    api_key: str = "",
) -> AsyncIterator[Any]:
    """Start `codelab acp` as editors do, and connect an editor to it. No line may have broken the schema."""
    judge, problems = Judge(), []

    def observe(event: StreamEvent) -> None:
        if event.direction is StreamDirection.OUTGOING:
            judge.sent(event.message)
            return
        try:
            judge.check(event.message)
        except Exception as error:
            problems.append(error)

    client: Any = editor
    environment = {"XDG_STATE_HOME": str(state), "XDG_CONFIG_HOME": str(state), "CODELAB_KEYRING": "off"}
    environment["CODELAB_API_KEY"] = api_key
    command = str(Path(sys.executable).with_name("codelab"))
    async with acp.spawn_agent_process(
        client, command, "--url", url, "acp", env=environment, observers=[observe], transport_kwargs={"stderr": None}
    ) as (agent, process):
        await agent.initialize(protocol_version=1, client_capabilities=capabilities)
        yield agent
        assert process.returncode is None
    assert problems == []

"""From settings to a server: the client with its credential, and every error of it as a sentence with advice."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from codelab_cli.conversation import Conversation, last_number
from codelab_cli.credentials import CredentialStore, SharedCredentials
from codelab_cli.failures import ExitCode, Failure
from codelab_cli.items import Shown
from codelab_cli.journal import Journal, JournalBusy
from codelab_cli.mcp_servers import Trust, read_servers
from codelab_cli.memory import Memory
from codelab_cli.settings import Settings
from codelab_cli.tools import Toolbox
from codelab_cli.view import View
from codelab_cli.workspace import facts
from codelab_client import Client, CodelabError, ServerUnreachable, SessionClosed, SignInRequired

if TYPE_CHECKING:
    from codelab_cli.mcp import McpServers

#: Messages that are all shown to a client that comes for the first time.
LONG_CONVERSATION = 30


@contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Turn errors of the client into failures with advice."""
    try:
        yield
    except ServerUnreachable as error:
        raise Failure(
            f"The server at {settings.url} does not answer.",
            "Start one with `make run`, or name another one: --url, CODELAB_URL or `url` in the configuration.",
            code=ExitCode.UNREACHABLE,
        ) from error
    except SignInRequired as error:
        advice = (
            "Correct CODELAB_API_KEY." if settings.api_key else f"Sign in with `codelab --url {settings.url} login`."
        )
        raise Failure(str(error), advice, code=ExitCode.NOT_SIGNED_IN) from error
    except SessionClosed as error:
        advice = {"session_deleted": "`codelab chat --new` begins another one."}.get(error.code, "")
        raise Failure(str(error), advice) from error
    except CodelabError as error:
        wait = f"Try again in {error.retry_after:.0f} s." if error.retry_after else ""
        code = ExitCode.NOT_SIGNED_IN if error.code == "insufficient_scope" else ExitCode.FAILED
        raise Failure(str(error), wait, code=code) from error


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Client]:
    """Give a client of the configured server. Raises Failure."""
    with explained(settings):
        async with Client(settings.url, token=settings.api_key or None) as client:
            if not settings.api_key:
                client.credentials = SharedCredentials(await asyncio.to_thread(CredentialStore, settings))
            yield client


@asynccontextmanager
async def conversing(
    settings: Settings,
    root: Path,
    name: str,
    memory: Memory,
    *,
    has_tools: bool = True,
    mode: str = "",
    may_follow: bool = False,
    from_now: bool = False,
) -> AsyncIterator[Conversation]:
    """Give a session with the tools of a folder, or without tools. Raises Failure.

    With `may_follow` it has none when another process runs them. With `from_now` nothing of before is shown.
    """
    async with connected(settings) as client, AsyncExitStack() as stack:
        # Answers at once when the server is away or does not know the user; a session would try for a while.
        if has_tools:
            row = await client.request("POST", "/sessions", json={"session_id": name})
        else:
            row = await client.request("GET", session_path(name))
        wanted_mode = mode or (settings.mode if not row.get("message_count") else "")
        if wanted_mode and row.get("mode") != wanted_mode:
            await client.set_mode(name, wanted_mode)
        journal = _journal(settings, root, name, stack, may_fail=may_follow) if has_tools else None
        if from_now:
            memory.remember_shown(name, Shown(await last_number(client, name)))
        before = memory.shown(name)
        toolbox = None
        problems: list[str] = []
        if journal:
            mcp, problems = await asyncio.to_thread(_find_mcp, settings, root, client, name)
            toolbox = Toolbox(root, journal, allow_secrets=settings.allow_secrets, mcp=mcp)
            await stack.enter_async_context(toolbox)
            problems += mcp.problems if mcp else []
        session = client.session(
            name,
            tools=toolbox.definitions() if toolbox else None,
            workspace=await asyncio.to_thread(facts, root) if toolbox else None,
            plans=True,
            client_id=journal.client_id if journal else None,
            # All events from the first: what they say about turns and questions is not in a snapshot. A long
            # conversation that was never shown here begins with its newest messages.
            after=0 if before.number or row.get("message_count", 0) <= LONG_CONVERSATION else None,
        )
        view = View(before=before, title=row.get("title") or "", mode=row.get("mode") or "")
        await stack.enter_async_context(session)
        conversation = Conversation(client, session, name=name, view=view, memory=memory, toolbox=toolbox)
        conversation.problems = problems
        conversation.came_at = await last_number(client, name)
        await conversation.read_cost()
        yield conversation


def _find_mcp(settings: Settings, root: Path, client: Client, name: str) -> tuple["McpServers | None", list[str]]:
    """Return the MCP servers that may start for a workspace, and sentences about those that may not."""
    servers, problems = read_servers(root)
    trust = Trust()
    trusted = [server for server in servers if trust.has(server)]
    for server in servers:
        if server not in trusted:
            what = f"MCP server {server.name} of {server.source.name} is not started: {server.description}"
            problems.append(f"{what}. `codelab mcp --trust {server.name}` trusts it.")
    if not trusted:
        return None, problems
    # Imported here, because the library takes longer than everything else together.
    from codelab_cli.mcp import McpServers

    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def upload(data: bytes, media_type: str) -> str:
        return await client.upload_image(name, data)

    return McpServers(trusted, upload_image=upload, log=settings.state_dir / "mcp.log"), problems


def _journal(settings: Settings, root: Path, name: str, stack: AsyncExitStack, *, may_fail: bool) -> Journal | None:
    try:
        return stack.enter_context(Journal.of_session(settings.url.rstrip("/"), name, root))
    except JournalBusy as error:
        if may_fail:
            return None
        raise Failure(
            f"Another `codelab` runs the tools of session {name} in this folder.",
            f"`codelab attach {name}` follows it; `codelab chat --new` begins another session.",
        ) from error
    except OSError as error:
        raise Failure(
            f"The journal of tools cannot be written: {error.strerror}.", "Set XDG_STATE_HOME to a folder of yours."
        ) from error


def session_path(name: str) -> str:
    """Return the path of a session below `/api/v1`."""
    return f"/sessions/{quote(name, safe='')}"


def workspace_root(folder: Path) -> Path:
    """Return the folder that agents work in. Raises Failure."""
    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise Failure(f"{folder} is not a folder.", "Name one with --folder.", code=ExitCode.USAGE)
    if not os.access(root, os.R_OK | os.X_OK):
        raise Failure(f"{folder} cannot be read.", "Change its rights, or name another one.", code=ExitCode.USAGE)
    return root

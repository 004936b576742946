"""What `chat`, `attach` and `run` do: open the session of a folder, and talk in it."""

import asyncio
import os
import secrets
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from codelab_cli.allow import Allowed
from codelab_cli.chat import Chat
from codelab_cli.connecting import conversing, explained, workspace_root
from codelab_cli.conversation import Conversation
from codelab_cli.failures import ExitCode
from codelab_cli.memory import Memory
from codelab_cli.mentions import MentionCompleter
from codelab_cli.pipe import Pipe
from codelab_cli.run import Run
from codelab_cli.settings import Settings, load_settings
from codelab_cli.slash import COMMANDS
from codelab_cli.terminal import Terminal


async def talk(
    settings: Settings, folder: Path, name: str, *, is_new: bool = False, mode: str = "", has_tools: bool = True
) -> ExitCode:
    """Talk in a session until the person leaves. Raises Failure."""
    root = workspace_root(folder)
    memory = Memory(settings, root)
    if is_new and not name:
        name = f"{memory.default_name()}-{datetime.now(UTC):%m%d}-{secrets.token_hex(2)}"
    name = name or memory.session_name()
    if has_tools:
        memory.state.session = name
        memory.save()
    async with conversing(
        settings, root, name, memory, has_tools=has_tools, mode=mode, may_follow=True
    ) as conversation:
        screen = _screen(settings, root, conversation)
        chat = Chat(conversation, screen, root, allow_secrets=settings.allow_secrets)
        has_tools = conversation.toolbox is not None
        if settings.agent and conversation.view.agent != settings.agent:
            await conversation.session.switch_agent(settings.agent)
        if screen.is_interactive:
            place = f"in {root}" if has_tools else "whose tools another client runs"
            await screen.print(
                Text(f"Session {name} at {settings.url}, {place}. /help lists keys and commands.", "dim")
            )
        with explained(settings):
            code = await chat.run()
        if screen.is_interactive:
            going_on = " Its turn goes on without you, up to the next tool." if conversation.view.turns else ""
            server = f" --url {settings.url}" if settings.url != load_settings().url else ""
            again = f"codelab{server} {'chat' if has_tools else 'attach'}"
            await screen.print(Text(f"{going_on.strip()} `{again} {name}` comes back.".strip(), "dim"))
        return code


def _screen(settings: Settings, root: Path, conversation: Conversation) -> Terminal | Pipe:
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if is_terminal:
        return Terminal(settings, conversation.view, MentionCompleter(root, COMMANDS))
    return Pipe(conversation.view)


async def do_task(
    settings: Settings,
    folder: Path,
    name: str,
    task: str,
    *,
    allowed: Allowed,
    is_json: bool,
    timeout: float | None,
    images: list[Path],
) -> ExitCode:
    """Do one task without a person. Raises Failure."""
    root = workspace_root(folder)
    memory = Memory(settings, root)
    current = asyncio.current_task()
    assert current
    # A CI job is ended by SIGTERM: the turn is stopped, and the exit code says that it was interrupted.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
    try:
        async with conversing(settings, root, name, memory) as conversation:
            conversation.has_person = False
            run = Run(conversation, root, allowed, is_json=is_json, allow_secrets=settings.allow_secrets)
            with explained(settings):
                return await run.run(task, timeout=timeout, agent=settings.agent or None, images=images)
    except asyncio.CancelledError:
        return ExitCode.INTERRUPTED

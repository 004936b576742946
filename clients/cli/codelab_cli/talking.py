"""What `chat` and `attach` do: open the session of a folder, and talk in it."""

import os
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from codelab_cli.chat import Chat
from codelab_cli.completion import MentionCompleter
from codelab_cli.connecting import conversing, explained, workspace_root
from codelab_cli.conversation import Conversation
from codelab_cli.failures import ExitCode
from codelab_cli.memory import Memory
from codelab_cli.pipe import Pipe
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

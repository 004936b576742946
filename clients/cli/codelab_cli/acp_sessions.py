"""The sessions of `codelab acp`: what waits for an answer, and the tools of each workspace."""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codelab_cli.acp_stdio import Editor, Message
from codelab_cli.acp_tools import EditorToolbox, ShowTerminal, mcp_servers
from codelab_cli.journal import Journal
from codelab_cli.mcp import McpServers

logger = logging.getLogger(__name__)

CURSOR, CLIENT_MESSAGE_ID, OPEN_PROMPTS = "acp/cursor", "codelab/client_message_id", "codelab/open_prompts"
#: Begins the name of the question whether a call runs again.
UNKNOWN = "unknown "


@dataclass
class Sent:
    """A request of the editor that the server has not answered."""

    editor_id: Any
    method: str
    params: Message
    is_cancelled: bool = False

    @property
    def session_id(self) -> str:
        """Return the session that it is about."""
        codelab = (self.params.get("_meta") or {}).get("codelab") or {}
        return str(self.params.get("sessionId") or codelab.get("session_id", ""))


@dataclass
class OpenSession:
    """A session of the editor."""

    toolbox: EditorToolbox
    journal: Journal
    #: The params that open it again.
    params: Message
    cursor: str | None = None
    is_open: bool = False
    #: The questions that the editor shows, by the id of the call, and the server's requests for them.
    questions: dict[str, asyncio.Task[Any]] = field(default_factory=dict)

    def forget_answer(self, call_id: str) -> None:
        """Forget an answer that is stored: the same call may be asked about again, and that is another question."""
        for name in (call_id, f"{UNKNOWN}{call_id}"):
            if (question := self.questions.get(name)) and question.done():
                del self.questions[name]

    async def close(self) -> None:
        """End the tools, and let another process have the journal."""
        await self.toolbox.close()
        self.journal.close()


async def start_session(
    url: str,
    session_id: str,
    params: Message,
    *,
    editor: Editor,
    capabilities: dict[str, Any],
    allow_secrets: bool,
    show_terminal: ShowTerminal,
) -> OpenSession:
    """Start the tools of a session. Raises ValueError, ToolFailed, JournalBusy and OSError with a sentence."""
    folder = Path(params.get("cwd") or "")
    if not folder.is_absolute() or not await asyncio.to_thread(folder.is_dir):
        raise ValueError("`cwd` must be the absolute path of a folder.")
    journal = await asyncio.to_thread(Journal.of_session, url, session_id, folder)
    servers = McpServers(mcp_servers(params.get("mcpServers"), folder))
    toolbox = EditorToolbox(
        folder,
        journal,
        allow_secrets=allow_secrets,
        mcp=servers,
        editor=editor,
        session_id=session_id,
        capabilities=capabilities,
        show_terminal=show_terminal,
    )
    await toolbox.start()
    for problem in servers.problems:
        logger.warning("%s", problem)
    return OpenSession(toolbox, journal, params)


def question_of(params: Message) -> str:
    """Return the name of a question. A call that became unknown is another one than it was before."""
    codelab = (params.get("_meta") or {}).get("codelab") or {}
    return (UNKNOWN if codelab.get("unknown") else "") + str(params["toolCall"]["toolCallId"])

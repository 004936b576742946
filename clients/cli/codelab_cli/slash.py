"""Commands of a conversation, such as `/mode auto-edit`. A line that is not one of them is a message, slash or not."""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from rich.text import Text

from codelab_cli.cards import plan_card
from codelab_cli.failures import Failure
from codelab_cli.items import Note
from codelab_cli.status import count

if TYPE_CHECKING:
    from codelab_cli.chat import Chat

COMMANDS = {
    "/help": "keys and commands",
    "/agent": "NAME: who answers from here on; alone: the agents",
    "/mode": "ask, auto-read, auto-edit or full: what runs unasked",
    "/image": "PATH [TEXT]: send an image",
    "/queue": "TEXT: a message for after this turn",
    "/stop": "stop the turn",
    "/plan": "the plan and how far it is",
    "/cost": "tokens and dollars of this session",
    "/rules": "the rules of this session; /rules delete ID",
    "/quit": "leave; the session stays",
}
KEYS = """Enter sends; while a turn runs, the model reads the message at its next step. Tab sends it for after the turn.
Alt-Enter, or \\ at the end of the line, begins a new line. @ completes the name of a file, which is sent along.
Esc or Ctrl-C stops the turn, Ctrl-C twice or Ctrl-D leaves, Ctrl-Z suspends (`fg` comes back)."""


async def run_command(chat: "Chat", text: str) -> bool:
    """Run a command; return whether the line was one. Raises Failure, CodelabError."""
    name, _, rest = text.strip().partition(" ")
    if "\n" in text.strip() or name not in COMMANDS:
        return False
    await getattr(_Commands(chat), name.removeprefix("/"))(rest.strip())
    return True


class _Commands:
    """One method for each command."""

    def __init__(self, chat: "Chat") -> None:
        self._chat, self._conversation = chat, chat.conversation
        self._path = f"/sessions/{quote(self._conversation.name, safe='')}"

    async def _say(self, *lines: str) -> None:
        await self._chat.screen.print(*(Text(line, "dim") for line in lines))

    async def help(self, rest: str) -> None:
        await self._say(KEYS, *(f"{name:<8} {meaning}" for name, meaning in COMMANDS.items()))

    async def agent(self, rest: str) -> None:
        if rest:
            await self._conversation.session.switch_agent(rest)
            return
        agents = await self._conversation.client.agents()
        await self._say(*(f"{each['type']:<14} {each.get('description', '')}" for each in agents))

    async def mode(self, rest: str) -> None:
        if rest:
            await self._conversation.client.set_mode(self._conversation.name, rest)
        else:
            await self._say(f"The mode is {self._conversation.view.mode or 'ask'}.")

    async def image(self, rest: str) -> None:
        name, _, text = rest.partition(" ")
        path = self._chat.root / name
        if not name or not await asyncio.to_thread(path.is_file):
            raise Failure(f"{name or 'An image'} is not a file.", "Write /image PATH and perhaps a text.")
        await self._chat.send(text or f"See the image {path.name}.", images=[path])

    async def queue(self, rest: str) -> None:
        if rest:
            await self._chat.send(rest, is_queued=True)

    async def stop(self, rest: str) -> None:
        self._chat.stop()

    async def plan(self, rest: str) -> None:
        plan = self._conversation.view.plan
        await (self._chat.screen.print(*plan_card(plan)) if plan else self._say("The session has no plan now."))

    async def cost(self, rest: str) -> None:
        await self._conversation.read_cost()
        (read, written), cost = self._conversation.tokens, self._conversation.cost
        price = f"${cost:.4f}" if cost is not None else "an unknown price"
        await self._say(f"{count(read)} tokens read, {count(written)} written, {price}.")

    async def rules(self, rest: str) -> None:
        word, _, rule_id = rest.partition(" ")
        if word == "delete" and rule_id.strip():
            await self._conversation.client.request("DELETE", f"/rules/{quote(rule_id.strip(), safe='')}")
            await self._chat.screen.show([Note("The rule was deleted.")])
            return
        answer = await self._conversation.client.request(
            "GET", "/rules", params={"session_id": self._conversation.name}
        )
        rules = [f"{each['id']}  {each['effect']} {each['tool']} {each['subject']}" for each in answer["rules"]]
        await self._say(*(rules or ["No rule applies to this session."]))

    async def quit(self, rest: str) -> None:
        self._chat.has_left = True

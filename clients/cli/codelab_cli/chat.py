"""`codelab chat`: a person and an agent in a folder. What is entered becomes a message, an answer or a command."""

import asyncio
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from codelab_cli.conversation import Conversation
from codelab_cli.failures import ExitCode, Failure
from codelab_cli.items import Item, Note
from codelab_cli.memory import Unsent
from codelab_cli.mentions import expand
from codelab_cli.pipe import Pipe
from codelab_cli.questions import Questions
from codelab_cli.slash import run_command
from codelab_cli.status import live_lines, status_line
from codelab_cli.terminal import Line, Terminal
from codelab_client import CodelabError, Event, SessionClosed

#: The code of a session that this program has closed.
LEFT = "session_closed"
NO_PERSON = "No person is there to approve it: the client's input has ended. Go on without it, or say what is missing."


class Chat:
    """The conversation of a person in one session."""

    def __init__(self, conversation: Conversation, screen: Terminal | Pipe, root: Path, *, allow_secrets: bool) -> None:
        self.conversation, self.screen, self.root = conversation, screen, root
        self.questions = Questions(conversation, screen, root)
        self._allow_secrets = allow_secrets
        self._sends: set[asyncio.Task[None]] = set()
        #: Turns of own messages, which may not be in the view yet.
        self._turns: list[str] = []
        self._is_unanswered = False
        self.has_left = False
        screen.owner = self

    async def run(self) -> ExitCode:
        """Talk until the person leaves. Raises Failure and CodelabError."""
        for unsent in [
            each for each in self.conversation.memory.state.outbox if each.session == self.conversation.name
        ]:
            self._start_send(unsent, "queue")
        await self.screen.show([Note(problem, "bad") for problem in self.conversation.problems])
        work = {
            asyncio.create_task(self.conversation.follow(self)),
            asyncio.create_task(self.conversation.run_tools(self.screen)),
        }
        reading = asyncio.create_task(self._read())
        try:
            while not reading.done():
                done, _ = await asyncio.wait({reading, *work}, return_when=asyncio.FIRST_COMPLETED)
                for task in done & work:
                    work.discard(task)
                    # Following ends with the session's end; the loop of a client without tools just ends.
                    task.result()
            reading.result()
        finally:
            for task in (reading, *work):
                task.cancel()
            await asyncio.gather(reading, *work, return_exceptions=True)
            self.conversation.remember()
        return self._exit_code()

    # The screen of the conversation: what is shown may be a question

    async def show(self, items: Iterable[Item]) -> None:
        """Show items for good, and ask what waits."""
        await self.screen.show(items)
        if self.conversation.is_current:
            await self.questions.attend()

    async def event(self, event: Event) -> None:
        """Take notice of an event."""
        await self.screen.event(event)

    # What is entered

    async def _read(self) -> None:
        default = ""
        while not self.has_left:
            line = await self.screen.read(default)
            default = ""
            if line is None:
                if self.screen.is_interactive or not await self._end_of_input():
                    return
                continue
            try:
                default = await self._enter(line)
            except Failure as failure:
                await self.screen.show([Note(str(failure), "bad")])
            except CodelabError as error:
                await self.screen.show([Note(str(error), "bad")])

    async def _enter(self, line: Line) -> str:
        """Take a line; return what the next prompt begins with. Raises Failure, CodelabError."""
        if self.questions.current is not None:
            return await self.questions.answer(line.text)
        if not line.text.strip():
            return ""
        if await run_command(self, line.text):
            return ""
        await self.send(line.text, is_queued=line.is_queued)
        return ""

    async def send(self, text: str, *, is_queued: bool = False, images: Iterable[Path] = ()) -> None:
        """Send a message with the files that it names. Raises Failure, CodelabError."""
        message = await asyncio.to_thread(expand, text, self.root, allow_secrets=self._allow_secrets)
        for problem in message.problems:
            await self.screen.show([Note(problem, "bad")])
        ids = []
        for image in [*images, *message.images]:
            data = await asyncio.to_thread(image.read_bytes)
            ids.append(await self.conversation.client.upload_image(self.conversation.name, data))
        unsent = Unsent(self.conversation.name, message.text, str(uuid.uuid4()), ids)
        memory = self.conversation.memory
        memory.state.outbox = [*memory.state.outbox, unsent]
        memory.save()
        self._start_send(unsent, "queue" if is_queued or not self.is_busy() else "steer")

    def _start_send(self, unsent: Unsent, when: Literal["queue", "steer"]) -> None:
        task = asyncio.create_task(self._send(unsent, when))
        self._sends.add(task)

        def finish(task: asyncio.Task[None]) -> None:
            self._sends.discard(task)
            self.screen.redraw()

        task.add_done_callback(finish)

    async def _send(self, unsent: Unsent, when: Literal["queue", "steer"]) -> None:
        memory = self.conversation.memory
        try:
            message = await self.conversation.session.send(
                unsent.text, when=when, images=unsent.images, message_id=unsent.message_id
            )
            self.screen.own_messages.add(message.message_id)
            self._turns.append(message.turn_id)
        except SessionClosed as error:
            if error.code == LEFT:
                # On its way when the person left: it may be stored, and is sent again at the next start.
                return
            await self.screen.show([Note(f"The message was not sent: {error}", "bad")])
        except CodelabError as error:
            retry = f" Try again in {error.retry_after:.0f} s." if error.retry_after else ""
            await self.screen.show([Note(f"The message was not sent: {error}{retry}", "bad")])
        memory.state.outbox = [each for each in memory.state.outbox if each.message_id != unsent.message_id]
        memory.save()

    # Turns

    def is_busy(self) -> bool:
        """Return whether a turn is open or a message is on its way, as far as it is known yet."""
        view = self.conversation.view
        return bool(
            not self.conversation.is_current
            or view.turns
            or self._sends
            or any(turn not in view.ended for turn in self._turns)
        )

    def live(self) -> str:
        """Return what happens now."""
        return live_lines(self.conversation, len(self._sends))

    def status(self, width: int) -> str:
        """Return the status line."""
        return status_line(self.conversation, width, is_busy=self.is_busy())

    def stop(self) -> None:
        """Stop the turn that is open."""
        task = asyncio.create_task(self._stop())
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def _stop(self) -> None:
        try:
            await self.conversation.session.cancel()
        except CodelabError as error:
            if error.code != "nothing_to_cancel":
                await self.screen.show([Note(str(error), "bad")])

    async def _end_of_input(self) -> bool:
        """Reject what waits at the end of a pipe; return whether there is anything to wait for."""
        if await self.questions.reject_all(NO_PERSON):
            self._is_unanswered = True
            await self.questions.settled()
            return True
        return self.is_busy()

    def _exit_code(self) -> ExitCode:
        if self.screen.is_interactive:
            return ExitCode.DONE
        last = self._turns[-1] if self._turns else ""
        if last in self.conversation.view.failures:
            return ExitCode.FAILED
        return ExitCode.UNANSWERED if self._is_unanswered else ExitCode.DONE

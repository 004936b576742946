"""`codelab run`: one task without a person. What `--allow` does not cover is rejected, and the exit code says so."""

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codelab_cli.allow import Allowed
from codelab_cli.connecting import conversing, explained, workspace_root
from codelab_cli.conversation import Conversation, last_number
from codelab_cli.failures import ExitCode
from codelab_cli.items import Item, Note, Question, SpeechEnded, UserMessage, describe_call
from codelab_cli.memory import Memory, Unsent
from codelab_cli.mentions import expand
from codelab_cli.settings import Settings
from codelab_cli.visible import visible
from codelab_client import CodelabError, Event

REJECTED = (
    "No person is there to approve it, and `--allow` does not cover it. Do what is possible without it, and say at the"
    " end what is missing."
)
PLAN_REJECTED = "No person is there to approve a plan. Do the task without one, or as far as it is possible."
#: A stopped turn is told to the server within this time, then the program ends anyway.
STOP_SECONDS = 5.0


@dataclass
class Run:
    """One task, its answers to questions, and what is printed of it."""

    conversation: Conversation
    root: Path
    allowed: Allowed
    is_json: bool = False
    allow_secrets: bool = False
    turn_id: str = ""
    rejected: list[str] = field(default_factory=list)
    _done: asyncio.Event = field(default_factory=asyncio.Event)
    _decisions: set[asyncio.Task[None]] = field(default_factory=set)
    _decided: set[str] = field(default_factory=set)
    _is_line_begun: bool = False

    async def run(self, task: str, *, timeout: float | None, agent: str | None, images: list[Path]) -> ExitCode:
        """Do the task; return the exit code. Raises Failure, CodelabError."""
        await self.show([Note(problem, "bad") for problem in self.conversation.problems])
        work = {
            asyncio.create_task(self.conversation.follow(self)),
            asyncio.create_task(self.conversation.run_tools(self)),
        }
        main = asyncio.create_task(self._do(task, agent, images))
        try:
            async with asyncio.timeout(timeout):
                while not main.done():
                    done, _ = await asyncio.wait({main, *work}, return_when=asyncio.FIRST_COMPLETED)
                    for each in done & work:
                        work.discard(each)
                        each.result()
            code = main.result()
        except TimeoutError:
            await self._stop()
            code = ExitCode.TIMED_OUT
        except asyncio.CancelledError:
            await self._stop()
            self._finish(ExitCode.INTERRUPTED)
            raise
        finally:
            for each in (main, *work):
                each.cancel()
            await asyncio.gather(main, *work, return_exceptions=True)
            self.conversation.remember()
        self._finish(code)
        return code

    async def _do(self, task: str, agent: str | None, images: list[Path]) -> ExitCode:
        view, memory = self.conversation.view, self.conversation.memory
        unsent = _begun(memory, self.conversation.name, task)
        if unsent is None:
            unsent = Unsent(self.conversation.name, task, str(uuid.uuid4()))
            memory.state.tasks = memory.state.tasks | {self.conversation.name: unsent}
            memory.save()
        text, ids = await self._with_files(task, images)
        message = await self.conversation.session.send(text, agent=agent, images=ids, message_id=unsent.message_id)
        self.turn_id = message.turn_id
        if message.repeated:
            # The turn may have ended: the events up to now say so, and they may come behind the answer.
            now = await last_number(self.conversation.client, self.conversation.name)
            while view.number < now:
                self._done.clear()
                await self._done.wait()
        while self.turn_id not in view.ended and not (message.repeated and self.turn_id not in view.turns):
            self._done.clear()
            await self._done.wait()
        await asyncio.gather(*self._decisions)
        self._forget_task()
        if self.turn_id in view.failures:
            return ExitCode.FAILED
        is_asking = self.turn_id in view.asks
        if is_asking:
            self.rejected.append("the question at the end")
            await self.show(
                [Note("The agent asks a question. Answer it with `codelab chat`, or run another task.", "bad")]
            )
        return ExitCode.UNANSWERED if self.rejected else ExitCode.DONE

    async def _with_files(self, task: str, images: list[Path]) -> tuple[str, list[str]]:
        message = await asyncio.to_thread(expand, task, self.root, allow_secrets=self.allow_secrets)
        await self.show([Note(problem, "bad") for problem in message.problems])
        uploads = [
            await self.conversation.client.upload_image(self.conversation.name, image.read_bytes())
            for image in [*images, *message.images]
        ]
        return message.text, uploads

    async def _stop(self) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.conversation.session.cancel(self.turn_id or None)
                while self.turn_id and self.turn_id not in self.conversation.view.ended:
                    self._done.clear()
                    await self._done.wait()
        except (TimeoutError, CodelabError):
            pass
        self._forget_task()

    def _forget_task(self) -> None:
        memory = self.conversation.memory
        memory.state.tasks = {name: each for name, each in memory.state.tasks.items() if name != self.conversation.name}
        memory.save()

    # The screen of the conversation

    async def show(self, items: Iterable[Item]) -> None:
        """Print items: the answer to standard output, all else to standard error."""
        for item in items:
            match item:
                case SpeechEnded(speech):
                    self._stream(speech.pending)
                    speech.shown = speech.text
                    self._end_line()
                case Note(text):
                    self._say(text)
                case Question():
                    self._answer(item)
                case UserMessage() | _:
                    pass
        streaming = self.conversation.view.speech
        if streaming and streaming.pending:
            self._stream(streaming.pending)
            streaming.shown = streaming.text

    async def event(self, event: Event) -> None:
        """Print the event as JSON where that is asked for, and look whether the task has ended."""
        if self.is_json and event.number > self.conversation.view.before.number:
            self._print_json({"number": event.number, "kind": event.kind, "payload": event.payload})
        # Also a question of before a restart.
        for question in list(self.conversation.view.questions.values()):
            self._answer(question)
        self._done.set()

    def _answer(self, question: Question) -> None:
        """Decide about a call or a plan by `--allow`."""
        if question.key in self._decided or not self.conversation.is_current:
            return
        self._decided.add(question.key)
        payload = {"tool": "create_plan"} if question.is_plan else question.payload
        is_allowed = self.allowed.covers(payload)
        if not is_allowed:
            what = "the plan" if question.is_plan else describe_call(question.payload)
            self.rejected.append(what)
            self._say(f"Rejected, because --allow does not cover it: {what}")
        task = asyncio.create_task(self._decide(question, is_allowed=is_allowed))
        self._decisions.add(task)

    async def _decide(self, question: Question, *, is_allowed: bool) -> None:
        session = self.conversation.session
        try:
            if question.is_plan:
                feedback = None if is_allowed else PLAN_REJECTED
                await session.decide_plan(question.key, "approve" if is_allowed else "reject", feedback=feedback)
            else:
                feedback = None if is_allowed else REJECTED
                await session.decide(question.key, "approve" if is_allowed else "reject", feedback=feedback)
        except CodelabError as error:
            self._say(f"Not decided: {error}")

    # Output

    def _finish(self, code: ExitCode) -> None:
        view = self.conversation.view
        self._end_line()
        if code is ExitCode.TIMED_OUT:
            self._say("The time given by --timeout is over; the turn was stopped.")
        if self.is_json:
            failure: dict[str, Any] = view.failures.get(self.turn_id) or {}
            self._print_json(
                {
                    "kind": "run_finished",
                    "payload": {
                        "exit_code": int(code),
                        "session": self.conversation.name,
                        "turn_id": self.turn_id,
                        "status": view.ended.get(self.turn_id, "open"),
                        "text": view.answers.get(self.turn_id, ""),
                        "rejected": self.rejected,
                        "error_code": failure.get("error_code"),
                        "error": failure.get("error"),
                        "input_tokens": view.tokens.get(self.turn_id, (0, 0))[0],
                        "output_tokens": view.tokens.get(self.turn_id, (0, 0))[1],
                        "cost": self.conversation.cost,
                    },
                }
            )

    def _print_json(self, line: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def _stream(self, text: str) -> None:
        if text and not self.is_json:
            sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()
            self._is_line_begun = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._is_line_begun:
            self._is_line_begun = False
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _say(self, text: str) -> None:
        self._end_line()
        sys.stderr.write(f"· {visible(text)}\n")
        sys.stderr.flush()


def _begun(memory: Memory, session: str, task: str) -> Unsent | None:
    """Return the same task of a run that was killed: it goes on, and is not sent a second time."""
    unsent = memory.state.tasks.get(session)
    return unsent if unsent and unsent.text == task else None


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
        is_new = _begun(memory, name, task) is None
        async with conversing(settings, root, name, memory, from_now=is_new) as conversation:
            conversation.has_person = False
            run = Run(conversation, root, allowed, is_json=is_json, allow_secrets=settings.allow_secrets)
            with explained(settings):
                return await run.run(task, timeout=timeout, agent=settings.agent or None, images=images)
    except asyncio.CancelledError:
        return ExitCode.INTERRUPTED

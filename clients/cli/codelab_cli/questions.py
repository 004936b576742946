"""The dialogue about a call or a plan that waits for a person: show it, read the answer, send the decision."""

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol

from rich.console import RenderableType
from rich.text import Text

from codelab_cli.answers import Answer, Draft, Rule, draft_of, edited_arguments, parse_answer, parse_rule, propose_rule
from codelab_cli.cards import call_card, plan_card
from codelab_cli.conversation import Conversation
from codelab_cli.failures import Failure
from codelab_cli.items import Item, Note, Question
from codelab_cli.visible import visible
from codelab_client import CodelabError

CALL_CHOICES = "y(es)  n(o), with a word why  e(dit)  a(lways)"
PLAN_CHOICES = "y(es)  n(o), with a word why  e(dit)"


class Dialogue(Protocol):
    """What this module needs of a screen."""

    question: str
    is_interactive: bool

    async def print(self, *renderables: RenderableType) -> None:
        """Print for good."""

    async def show(self, items: list[Item]) -> None:
        """Show items for good."""

    async def edit(self, command: list[str]) -> int:
        """Run an editor; return its exit code."""

    def set_aside(self) -> None:
        """Take what is half typed out of the way."""

    def redraw(self) -> None:
        """Draw again what is not for good."""


class Questions:
    """Asks one question after the other. What is unclear decides nothing."""

    def __init__(self, conversation: Conversation, screen: Dialogue, root: Path) -> None:
        self._conversation, self._screen, self._root = conversation, screen, root
        self._current: Question | None = None
        #: Answered here; the server's word is on its way.
        self._answered: set[str] = set()
        self._draft: Draft | None = None
        self._rule: Rule | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> Question | None:
        """Return the question that waits for an answer."""
        return self._current

    async def attend(self) -> None:
        """Ask the next question when the one before it is answered, here or anywhere else."""
        waiting = (each for each in self._conversation.view.questions.values() if each.key not in self._answered)
        question = next(waiting, None)
        if question is self._current:
            return
        self._current, self._draft, self._rule = question, None, None
        if question is None:
            self._screen.question = ""
        else:
            self._screen.set_aside()
            self._screen.question = PLAN_CHOICES if question.is_plan else CALL_CHOICES
            await self._screen.print("", *self.card(question))
            if not self._screen.is_interactive:
                await self._screen.print(Text(f"? {self._screen.question}"))
        self._screen.redraw()

    def card(self, question: Question) -> list[RenderableType]:
        """Return what is shown of a question."""
        return plan_card(question.payload) if question.is_plan else call_card(question.payload, self._root)

    async def answer(self, text: str) -> str:
        """Take a line as the answer; return what the next prompt begins with. Raises Failure."""
        question = self._current
        assert question
        if self._rule is not None:
            return await self._make_rule(question, self._rule, text)
        if self._draft is not None:
            draft, self._draft = self._draft, None
            self._screen.question = CALL_CHOICES
            await self._send_edit(question, draft, text)
            return ""
        answer = parse_answer(text)
        if answer is None or (answer.decision == "always" and question.is_plan):
            if text.strip():
                raise Failure(f"Nothing was decided. Answer {self._screen.question}.")
            return ""
        return await self._follow(question, answer)

    async def _follow(self, question: Question, answer: Answer) -> str:
        match answer.decision:
            case "approve":
                self._decide(question, "approve")
            case "reject":
                self._decide(question, "reject", feedback=answer.feedback or None)
            case "edit":
                return await self._edit(question)
            case "always":
                rule = propose_rule(question.payload)
                if visible(str(rule)) != str(rule):
                    raise Failure("It has hidden characters, so no rule is made for it.", "Answer y or n.")
                self._rule = rule
                self._screen.question = "Enter makes this rule for this session, and approves; an empty line does not:"
                if not self._screen.is_interactive:
                    await self._screen.print(Text(f"? {self._screen.question} allow {self._rule}"))
                return str(self._rule)
        await self.attend()
        return ""

    async def _make_rule(self, question: Question, proposed: Rule, text: str) -> str:
        self._rule = None
        self._screen.question = CALL_CHOICES
        if text.strip().lower() in ("", "n", "no"):
            return ""
        rule = proposed if text.strip().lower() in ("y", "yes") else parse_rule(text, proposed)
        conversation = self._conversation
        try:
            await conversation.client.request("POST", "/rules", json=rule.body(conversation.name))
        except CodelabError as error:
            raise Failure(f"The rule was not made: {error}", "The call still waits.") from error
        await self._screen.show([Note(f"Rule for this session: allow {rule}", "good")])
        self._decide(question, "approve")
        await self.attend()
        return ""

    async def _edit(self, question: Question) -> str:
        draft = draft_of(question.payload, is_plan=question.is_plan)
        editor = find_editor()
        if self._screen.is_interactive and not draft.is_short and editor:
            text = await self._edited(draft, editor)
            if text is None or text == draft.text:
                raise Failure("Nothing was changed, and nothing was decided.")
            await self._send_edit(question, draft, text)
            return ""
        self._draft = draft
        self._screen.question = "Change it; Enter approves what stands here:"
        return draft.text

    async def _edited(self, draft: Draft, editor: list[str]) -> str | None:
        with tempfile.TemporaryDirectory(prefix="codelab-") as folder:
            file = Path(folder) / f"edit{draft.suffix}"
            file.write_text(draft.text, encoding="utf-8")
            code = await self._screen.edit([*editor, str(file)])
            return file.read_text(encoding="utf-8") if code == 0 else None

    async def _send_edit(self, question: Question, draft: Draft, text: str) -> None:
        changed: Any = edited_arguments(question.payload, draft, text)
        self._decide(question, "edit", changed=changed)
        await self.attend()

    def _decide(self, question: Question, decision: Any, *, changed: Any = None, feedback: str | None = None) -> None:
        session = self._conversation.session
        self._answered.add(question.key)
        if question.is_plan:
            coroutine = session.decide_plan(question.key, decision, subtasks=changed, feedback=feedback)
        else:
            coroutine = session.decide(question.key, decision, arguments=changed, feedback=feedback)
        # Not awaited: without a connection it takes as long as that is away, and other keys must work.
        task = asyncio.create_task(self._sent(question, coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sent(self, question: Question, decision: Coroutine[Any, Any, None]) -> None:
        try:
            await decision
        except CodelabError as error:
            self._answered.discard(question.key)
            if error.code not in ("approval_decided", "tool_call_finished", "unknown_plan", "unknown_tool_call"):
                await self._screen.show([Note(f"Not decided: {error}", "bad")])
                await self.attend()

    async def settled(self) -> None:
        """Wait until all decisions are sent."""
        await asyncio.gather(*self._tasks)

    async def reject_all(self, feedback: str) -> bool:
        """Reject what waits, because no person can answer; return whether anything did."""
        asked = False
        while self._current is not None:
            asked = True
            self._decide(self._current, "reject", feedback=feedback)
            await self.attend()
        return asked


def find_editor() -> list[str]:
    """Return the command of the person's editor, or nothing."""
    for variable in ("VISUAL", "EDITOR"):
        if command := os.environ.get(variable, "").strip():
            return shlex.split(command)
    return next(([found] for name in ("nano", "vim", "vi") if (found := shutil.which(name))), [])

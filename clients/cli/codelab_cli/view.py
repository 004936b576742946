"""What a person sees of a session: events in, items to show out. Pure: no terminal, no network, no clock.

An item is shown once, over any number of reconnects, restarts of the client and repeated attempts of the server.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from codelab_cli.items import (
    PLAN_MARKS,
    Change,
    Item,
    Note,
    Payload,
    Question,
    Shown,
    Speech,
    SpeechEnded,
    UserMessage,
    describe_call,
)

OPEN_TURN_KINDS = {"turn_queued": "queued", "turn_started": "running", "turn_waiting": "waiting"}
ENDED_TURN_KINDS = {"turn_completed", "turn_failed", "turn_cancelled"}
#: Tools of the server that say by themselves what they did.
SILENT_TOOLS = {"attempt_completion", "ask_followup_question", "switch_mode", "create_plan"}


@dataclass
class View:
    """The state of a session, and what of it is on the screen."""

    before: Shown = field(default_factory=Shown)
    number: int = 0
    agent: str = ""
    mode: str = ""
    title: str = ""
    turns: dict[str, str] = field(default_factory=dict)
    #: Turns that have ended, and how.
    ended: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Payload] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)
    calls: dict[str, Payload] = field(default_factory=dict)
    plan: Payload | None = None
    #: Tokens that each turn has read and written.
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)
    speech: Speech | None = None
    thought: str = ""
    #: The last answer of each turn, and whether it is a question to the user.
    answers: dict[str, str] = field(default_factory=dict)
    asks: set[str] = field(default_factory=set)
    _previous: int = 0
    _inherited: dict[str, str] = field(default_factory=dict)
    #: Calls that asked for approval.
    asked: set[str] = field(default_factory=set)

    def take(self, number: int, kind: str, payload: Payload) -> list[Item]:
        """Apply an event, and return what is to be shown of it. Nothing of what was shown before."""
        self._previous, self.number = self.number, max(self.number, number)
        handler = getattr(self, f"_{kind}", None)
        items: list[Item] = list(handler(payload)) if handler else []
        if kind in OPEN_TURN_KINDS:
            self.turns[payload["turn_id"]] = OPEN_TURN_KINDS[kind]
        elif kind in ENDED_TURN_KINDS:
            self.ended[payload["turn_id"]] = kind.removeprefix("turn_")
            self._end(payload["turn_id"])
        if kind == "snapshot" or number > self.before.number:
            return items
        kept = self.before.message_id
        return [each for each in items if isinstance(each, SpeechEnded) and each.speech.message_id == kept]

    @property
    def shown(self) -> Shown:
        """Return what to remember for the next run of this client."""
        speech = self.speech
        return Shown(self.number, speech.message_id, speech.shown) if speech else Shown(self.number)

    @property
    def open_turn(self) -> str:
        """Return the turn that is open and not only queued, or the next one that is queued, or nothing."""
        begun = (turn for turn, status in self.turns.items() if status != "queued")
        return next(begun, "") or next(iter(self.turns), "")

    # Text

    def _say(self, payload: Payload) -> Speech:
        message_id = payload["message_id"]
        if not self.speech or self.speech.message_id != message_id:
            turn_id = payload.get("turn_id") or ""
            shown = self._inherited.pop(turn_id, "")
            if message_id == self.before.message_id:
                shown = self.before.text
            self.speech = Speech(message_id, turn_id, shown=shown)
        return self.speech

    def _text_delta(self, payload: Payload) -> Iterator[Item]:
        self.thought = ""
        speech = self._say(payload)
        speech.text += payload["text"]
        if self.number <= self.before.number and speech.message_id != self.before.message_id:
            speech.shown = speech.text
        yield from self._other_text(speech)

    def _other_text(self, speech: Speech) -> Iterator[Item]:
        if speech.is_other_text:
            speech.shown = ""
            yield Note("The answer was begun again, in other words:")

    def _reasoning_delta(self, payload: Payload) -> Iterator[Item]:
        self.thought = (self.thought + payload["text"])[-2000:]
        yield from ()

    def _message_added(self, payload: Payload) -> Iterator[Item]:
        role = payload.get("role")
        if role == "user":
            images = len(payload.get("images") or ())
            is_steer = bool(payload.get("steer"))
            yield UserMessage(payload.get("content") or "", payload["message_id"], is_steer, images)
        elif role == "assistant":
            yield from self._assistant_message(payload)

    def _assistant_message(self, payload: Payload) -> Iterator[Item]:
        turn_id, calls = payload.get("turn_id") or "", payload.get("tool_calls") or ()
        text = payload.get("content") or ""
        if any(call.get("name") == "ask_followup_question" for call in calls):
            self.asks.add(turn_id)
        elif calls:
            self.asks.discard(turn_id)
        if text:
            self.answers[turn_id] = text
            speech = self._say(payload)
            speech.text = text
            yield from self._other_text(speech)
            yield SpeechEnded(speech)
        self.speech, self.thought = None, ""
        self._inherited.pop(turn_id, None)

    def _summary_added(self, payload: Payload) -> Iterator[Item]:
        yield Note(f"{payload.get('messages', 'Some')} older messages were summarised for the model.")

    def _message_edited(self, payload: Payload) -> Iterator[Item]:
        yield Note("A message that waits was changed to:")
        yield UserMessage(payload.get("content") or "", payload["message_id"])

    # Turns

    def _turn_started(self, payload: Payload) -> Iterator[Item]:
        if self.speech and self.speech.message_id in (payload.get("replaces") or ()):
            self._inherited[payload["turn_id"]] = self.speech.shown
            self.speech = None
        yield from ()

    def _turn_completed(self, payload: Payload) -> Iterator[Item]:
        self.tokens[payload["turn_id"]] = (payload.get("input_tokens") or 0, payload.get("output_tokens") or 0)
        yield from ()

    def _turn_failed(self, payload: Payload) -> Iterator[Item]:
        self.failures[payload["turn_id"]] = payload
        if self.speech:
            yield SpeechEnded(self.speech)
        yield Note(f"{payload.get('error')} ({payload.get('error_code')})", "bad")

    def _turn_cancelled(self, payload: Payload) -> Iterator[Item]:
        self.failures[payload["turn_id"]] = {"error_code": "cancelled", "error": "The turn was stopped."}
        if self.speech:
            yield SpeechEnded(self.speech)
        yield Note("Stopped.", "bad")

    def _retry_scheduled(self, payload: Payload) -> Iterator[Item]:
        wait = f"in {round(payload['retry_after'])} s" if payload.get("retry_after") else "later"
        yield Note(f"The model's provider is at its limit. The turn goes on by itself {wait}.")

    def _end(self, turn_id: str) -> None:
        self.turns.pop(turn_id, None)
        self._inherited.pop(turn_id, None)
        if self.speech and self.speech.turn_id == turn_id:
            self.speech = None
        self.thought = ""
        for table in (self.questions, self.calls):
            for key in [key for key, each in table.items() if _turn_of(each) == turn_id]:
                del table[key]

    # Agents, plans

    def _agent_switched(self, payload: Payload) -> Iterator[Item]:
        before, self.agent = self.agent, payload["to_agent"]
        if before and before != self.agent:
            reason = payload.get("reason") or ""
            yield Note(f"{self.agent} answers from here on" + (f": {reason}" if reason else "."))

    def _session_changed(self, payload: Payload) -> Iterator[Item]:
        mode = payload.get("mode") or self.mode
        if self.mode and mode != self.mode:
            yield Note(f"The mode is {mode} now.")
        self.mode, self.title = mode, payload.get("title") or self.title

    def _plan_proposed(self, payload: Payload) -> Iterator[Item]:
        self.plan = {**payload, "subtasks": [dict(each) for each in payload.get("subtasks") or ()]}
        if payload.get("status", "draft") == "draft":
            question = Question(payload["plan_id"], self.plan, is_plan=True)
            self.questions[question.key] = question
            yield question

    def _plan_decided(self, payload: Payload) -> Iterator[Item]:
        self.questions.pop(payload["plan_id"], None)
        words = {"approve": "approved", "edit": "changed and approved", "reject": "rejected"}
        decision = str(payload.get("decision"))
        if self.plan and payload.get("subtasks"):
            self.plan["subtasks"] = [dict(each) for each in payload["subtasks"]]
        yield Note(f"The plan was {words.get(decision, decision)}.", "plan")

    def _plan_updated(self, payload: Payload) -> Iterator[Item]:
        status = payload.get("status", "")
        for subtask in (self.plan or {}).get("subtasks", ()):
            if subtask["id"] == payload["subtask_id"]:
                subtask["status"] = status
                yield Note(f"{PLAN_MARKS.get(status, '·')} {subtask.get('agent')}: {subtask['description']}", "plan")

    def _plan_finished(self, payload: Payload) -> Iterator[Item]:
        self.questions.pop(payload["plan_id"], None)
        self.plan = None
        counts = f"{payload.get('completed', 0)} of {payload.get('total', 0)} sub-tasks done"
        yield Note(f"The plan is {payload.get('status')}: {counts}.", "plan")

    # Tool calls

    def _tool_call_requested(self, payload: Payload) -> Iterator[Item]:
        call_id = payload["call_id"]
        self.calls[call_id] = payload
        if payload.get("tool") == "create_plan":
            return
        if payload.get("requires_approval"):
            self.asked.add(call_id)
            question = self.questions[call_id] = Question(call_id, payload)
            yield question
        elif payload.get("tool") not in SILENT_TOOLS:
            yield Note(describe_call(payload))

    def _approval_decided(self, payload: Payload) -> Iterator[Item]:
        self.questions.pop(payload["call_id"], None)
        if payload.get("tool") == "create_plan":
            return
        call = self.calls.get(payload["call_id"])
        if call is not None and payload.get("arguments"):
            self.calls[payload["call_id"]] = {
                **call,
                **{k: payload[k] for k in ("arguments", "display") if k in payload},
            }
        status = str(payload.get("status"))
        yield Note(f"{status.capitalize()}: {describe_call(payload)}", "good" if status == "approved" else "info")

    def _tool_call_finished(self, payload: Payload) -> Iterator[Item]:
        call = self.calls.pop(payload["call_id"], None)
        self.questions.pop(payload["call_id"], None)
        if call is None or call.get("tool") in SILENT_TOOLS:
            return
        status, exit_code = payload.get("status"), payload.get("exit_code")
        if status == "failed" or exit_code:
            detail = f"exit code {exit_code}" if exit_code else "failed"
            yield Note(f"{describe_call(call)}: {detail}", "bad")
        elif status == "unknown":
            yield Note(f"{describe_call(call)}: may have run; its result is not known.", "bad")
        elif payload.get("diff") and payload["call_id"] not in self.asked:
            yield Change(call.get("tool", ""), payload["diff"])

    # Snapshots

    def _snapshot(self, payload: Payload) -> Iterator[Item]:
        """Yield what a snapshot has beyond what was shown, and take its state for this one's."""
        is_first = not (self._previous or self.before.number)
        session = payload.get("session") or {}
        self.agent, self.mode = session.get("current_agent") or "", session.get("mode") or ""
        self.title = session.get("title") or ""
        self.turns = {turn["turn_id"]: turn["status"] for turn in payload.get("turns") or ()}
        self.questions, self.calls, self.plan = {}, {}, None
        last = self.before.message_id or (self.speech.message_id if self.speech else "")
        speech, self.speech = self.speech, None
        messages = payload.get("messages") or []
        # Ids of messages sort by time (UUIDv7), so those behind the last one shown are new.
        fresh = [each for each in messages if is_first or (last and each["message_id"] >= last)]
        if len(fresh) > 20:
            yield Note(f"{len(messages) - 20} older messages are not shown; `codelab export` has them.")
        for message in fresh[-20:]:
            if speech and message["message_id"] == speech.message_id:
                self.speech = speech
            yield from self._message_added(message)
        for text in payload.get("texts") or ():
            self.speech = speech if speech and speech.message_id == text["message_id"] else self._say(text)
            self.speech.text = text["text"]
        for call in payload.get("tool_calls") or ():
            yield from self._tool_call_requested(call)
        if payload.get("plan"):
            yield from self._plan_proposed(payload["plan"])


def _turn_of(each: Question | Payload) -> str:
    payload = each.payload if isinstance(each, Question) else each
    return str(payload.get("turn_id"))

"""Finds the violations of a run: a pure function of its history and of the stored data.

The right answer is known, because the provider computes token i of turn t from both. Each violation has enough detail
to find it in the history.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.chaos.dump import Dump, by_session
from tests.chaos.history import Record
from tests.chaos.sockets import Log, received
from tests.chaos.violations import Violation
from tests.live.provider import turn_token

ENDS = {"turn_completed": "completed", "turn_failed": "failed", "turn_cancelled": "cancelled"}


def check(
    records: Sequence[Record], dump: Dump, tools: Sequence[Record] = (), requests: Sequence[Record] = ()
) -> list[Violation]:
    """Return all violations."""
    logs = {session: Log(session, events) for session, events in by_session(dump.events).items()}
    poisoned = {
        record.get("turn") for record in records if record["what"] == "ended" and record["kind"] == "poison_turn"
    }
    stories = {turn["id"]: Story(turn, is_poisoned=turn["id"] in poisoned) for turn in dump.turns}
    moved = {
        (message, event["turn"])
        for event in dump.events
        if event["kind"] == "turn_queued"
        for message in event["payload"].get("messages", ())
    }
    found = [*_accepted(records, dump, moved), *_refused(records), *_steered(dump)]
    for session, log in logs.items():
        found += log.contiguous()
        found += log.equals(dump.replays.get(session))
        found += _told(session, log, stories)
    found += _ended(dump, stories)
    found += _stored(dump, stories)
    found += received(records, logs)
    found += _tools(tools, stories)
    found += _requests(requests, stories)
    return found


def expected(wish: str) -> str:
    """Return the provider's answer to a message."""
    number, tokens, tools = (int(_wished(wish, name)) for name in ("turn", "tokens", "tools"))
    return "".join(turn_token(number, i) for i in range(tokens * (tools + 1)))


def _wished(wish: str, name: str) -> str:
    found = re.search(rf"\b{name}=(\d+)", wish)
    return found[1] if found else "0"


@dataclass
class Story:
    """What the log has about one turn."""

    row: Record
    #: The database refused its text from some moment on: it has to end, and its text cannot be stored as shown.
    is_poisoned: bool = False
    #: What the model was asked for last, and what it had said before.
    wish: str = ""
    before: str = ""
    #: All that it was asked for, and the texts of messages by their ids.
    wishes: list[str] = field(default_factory=list)
    contents: dict[str, str] = field(default_factory=dict)
    #: The message that queued the turn; a turn of steered messages has none.
    first: str = ""
    attempt: int = 0
    starts: int = 0
    texts: dict[str, str] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    ends: list[str] = field(default_factory=list)
    #: When its provider takes requests again.
    retry_at: datetime | None = None

    @property
    def name(self) -> str:
        return f"turn {_wished(self.wish, 'turn')} ({self.row['id']})"

    def shown(self) -> str:
        return "".join(self.texts.values())

    def right(self) -> str:
        """Return the whole text that the turn has to say."""
        return self.before + expected(self.wish)

    def ask(self, wish: str) -> None:
        """Take another wish; the model follows the newest one."""
        self.wish, self.before = wish, self.shown()
        self.wishes.append(wish)


def _accepted(records: Sequence[Record], dump: Dump, moved: set[tuple[str, str]]) -> Iterator[Violation]:
    sent: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record["what"] in ("sent", "edited"):
            sent[record["id"]].add(record["text"])
    stored: dict[str, list[Record]] = defaultdict(list)
    contents = Counter(message["content"] for message in dump.messages if message["role"] == "user")
    for message in dump.messages:
        if message["role"] == "user":
            stored[message["client_message_id"]].append(message)
    for message_id, found in stored.items():
        content, session = found[0]["content"], found[0]["session"]
        if len(found) > 1 or content not in sent[message_id]:
            yield Violation("doubled", session, f"{message_id} is stored {len(found)} times, or is not what was sent")
        elif contents[content] > 1:
            yield Violation("doubled", session, f"{content!r} is stored more than once")
    for record in records:
        if record["what"] == "acked":
            found = stored[record["id"]]
            if not found:
                yield Violation("lost", record["session"], f"{record['id']} was accepted at {record['t']}")
            elif found[0]["id"] != record["message"] or not (
                found[0]["turn"] == record["turn"] or (found[0]["id"], found[0]["turn"]) in moved
            ):
                yield Violation("doubled", record["session"], f"{record['id']} was accepted as another one")


def _steered(dump: Dump) -> Iterator[Violation]:
    """Yield steered messages that a turn has not read once, though it began after they had come into it."""
    reads = Counter(message for event in dump.events for message in event["payload"].get("reads", ()))
    statuses = {turn["id"]: turn["status"] for turn in dump.turns}
    begun = {event["turn"] for event in dump.events if event["kind"] == "turn_started"}
    for message in dump.messages:
        if not message.get("steered") or message.get("withdrawn"):
            continue
        # A turn of unread messages that is stopped before it begins leaves them without an answer.
        is_stopped = message["turn"] not in begun and statuses[message["turn"]] == "cancelled"
        if reads[message["id"]] > 1:
            yield Violation("doubled", message["session"], f"{message['id']} was read {reads[message['id']]} times")
        elif not reads[message["id"]] and not is_stopped:
            yield Violation("lost", message["session"], f"{message['id']} was steered into a turn and never read")


def _refused(records: Sequence[Record]) -> Iterator[Violation]:
    for record in records:
        if record["what"] == "refused" and record["code"] == "internal_error":
            yield Violation("crashed", record["session"], f"{record['socket']} got an internal error at {record['t']}")


def _told(session: str, log: Log, stories: dict[str, Story]) -> Iterator[Violation]:
    """Follow a session's log as a client would."""
    for event in log.events:
        story = stories.get(event["turn"] or "")
        if story is None:
            continue
        kind, payload = event["kind"], event["payload"]
        where = f"{story.name}, event {event['number']} ({kind}, attempt {event['attempt']})"
        if story.ends:
            yield Violation("after_end", session, where)
        if event["attempt"] and event["attempt"] < story.attempt:
            yield Violation("stale", session, f"{where} after attempt {story.attempt} had begun")
        if kind == "turn_started":
            yield from _shown_so_far(session, story)
            if story.retry_at and event["created_at"] < story.retry_at:
                yield Violation("early", session, f"{where} before {story.retry_at}")
            story.retry_at = None
            story.attempt, story.starts = max(story.attempt, payload["attempt"]), story.starts + 1
            for message_id in payload["replaces"]:
                story.texts.pop(message_id, None)
                story.withdrawn.add(message_id)
            for message_id in payload.get("reads", ()):
                story.ask(story.contents.get(message_id, ""))
        elif kind == "text_delta":
            if payload["message_id"] in story.withdrawn:
                yield Violation("stale", session, f"{where} adds to a message that was withdrawn")
            story.texts[payload["message_id"]] = story.texts.get(payload["message_id"], "") + payload["text"]
        elif kind == "retry_scheduled":
            story.retry_at = datetime.fromisoformat(payload["retry_at"])
        elif kind == "turn_queued" and "messages" in payload:
            for message_id in payload["messages"]:
                for home in [each for each in stories.values() if message_id in each.contents]:
                    story.contents[message_id] = home.contents.pop(message_id)
        elif kind == "message_edited" or (kind == "message_added" and payload["role"] == "user"):
            story.contents[payload["message_id"]] = payload["content"]
            if kind == "message_added" and "steer" not in payload:
                story.first = payload["message_id"]
            if payload["message_id"] == story.first:
                story.wish, story.wishes = payload["content"], [payload["content"]]
        elif kind == "message_added" and payload["role"] == "assistant":
            said = story.texts.setdefault(payload["message_id"], "")
            if said != payload["content"] and not story.is_poisoned:
                yield Violation("stored", session, f"{where}: the whole is not its pieces")
        elif kind in ENDS:
            story.ends.append(kind)


def _shown_so_far(session: str, story: Story) -> Iterator[Violation]:
    shown, right = story.shown(), story.right()
    if not right.startswith(shown):
        at = next((i for i, (a, b) in enumerate(zip(shown, right, strict=False)) if a != b), len(right))
        near = slice(max(0, at - 30), at + 30)
        yield Violation("text", session, f"{story.name} shows {shown[near]!r} where {right[near]!r} is right")


def _ended(dump: Dump, stories: dict[str, Story]) -> Iterator[Violation]:
    for turn in dump.turns:
        story, session = stories[turn["id"]], turn["session"]
        if turn["status"] not in ENDS.values():
            yield Violation("open", session, f"{story.name} is {turn['status']}, attempt {turn['attempt']}")
        elif [ENDS[kind] for kind in story.ends] != [turn["status"]]:
            yield Violation("ends", session, f"{story.name} is {turn['status']}, its events are {story.ends}")
        if turn["error_code"] == "internal_error" and not story.is_poisoned:
            yield Violation("crashed", session, story.name)
        yield from _shown_so_far(session, story)
        if turn["status"] == "completed" and story.shown() != story.right():
            yield Violation("text", session, f"{story.name} is completed with {len(story.shown())} characters")


def _stored(dump: Dump, stories: dict[str, Story]) -> Iterator[Violation]:
    stored: dict[str, dict[str, str]] = defaultdict(dict)
    for message in dump.messages:
        if message["role"] == "user" and message["content"] != stories[message["turn"]].contents.get(message["id"]):
            yield Violation("stored", message["session"], f"{message['id']} is not what the log says")
        if message["role"] == "assistant":
            stored[message["turn"]][message["id"]] = message["content"]
    for story in stories.values():
        shown = {message_id: text for message_id, text in story.texts.items() if text}
        kept = {message_id: text for message_id, text in stored[story.row["id"]].items() if text}
        if story.ends and shown != kept and not story.is_poisoned:
            yield Violation("stored", story.row["session"], f"{story.name}: {len(kept)} stored, {len(shown)} shown")
    for session, messages in by_session(dump.messages).items():
        told = dump.histories.get(session, ())
        if [_facts(message) for message in told] != [_facts(m) for m in messages if not m.get("withdrawn")]:
            yield Violation("different", session, "the history is not what is stored")


def _facts(message: Record) -> tuple[str, str, str]:
    return message["id"], message["role"], message["content"]


def _tools(tools: Sequence[Record], stories: dict[str, Story]) -> Iterator[Violation]:
    runs = Counter((tool["session"], tool["turn_number"], tool["step"]) for tool in tools)
    for (session, turn, step), times in runs.items():
        if times > 1:
            yield Violation("tool", session, f"the tool of turn {turn}, step {step} ran {times} times")
    for story in stories.values():
        turn, wanted = int(_wished(story.wish, "turn")), int(_wished(story.wish, "tools"))
        done = sum(runs[story.row["session"], turn, step] > 0 for step in range(wanted))
        if story.row["status"] == "completed" and tools and done != wanted:
            yield Violation("tool", story.row["session"], f"{story.name} is completed with {done} of {wanted} tools")


def _requests(requests: Sequence[Record], stories: dict[str, Story]) -> Iterator[Violation]:
    asked = Counter(request["turn"] for request in requests)
    for story in stories.values():
        times = sum(asked[int(_wished(wish, "turn"))] for wish in story.wishes)
        if times > story.starts:
            yield Violation("retried", story.row["session"], f"{story.name}: {times} requests, {story.starts} attempts")

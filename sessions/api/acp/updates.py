"""Translates events of a session into updates of the Agent Client Protocol. Pure: the state comes from events alone.

Most events become one update, so the number of the event is a cursor that neither loses nor repeats anything. Of
several the last one has it. Those before it have the number of the event before, when they only tell a state and may
come again, or else a cursor of their own: `13.1` is the first chunk of a user's message that is event 14.
"""

from collections.abc import Iterator
from typing import Any

from agents.tools import TOOLS, RunsOn
from sessions.api.acp.options import options
from sessions.api.acp.tool_views import call_fields, text_content
from sessions.api.shown_text import ShownText
from sessions.events.log import LoggedEvent
from sessions.models import EventKind, MessageRole

type Update = dict[str, Any]

#: Characters of a result in an update. The history has the whole.
MAX_RESULT_CHARACTERS = 20_000
STATUSES = {"pending": "pending", "in_progress": "in_progress", "completed": "completed"}
#: What ACP calls the end of a call. A call that is refused, or of which nothing is known, has not worked.
CALL_STATUSES = {"completed": "completed", "failed": "failed", "rejected": "failed", "unknown": "failed"}


class Translator:
    """What one client has been shown of one session."""

    def __init__(
        self, folder: str, own_messages: set[str], *, agent: str, mode: str, can_show_notices: bool = False
    ) -> None:
        self._folder, self._own_messages, self._can_show_notices = folder, own_messages, can_show_notices
        self._agent, self._mode = agent, mode
        self._texts, self._thoughts = ShownText(), ShownText()
        #: The message whose pieces came last.
        self._begun_message = ""
        #: The calls that the client was shown, and those of the newest answer, by id.
        self._shown_calls: dict[str, dict[str, Any]] = {}
        self._requested: dict[str, dict[str, Any]] = {}
        self._plan: dict[str, Any] | None = None

    def updates(self, event: LoggedEvent) -> list[tuple[str, Update]]:
        """Return the updates of an event, each with its cursor."""
        updates = list(self._updates(event.kind, event.payload))
        places = range(1, len(updates)) if event.kind == EventKind.MESSAGE_ADDED else [0] * (len(updates) - 1)
        cursors = [f"{event.number - 1}.{place}" if place else str(event.number - 1) for place in places]
        return list(zip([*cursors, str(event.number)], updates, strict=False))

    def _updates(self, kind: str, payload: dict[str, Any]) -> Iterator[Update]:
        match kind:
            case EventKind.TEXT_DELTA:
                self._begun_message = payload["message_id"]
                yield from _piece("agent_message_chunk", payload, self._texts)
            case EventKind.REASONING_DELTA:
                yield from _piece("agent_thought_chunk", payload, self._thoughts)
            case EventKind.MESSAGE_ADDED:
                yield from self._message(payload)
            case EventKind.TOOL_CALL_REQUESTED:
                yield self._requested_call(payload)
            # The end of a rejected call follows.
            case EventKind.APPROVAL_DECIDED if payload["status"] in ("approved", "edited"):
                yield self._approved_call(payload)
            case EventKind.TOOL_CALL_FINISHED:
                status = CALL_STATUSES.get(payload["status"], "failed")
                yield {"sessionUpdate": "tool_call_update", "toolCallId": payload["call_id"], "status": status}
            case EventKind.AGENT_SWITCHED:
                self._agent = payload["to_agent"]
                yield {"sessionUpdate": "current_mode_update", "currentModeId": self._agent}
                yield {"sessionUpdate": "config_option_update", "configOptions": options(self._agent, self._mode)}
            case EventKind.SESSION_CHANGED:
                self._mode = payload["mode"]
                yield {"sessionUpdate": "session_info_update", "title": payload["title"]}
                yield {"sessionUpdate": "config_option_update", "configOptions": options(self._agent, self._mode)}
            case EventKind.PLAN_PROPOSED | EventKind.PLAN_DECIDED | EventKind.PLAN_UPDATED | EventKind.PLAN_FINISHED:
                yield from self._plan_update(kind, payload)
            case "retry_scheduled":
                yield self._notice(
                    "The provider accepts no more requests for now. The turn goes on by itself.", payload
                )

    def _message(self, payload: dict[str, Any]) -> Iterator[Update]:
        match payload["role"]:
            case MessageRole.USER:
                if payload["message_id"] not in self._own_messages:
                    yield from _user_message(payload)
            case MessageRole.ASSISTANT:
                self._requested = {call["id"]: call for call in payload.get("tool_calls", ())}
                message_id, text = payload["message_id"], payload["content"]
                if rest := self._thoughts.rest(message_id, payload.get("reasoning", "")):
                    yield _chunk("agent_thought_chunk", message_id, rest)
                rest = self._texts.rest(message_id, text)
                # A text that the server writes in an agent's place has no pieces.
                if rest := rest if self._begun_message == message_id else text:
                    yield _chunk("agent_message_chunk", message_id, rest)
            case MessageRole.TOOL:
                yield from self._result(payload["tool_call_id"], payload["content"])

    def _result(self, call_id: str, content: str) -> Iterator[Update]:
        text = content if len(content) <= MAX_RESULT_CHARACTERS else f"{content[:MAX_RESULT_CHARACTERS]}…"
        if shown := self._shown_calls.pop(call_id, None):
            update: Update = {"sessionUpdate": "tool_call_update", "toolCallId": call_id, "rawOutput": text}
            # A diff, or the editor's own terminal, says more.
            if "content" not in shown and shown["kind"] != "execute":
                update["content"] = [text_content(text)]
            yield update
        elif (call := self._requested.get(call_id)) and not _runs_on_server(call["name"]):
            # The policy has refused it, so clients were not asked to run it.
            fields = {**call, "call_id": call_id, "tool": call["name"]}
            view = call_fields(fields, self._folder)
            view |= {"status": "failed", "content": [text_content(text)]}
            yield {"sessionUpdate": "tool_call", **view}

    def _requested_call(self, payload: dict[str, Any]) -> Update:
        fields = call_fields(payload, self._folder)
        is_known = payload["call_id"] in self._shown_calls
        self._shown_calls[payload["call_id"]] = fields
        status = "pending" if payload["requires_approval"] else "in_progress"
        return {"sessionUpdate": "tool_call_update" if is_known else "tool_call", **fields, "status": status}

    def _approved_call(self, payload: dict[str, Any]) -> Update:
        # A person may have changed the arguments.
        changed = call_fields(payload, self._folder) if payload["status"] == "edited" else {}
        if changed:
            self._shown_calls[payload["call_id"]] = changed
        fields = {"toolCallId": payload["call_id"], **changed, "status": "in_progress"}
        return {"sessionUpdate": "tool_call_update", **fields}

    def _plan_update(self, kind: str, payload: dict[str, Any]) -> Iterator[Update]:
        match kind:
            case EventKind.PLAN_PROPOSED:
                self._plan = payload
            case EventKind.PLAN_DECIDED if payload["decision"] == "edit" and self._plan:
                self._plan = {**self._plan, "subtasks": payload["subtasks"]}
            case EventKind.PLAN_UPDATED if self._plan:
                changed = {"status": payload["status"]}
                subtasks = [
                    {**each, **changed} if each["id"] == payload["subtask_id"] else each
                    for each in self._plan["subtasks"]
                ]
                self._plan = {**self._plan, "subtasks": subtasks}
            case _:
                return
        yield {"sessionUpdate": "plan", "entries": [_entry(each) for each in self._plan["subtasks"]]}

    def _notice(self, text: str, payload: dict[str, Any]) -> Update:
        if self._can_show_notices:
            return {"sessionUpdate": "notice", "severity": "warning", "title": text}
        return {"sessionUpdate": "agent_thought_chunk", "content": {"type": "text", "text": text}}


def _entry(subtask: dict[str, Any]) -> dict[str, str]:
    status = subtask.get("status", "pending")
    # ACP has no word for what was not done.
    note = f" ({status})" if status in ("failed", "skipped") else ""
    known = STATUSES.get(status, "completed" if note else "pending")
    return {"content": subtask["description"] + note, "priority": "medium", "status": known}


def _piece(kind: str, payload: dict[str, Any], shown: ShownText) -> Iterator[Update]:
    if payload.get("again"):
        # An editor cannot retract text, so it gets what the second attempt says beyond that of the first.
        shown.hold_back(payload["message_id"])
        return
    shown.add(payload["message_id"], payload["text"])
    yield _chunk(kind, payload["message_id"], payload["text"])


def _chunk(kind: str, message_id: str, text: str) -> Update:
    return {"sessionUpdate": kind, "messageId": message_id, "content": {"type": "text", "text": text}}


def _user_message(payload: dict[str, Any]) -> Iterator[Update]:
    yield _chunk("user_message_chunk", payload["message_id"], payload["content"])
    for image in payload.get("images", ()):
        link = {"type": "resource_link", "uri": f"codelab:image/{image['image_id']}", "name": "image"}
        link |= {"mimeType": image["media_type"], "size": image["bytes"]}
        yield {"sessionUpdate": "user_message_chunk", "messageId": payload["message_id"], "content": link}


def _runs_on_server(tool: str) -> bool:
    return tool in TOOLS and TOOLS[tool].runs_on is RunsOn.SERVER

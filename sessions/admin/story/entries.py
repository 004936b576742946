"""What a story says of each event: a heading, facts, texts and links. Reads no database."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sessions.admin.display import escape_controls, format_duration, image_links, link, pretty, pretty_text, show_time
from sessions.admin.story.entry import Entry, Facts, cut, cut_arguments
from sessions.admin.story.model_calls import model_call_entry
from sessions.admin.story.rows import Rows
from sessions.models import Event, EventKind, MessageRole, Plan


def entries_of(events: list[Event], rows: Rows) -> list[tuple[uuid.UUID | None, Entry]]:
    """Return the entries of events in order, each with its turn. The model calls of an attempt follow its begin."""
    entries: list[tuple[uuid.UUID | None, Entry]] = []
    last: dict[uuid.UUID | None, Event] = {}
    for event in events:
        make = ENTRIES.get(event.kind, _other)
        entry = _queued(event, last.get(event.turn_id)) if event.kind == EventKind.TURN_QUEUED else make(event, rows)
        if entry:
            entry.number, entry.time = event.number, show_time(event.created_at)
            entries.append((event.turn_id, entry))
        last[event.turn_id] = event
        if event.kind == EventKind.TURN_STARTED and event.turn_id:
            calls = rows.model_calls[event.turn_id, event.attempt]
            entries += ((event.turn_id, model_call_entry(call)) for call in calls)
    return entries


def _message(event: Event, rows: Rows) -> Entry | None:
    row = rows.messages.get(event.number)
    if row is None:
        return None
    call = rows.calls.get((row.turn_id, row.tool_call_id)) if row.tool_call_id else None
    if call and call.length == row.length and call.text == row.text and not row.images:
        # The entry of the call has its result.
        return None
    entry = Entry("What the model got as the result" if call else row.role.capitalize(), role=row.role)
    entry.links = [link(row, "Message")]
    entry.state = "interrupted" if row.interrupted else "withdrawn" if row.withdrawn else ""
    if row.subtask:
        entry.facts.append(("Sub-task", escape_controls(row.subtask.key)))
    for name, is_so in (
        ("incomplete answer", row.interrupted),
        (f"steered: read by the step that began at {row.read_number}", row.read_number),
        ("steered: not read yet", row.steered and not row.read_number),
        ("withdrawn or replaced: models do not read it", row.withdrawn),
    ):
        if is_so:
            entry.facts.append(("", name))
    if row.images:
        entry.facts.append(("Images", image_links(row)))
    if row.thoughts:
        entry.texts.append(cut("Reasoning", row.thoughts, row.thoughts_length, is_open=False))
    if row.text:
        entry.texts.append(cut("", row.text, row.length, is_code=call is not None, is_open=call is None))
    if row.surroundings:
        entry.texts.append(cut("What the model was told of the workspace", row.surroundings, is_open=False))
    for each in row.tool_calls:
        stored = rows.calls.get((row.turn_id, each["id"]))
        entry.texts.append(cut_arguments(f"Calls {escape_controls(each['name'])}", each["arguments"]))
        if stored:
            entry.links.append(link(stored, "Call"))
    return entry


def _requested(event: Event, rows: Rows) -> Entry:
    payload = event.payload
    needs = "needs approval" if payload["requires_approval"] else "waits for its client"
    entry = Entry(f"{escape_controls(payload['tool'])} {needs}", role="tool")
    entry.facts = [("Reason", escape_controls(payload["reason"])), ("Rule", escape_controls(payload["rule"]))]
    if payload.get("unknown"):
        entry.facts.append(("", "asked again: its client went away, and it is not known whether it ran"))
    return entry


def _decided(event: Event, rows: Rows) -> Entry:
    call = _call_of(event, rows)
    entry = Entry(f"Approval of {escape_controls(event.payload['tool'])}", role="approval")
    entry.state = event.payload["status"]
    entry.facts = [("Via", event.payload["via"])]
    if call and (approval := getattr(call, "approval", None)):
        by = approval.decided_by
        entry.facts.insert(0, ("By", escape_controls(by.get_username()) if by else "no one: its time was over"))
        entry.facts.append(("Asked for", format_duration(approval.created_at, approval.decided_at)))
        entry.facts.append(("Because of", escape_controls(call.rule) or "–"))
        entry.links = [link(approval, "Approval")]
        if approval.feedback:
            entry.texts.append(cut("Word to the model", approval.feedback))
    if event.payload["status"] == "edited":
        entry.texts.append(cut_arguments("Changed to", event.payload["arguments"]))
    return entry


def _finished(event: Event, rows: Rows) -> Entry:
    call = _call_of(event, rows)
    entry = Entry(f"{escape_controls(call.tool)} ended" if call else "A call ended", role="tool")
    entry.state = event.payload["status"]
    if "exit_code" in event.payload:
        entry.facts.append(("Exit code", event.payload["exit_code"]))
    if call:
        entry.facts += [("Duration", format_duration(call.created_at, call.finished_at))]
        if call.rule:
            entry.facts.append(("Rule", escape_controls(call.rule)))
        if call.edited:
            entry.facts.append(("", "edited by a person"))
        entry.links = [link(call, "Call")]
    if diff := event.payload.get("diff"):
        entry.texts.append(cut("Diff", diff, is_code=True))
    if call and call.text:
        entry.texts.append(cut("Result", call.text, call.length, layout=pretty_text, is_code=True))
    return entry


def _call_of(event: Event, rows: Rows) -> Any:
    return rows.calls.get((event.turn_id, event.payload["call_id"])) if event.turn_id else None


def _queued(event: Event, before: Event | None) -> Entry:
    """Say why a turn is queued: nothing else tells a recovery from a next step."""
    titles: Mapping[str, str] = {
        EventKind.TURN_WAITING: "Queued: all results are in",
        EventKind.TOOL_CALL_FINISHED: "Queued: all results are in",
        EventKind.RETRY_SCHEDULED: "Queued until the provider takes requests again",
        EventKind.MESSAGE_ADDED: "Queued",
        EventKind.TURN_STARTED: "Recovered: the worker of this attempt was lost",
    }
    kind = before.kind if before else ""
    if before and before.payload.get("role") == MessageRole.TOOL:
        kind = EventKind.TOOL_CALL_FINISHED
    if kind == EventKind.TURN_STARTED and event.attempt:
        return Entry("Given back by a worker that ends")
    entry = Entry(titles.get(kind, "Queued"), state="lost" if kind == EventKind.TURN_STARTED else "")
    if moved := event.payload.get("messages"):
        entry.facts.append(("Takes over", f"{len(moved)} messages that no step had read"))
    return entry


def _started(event: Event, rows: Rows) -> Entry:
    entry = Entry(f"Attempt {event.payload['attempt']} began", role="attempt")
    entry.facts = [("Model", escape_controls(event.payload["model"]) or "–")]
    turn = rows.turns.get(event.turn_id) if event.turn_id else None
    if turn and turn.attempt == event.payload["attempt"]:
        entry.facts.append(("Worker", escape_controls(turn.worker) or "–"))
    if event.payload["replaces"]:
        entry.facts.append(("Replaces", f"{len(event.payload['replaces'])} unfinished messages"))
    if reads := event.payload.get("reads"):
        entry.facts.append(("Reads", f"{len(reads)} steered messages"))
    return entry


def _switched(event: Event, rows: Rows) -> Entry:
    p = event.payload
    entry = Entry(f"Agent: {escape_controls(p['from_agent'])} → {escape_controls(p['to_agent'])}", role="switch")
    entry.facts = [("Reason", escape_controls(p["reason"])), ("Confidence", escape_controls(p["confidence"]))]
    if p.get("by_user"):
        entry.facts.append(("", "chosen by the user"))
    return entry


def _retry(event: Event, rows: Rows) -> Entry:
    p = event.payload
    facts: Facts = [("Until", p["retry_at"]), ("Seconds", p["retry_after"]), ("Error", p["error_code"])]
    return Entry("Waits: the provider asks for it", state="waiting", facts=facts)


def _summary(event: Event, rows: Rows) -> Entry:
    title = f"Summary of {event.payload['messages']} earlier messages, which the model reads instead of them"
    return Entry(title, role="summary", texts=[cut("Summary", event.payload["text"], is_open=False)])


def _ended(event: Event, rows: Rows) -> Entry:
    entry = Entry(f"The turn {event.kind.removeprefix('turn_')}", state=event.kind.removeprefix("turn_"))
    if error := event.payload.get("error"):
        entry.title = "The turn failed"
        entry.facts.append(("Code", event.payload["error_code"]))
        entry.texts.append(cut("What the user is told", error))
    elif event.kind == EventKind.TURN_CANCELLED:
        entry.title = "The turn was stopped"
    return entry


def _plan(event: Event, rows: Rows) -> Entry:
    p = event.payload
    state = p.get("decision") or p.get("status") or ""
    titles: Mapping[str, str] = {
        EventKind.PLAN_PROPOSED: "Plan proposed",
        EventKind.PLAN_DECIDED: "Plan decided",
        EventKind.PLAN_UPDATED: f"Sub-task {escape_controls(p.get('subtask_id', ''))}",
        EventKind.PLAN_FINISHED: "Plan ended",
    }
    entry = Entry(titles[event.kind], role="plan", state=state)
    entry.facts = [(name.capitalize(), escape_controls(p[name])) for name in ("agent", "goal") if p.get(name)]
    for name in ("feedback", "result"):
        if p.get(name):
            entry.texts.append(cut(name.capitalize(), p[name], is_open=False))
    if tasks := p.get("subtasks"):
        entry.texts.append(cut(f"{len(tasks)} sub-tasks", pretty(tasks), layout=str, is_code=True, is_open=False))
    if event.kind == EventKind.PLAN_PROPOSED:
        entry.links.append(link(Plan(pk=p["plan_id"]), "Plan"))
    return entry


def _other(event: Event, rows: Rows) -> Entry:
    """Show any other event as it is, also one of a newer version."""
    details = {name: value for name, value in event.payload.items() if name != "turn_id"}
    entry = Entry(event.kind.replace("_", " ").capitalize())
    if details:
        entry.texts.append(cut("Details", pretty(details), layout=str, is_code=True, is_open=False))
    return entry


def _waiting(event: Event, rows: Rows) -> Entry:
    return Entry("Waits for results or approvals", state="waiting")


ENTRIES: dict[str, Callable[[Event, Rows], Entry | None]] = {
    EventKind.MESSAGE_ADDED: _message,
    EventKind.TURN_STARTED: _started,
    EventKind.TURN_WAITING: _waiting,
    EventKind.TOOL_CALL_REQUESTED: _requested,
    EventKind.APPROVAL_DECIDED: _decided,
    EventKind.TOOL_CALL_FINISHED: _finished,
    EventKind.AGENT_SWITCHED: _switched,
    EventKind.RETRY_SCHEDULED: _retry,
    EventKind.SUMMARY_ADDED: _summary,
    EventKind.TURN_COMPLETED: _ended,
    EventKind.TURN_FAILED: _ended,
    EventKind.TURN_CANCELLED: _ended,
    EventKind.PLAN_PROPOSED: _plan,
    EventKind.PLAN_DECIDED: _plan,
    EventKind.PLAN_UPDATED: _plan,
    EventKind.PLAN_FINISHED: _plan,
}

"""The lines below a conversation: what happens now, and in one line where, with whom, and at what cost."""

import time

from codelab_cli.conversation import Conversation
from codelab_cli.items import describe_call
from codelab_cli.visible import one_line, visible

#: Lines of a text that streams.
TAIL_LINES = 12


def live_lines(conversation: Conversation, unsent: int) -> str:
    """Return what happens now: thoughts, the text that is not complete, the tool that runs, messages on their way."""
    view, lines = conversation.view, []
    if view.thought:
        lines += visible(view.thought).strip().splitlines()[-2:]
    if view.speech and view.speech.pending:
        lines += visible(view.speech.pending[-4000:]).strip("\n").splitlines()[-TAIL_LINES:]
    if (call := conversation.running) is not None:
        seconds = int(time.monotonic() - conversation.running_since)
        lines.append(
            f"⚙ {one_line(describe_call({'tool': call.name, 'arguments': call.arguments}), 100)} · {seconds} s"
        )
    if unsent and not conversation.session.is_connected:
        lines.append(f"… {unsent} to be sent when the server answers again")
    return "\n".join(lines)


def status_line(conversation: Conversation, width: int, *, is_busy: bool) -> str:
    """Return the status, as much of it as fits: the most important parts first."""
    view = conversation.view
    if not conversation.session.is_connected:
        state = "no connection, trying again"
    elif view.questions:
        state = "waits for your answer"
    elif conversation.running:
        state = "runs a tool"
    else:
        state = "works · Esc stops" if is_busy else "ready"
    parts = [state, view.agent or "no agent yet"]
    if view.plan and view.plan.get("subtasks"):
        subtasks = view.plan["subtasks"]
        done = sum(each.get("status") in ("completed", "skipped") for each in subtasks)
        parts.append(f"plan {done}/{len(subtasks)}")
    parts.append(f"mode {view.mode or 'ask'}")
    if tokens := sum(conversation.tokens):
        parts.append(f"{count(tokens)} tokens")
    if conversation.cost is not None and tokens:
        parts.append(f"${conversation.cost:.4f}" if conversation.cost < 1 else f"${conversation.cost:.2f}")
    parts.append(conversation.name)
    line = parts[0]
    for part in parts[1:]:
        if len(line) + len(part) + 3 <= width:
            line += f" · {part}"
    return line[: max(0, width)]


def count(number: int) -> str:
    """Return a number in few characters: 950, 12.3k, 1.5M."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"

"""Flower's pages of tasks, with links to the turns in the admin.

Flower's own templates stay as they are: ours extend them. Flower reads no database, so a link is made of the turn's id,
which is the argument of its task.
"""

import re
from pathlib import Path
from typing import Any

from flower import urls
from flower.views.tasks import TasksView, TaskView
from tornado.web import authenticated, url

from codelab.environment import environment
from codelab.flower.tasks import TURN_TASK

TEMPLATES = Path(__file__).parent / "templates"
#: Every 30 s a clean-up runs, and would drown the turns.
CLEAN_UP_TASKS = "tidy"
_TURN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def turn_page(task: Any) -> str:
    """Return the address of a task's turn in the admin; empty for other tasks, or where it is not known."""
    found = _TURN_ID.search(str(task.args or "")) if task.name == TURN_TASK else None
    return (
        f"{environment.web_url}/admin/agent_sessions/turn/{found[0]}/change/" if found and environment.web_url else ""
    )


class LinkedTaskView(TaskView):  # type: ignore[misc]  # Flower has no types
    """The page of a task, with a link to its turn."""

    def render(self, _name: str, **context: Any) -> None:
        """Show the page."""
        super().render(str(TEMPLATES / "turn_task.html"), turn_page=turn_page(context["task"]), **context)


class SeparateTasksView(TasksView):  # type: ignore[misc]
    """The list of tasks: of turns, or of the clean-up."""

    @authenticated
    def get(self) -> Any:
        """Show the list; without a choice, that of turns."""
        if self.request.arguments:
            return super().get()
        self.redirect(f"{self.reverse_url('tasks')}?name={TURN_TASK}")
        return None

    def render(self, _name: str, **context: Any) -> None:
        """Show the page."""
        lists = {"Turns": TURN_TASK, "Clean-up": CLEAN_UP_TASKS}
        name = self.get_argument("name", "")
        super().render(str(TEMPLATES / "separate_tasks.html"), lists=lists, shown=name, **context)


def install() -> None:
    """Have Flower show these pages. Call it before Flower starts."""
    replaced = {"task": LinkedTaskView, "tasks": SeparateTasksView}
    for index, handler in enumerate(urls.handlers):
        if view := replaced.get(getattr(handler, "name", None) or ""):
            urls.handlers[index] = url(handler.regex.pattern, view, name=handler.name)

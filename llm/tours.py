"""The scripts that `/tour NAME` plays: what a newcomer sees in the first minute, on the demo project of the chat page.

A tour is steps, one for each call of the model. It is a play and says so; it must never read as a real model's answer.
The edits match the files of `sessions/static/sessions/workspace/demo.js` to the letter.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from llm.types import ModelMessage

#: Long enough to reload the page in the middle: about 12 seconds.
RELOAD_LINES = 60

_NAME_PATTERN = re.compile(r"/tour (\w{1,32})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TourStep:
    """The commands of one call of the model."""

    script: str
    #: Whether the call before must have failed. Where it is the other way round, the tour ends with `otherwise`.
    after_error: bool = False
    otherwise: str = "/type That did not go as this script expects, so it ends here. Pick it again to start over."


@dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    """A script for one message, and the agent that plays it."""

    agent: str
    reason: str
    steps: tuple[TourStep, ...]


def _call(tool: str, **arguments: object) -> str:
    return f"/call {tool} {json.dumps(arguments, ensure_ascii=False)}"


def _edit(path: str, *, search: str, replace: str) -> str:
    diff = f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"
    return _call("apply_diff", path=path, diff=diff)


def _lines(*commands: str) -> str:
    return "\n".join(commands)


_READ = _call("read_file", path="menu.json")
_CHECK = _call("execute_command", command="check")
_SENCHA = '    { "name": "Sencha", "price": 3.8 }'
_REJECTED = "/type You rejected it, so nothing was changed. A real model would read your words and try something else."

_EDIT = (
    TourStep(
        script=_lines(
            "/type This is a script, not a model. It adds a tea to the menu, so it reads the file first.", _READ
        )
    ),
    TourStep(
        script=_lines(
            "/type Nothing is written before you approve it. Below is what would change.",
            _edit("menu.json", search=_SENCHA, replace=f'{_SENCHA},\n    {{ "name": "Earl Grey", "price": 3.5 }}'),
        )
    ),
    TourStep(script=_lines("/type Saved. Now the checks of the project.", _CHECK), otherwise=_REJECTED),
    TourStep(
        script=(
            r"/type **Done.** The menu has a third tea:\n\n| Tea | Price |\n| --- | ---: |\n| Assam | 3.20 € |\n"
            r"| Sencha | 3.80 € |\n| Earl Grey | 3.50 € |\n\n"
            r"The checks pass. Open `menu.json` beside this chat to see it."
        ),
        otherwise="/type The file is changed, and the checks did not run or did not pass.",
    ),
)

_BROKEN = '    { "name": "Sencha", "price": 3.8 },\n    { "name": "Oolong", "price": 4.1 },'
_REPAIRED = '    { "name": "Sencha", "price": 3.8 },\n    { "name": "Oolong", "price": 4.1 }'

_REPAIR = (
    TourStep(
        script=_lines(
            "/type This is a script, not a model. Its first edit does not fit the file, as happens to real models.",
            _edit("menu.json", search='    { "name": "Sencha", "price": 9.9 }', replace=_BROKEN),
        )
    ),
    TourStep(
        script=_lines("/type The edit was refused, and nothing changed. Read the file, then try again.", _READ),
        after_error=True,
        otherwise="/type The edit should have failed here. Start the demo project over, and pick this again.",
    ),
    TourStep(
        script=_lines(
            "/type This edit fits, but it leaves a comma too many.", _edit("menu.json", search=_SENCHA, replace=_BROKEN)
        )
    ),
    TourStep(script=_lines("/type Do the checks notice?", _CHECK), otherwise=_REJECTED),
    TourStep(
        script=_lines(
            "/type They do: `menu.json` is not JSON any more. Take the comma away.",
            _edit("menu.json", search=_BROKEN, replace=_REPAIRED),
        ),
        after_error=True,
        otherwise="/type The checks did not run, so the mistake stays. Pick this again to start over.",
    ),
    TourStep(script=_lines("/type And once more.", _CHECK), otherwise=_REJECTED),
    TourStep(
        script=(
            r"/type **Repaired.** What you saw:\n\n1. an edit that did not fit was refused\n"
            r"2. the next one fitted, and was wrong\n3. a check failed\n4. the repair passed\n\n"
            r"A real model gets the same errors, in words that say what to do."
        )
    ),
)

_DRINKS = "Write specials.md with the drink of each season."
_LINK = "Add a line about the specials to README.md."

_PLAN = (
    TourStep(
        script=_lines(
            "/type This is a script, not a model. A larger task gets a plan, and you decide about it first.",
            _call(
                "create_plan",
                goal="Offer seasonal drinks",
                subtasks=[
                    {"id": "drinks", "description": _DRINKS, "agent": "coder", "estimated_time": "1 min"},
                    {"id": "readme", "description": _LINK, "agent": "coder", "dependencies": ["drinks"]},
                ],
            ),
        )
    ),
    TourStep(
        script="/type The plan was carried out as far as its sub-tasks say.",
        otherwise="/type You rejected the plan, so nothing was done.",
    ),
)

_SPECIALS = "# Specials\n\n* Spring: jasmine\n* Summer: iced hibiscus\n* Autumn: chai\n* Winter: rooibos with orange\n"
_README_LINE = "* `checks.txt`: what must be true; the command `check` tries it"

_RELOAD = (
    TourStep(
        script=_lines(
            r"/type This is a script, not a model. **Reload the page while this list grows**, or close it and come "
            r"back. The answer is made in a worker, and every word is stored before you see it.\n\n",
            *(rf"/type {number}. Still here, and nothing is missing.\n" for number in range(1, RELOAD_LINES + 1)),
            rf"/type \n**The end.** All {RELOAD_LINES} lines are there, each once.",
        )
    ),
)

TOURS = {
    "edit": Tour(agent="coder", reason="The tour shows how the coder edits a file.", steps=_EDIT),
    "plan": Tour(agent="architect", reason="The tour shows how the architect plans a feature.", steps=_PLAN),
    "repair": Tour(agent="coder", reason="The tour shows how a tool's error is repaired.", steps=_REPAIR),
    "reload": Tour(agent="ask", reason="The tour shows an answer that goes on without the page.", steps=_RELOAD),
}

#: What the sub-tasks of the tour `plan` play, by their descriptions.
TASKS = {
    _DRINKS: (
        TourStep(script=_call("write_file", path="specials.md", content=_SPECIALS)),
        TourStep(script="/type specials.md has four drinks.", otherwise="/type The file was not written."),
    ),
    _LINK: (
        TourStep(
            script=_edit(
                "README.md", search=_README_LINE, replace=f"{_README_LINE}\n* `specials.md`: the seasonal drinks"
            )
        ),
        TourStep(script="/type README.md names the specials.", otherwise="/type README.md was not changed."),
    ),
}


def named_in(text: str) -> Tour | None:
    """Return the tour that a line of the text names."""
    match = _NAME_PATTERN.search(text)
    return TOURS.get(match[1]) if match else None


def find(text: str) -> tuple[TourStep, ...]:
    """Return the steps that a message plays; none where it is not a tour or a task of one."""
    match = _NAME_PATTERN.fullmatch(text.strip())
    tour = TOURS.get(match[1]) if match else None
    return tour.steps if tour else TASKS.get(text.strip(), ())


def script(steps: Sequence[TourStep], done: int, newest: ModelMessage) -> str:
    """Return the commands of a step, `done` steps after the first; `newest` may be the result of the step before."""
    if done >= len(steps):
        return "/say Done."
    step = steps[done]
    if newest.role == "tool" and _has_failed(newest.content) != step.after_error:
        return step.otherwise
    return step.script


def _has_failed(result: str) -> bool:
    """Return whether a tool's result tells of an error, or of a command that failed."""
    if result.startswith("Error:"):
        return True
    try:
        code = json.loads(result).get("exit_code", 0)
    except (ValueError, AttributeError):
        return False
    return bool(code)

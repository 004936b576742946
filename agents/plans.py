"""Plans: sub-tasks with dependencies, each for one agent. What a plan must be, what comes next, what may follow.

Pure values: who stores a plan, asks for its approval and runs it is `sessions`. A plan is never changed; each function
returns a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from agents.arguments import CreatePlan
from agents.tools import InvalidArguments, parse


class Status(StrEnum):
    """Where a sub-task is; the words are those of the original's clients."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


#: What may follow on what. Back to PENDING: a person wants it tried again. Whose worker dies stays IN_PROGRESS.
TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.IN_PROGRESS, Status.SKIPPED}),
    Status.IN_PROGRESS: frozenset({Status.COMPLETED, Status.FAILED, Status.SKIPPED}),
    Status.FAILED: frozenset({Status.PENDING, Status.SKIPPED}),
    Status.COMPLETED: frozenset(),
    Status.SKIPPED: frozenset(),
}

#: A sub-task that waits for these need not wait any longer: a person who skips one wants the rest.
SATISFIED = frozenset({Status.COMPLETED, Status.SKIPPED})

MARKS = {
    Status.PENDING: "[ ]",
    Status.IN_PROGRESS: "[>]",
    Status.COMPLETED: "[x]",
    Status.FAILED: "[!]",
    Status.SKIPPED: "[-]",
}


class PlanError(ValueError):
    """A plan that cannot be carried out, or a step that it does not allow; the message says what to correct."""

    code = "invalid_plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubTask:
    """One piece of work for one agent."""

    id: str
    description: str
    agent: str
    dependencies: tuple[str, ...] = ()
    #: In words, such as "10 min".
    estimated_time: str | None = None
    status: Status = Status.PENDING
    #: What its agent reported, or why it failed.
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was proposed, and how far it is."""

    goal: str
    subtasks: tuple[SubTask, ...]

    def __getitem__(self, subtask_id: str) -> SubTask:
        """Return a sub-task. Raises PlanError."""
        for subtask in self.subtasks:
            if subtask.id == subtask_id:
                return subtask
        raise PlanError(f"The plan has no sub-task {subtask_id[:40]!r}.")


def read(arguments: dict[str, Any], *, agents: Collection[str]) -> Plan:
    """Make a plan of the arguments of `create_plan`, or of a person's edited ones; `agents` are those there are.

    Raises PlanError with all that is wrong.
    """
    try:
        given = CreatePlan.model_validate(parse("create_plan", arguments, agents=agents))
    except InvalidArguments as error:
        raise PlanError(str(error)) from None
    plan = Plan(
        goal=given.goal,
        subtasks=tuple(
            SubTask(
                id=each.id,
                description=each.description,
                agent=each.agent,
                dependencies=tuple(dict.fromkeys(each.dependencies)),
                estimated_time=each.estimated_time,
            )
            for each in given.subtasks
        ),
    )
    if problems := list(_problems(plan)):
        raise PlanError(f"The plan cannot be carried out: {'; '.join(problems[:5])}. Correct it and propose it again.")
    return plan


def _problems(plan: Plan) -> Iterable[str]:
    ids = [subtask.id for subtask in plan.subtasks]
    for twice in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"there are several sub-tasks {twice!r}"
    for subtask in plan.subtasks:
        for name in subtask.dependencies:
            if name == subtask.id:
                yield f"{subtask.id!r} depends on itself"
            elif name not in ids:
                yield f"{subtask.id!r} depends on {name!r}, which is not in the plan"
    if circle := _circle(plan):
        yield f"{', '.join(map(repr, circle))} wait for each other"


def _circle(plan: Plan) -> list[str]:
    """Return the sub-tasks that can never begin because they wait for each other, if any."""
    ids = {subtask.id for subtask in plan.subtasks}
    waiting = {
        subtask.id: {name for name in subtask.dependencies if name in ids and name != subtask.id}
        for subtask in plan.subtasks
    }
    while free := {name for name, others in waiting.items() if not others}:
        waiting = {name: others - free for name, others in waiting.items() if name not in free}
    # What only waits for a circle is left, too; those in it are waited for.
    return [name for name in waiting if any(name in others for others in waiting.values())]


# What comes next


def ready(plan: Plan) -> tuple[SubTask, ...]:
    """Return the sub-tasks that can begin now, in the plan's order."""
    done = {subtask.id for subtask in plan.subtasks if subtask.status in SATISFIED}
    return tuple(
        subtask
        for subtask in plan.subtasks
        if subtask.status is Status.PENDING and done.issuperset(subtask.dependencies)
    )


def blocked(plan: Plan) -> tuple[SubTask, ...]:
    """Return the sub-tasks that cannot begin because one that they wait for, even through others, has failed."""
    stopped = {subtask.id for subtask in plan.subtasks if subtask.status is Status.FAILED}
    found: dict[str, SubTask] = {}
    # At most as many rounds as there are sub-tasks: each finds one more, or it is the last.
    for _ in plan.subtasks:
        for subtask in plan.subtasks:
            if subtask.status is Status.PENDING and stopped.intersection(subtask.dependencies):
                found[subtask.id] = subtask
                stopped.add(subtask.id)
    return tuple(subtask for subtask in plan.subtasks if subtask.id in found)


def is_over(plan: Plan) -> bool:
    """Say whether nothing is running and nothing can begin."""
    return not ready(plan) and all(subtask.status is not Status.IN_PROGRESS for subtask in plan.subtasks)


def is_complete(plan: Plan) -> bool:
    """Say whether every sub-task is completed, or skipped by a person."""
    return all(subtask.status in SATISFIED for subtask in plan.subtasks)


def moved(plan: Plan, subtask_id: str, status: Status, *, result: str = "") -> Plan:
    """Return the plan with a sub-task in another status. Raises PlanError for a step that is not in TRANSITIONS, or a
    beginning before what it depends on is done.
    """
    subtask = plan[subtask_id]
    if status not in TRANSITIONS[subtask.status]:
        raise PlanError(f"Sub-task {subtask_id!r} is {subtask.status} and cannot become {status}.")
    if status is Status.IN_PROGRESS and subtask not in ready(plan):
        raise PlanError(f"Sub-task {subtask_id!r} waits for others and cannot begin.")
    changed = replace(subtask, status=status, result=result)
    return replace(plan, subtasks=tuple(changed if each is subtask else each for each in plan.subtasks))


# For prompts


def progress(plan: Plan) -> str:
    """Return the plan as prompts show it: one line for each sub-task, and what was reported of those that are done."""
    done = sum(subtask.status in SATISFIED for subtask in plan.subtasks)
    lines = [f"Goal: {plan.goal}"] if plan.goal else []
    lines.append(f"{done} of {len(plan.subtasks)} sub-tasks done. [x] done, [>] now, [!] failed, [-] skipped.")
    for subtask in plan.subtasks:
        after = f", after {', '.join(subtask.dependencies)}" if subtask.dependencies else ""
        lines.append(
            f"{MARKS[subtask.status]} {subtask.id} ({subtask.agent}{after}): {_line(subtask.description, 300)}"
        )
        if subtask.result:
            lines.append(f"    {_line(subtask.result, 600)}")
    return "\n".join(lines)


def _line(text: str, characters: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= characters else flat[:characters] + " …"

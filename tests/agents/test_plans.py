"""Plans of several agents: which are accepted, in which order they run, and what a failure stops."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import plans
from agents.plans import (
    TRANSITIONS,
    PlanError,
    PlanState,
    Status,
    SubTaskState,
    is_complete,
    ready_subtasks,
    transition,
)
from agents.roles import routed_roles

AGENTS = [role.name for role in routed_roles()]


def task(name: str, *after: str, agent: str = "coder", **more: Any) -> dict[str, Any]:
    return {"id": name, "description": f"Do {name}.", "agent": agent, "dependencies": list(after), **more}


def parse(*subtasks: dict[str, Any], goal: str = "A parser with tests") -> PlanState:
    return plans.parse({"goal": goal, "subtasks": list(subtasks)}, agents=AGENTS)


def names(subtasks: tuple[SubTaskState, ...]) -> list[str]:
    return [subtask.id for subtask in subtasks]


DIAMOND = (
    task("design", agent="architect"),
    task("a", "design"),
    task("b", "design"),
    task("check", "a", "b", agent="debug"),
)


def test_a_plan_is_read_with_everything_that_clients_show() -> None:
    plan = parse(task("1", estimated_time="10 min"), task("2", "1", "1", agent="debug"))
    assert plan.goal == "A parser with tests"
    assert plan.subtasks == (
        SubTaskState(id="1", description="Do 1.", agent="coder", estimated_time="10 min"),
        SubTaskState(id="2", description="Do 2.", agent="debug", dependencies=("1",)),
    )


@pytest.mark.parametrize(
    ("subtasks", "part"),
    [
        ([], "`subtasks`"),
        ([task("1", agent="manager")], "agent 'manager' does not exist; choose one of coder, architect, debug, ask"),
        ([task("1", agent="orchestrator")], "agent 'orchestrator' does not exist"),
        ([task("1", agent="universal")], "agent 'universal' does not exist"),
        ([task("1"), task("1")], "several sub-tasks have the id '1'"),
        ([task("1", "9")], "'1' depends on '9', which is not in the plan"),
        ([task("1", "1")], "'1' depends on itself"),
        ([task("1", "2"), task("2", "1")], "'1', '2' wait for each other"),
        (
            [task("0"), task("1", "3"), task("2", "1"), task("3", "2"), task("4", "3")],
            "'1', '2', '3' wait for each other",
        ),
        ([task(str(i)) for i in range(31)], "`subtasks`"),
        ([{"id": "1", "agent": "coder"}], "`subtasks.0.description` is missing"),
        ([task("1", description="")], "`subtasks.0.description`"),
        ([task("1", description="x" * 5000)], "`subtasks.0.description`"),
        ([task("x" * 200)], "`subtasks.0.id`"),
        (["Do it"], "`subtasks.0`"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_with_all_its_faults(subtasks: list[Any], part: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse(*subtasks)
    assert part in str(caught.value)
    assert str(caught.value).endswith("again.")


def test_what_can_begin_follows_the_dependencies() -> None:
    plan = parse(*DIAMOND)
    assert names(ready_subtasks(plan)) == ["design"]
    plan = transition(plan, "design", Status.IN_PROGRESS)
    assert names(ready_subtasks(plan)) == []

    plan = transition(plan, "design", Status.COMPLETED, result="See docs/design.md")
    assert names(ready_subtasks(plan)) == ["a", "b"]
    for name in ("a", "b"):
        plan = transition(transition(plan, name, Status.IN_PROGRESS), name, Status.COMPLETED)
    assert names(ready_subtasks(plan)) == ["check"]
    plan = transition(transition(plan, "check", Status.IN_PROGRESS), "check", Status.COMPLETED)
    assert is_complete(plan)


def test_a_failure_stops_what_waits_for_it_and_nothing_else() -> None:
    plan = transition(transition(parse(*DIAMOND, task("other")), "design", Status.IN_PROGRESS), "design", Status.FAILED)

    assert names(ready_subtasks(plan)) == ["other"]
    plan = transition(transition(plan, "other", Status.IN_PROGRESS), "other", Status.COMPLETED)
    assert names(ready_subtasks(plan)) == []
    assert not is_complete(plan)
    assert names(ready_subtasks(transition(plan, "design", Status.PENDING))) == ["design"], "it can be tried again"
    assert names(ready_subtasks(transition(plan, "design", Status.SKIPPED))) == ["a", "b"], "or left out"


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_only_transitions_of_the_table_are_allowed(before: Status, after: Status) -> None:
    plan = PlanState(goal="", subtasks=(SubTaskState(id="1", description="x", agent="coder", status=before),))
    if after in TRANSITIONS[before]:
        assert transition(plan, "1", after)["1"].status is after
        assert plan["1"].status is before, "a plan is a value"
    else:
        with pytest.raises(PlanError, match="cannot become"):
            transition(plan, "1", after)


def test_a_subtask_does_not_begin_before_its_dependencies_are_done() -> None:
    with pytest.raises(PlanError, match="waits for others"):
        transition(parse(*DIAMOND), "check", Status.IN_PROGRESS)
    with pytest.raises(PlanError, match="has no sub-task 'x'"):
        transition(parse(*DIAMOND), "x", Status.SKIPPED)


def test_a_prompt_shows_the_progress_of_a_plan() -> None:
    plan = transition(parse(*DIAMOND), "design", Status.IN_PROGRESS)
    plan = transition(plan, "design", Status.COMPLETED, result="Written:\ndocs/design.md")
    plan = transition(plan, "a", Status.IN_PROGRESS)
    assert plans.format_progress(plan) == (
        "Goal: A parser with tests\n"
        "1 of 4 sub-tasks done. [x] done, [>] now, [!] failed, [-] skipped.\n"
        "[x] design (architect): Do design.\n"
        "    Written: docs/design.md\n"
        "[>] a (coder, after design): Do a.\n"
        "[ ] b (coder, after design): Do b.\n"
        "[ ] check (debug, after a, b): Do check."
    )


@given(st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=1, max_size=8), st.randoms())
def test_every_accepted_plan_comes_to_an_end_in_an_order_that_it_allows(edges: list[list[int]], random: Any) -> None:
    subtasks = [task(str(i), *(str(j) for j in after)) for i, after in enumerate(edges)]
    try:
        plan = parse(*subtasks)
    except PlanError:
        return
    done: list[str] = []
    for _ in subtasks:
        chosen = random.choice(ready_subtasks(plan))
        assert set(chosen.dependencies) <= set(done)
        plan = transition(transition(plan, chosen.id, Status.IN_PROGRESS), chosen.id, Status.COMPLETED)
        done.append(chosen.id)
    assert is_complete(plan)

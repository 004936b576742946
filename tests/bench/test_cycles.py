"""The figures of turns and tool steps in closed loops."""

from __future__ import annotations

from typing import Any

import pytest

from bench.cycles import Cycle, cycle, step_cpu
from bench.figures import Results
from bench.goals import evaluate


def turn(wish_id: str, *results: float, **more: Any) -> dict[str, Any]:
    return (
        {"wish_id": wish_id, "sent": 1.0, "ended": 3.0, "error": "", "texts": [[1.02, "0@1.01 "]]}
        | {"results": list(results)}
        | more
    )


def measured(turns: list[dict[str, Any]], *, tools: int, sessions: int = 16, cpu: float = 0.1, **more: Any) -> Cycle:
    answer = {"turns": turns, "seconds": 2.0}
    asked = {"a/1": 2.005, "a/2": 2.115}
    of: dict[str, Any] = {"cpu": {"web": cpu}, "beside": {}, "memory": {}} | more
    return cycle(answer, asked.get, sessions=sessions, tools=tools, **of)


def test_a_turn_is_timed_to_its_token_and_a_step_to_the_next_request() -> None:
    plain = measured([turn("a"), turn("b")], tools=0)
    assert (plain.turns, plain.cpu, plain.faults) == (2, {"web": 50.0}, [])
    assert plain.first_p50 == pytest.approx(20)
    steps = measured([turn("a", 2.0, 2.1)], tools=2)
    assert steps.next_p50 == pytest.approx(5)
    assert steps.next_p95 == pytest.approx(15)


@pytest.mark.parametrize(
    "broken", [{"error": "away"}, {"ended": 0.0}, {"texts": []}, {"texts": [[1.0, "0@1 0@1 "]]}, {"results": [1.0]}]
)
def test_a_turn_that_is_not_whole_is_a_fault_and_counts_for_nothing(broken: dict[str, Any]) -> None:
    found = measured([turn("a"), turn("b", **broken)], tools=0)
    assert found.turns == 1
    assert len(found.faults) == 1


def test_a_step_is_what_a_turn_with_tools_costs_beyond_one_without() -> None:
    plain, steps = measured([turn("a")], tools=0, cpu=0.01), measured([turn("a", 2.0, 2.1)], tools=2, cpu=0.03)
    assert step_cpu(steps, [plain]) == {"web": pytest.approx(10)}


def test_a_turn_that_costs_too_much_misses_its_goal() -> None:
    turns = [measured([turn(str(number)) for number in range(400)], tools=0, cpu=seconds) for seconds in (3.9, 4.1)]
    for found, mark in zip(turns, ("✔", "✘"), strict=True):
        results = Results(machine={}, arguments={}, settings={}, turns=[found])
        assert evaluate(results)[-4].mark == mark

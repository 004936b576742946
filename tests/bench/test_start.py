"""The second start: its line of the table and its goals."""

from __future__ import annotations

import pytest

from bench.figures import Results
from bench.goals import evaluate
from bench.start import Start
from bench.table import others


def results(seconds: float, web: float) -> Results:
    memory = {"supervisor": 80.0, "postgres": 40.0, "web": web, "worker": 110.0, "beat": 50.0, "flower": 55.0}
    start = Start(seconds=seconds, cpu={"web": 3.5, "beat": 1.25}, memory=memory)
    return Results(machine={}, arguments={}, settings={}, start=start)


@pytest.mark.parametrize(("seconds", "web", "marks"), [(8.0, 135.0, "✔✔"), (8.1, 136.0, "✘✘")])
def test_start_and_memory_have_goals(seconds: float, web: float, marks: str) -> None:
    verdicts = [each for each in evaluate(results(seconds, web)) if each.mark != "–"]
    assert "".join(each.mark for each in verdicts) == marks
    assert [each.measured for each in verdicts] == [f"{seconds} s", f"{215 + web:.0f} MiB"]


def test_a_line_names_each_process() -> None:
    (line,) = others(results(7.5, 120.0))
    assert line.startswith("second start: 7.5 s, 4.8 s of a core (web 3.5, beat 1.2); 335 MiB in web, worker, ")
    assert "flower 55" in line

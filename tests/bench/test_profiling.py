"""What a profile shows, and which goals have one."""

from __future__ import annotations

from bench.goals import GOALS
from bench.load import Load, Work
from bench.profiling import described, hottest, our_hottest, packages

STACKS = """
run (a.py:1);send (b/b.py:7) 30
run (a.py:1);send (b/b.py:9) 40
run (a.py:2) 30
""".lstrip()


def test_the_hottest_functions_come_first() -> None:
    assert hottest(STACKS) == [" 70.0 %   70.0 %  send (b/b.py)", " 30.0 %  100.0 %  run (a.py)"]


def test_packages_count_their_own_code() -> None:
    assert packages(STACKS) == [" 70.0 %  b", " 30.0 %  python"]


def test_our_functions_count_with_what_they_have_called() -> None:
    stacks = (
        "run (sessions/a.py:1);send (b/b.py:7) 30\nrun (sessions/a.py:1);run (sessions/a.py:2) 20\nrun (a.py:2) 50\n"
    )
    assert our_hottest(stacks) == [" 50.0 %  run (sessions/a.py)"]


def test_a_profile_has_all_processes_and_the_functions_of_those_that_were_sampled() -> None:
    lines = described(Work("turns", 16), {"web": 1.0, "postgres": 3.0}, {"web-1": STACKS}, [" 7  COMMIT"]).splitlines()
    assert lines[0].startswith("16 turns: 4.0 s of a core")
    assert lines[1:3] == [" 75.0 %  postgres", " 25.0 %  web"]
    assert "web-1: 1.0 s with the interpreter's lock" in lines
    assert " 30.0 %  100.0 %  run (a.py)" in lines
    assert lines[-1] == " 7  COMMIT"


def test_a_profile_says_when_no_process_could_be_sampled() -> None:
    assert "ptrace_scope" in described(Work("turns", 16), {"web": 1.0}, {}, [])


def test_goals_name_loads_that_are_measured() -> None:
    load, works = Load(), [goal.work for goal in GOALS if goal.work]
    assert {work.count for work in works if work.kind in ("turns", "steps")} <= set(load.loops)
    assert {work.messages for work in works} <= {0, *load.histories}
    assert Work("steps", 1, 1000).file == "profile-1-steps-1000-messages.txt"

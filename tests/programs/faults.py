"""What Codex and Claude Code do when something goes wrong, and what that costs.

A provider fails, an input is too long, a person presses Ctrl-C, a worker is killed in the middle of an answer. Each
program repeats requests in its own way; each repetition that is not a new request must be the same turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx

from tests.programs.installation import MakeRun
from tests.programs.program import FILE, Place, Program, Started
from tests.programs.provider import Provider, Task

#: A model of a provider, and an agent of ours.
KINDS = ("plain", "agent")
#: More than a killed worker and its successor take on a busy machine.
WAIT_SECONDS = 90.0
#: Only models with a price can be used within a budget.
CATALOG = """
[models."openai/any"]
prices = [{ input = 1, output = 2 }]
[models."openai/small"]
prices = [{ input = 1, output = 2 }]
"""
#: What the programs say of an input that is too long.
TOO_LONG = {"codex": "ran out of room in the model's context window", "claude-code": "Prompt is too long"}


@dataclass(slots=True)
class Meeting:
    """A program that meets a fault, and what can be seen of that from outside."""

    program: Program
    place: Place
    task: Task
    run: MakeRun
    provider: Provider
    #: When it began, by the database's clock.
    began: datetime = field(init=False)
    started: Started = field(init=False)

    def play(self, fault: Fault) -> None:
        """Let the program meet the fault. Raises AssertionError when it does not end as it should."""
        self.began = self.run.rows("SELECT clock_timestamp()")[0][0]
        spent, _ = self.budget()
        self.started = self.program.start(self.place)
        fault.play(self)
        self.wait_for("nothing is reserved", lambda: not self.budget()[1])
        assert self.budget()[0] - spent == self.cost(), self.report()

    def budget(self) -> tuple[Decimal, Decimal]:
        """Return what of the budget is spent and what is reserved, as its owner sees it."""
        headers = {"Authorization": f"Bearer {self.run.api_key}"}
        answer = httpx.get(f"{self.run.url}/api/v1/budgets", headers=headers, trust_env=False, timeout=30)
        (budget,) = answer.raise_for_status().json()["budgets"]
        return Decimal(str(budget["spent"])), Decimal(str(budget["reserved"]))

    def turns(self) -> list[tuple[Any, ...]]:
        """Return status and error code of the program's turns."""
        statement = "SELECT status, error_code FROM agent_sessions_turn WHERE created_at > %s ORDER BY created_at"
        return self.run.rows(statement, self.began)

    def outcomes(self) -> list[str]:
        """Return the outcomes of the calls of models."""
        statement = "SELECT outcome FROM agent_sessions_modelcall WHERE created_at > %s ORDER BY id"
        return [outcome for (outcome,) in self.run.rows(statement, self.began)]

    def cost(self) -> Decimal:
        """Return what the calls cost by the ledger."""
        statement = "SELECT coalesce(sum(cost), 0) FROM agent_sessions_modelcall WHERE created_at > %s"
        return Decimal(self.run.rows(statement, self.began)[0][0])

    def has_begun_to_answer(self) -> bool:
        """Return whether the log has the first words of an answer that stalls."""
        statement = "SELECT 1 FROM agent_sessions_event WHERE kind = 'text_delta' AND created_at > %s LIMIT 1"
        return bool(self.run.rows(statement, self.began)) and self.provider.stalled == 1

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds. Raises AssertionError."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"not within {WAIT_SECONDS:.0f} s: {what}; {self.report()}"
            time.sleep(0.1)

    def report(self) -> str:
        """Return what happened, for people."""
        return f"turns {self.turns()}, calls {self.outcomes()}, output: {self.started.output[-1500:]}"


def a_failing_provider(meeting: Meeting) -> None:
    meeting.started.finish()
    # The first request fails after three tries, the program's repetition gets its answer at the second one.
    assert [status for status, _ in meeting.turns()] == ["failed", "completed", "completed"], meeting.report()
    assert sorted(meeting.outcomes()) == ["failed"] * 4 + ["ok"] * 2, meeting.report()


def an_input_that_is_too_long(meeting: Meeting) -> None:
    assert meeting.started.wait() != 0, meeting.report()
    assert TOO_LONG[meeting.program.name] in meeting.started.output, meeting.report()
    assert meeting.turns() == [("failed", "model_context_too_long")], meeting.report()


def ctrl_c(meeting: Meeting) -> None:
    meeting.wait_for("the first words", meeting.has_begun_to_answer)
    assert meeting.budget()[1] > 0
    meeting.started.interrupt()
    meeting.started.wait()
    meeting.wait_for("the reservation is given back", lambda: not meeting.budget()[1])
    meeting.wait_for("the provider's connection is closed", lambda: not meeting.provider.stalled)
    assert [status for status, _ in meeting.turns()] == ["cancelled"], meeting.report()
    assert meeting.outcomes() == ["cancelled"], meeting.report()
    assert not (meeting.place.workspace / FILE).exists()


def a_killed_worker(meeting: Meeting) -> None:
    meeting.wait_for("the first words", meeting.has_begun_to_answer)
    meeting.run.kill("worker")
    meeting.started.finish()
    # One request asks for the tool, the other one has its result.
    assert [status for status, _ in meeting.turns()] == ["completed", "completed"], meeting.report()
    assert meeting.outcomes() == ["lost", "ok", "ok"], meeting.report()
    assert meeting.provider.asked[meeting.task.name] == 3, meeting.report()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault: what people call it, how the provider plays its part, and how the program has to end."""

    name: str
    way: str
    play: Callable[[Meeting], None]
    conduct: dict[str, int]
    #: Instead of the plain model.
    model: str = "openai/any"
    has_agent: bool = True

    def task(self, program: Program, kind: str) -> Task:
        return program.task(f"{kind}-{self.name}", **self.conduct)


FAULTS = (
    Fault(
        name="failing",
        way="The provider fails four times; the program repeats its request.",
        play=a_failing_provider,
        conduct={"failures": 4},
    ),
    Fault(
        name="too-long",
        way="The provider refuses an input that is too long; the program says so and ends.",
        play=an_input_that_is_too_long,
        conduct={"overflows": 9},
        model="openai/small",
        # An agent's conversation is shortened instead.
        has_agent=False,
    ),
    Fault(
        name="ctrl-c",
        way="Ctrl-C in mid-answer; the turn is cancelled and its reservation is given back.",
        play=ctrl_c,
        conduct={"stalls": 1},
    ),
    Fault(
        name="killed-worker",
        way="`kill -9` of the worker in mid-answer; the program repeats its request and pays once.",
        play=a_killed_worker,
        conduct={"stalls": 1},
    ),
)


def meetings(program: Program) -> list[tuple[Fault, str]]:
    """Return the faults that a program meets, each with a kind of model."""
    if program.name not in TOO_LONG:
        return []
    return [(fault, kind) for fault in FAULTS for kind in KINDS if kind == "plain" or fault.has_agent]


def create_budget(run: MakeRun) -> None:
    """Give the demo user a budget, so that each call needs a reservation."""
    run.rows(
        "INSERT INTO agent_sessions_budget "
        '(id, owner_id, "limit", period, spent, reserved, period_start, created_at) '
        "SELECT gen_random_uuid(), id, 1000, 'total', 0, 0, now(), now() FROM auth_user WHERE username = 'demo' "
        "RETURNING id"
    )

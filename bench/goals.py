"""The performance goals, evaluated against the results of a run. Pure.

They assume two cores shared by provider, service and client; on other machines ratios mean more than times.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.cycles import step_cpu
from bench.figures import Results, Row
from bench.load import Work

#: The loads of the goals; results of smaller loads are not evaluated.
GOAL_SOCKETS, GOAL_EVENTS, GOAL_MESSAGES = 1000, 10_000, (10, 1000)
#: Sessions whose turns follow one another.
LOOPS = 16
#: Under overload the slowest stream may take this many times the median.
MAX_SLOWEST_RATIO = 1.5
#: What an API for completions may take, as a multiple of the WebSocket.
MAX_API_RATIO = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A goal and whether it is met; `met` is None when it was not measured."""

    goal: str
    limit: str
    measured: str
    met: bool | None
    #: Why it is not met, as profiles have shown, and the load that shows it.
    reason: str = ""
    work: Work | None = None

    @property
    def mark(self) -> str:
        return {True: "✔", False: "✘", None: "–"}[self.met]


def evaluate(results: Results) -> list[Verdict]:
    """Return a verdict for each goal, the most important to users first."""
    verdicts = [(goal.judge(results), goal) for goal in GOALS]
    return [
        replace(verdict, reason=goal.reason, work=goal.work) if verdict.met is False else verdict
        for verdict, goal in verdicts
    ]


def _first(results: Results) -> Verdict:
    goal, limit = "1 stream: first token after the provider's first byte", "p95 ≤ 30 ms"
    if results.first is None:
        return _not_run(goal, limit)
    p95 = results.first.p95
    return Verdict(goal=goal, limit=limit, measured=f"p95 {p95:.0f} ms", met=p95 <= 30)


def _one(results: Results) -> Verdict:
    goal, limit = "1 stream: added to each token", "p50 ≤ 6 ms, p99 ≤ 60 ms"
    return _of_row(results.product_at(1), goal, limit, lambda row: row.added_p50 <= 6 and row.added_p99 <= 60)


def _many(results: Results) -> Verdict:
    goal, limit = "64 streams", "all finish in ≤ 1.05 × ideal, first p95 ≤ 60 ms, p50 ≤ 40 ms, p99 ≤ 120 ms"
    return _of_row(
        results.product_at(64),
        goal,
        limit,
        lambda row: row.wall <= 1.05 and row.first_p95 <= 60 and row.added_p50 <= 40 and row.added_p99 <= 120,
        wall=True,
    )


def _more(results: Results) -> Verdict:
    goal, limit = "128 streams", "all finish in ≤ 1.15 × ideal, p99 ≤ 350 ms"
    row = results.product_at(128)
    return _of_row(row, goal, limit, lambda row: row.wall <= 1.15 and row.added_p99 <= 350, wall=True)


def _cpu(results: Results) -> Verdict:
    goal, limit = "64 streams: processor time per token, all our processes", "≤ 3 × the floor's relay"
    row, floor = results.product_at(64), results.floor_at(64)
    if row is None or floor is None or not floor.cpu_of_all:
        return _not_run(goal, limit)
    ratio = row.cpu_of_all / floor.cpu_of_all
    measured = f"{row.cpu_of_all:.0f} µs = {ratio:.1f} × {floor.cpu_of_all:.0f} µs"
    return Verdict(goal=goal, limit=limit, measured=measured, met=ratio <= 3)


def _overload(results: Results) -> Verdict:
    goal = "200 streams: fewer, larger frames; nothing fails, no stream starves"
    limit = f"all finish in ≤ 1.4 × ideal, more tokens a frame than at 64, slowest ≤ {MAX_SLOWEST_RATIO} × median"
    row, calm = results.product_at(200), results.product_at(64)
    if row is None or calm is None:
        return _not_run(goal, limit)
    larger = row.tokens_per_frame > calm.tokens_per_frame
    frames = f"{row.tokens_per_frame:.1f} tokens a frame after {calm.tokens_per_frame:.1f}"
    wall = f"{row.finished} of {row.streams} in {row.wall:.2f} × ideal"
    measured = f"{wall}, {frames}, slowest {row.slowest:.2f} × median"
    met = _whole(row) and row.wall <= 1.4 and larger and row.slowest <= MAX_SLOWEST_RATIO
    return Verdict(goal=goal, limit=limit, measured=measured, met=met)


def _start(results: Results) -> Verdict:
    goal, limit = "second start of `make run` to healthy", "≤ 8 s"
    if results.start is None:
        return _not_run(goal, limit)
    seconds = results.start.seconds
    return Verdict(goal=goal, limit=limit, measured=f"{seconds:.1f} s", met=seconds <= 8)


def _memory(results: Results) -> Verdict:
    goal, limit = "memory of web, worker, beat and Flower before any work", "≤ 350 MiB"
    if results.start is None:
        return _not_run(goal, limit)
    taken = results.start.memory_of_service
    return Verdict(goal=goal, limit=limit, measured=f"{taken:.0f} MiB", met=taken <= 350)


def _idle_memory(results: Results) -> Verdict:
    goal, limit = "1,000 idle sockets: memory of the web process", "≤ 60 KiB each"
    if results.idle is None or results.idle.sockets < GOAL_SOCKETS:
        return _not_run(goal, limit)
    kib = results.idle.kib
    return Verdict(goal=goal, limit=limit, measured=f"{kib:.0f} KiB", met=kib <= 60)


def _idle_cpu(results: Results) -> Verdict:
    goal, limit = "1,000 idle sockets: processor time that grows with them", "≤ 2 % of a core"
    if results.idle is None or results.idle.sockets < GOAL_SOCKETS:
        return _not_run(goal, limit)
    grown = results.idle.grown
    return Verdict(goal=goal, limit=limit, measured=f"{grown:.1f} %", met=grown <= 2)


def _attach(results: Results) -> Verdict:
    goal, limit = "attach to a session of 10,000 events", "≤ 300 ms"
    judged = [each for each in results.attach if each.judged and each.events >= GOAL_EVENTS]
    if not judged:
        return _not_run(goal, limit)
    slowest = max(judged, key=lambda each: each.p50)
    state = "folded" if slowest.folded else "not folded"
    measured = f"{slowest.p50:.0f} ms ({slowest.how}, {state})"
    return Verdict(goal=goal, limit=limit, measured=measured, met=slowest.p50 <= 300)


def _set_up(results: Results) -> Verdict:
    goal, limit = "set-up of a turn at 1,000 messages", "≤ 2 × that at 10"
    delays = {each.messages: each.from_accepted for each in results.set_up}
    if not delays.keys() >= set(GOAL_MESSAGES):
        return _not_run(goal, limit)
    short, long = (delays[messages] for messages in GOAL_MESSAGES)
    measured = f"{long:.0f} ms = {long / short:.1f} × {short:.0f} ms"
    return Verdict(goal=goal, limit=limit, measured=measured, met=long <= 2 * short)


def _turns(results: Results) -> Verdict:
    goal, limit = "16 sessions: turns of one token, one after the other", "≤ 10 ms of processor time, ≥ 150 a second"
    found = next((each for each in results.turns if each.sessions == LOOPS), None)
    if found is None:
        return _not_run(goal, limit)
    rate = found.turns / found.seconds
    met = found.cpu_of_all <= 10 and rate >= 150 and not found.faults
    return Verdict(goal=goal, limit=limit, measured=f"{found.cpu_of_all:.1f} ms, {rate:.0f} a second", met=met)


def _steps(results: Results) -> Verdict:
    goal, limit = "16 sessions: tool steps, one after the other", "≤ 10 ms of processor time, ≥ 150 a second"
    found = next((each for each in results.steps if each.sessions == LOOPS), None)
    if found is None:
        return _not_run(goal, limit)
    cost, rate = sum(step_cpu(found, results.turns).values()), found.turns * found.tools / found.seconds
    met = cost <= 10 and rate >= 150 and not found.faults
    return Verdict(goal=goal, limit=limit, measured=f"{cost:.1f} ms, {rate:.0f} a second", met=met)


def _alone(results: Results) -> Verdict:
    goal, limit = "a turn alone: from the message to the first token", "p50 ≤ 12 ms"
    found = next((each for each in results.turns if each.sessions == 1), None)
    if found is None:
        return _not_run(goal, limit)
    return Verdict(goal=goal, limit=limit, measured=f"p50 {found.first_p50:.1f} ms", met=found.first_p50 <= 12)


def _next_request(results: Results) -> Verdict:
    goal, limit = "a tool's result → the next request", "p50 ≤ 10 ms; at 1,000 messages ≤ 1.3 ×"
    delays = {each.messages: each.next_p50 for each in results.steps if each.sessions == 1}
    if not delays.keys() >= {0, GOAL_MESSAGES[1]}:
        return _not_run(goal, limit)
    short, long = delays[0], delays[GOAL_MESSAGES[1]]
    measured = f"p50 {short:.1f} ms; {long:.1f} ms = {long / short:.1f} ×"
    return Verdict(goal=goal, limit=limit, measured=measured, met=short <= 10 and long <= 1.3 * short)


def _cancel(results: Results) -> Verdict:
    goal, limit = "cancel → the provider's connection closed", "p95 ≤ 300 ms"
    cancel = results.cancel
    if cancel is None:
        return _not_run(goal, limit)
    missed = f", {cancel.missed} never closed" if cancel.missed else ""
    measured = f"p95 {cancel.p95:.0f} ms of {cancel.stops}{missed}"
    return Verdict(goal=goal, limit=limit, measured=measured, met=cancel.p95 <= 300 and not cancel.missed)


def _apis(results: Results) -> Verdict:
    goal, limit = "each API beside the WebSocket: first token, processor time per token", f"≤ {MAX_API_RATIO} × its"
    if not results.apis:
        return _not_run(goal, limit)
    socket, *others = results.apis
    ratios = [(each.api, each.first_p50 / socket.first_p50, each.cpu_of_all / socket.cpu_of_all) for each in others]
    measured = ", ".join(f"{name} {first:.2f} and {cpu:.2f}" for name, first, cpu in ratios)
    is_fast = all(max(first, cpu) <= MAX_API_RATIO for _, first, cpu in ratios)
    met = is_fast and all(each.finished == each.streams and not each.faults for each in results.apis)
    return Verdict(goal=goal, limit=limit, measured=measured, met=met)


#: Why goals are missed: what profiles of loads have shown (docs/performance.md).
BEGIN_COST = (
    "all begin at the same moment, and each takes about 9 ms of a core to begin and to end (worker 4.5, PostgreSQL "
    "2.5, web 2); the streams themselves keep up"
)
TOKEN_COST = (
    "a third of it is for beginning and ending the turns, 9 ms each; of the rest the worker has two thirds, half of "
    "them to read the provider's stream under its deadlines"
)
STEP_COST = (
    "worker 44 %: transactions a quarter of it, Celery with kombu and redis a sixth, the request to the model a sixth; "
    "PostgreSQL 28 %: three writes with their index entries; web 23 %: a fifth of it transactions, an eighth the task"
)


@dataclass(frozen=True, slots=True)
class Goal:
    """How a goal is judged, and what to know of it when it is missed."""

    judge: Callable[[Results], Verdict]
    reason: str = ""
    work: Work | None = None


GOALS = (
    Goal(_first, work=Work("turns", 1)),
    Goal(_one, "a piece is committed to disk before clients see it", Work("streams", 1)),
    Goal(_many, BEGIN_COST, Work("streams", 64)),
    Goal(_more, BEGIN_COST, Work("streams", 128)),
    Goal(_cpu, TOKEN_COST, Work("streams", 64)),
    Goal(_overload, BEGIN_COST, Work("streams", 200)),
    Goal(
        _apis,
        "each request has a connection and a session of its own, for which the web process takes about twice as much a "
        "token as for a socket's",
    ),
    Goal(_start, "four processes load their libraries on two cores: about 10 s of a core"),
    Goal(_memory),
    Goal(_idle_memory),
    Goal(
        _idle_cpu,
        "every 30 s each socket is pinged and its session looked up in the log: 0.5 ms of the web process; the rest is "
        "the worker's, which is independent of sockets",
        Work("idle", GOAL_SOCKETS),
    ),
    Goal(_attach),
    Goal(_set_up, "1,000 messages are put in order, encoded and counted", Work("turns", 1, GOAL_MESSAGES[1])),
    Goal(_cancel),
    Goal(_turns, STEP_COST, Work("turns", LOOPS)),
    Goal(_steps, STEP_COST, Work("steps", LOOPS)),
    Goal(
        _alone,
        "three transactions are committed to disk one after the other, and the message, the task, the request and the "
        "answer pass through four processes, each of which is woken for it",
        Work("turns", 1),
    ),
    Goal(
        _next_request,
        "a request has the whole conversation: at 1,000 messages the worker takes 4 ms of a core more to put it into "
        "the order that providers require, to encode, to send and to count it",
        Work("steps", 1, GOAL_MESSAGES[1]),
    ),
)


def _whole(row: Row) -> bool:
    return row.finished == row.streams and not row.faults


def _of_row(row: Row | None, goal: str, limit: str, fast: Callable[[Row], bool], *, wall: bool = False) -> Verdict:
    if row is None or math.isnan(row.added_p50):
        return _not_run(goal, limit) if row is None else Verdict(goal=goal, limit=limit, measured="nothing", met=False)
    measured = f"p50 {row.added_p50:.0f} ms, p99 {row.added_p99:.0f} ms"
    if wall:
        whole = f"{row.finished} of {row.streams} in {row.wall:.2f} × ideal"
        measured = f"{whole}, first p95 {row.first_p95:.0f} ms, {measured}"
    return Verdict(goal=goal, limit=limit, measured=measured, met=_whole(row) and fast(row))


def _not_run(goal: str, limit: str) -> Verdict:
    return Verdict(goal=goal, limit=limit, measured="not run", met=None)

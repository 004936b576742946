"""The figures of a client's record, the evaluation of goals, and the table."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.__main__ import parse
from bench.figures import ApiRow, Cancel, Idle, Results, Row, SetUp, Stream, medians, parse_turn, percentile, row
from bench.goals import evaluate
from bench.measurements import ways
from bench.records import Turn
from bench.requests import APIS
from bench.table import aligned, table

MACHINE = {"cpus": 2, "cpu": "A Processor", "kernel": "6.1", "python": "3.12.1", "load": 0.1}


def turn(*texts: tuple[float, str], **more: Any) -> dict[str, Any]:
    return {"wish_id": "a", "sent": 1.0, "ended": 3.0, "error": "", "texts": list(texts)} | more


def results(**more: Any) -> Results:
    arguments = {"tokens": 200, "rate": 50, "runs": 3, "quick": False}
    return Results(machine=MACHINE, arguments=arguments, settings={}, **more)


def make_row(streams: int, **more: Any) -> Row:
    figures: dict[str, Any] = {
        "finished": streams,
        "wall": 1.0,
        "first_p50": 10.0,
        "first_p95": 20.0,
        "added_p50": 10.0,
        "added_p99": 50.0,
        "tokens_per_frame": 1.0,
        "gap": 30.0,
        "slowest": 1.0,
        "cpu": {"web": 100.0, "worker": 200.0},
        "beside": {"client": 50.0},
        "memory": {"web": 120.0, "worker": 300.0},
    }
    return Row(streams=streams, **figures | more)


def verdicts(found: Results) -> dict[str, tuple[str, str]]:
    return {verdict.goal: (verdict.mark, verdict.measured) for verdict in evaluate(found)}


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3, 1, 2], 0.5, 2),
        ([3, 1, 2], 0.99, 3),
        ([1], 0.95, 1),
        (range(1, 101), 0.95, 95),
        (range(1, 101), 0.99, 99),
        ([2, 1], 0, 1),
    ],
)
def test_a_percentile_is_one_of_the_values(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))


def test_a_turn_is_parsed_token_by_token() -> None:
    stream = parse_turn(turn((1.5, "0@1.49 1@1.48 "), (2.0, "2@1.9 ")), 3)
    assert stream.added == pytest.approx([10, 20, 100])
    assert (stream.fault, stream.frames, stream.taken, stream.gap) == ("", 2, 2000, 500)


@pytest.mark.parametrize(
    ("notes", "fault"),
    [
        (turn((1.5, "0@1 2@1 ")), "2 of 3 tokens"),
        (turn((1.5, "0@1 2@1 1@1 ")), "not in order"),
        (turn((1.5, "0@1 1@1 1@1 2@1 ")), "4 of 3 tokens"),
        (turn((1.5, "0@1 1@1 2@1 "), ended=0.0), "did not end"),
        (turn(error="The model's provider does not answer."), "does not answer"),
    ],
)
def test_an_incomplete_answer_is_a_fault(notes: dict[str, Any], fault: str) -> None:
    assert fault in parse_turn(notes, 3).fault


def test_a_client_records_the_fields_that_are_parsed() -> None:
    assert set(turn()) <= set(Turn.__dataclass_fields__)


def test_a_row_counts_for_each_token() -> None:
    good = Stream(fault="", added=[5.0, 1.0, 3.0, 2.0], frames=2, taken=100, gap=20)
    slow = Stream(fault="", added=[9.0, 4.0, 4.0, 4.0], frames=4, taken=300, gap=60)
    made = row([good, slow], seconds=0.3, ideal=0.1, cpu={"web": 0.0008}, beside={}, memory={"web": 1.0})
    assert made.cpu == {"web": pytest.approx(100)}
    assert (made.finished, made.tokens_per_frame, made.gap, made.slowest) == (2, 8 / 6, 60, 1.5)
    assert (made.first_p50, made.first_p95, made.added_p50, made.added_p99) == (5, 9, 3, 4)
    assert made.wall == pytest.approx(3)


def test_a_row_without_streams_is_not_an_error() -> None:
    lost = Stream(fault="the socket is closed", added=[], frames=0, taken=0, gap=0)
    made = row([lost], seconds=1, ideal=1, cpu={"web": 1.0}, beside={}, memory={})
    assert (made.finished, made.faults) == (0, ["the socket is closed"])


def test_runs_become_medians_and_keep_every_fault() -> None:
    runs = [
        make_row(8, added_p50=1.0, cpu={"web": 1.0}),
        make_row(8, added_p50=9.0, cpu={"web": 9.0}, finished=7, faults=["it did not end in time"]),
        make_row(8, added_p50=2.0, cpu={"web": 3.0}),
    ]
    made = medians(runs)
    assert (made.added_p50, made.cpu, made.finished, made.faults) == (2.0, {"web": 3.0}, 7, ["it did not end in time"])


# ---------------------------------------------------------------- goals


def test_a_goal_that_was_not_measured_is_neither_met_nor_missed() -> None:
    assert set(verdicts(results()).values()) == {("–", "not run")}


def test_goals_are_met_and_missed() -> None:
    found = results(
        product=[
            make_row(1, added_p50=6.0),
            make_row(64),
            make_row(128, wall=1.3),
            make_row(200, tokens_per_frame=2.5),
        ],
        floor=[make_row(64, cpu={"relay": 100.0})],
        idle=Idle(
            sockets=1000, kib=61, opening=1, seconds=30, without={"web": 1.0, "beat": 0.5}, with_them={"web": 3.0}
        ),
        set_up=[SetUp(messages=n, turns=5, from_accepted=ms, from_sent=ms) for n, ms in ((10, 20.0), (1000, 41.0))],
        cancel=Cancel(stops=24, missed=1, p50=50, p95=90, speaking_p50=50, silent_p50=50),
    )
    said = verdicts(found)
    assert {goal: mark for goal, (mark, _) in said.items()} == {
        "1 stream: first token after the provider's first byte": "–",
        "1 stream: added to each token": "✔",
        "64 streams": "✔",
        "128 streams": "✘",
        "64 streams: processor time per token, all our processes": "✔",
        "200 streams: fewer, larger frames; nothing fails, no stream starves": "✔",
        "each API beside the WebSocket: first token, processor time per token": "–",
        "second start of `make run` to healthy": "–",
        "memory of web, worker, beat and Flower before any work": "–",
        "1,000 idle sockets: memory of the web process": "✘",
        "1,000 idle sockets: processor time that grows with them": "✔",
        "attach to a session of 10,000 events": "–",
        "set-up of a turn at 1,000 messages": "✘",
        "cancel → the provider's connection closed": "✘",
        "16 sessions: turns of one token, one after the other": "–",
        "16 sessions: tool steps, one after the other": "–",
        "a turn alone: from the message to the first token": "–",
        "a tool's result → the next request": "–",
    }
    assert said["64 streams: processor time per token, all our processes"][1] == "300 µs = 3.0 × 100 µs"


@pytest.mark.parametrize(
    "worse",
    [
        {"finished": 63, "faults": ["it did not end in time"]},
        {"wall": 1.06},
        {"first_p95": 61.0},
        {"added_p50": 41.0},
        {"added_p99": 121.0},
        {"added_p50": math.nan},
    ],
)
def test_one_bad_figure_is_enough_to_miss_a_goal(worse: dict[str, Any]) -> None:
    assert verdicts(results(product=[make_row(64, **worse)]))["64 streams"][0] == "✘"


def test_no_api_may_take_much_more_than_the_web_socket() -> None:
    def api(name: str, first: float, cpu: float, **more: Any) -> ApiRow:
        figures = {"turns": 30, "first_p95": 20.0, "streams": 16, "finished": 16, "added_p50": 10.0, **more}
        return ApiRow(api=name, first_p50=first, cpu={"web": cpu / 2, "worker": cpu / 2}, **figures)

    goal = "each API beside the WebSocket: first token, processor time per token"
    socket = api("WebSocket", 10, 500)
    fast = [socket, api("Responses", 12, 500), api("Messages", 9, 600)]
    assert verdicts(results(apis=fast))[goal] == ("✔", "Responses 1.20 and 1.00, Messages 0.90 and 1.20")
    for slow in (
        api("x", 12.5, 500),
        api("x", 9, 650),
        api("x", 9, 500, finished=15),
        api("x", 9, 500, faults=["cut"]),
    ):
        assert verdicts(results(apis=[socket, slow]))[goal][0] == "✘"
    assert "Messages: first token p50 9.0 ms" in table(results(apis=fast))


def test_the_lines_of_each_api_are_read_as_text() -> None:
    events: dict[str, dict[str, Any]] = {
        "chat completions": {"choices": [{"delta": {"content": "a"}}]},
        "Responses": {"type": "response.output_text.delta", "delta": "a"},
        "Messages": {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
    }
    assert [APIS[name].text(event) for name, event in events.items()] == ["a", "a", "a"]
    assert APIS["Responses"].text({"type": "response.output_text.done", "text": "a"}) == ""


def test_a_load_smaller_than_the_goal_is_not_evaluated() -> None:
    few = Idle(sockets=50, kib=1, opening=1, seconds=3, without={}, with_them={})
    assert set(verdicts(results(idle=few)).values()) == {("–", "not run")}


# ---------------------------------------------------------------- table


def test_cells_are_aligned() -> None:
    assert aligned([("a", "b"), ("long", "2.5")]) == ["a       b", "long  2.5"]


def test_the_table_has_multiples_of_the_floor_and_a_mark_for_each_goal() -> None:
    found = results(product=[make_row(8)], floor=[make_row(8, added_p50=2.0, cpu={"relay": 100.0})])
    text = table(found)
    assert "10 5×" in text
    assert "300 3×" in text
    assert text.count("not run") == len(evaluate(found))
    assert "FAULT" not in text


def test_only_a_missed_goal_has_a_reason() -> None:
    missed, met = (table(results(product=[make_row(1, added_p50=p50)])) for p50 in (16.0, 6.0))
    assert "because a piece is committed" in missed
    assert "profile: profile-1-streams.txt" in missed
    assert "because" not in met
    assert "profile" not in met


def test_a_table_without_results_is_not_an_error() -> None:
    assert "not run" in table(results())


def test_faults_are_in_the_table() -> None:
    assert "FAULT: it did not end in time" in table(results(product=[make_row(8, faults=["it did not end in time"])]))


# ---------------------------------------------------------------- the rest


def test_the_command_line() -> None:
    chosen = parse(["--streams", "1,8", "--quick", "--web", "2"])
    assert (chosen.streams, chosen.quick, chosen.web, chosen.workers) == ([1, 8], True, 2, 1)
    with pytest.raises(SystemExit):
        parse(["--only", "streams,nonsense"])


def test_the_goal_covers_an_unfolded_log_by_its_snapshot_only() -> None:
    assert [way.judged for way in ways(10_001, folded=False)] == [True, False, False]
    assert [way.judged for way in ways(10_001, folded=True)] == [True, True, True]
    assert [way.after for way in ways(10_001, folded=True)] == [None, 5001, None]

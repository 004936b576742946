import json
from collections.abc import AsyncGenerator

import pytest

from agents.events import AgentEvent, ReasoningDelta, StepFinished, TextDelta
from agents.loop import Limit, LimitReached, Limits, TurnUsage, require_progress, step
from llm.errors import ModelBrokenToolCall, ModelError, ModelTruncated
from llm.types import Chunk, EndChunk, ModelToolCall, ReasoningChunk, TextChunk, TokenUsage, ToolCallChunk

END = EndChunk(reason="stop", usage=TokenUsage(input_tokens=3, output_tokens=2))


async def run(*chunks: Chunk) -> list[AgentEvent]:
    async def stream() -> AsyncGenerator[Chunk]:
        for chunk in chunks:
            yield chunk

    return [event async for event in step(stream())]


async def finished(*chunks: Chunk) -> StepFinished:
    last = (await run(*chunks))[-1]
    assert isinstance(last, StepFinished)
    return last


async def test_text_is_passed_on_and_summed_up() -> None:
    events = await run(TextChunk("Hel"), TextChunk("lo"), END)
    assert events == [
        TextDelta("Hel"),
        TextDelta("lo"),
        StepFinished(text="Hello", tool_calls=(), usage=TokenUsage(input_tokens=3, output_tokens=2)),
    ]


async def test_reasoning_is_passed_on_apart_from_the_answer() -> None:
    events = await run(ReasoningChunk("Hm, "), ReasoningChunk("so."), TextChunk("Yes."), END)
    assert events[:2] == [ReasoningDelta("Hm, "), ReasoningDelta("so.")]
    last = events[-1]
    assert isinstance(last, StepFinished)
    assert (last.text, last.reasoning) == ("Yes.", "Hm, so.")


async def test_pieces_of_interleaved_tool_calls_are_put_together_in_order() -> None:
    last = await finished(
        ToolCallChunk(index=1, id="b", name="list_files", arguments="{}"),
        ToolCallChunk(index=0, id="a", name="read_file", arguments='{"pa'),
        ToolCallChunk(index=0, arguments='th": "x"}'),
        EndChunk(reason="tool_calls"),
    )
    assert last.tool_calls == (
        ModelToolCall(id="a", name="read_file", arguments={"path": "x"}),
        ModelToolCall(id="b", name="list_files", arguments={}),
    )
    assert last.broken == {}


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        ([TextChunk("half")], ModelTruncated),
        ([ReasoningChunk("half")], ModelTruncated),
        ([], ModelTruncated),
        ([ToolCallChunk(index=0, id="a", name="rm", arguments='{"path": "/im')], ModelTruncated),
        ([ToolCallChunk(index=0, id="a", name="rm", arguments='{"path": "x"}')], ModelTruncated),
        ([ToolCallChunk(index=0, id="a", name="", arguments="{}"), END], ModelBrokenToolCall),
    ],
)
async def test_half_an_answer_is_never_a_finished_step(chunks: list[Chunk], error: type[ModelError]) -> None:
    with pytest.raises(error):
        await run(*chunks)


@pytest.mark.parametrize(
    "arguments", ['{"path": "/im', "[1]", "null", '"x"', "{'path': 'x'}", '{"a": NaN}', '{"a":' * 100_000]
)
async def test_a_call_that_cannot_be_read_goes_back_to_the_model_and_leaves_the_others_alone(arguments: str) -> None:
    last = await finished(
        ToolCallChunk(index=0, id="a", name="read_file", arguments='{"path": "x"}'),
        ToolCallChunk(index=1, id="b", name="write_file", arguments=arguments),
        ToolCallChunk(index=2, id="c", name="list_files", arguments='{"path": "."}'),
        END,
    )
    assert [call.id for call in last.tool_calls] == ["a", "b", "c"]
    assert last.tool_calls[1].arguments == {}
    assert list(last.broken) == ["b"]
    assert last.broken["b"].startswith("write_file was not run: its arguments ")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("arguments", ['{"path": "src/ma', '{"path": "src"}', ""])
async def test_the_last_call_of_a_cut_answer_is_not_run_even_if_it_can_be_read(reason: str, arguments: str) -> None:
    last = await finished(
        ToolCallChunk(index=0, id="a", name="read_file", arguments='{"path": "x"}'),
        ToolCallChunk(index=1, id="b", name="delete_file", arguments=arguments),
        EndChunk(reason=reason),
    )
    assert list(last.broken) == ["b"]
    assert last.tool_calls[1].arguments == {}


async def test_calls_without_ids_or_with_one_id_for_all_can_be_told_apart() -> None:
    given = enumerate(["x", "x", "", "x", "call_2"])
    chunks = (ToolCallChunk(index=i, id=each, name="list_files", arguments=f'{{"path": "{i}"}}') for i, each in given)
    last = await finished(*chunks, END)
    ids = [call.id for call in last.tool_calls]
    assert len(set(ids)) == 5
    assert ids[0] == "x"
    assert all(ids)


@pytest.mark.parametrize("again", ['{"a": 1, "b": 2}', '{"b":2,"a":1}'])
async def test_a_call_that_comes_twice_in_an_answer_is_one(again: str) -> None:
    first = ToolCallChunk(index=0, id="x", name="read_file", arguments='{"a": 1, "b": 2}')
    other = ToolCallChunk(index=1, id="y", name="read_file", arguments='{"a": 1, "b": 2}')
    last = await finished(first, other, ToolCallChunk(index=2, id="x", name="read_file", arguments=again), END)
    assert [call.id for call in last.tool_calls] == ["x", "y"]


async def test_an_unreadable_call_that_comes_twice_is_one_and_equal_calls_without_ids_are_two() -> None:
    broken = [ToolCallChunk(index=index, id="x", name="read_file", arguments='{"a') for index in range(2)]
    last = await finished(*broken, END)
    assert [call.id for call in last.tool_calls] == list(last.broken) == ["x"]
    without_ids = [ToolCallChunk(index=index, name="read_file", arguments="{}") for index in range(2)]
    assert len((await finished(*without_ids, END)).tool_calls) == 2


@pytest.mark.parametrize(
    ("calls", "earlier", "repeats"),
    [
        ("a", ["a", "a", "a", "a"], True),
        ("a", ["a", "a", "a"], False),
        ("a", ["a", "b", "a", "a", "a"], False),
        ("aaaaa", [], True),
        ("aaaa", [], False),
        ("aa", ["a", "aa"], True),
        ("ab", ["ba", "ab", "ab", "ba"], True),
        ("ab", ["ac", "ad", "ae", "af"], False),
        ("abcdef", ["abcdef", "abcdef"], False),
        ("a", ["a", "a", "", "a", "a"], False),
    ],
)
def test_a_model_that_repeats_itself_is_stopped(calls: str, earlier: list[str], repeats: bool) -> None:
    if not repeats:
        require_progress(calls, earlier)
        return
    with pytest.raises(LimitReached) as caught:
        require_progress(calls, earlier)
    assert caught.value.limit == "repeated_calls"


async def test_many_calls_stay_in_their_order() -> None:
    last = await finished(
        *(
            ToolCallChunk(index=i, id=f"c{i}", name="read_file", arguments=json.dumps({"path": f"f{i}"}))
            for i in reversed(range(40))
        ),
        END,
    )
    assert [call.arguments["path"] for call in last.tool_calls] == [f"f{i}" for i in range(40)]


@pytest.mark.parametrize(
    ("spent", "limit"),
    [
        (TurnUsage(), None),
        (TurnUsage(steps=2, dollars=0.99, seconds=59), None),
        (TurnUsage(steps=3), Limit.STEPS),
        (TurnUsage(dollars=1.0), Limit.COST),
        (TurnUsage(seconds=60), Limit.TIME),
        (TurnUsage(steps=9, dollars=9, seconds=99), Limit.STEPS),
    ],
)
def test_a_turn_stops_when_something_has_run_out(spent: TurnUsage, limit: Limit | None) -> None:
    assert Limits(steps=3, dollars=1.0, seconds=60).check(spent) == limit


def test_what_is_not_limited_never_runs_out() -> None:
    assert Limits().check(TurnUsage(steps=49, dollars=1e9, seconds=1e9)) is None
    assert all(limit.sentence.endswith(".") for limit in Limit)


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["a\x00b"], "a\ufffdb"),
        (["so \ud83d", "\ude00 it is"], "so \U0001f600 it is"),
        (["half \ud83d", " a pair"], "half \ufffd a pair"),
        (["the end \ud83d"], "the end \ufffd"),
        (["\ude00 alone"], "\ufffd alone"),
        (["Привет", " 👋"], "Привет 👋"),
    ],
)
async def test_what_cannot_be_stored_is_replaced(pieces: list[str], shown: str) -> None:
    *deltas, last = await run(*map(TextChunk, pieces), *map(ReasoningChunk, pieces), END)
    assert isinstance(last, StepFinished)
    assert (last.text, last.reasoning) == (shown, shown)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == shown


@pytest.mark.parametrize("text", ['"\\u0000"', '"\\ud83d"', '["a\\u0000"]'])
async def test_a_call_with_arguments_that_cannot_be_stored_goes_back_to_the_model(text: str) -> None:
    call = ToolCallChunk(index=0, id="a", name="write_file", arguments=f'{{"path": "x", "content": {text}}}')
    last = await finished(call, END)
    assert (last.tool_calls[0].arguments, "cannot be stored" in last.broken["a"]) == ({}, True)


@pytest.mark.parametrize(
    "arguments",
    [
        '{"start_line": 1e400}',
        '{"start_line": -1e400}',
        '{"start_line": NaN}',
        '{"start_line": Infinity}',
        '{"start_line": ' + "9" * 30 + "}",
        '{"start_line": ' + "9" * 5_000 + "}",
        '{"a": ' * 900 + "1" + "}" * 900,
        "[" * 100_000,
        '{"a": [' + "1," * 60_000 + "1]}",
    ],
    ids=lambda text: text[:30],
)
async def test_arguments_that_no_database_takes_are_broken(arguments: str) -> None:
    last = await finished(ToolCallChunk(index=0, id="a", name="read_file", arguments=arguments), END)
    assert last.broken["a"].startswith("read_file was not run: its arguments ")
    assert last.tool_calls[0].arguments == {}


async def test_a_filter_that_leaves_nothing_is_told_from_an_empty_answer() -> None:
    withheld = EndChunk(reason="content_filter")
    assert (await finished(TextChunk("\n"), withheld)).is_withheld
    assert not (await finished(TextChunk("Half"), withheld)).is_withheld
    assert not (await finished(EndChunk(reason="stop"))).is_withheld


async def test_what_only_the_provider_understands_stays_with_the_call_and_the_message() -> None:
    last = await finished(
        ToolCallChunk(index=0, id="a", name="f", arguments="{}", extra={"extra_content": {"google": {"x": 1}}}),
        ToolCallChunk(index=0, extra={"more": 2}),
        EndChunk(reason="tool_calls", extra={"reasoning_content": "Hm."}),
    )
    assert last.tool_calls[0].extra == {"extra_content": {"google": {"x": 1}}, "more": 2}
    assert last.extra == {"reasoning_content": "Hm."}


async def test_a_character_in_two_pieces_of_arguments_is_whole_again() -> None:
    pieces = ['{"path": "\ud83d', '\ude00"}']
    last = await finished(
        ToolCallChunk(index=0, id="a", name="f", arguments=pieces[0]), ToolCallChunk(index=0, arguments=pieces[1]), END
    )
    assert last.tool_calls[0].arguments == {"path": "😀"}


async def test_an_escaped_backslash_before_u0000_is_not_nul() -> None:
    last = await finished(ToolCallChunk(index=0, id="a", name="f", arguments='{"path": "\\\\u0000"}'), END)
    assert last.tool_calls[0].arguments == {"path": "\\u0000"}


async def test_arguments_that_are_encoded_twice_are_the_same() -> None:
    call = ToolCallChunk(index=0, id="a", name="read_file", arguments=json.dumps(json.dumps({"path": "x"})))
    last = await finished(call, EndChunk(reason="tool_calls"))
    assert (last.tool_calls[0].arguments, last.broken) == ({"path": "x"}, {})


@pytest.mark.parametrize(("reason", "why"), [("length", "length limit"), ("content_filter", "provider's filter")])
async def test_a_call_in_which_an_answer_was_cut_says_why(reason: str, why: str) -> None:
    call = ToolCallChunk(index=0, id="a", name="read_file", arguments='{"path": "x"}')
    last = await finished(call, EndChunk(reason=reason))
    assert why in last.broken["a"]

from collections.abc import AsyncGenerator

import pytest

from agents.events import AgentEvent, StepFinished, TextDelta
from agents.loop import step
from agents.tools import TOOLS, requires_approval
from llm.errors import ModelBrokenToolCall, ModelError, ModelTruncated
from llm.types import Chunk, EndChunk, TextChunk, ToolCall, ToolCallChunk

END = EndChunk(reason="stop", input_tokens=3, output_tokens=2)


async def run(*chunks: Chunk) -> list[AgentEvent]:
    async def stream() -> AsyncGenerator[Chunk]:
        for chunk in chunks:
            yield chunk

    return [event async for event in step(stream())]


async def test_text_is_passed_on_and_summed_up() -> None:
    events = await run(TextChunk("Hel"), TextChunk("lo"), END)
    assert events == [
        TextDelta("Hel"),
        TextDelta("lo"),
        StepFinished(text="Hello", tool_calls=(), input_tokens=3, output_tokens=2),
    ]


async def test_pieces_of_interleaved_tool_calls_are_put_together() -> None:
    events = await run(
        ToolCallChunk(index=1, id="b", name="list_files", arguments="{}"),
        ToolCallChunk(index=0, id="a", name="read_file", arguments='{"pa'),
        ToolCallChunk(index=0, arguments='th": "x"}'),
        EndChunk(reason="tool_calls"),
    )
    assert events[-1] == StepFinished(
        text="",
        tool_calls=(
            ToolCall(id="a", name="read_file", arguments={"path": "x"}),
            ToolCall(id="b", name="list_files", arguments={}),
        ),
        input_tokens=0,
        output_tokens=0,
    )


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        ([TextChunk("half")], ModelTruncated),
        ([], ModelTruncated),
        ([ToolCallChunk(index=0, id="a", name="rm", arguments='{"path": "/im')], ModelTruncated),
        ([ToolCallChunk(index=0, id="a", name="rm", arguments='{"path": "/im'), END], ModelBrokenToolCall),
        ([ToolCallChunk(index=0, id="a", name="rm", arguments="[1]"), END], ModelBrokenToolCall),
        ([ToolCallChunk(index=0, id="", name="rm", arguments="{}"), END], ModelBrokenToolCall),
        ([ToolCallChunk(index=0, id="a", name="", arguments="{}"), END], ModelBrokenToolCall),
    ],
)
async def test_half_an_answer_is_never_a_finished_step(chunks: list[Chunk], error: type[ModelError]) -> None:
    with pytest.raises(error):
        await run(*chunks)


def test_only_tools_that_change_nothing_go_without_approval() -> None:
    free = {name for name in TOOLS if not requires_approval(name)}
    assert free == {"read_file", "list_files", "search_in_code"}
    assert requires_approval("a tool that nobody has heard of")

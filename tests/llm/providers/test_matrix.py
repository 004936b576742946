"""Reads answers of many providers, each written by hand after the provider's documentation, over real HTTP."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llm import calls
from llm.errors import ModelError
from llm.types import EndChunk, ModelMessage, ModelRequest, ReasoningChunk, TextChunk, TokenUsage, Tool, ToolCallChunk
from tests.llm.recorded import Recorded

FOLDER = Path(__file__).parent
SHAPES = {"text", "reasoning", "one-call", "parallel-calls", "cut", "refused", "overflow", "usage"}
PROVIDERS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and not path.name.startswith("_"))

REQUEST = ModelRequest(
    model="openai/fake",
    messages=(ModelMessage(role="user", content="Hi"),),
    tools=(Tool(name="weather", description="Tell the weather.", parameters={"type": "object"}),),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A file of this folder."""

    source: str
    read: dict[str, Any]
    status: int
    content_type: str
    body: bytes


def load(path: Path) -> Answer:
    head, _, body = path.read_bytes().partition(b"\n\n")
    source, read, status, content_type = head.decode().split("\n")
    return Answer(
        source.removeprefix("# source: "),
        json.loads(read.removeprefix("# read: ")),
        int(status.split()[1]),
        content_type.removeprefix("Content-Type: "),
        body,
    )


async def read(request: ModelRequest = REQUEST) -> dict[str, Any]:
    """Return what is read of an answer, in the form of the files; empty parts are left out."""
    found: dict[str, Any] = defaultdict(str)
    by_index: dict[int, list[str]] = defaultdict(lambda: ["", "", ""])
    extra: dict[str, Any] = {}
    try:
        async for chunk in calls.stream(request):
            match chunk:
                case TextChunk(text):
                    found["text"] += text
                case ReasoningChunk(text):
                    found["reasoning"] += text
                case ToolCallChunk():
                    call = by_index[chunk.index]
                    for place, piece in enumerate((chunk.id, chunk.name, chunk.arguments)):
                        call[place] += piece
                    extra |= chunk.extra
                case EndChunk():
                    found["reason"] = chunk.reason
                    found["usage"] = _counts(chunk.usage)
    except ModelError as error:
        found["error"] = type(error).__name__
        if tokens := getattr(error, "tokens", None):
            found["window"] = tokens.window
    found["calls"] = [[name, json.loads(arguments)] for _, name, arguments in by_index.values()]
    found["ids"] = [call_id for call_id, *_ in by_index.values()]
    found["extra"] = extra
    return {name: value for name, value in found.items() if value}


def _counts(usage: TokenUsage | None) -> dict[str, int]:
    if usage is None or usage.estimated:
        return {}
    names = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
    return {name: getattr(usage, name) for name in names if getattr(usage, name)}


@pytest.mark.parametrize("is_in_pieces", [False, True], ids=["whole", "pieces"])
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.http")), ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_an_answer_is_read(path: Path, is_in_pieces: bool, server: Recorded) -> None:
    answer = load(path)
    size = 97 if is_in_pieces else len(answer.body)
    pieces = [answer.body[start : start + size] for start in range(0, len(answer.body), size)]
    server.play(*pieces, status=answer.status, content_type=answer.content_type)

    found = await read()

    wanted = {"requests": 1} | answer.read
    assert {**found, "requests": len(server.posts)} == wanted


def test_every_provider_has_every_shape() -> None:
    assert len(PROVIDERS) >= 12
    for provider in PROVIDERS:
        assert {path.stem for path in (FOLDER / provider).glob("*.http")} == SHAPES, provider


def test_every_file_names_its_source() -> None:
    for path in FOLDER.glob("*/*.http"):
        assert "https://" in load(path).source, path

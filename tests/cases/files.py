"""The cases as files, and the plays that each of them means: one for each reason or name that it lists."""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

type Json = dict[str, Any]
#: A piece of a body, or seconds of silence.
type Piece = bytes | float

#: For cases that say nothing about one side, which a client of the other kind reaches all the same.
DOOR: Json = {"model": "openai/fake", "messages": [{"role": "user", "content": "x"}]}
STEPS: list[Json] = [{"message": "x"}]


@cache
def cases(surface: str, folder: Path = FOLDER) -> dict[str, Json]:
    """Return the cases of a surface by their ids."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    return {case["id"]: case for case in found if case["surface"] == surface}


@dataclass(slots=True)
class Reply:
    """One answer of the provider."""

    status: int
    content_type: str
    pieces: list[Piece]

    @classmethod
    def read(cls, reply: Json) -> Reply:
        body = reply["body"] if isinstance(reply["body"], list) else [reply["body"]]
        return cls(reply["status"], reply["type"], [_piece(piece) for piece in body])


def _piece(piece: str | Json) -> Piece:
    if isinstance(piece, str):
        return piece.encode()
    return base64.b64decode(piece["base64"]) if "base64" in piece else float(piece["silent"])


@dataclass(slots=True)
class Script:
    """What a provider does in one play, and the requests that it has received."""

    replies: list[Reply]
    #: Its provider, which no other play has.
    name: str = ""
    #: In a case's words: the rule of a provider that is strict.
    refuses: str = ""
    #: While a request has the field, it gets the refusal.
    unknown_field: str = ""
    refusal: Reply | None = None
    requests: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    replied: int = 0


def variations(given: Json) -> dict[str, Json]:
    """Return the inputs that one stands for, by the reason or name that is put in."""
    for key, word in (("for_each_reason", "REASON"), ("for_each_name", "NAME")):
        if key in given:
            return {each: _with(given, word, each) for each in given[key]}
    return {"": given}


def _with(given: Json, word: str, value: str) -> Json:
    filled = copy.deepcopy(given)
    for reply in filled["replies"]:
        reply["body"] = reply["body"].replace(word, json.dumps(value)[1:-1])
    return filled


def script(given: Json) -> Script:
    """Return what the provider of a play does."""
    refusal = given.get("refusal")
    return Script(
        [Reply.read(reply) for reply in given["replies"]],
        refuses=given.get("provider_refuses", ""),
        unknown_field=given.get("as_long_as_the_request_has", ""),
        refusal=Reply.read(refusal) if refusal else None,
    )

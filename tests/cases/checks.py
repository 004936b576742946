"""What a right result looks like, in terms of what a client and a provider see. A check raises AssertionError."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.cases.files import Json
from tests.cases.player import Answer, Session
from tests.cases.providers import signatures

type SessionCheck = Callable[[Session], None]
type DoorCheck = Callable[[list[Answer]], None]


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks of a case, on each side. A side without checks is not played."""

    session: tuple[SessionCheck, ...] = ()
    door: tuple[DoorCheck, ...] = ()


A_TXT, B_TXT = ("read_file", {"path": "a.txt"}), ("read_file", {"path": "b.txt"})


# Sessions


def answers(*texts: str, requests: int | None = None, turn: int = -1) -> SessionCheck:
    """Return a check that a turn ended well, with one of these texts."""

    def check(it: Session) -> None:
        ended = it.turns[turn]
        assert ended.errors == []
        assert ended.text.strip() in texts
        assert ended.end == "turn_completed"
        if requests is not None:
            assert len(it.requests) == requests

    return check


def fails(*codes: str, requests: int | None = None) -> SessionCheck:
    def check(it: Session) -> None:
        assert len(it.turns[-1].errors) == 1, f"completed with {it.turns[-1].text!r}"
        assert it.turns[-1].errors[0] in codes
        assert it.turns[-1].end == "turn_failed"
        if requests is not None:
            assert len(it.requests) == requests

    return check


def thinks(thought: str) -> SessionCheck:
    def check(it: Session) -> None:
        assert it.turns[-1].thought == thought

    return check


def calls(*wanted: tuple[str, Json]) -> SessionCheck:
    """Return a check of the frames `tool_call`: these calls, each once, with ids of their own."""

    def check(it: Session) -> None:
        frames = [frame for turn in it.turns for frame in turn.calls]
        assert [(frame["tool_name"], frame["arguments"]) for frame in frames] == list(wanted)
        assert len({frame["call_id"] for frame in frames}) == len(wanted)

    return check


def has_results(it: Session) -> None:
    """Check that in each request every call has an id of its own and its own result."""
    for request in it.requests:
        ids = [call["id"] for message in request["messages"] for call in message.get("tool_calls") or ()]
        results = [message["tool_call_id"] for message in request["messages"] if message["role"] == "tool"]
        assert len(set(ids)) == len(ids)
        assert results == ids


def is_not_blank(it: Session) -> None:
    """Check that no turn is complete and blank."""
    for turn in it.turns:
        assert turn.errors or turn.text.strip(), "a turn is complete and blank"
        assert turn.end in ("turn_completed", "turn_failed")


def runs_nothing_and_fails(it: Session) -> None:
    """Check that no call ran and that the turn said why. A model that is told and asked again fails again."""
    assert it.turns[-1].calls == []
    assert it.turns[-1].errors != []
    assert len(it.requests) <= 10


def keeps(text: str) -> SessionCheck:
    def check(it: Session) -> None:
        said = [message["content"] for message in it.history if message["role"] == "assistant"]
        assert said == [text]

    return check


def tells_what_is_missing(it: Session) -> None:
    (result,) = [message for message in it.requests[1]["messages"] if message["role"] == "tool"]
    assert "path" in result["content"]
    has_results(it)


def has_no_text_beside_calls(it: Session) -> None:
    (message,) = _with_calls(it.requests[1])
    assert message.get("content") is None


def _with_calls(request: Json) -> list[Json]:
    return [message for message in request["messages"] if message.get("tool_calls")]


def sends_only_possible_names(it: Session) -> None:
    names = [
        call["function"]["name"]
        for request in it.requests
        for message in _with_calls(request)
        for call in message["tool_calls"]
    ]
    assert names != []
    assert [name for name in names if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)] == []


def tells_that_there_is_no_such_tool(it: Session) -> None:
    (result,) = [message for message in it.requests[1]["messages"] if message["role"] == "tool"]
    assert "does not exist" in result["content"]


def thought_comes_back(it: Session) -> None:
    (message,) = _with_calls(it.requests[1])
    assert message.get("reasoning_content") == "I need the file."


def forgets_thoughts(it: Session) -> None:
    assert not any("reasoning_content" in message for message in it.requests[1]["messages"])


def signature_comes_back(it: Session) -> None:
    assert signatures(it.requests[1]["messages"]) == ["c2lnLTE="]


def reaches_the_model(*texts: str) -> SessionCheck:
    """Return a check that the last request has all these texts of the user, in this order."""

    def check(it: Session) -> None:
        read = [str(message["content"]) for message in it.requests[-1]["messages"] if message["role"] == "user"]
        places = ["\n".join(read).find(text) for text in texts]
        assert -1 not in places
        assert places == sorted(places)

    return check


def leaves_out(name: str, *, requests: int) -> SessionCheck:
    """Return a check that only the first request has a field, which its provider refuses."""

    def check(it: Session) -> None:
        assert [name in request for request in it.requests] == [True] + [False] * (requests - 1)

    return check


# The OpenAI-compatible API


def says(text: str, *, reason: str = "stop", requests: int = 1, thought: str | None = None) -> DoorCheck:
    def check(all_answers: list[Answer]) -> None:
        answer = all_answers[-1]
        assert (answer.status, answer.error) == (200, None)
        assert answer.text.replace("\ufffd", "") == text
        assert answer.reason == reason
        assert len(answer.requests) == requests
        if thought is not None:
            assert answer.thought == thought

    return check


def asks_for(*wanted: tuple[str, Json]) -> DoorCheck:
    """Return a check of the calls in the first answer."""

    def check(all_answers: list[Answer]) -> None:
        answer = all_answers[0]
        assert (answer.status, answer.error) == (200, None)
        functions = [call["function"] for call in answer.calls]
        assert all(isinstance(function["arguments"], str) for function in functions)
        assert [(each["name"], json.loads(each["arguments"])) for each in functions] == list(wanted)
        assert len({call["id"] for call in answer.calls}) == len(wanted)
        assert answer.reason == "tool_calls"

    return check


def refuses(*statuses: int, code: str | None = None, requests: int | None = None) -> DoorCheck:
    def check(all_answers: list[Answer]) -> None:
        answer = all_answers[-1]
        assert answer.status in statuses
        assert answer.error is not None
        if code:
            assert answer.error["code"] == code
        if requests is not None:
            assert len(answer.requests) == requests

    return check


def is_not_repeated(all_answers: list[Answer]) -> None:
    """Check that OpenAI's own clients do not send the request again, nor does the service."""
    (answer,) = all_answers
    assert answer.error is not None
    repeats = answer.status in (408, 409, 429) or answer.status >= 500
    assert not repeats or answer.headers.get("x-should-retry") == "false"
    assert answer.status != 503
    assert len(answer.requests) == 1


def does_not_look_whole(*whole: str, requests: int | None = None) -> DoorCheck:
    """Return a check for an error, or for another reason to end than these."""

    def check(all_answers: list[Answer]) -> None:
        (answer,) = all_answers
        assert answer.error or answer.reason not in whole
        assert answer.status in (200, 502)
        if requests is not None:
            assert len(answer.requests) == requests

    return check


def says_or_fails(text: str, *, requests: int) -> DoorCheck:
    def check(all_answers: list[Answer]) -> None:
        (answer,) = all_answers
        if answer.error is None:
            says(text, requests=requests)(all_answers)
        else:
            assert answer.error["code"].startswith("model_")

    return check


def signature_goes_through(all_answers: list[Answer]) -> None:
    assert len(all_answers) == 2
    (call,) = all_answers[0].calls
    assert call["extra_content"] == {"google": {"thought_signature": "c2lnLTE="}}
    assert signatures(all_answers[1].requests[1]["messages"]) == ["c2lnLTE="]

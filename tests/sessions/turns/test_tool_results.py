"""Results of tools with more than a text: images, parts, facts for people; and those that are too long for a model."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from agents.results import MAX_SHOWN_CHARACTERS
from llm.types import ModelMessage, ModelToolCall
from sessions.api.commands import tool_output
from sessions.api.rest.history import history
from sessions.api.websocket.snapshot import snapshot
from sessions.events import log
from sessions.models import Approval, EventKind, Session, ToolCall
from sessions.protocol.client import ToolResult, decode
from sessions.protocol.codes import Rejected
from sessions.turns import images, tool_calls
from tests.closed_schemas import require_event, require_snapshot
from tests.sessions import story
from tests.sessions.calls import read_call, write_call

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
HASH = "0123456789abcdef" * 4
TEST_CALL = ModelToolCall(id="c", name="execute_command", arguments={"command": "pytest"})


def frame(call_id: str, **fields: Any) -> ToolResult:
    decoded = decode(json.dumps({"type": "tool_result", "call_id": call_id, **fields}))
    assert isinstance(decoded, ToolResult)
    return decoded


def give(session: Session, call_id: str, **fields: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Send a result; return the call's status, and the payloads of `tool_call_finished` and `message_added`."""
    tool_calls.record_output(session.pk, call_id, tool_output(frame(call_id, **fields)))
    events = log.since(session.pk, 0)
    for event in events:
        require_event(event.kind, event.payload)
    (finished,) = [event.payload for event in events if event.kind == EventKind.TOOL_CALL_FINISHED]
    message = [event.payload for event in events if event.kind == EventKind.MESSAGE_ADDED][-1]
    state = snapshot(session.pk)
    require_snapshot(state)
    assert state["messages"][-1] == message
    return ToolCall.objects.get(call_id=call_id).status, finished, message


def seen(claim: Any) -> ModelMessage:
    """The last message that the model gets."""
    return story.history(claim.turn_id)[-1]


def test_an_old_result_is_what_it_was(session: Session) -> None:
    story.request(session, read_call("r"))
    status, finished, message = give(session, "r", result={"success": True, "content": "é"}, parts=None, is_error=None)
    assert (status, message["content"]) == ("completed", '{"success": true, "content": "é"}')
    assert finished.keys() == {"turn_id", "call_id", "status"}
    assert message.keys() == {"message_id", "turn_id", "role", "content", "tool_call_id"}


def test_parts_become_one_text_and_images_go_along(session: Session) -> None:
    claim = story.request(session, read_call("r"))
    picture = images.store(session.pk, PNG)
    parts = [
        {"type": "text", "text": "Two buttons overlap."},
        {"type": "image", "image_id": str(picture.pk)},
        {"type": "file", "path": "shots/a.png", "sha256": HASH},
    ]
    status, _, message = give(session, "r", parts=parts)
    assert status == "completed"
    assert message["content"] == f"Two buttons overlap.\n\n[Image]\n\n[File shots/a.png, SHA-256 {HASH}]"
    assert message["images"] == [{"image_id": str(picture.pk), "media_type": "image/png", "bytes": len(PNG)}]
    assert [image.url[:22] for image in seen(claim).images] == ["data:image/png;base64,"]
    (*_, shown) = history(session).messages
    assert [image.image_id for image in shown.images or ()] == [picture.pk]
    picture.refresh_from_db()
    assert picture.is_shown, "the clean-up leaves it"


def test_an_image_that_the_session_does_not_have_leaves_the_call_open(session: Session) -> None:
    story.request(session, read_call("r"))
    output = tool_output(frame("r", parts=[{"type": "image", "image_id": str(uuid.uuid4())}]))
    with pytest.raises(Rejected) as caught:
        tool_calls.record_output(session.pk, "r", output)
    assert caught.value.code == "image_not_found"
    assert give(session, "r", parts=[{"type": "text", "text": "x"}])[0] == "completed"


@pytest.mark.parametrize(
    "parts",
    [
        [{"type": "audio", "data": "x"}],
        [{"type": "text"}],
        [{"type": "text", "text": None}],
        [{"type": "image", "image_id": "a.png"}],
        [{"type": "file", "path": "a", "sha256": "abc"}],
        [{"type": "file", "path": "", "sha256": HASH}],
        [{"type": "text", "text": "x"}] * 101,
        ["x"],
        "x",
    ],
)
def test_parts_that_cannot_be_read_are_refused(parts: Any) -> None:
    with pytest.raises(Rejected) as caught:
        frame("r", parts=parts)
    assert caught.value.code == "invalid_field"
    assert "parts" in str(caught.value)


def test_more_images_than_a_message_may_have_are_refused() -> None:
    with pytest.raises(Rejected, match="at most 8 images"):
        tool_output(frame("r", parts=[{"type": "image", "image_id": str(uuid.uuid4())}] * 9))


def test_a_tool_that_ran_and_failed_is_told_as_an_error(session: Session) -> None:
    story.request(session, read_call("r"))
    status, finished, message = give(session, "r", parts=[{"type": "text", "text": "No such issue."}], is_error=True)
    assert (status, finished["status"], message["content"]) == ("failed", "failed", "Error: No such issue.")


def test_a_failure_of_a_call_that_waits_for_approval_says_that_it_ran(session: Session) -> None:
    story.request(session, write_call("w"))
    status, *_ = give(session, "w", result={"reason": "disk full"}, is_error=True)
    assert (status, Approval.objects.get().status) == ("failed", "approved")


def test_people_are_told_the_exit_code_of_a_command(session: Session) -> None:
    story.request(session, TEST_CALL)
    _, finished, message = give(session, "c", result={"command": "pytest", "exit_code": 1, "stdout": "1 failed"})
    assert finished["exit_code"] == 1
    assert '"exit_code": 1' in message["content"]


def test_people_are_told_what_an_edit_has_changed(session: Session) -> None:
    story.request(session, write_call("w"))
    change = {"sha256_before": None, "sha256_after": HASH, "diff": "+line\n" * 10_000}
    _, finished, _ = give(session, "w", result={"success": True, "bytes_written": 1, **change})
    assert (finished["sha256_after"], "sha256_before" in finished) == (HASH, False)
    assert len(finished["diff"]) < 21_000
    assert "40,001 of 60,000 characters left out" in finished["diff"]
    assert ToolCall.objects.get().facts == {name: finished[name] for name in ("sha256_after", "diff")}


@pytest.mark.parametrize(
    "result", [None, "text", 5, ["a"], {"exit_code": "one", "diff": 7}, {"exit_code": 2**70}, {"diff": "\u0000"}]
)
def test_a_result_of_another_shape_is_taken(session: Session, result: Any) -> None:
    story.request(session, write_call("w"))
    assert give(session, "w", result=result)[0] == "completed"


def test_a_long_result_is_cut_for_the_model_and_kept_whole(session: Session) -> None:
    claim = story.request(session, TEST_CALL)
    output = "x" * 100_000 + "y" * 50_000
    _, _, message = give(session, "c", parts=[{"type": "text", "text": output}])
    content = seen(claim).content
    assert content == message["content"]
    assert len(content) < MAX_SHOWN_CHARACTERS + 100
    assert content.startswith("xxx")
    assert content.endswith("yyy")
    assert "[… 86,001 of 150,000 characters left out …]" in content
    assert ToolCall.objects.get().result == output

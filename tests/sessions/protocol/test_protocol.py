from __future__ import annotations

import json
import uuid
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.models import EventKind
from sessions.protocol.client import ToolResult, UserMessage, decode
from sessions.protocol.codes import MAX_FRAME_BYTES, MAX_MESSAGE_LENGTH, FrameError
from sessions.protocol.server import AssistantMessage, EventFrame, encode, encode_event, encode_piece, error_frame

CORPORA = next((p / "shared" / "corpora" for p in Path(__file__).parents if (p / "shared" / "corpora").is_dir()), None)

MESSAGE = '{"type": "user_message", "content": %s}'

BAD = [
    ("", "invalid_json"),
    ("not json", "invalid_json"),
    ('{"type": "user_message"', "invalid_json"),
    ("[]", "not_an_object"),
    ('"text"', "not_an_object"),
    ("null", "not_an_object"),
    ("{}", "unknown_type"),
    ('{"type": null}', "unknown_type"),
    ('{"type": 5}', "unknown_type"),
    ('{"type": ["user_message"]}', "unknown_type"),
    ('{"type": "ping"}', "unknown_type"),
    ('{"type": "websocket.disconnect"}', "unknown_type"),
    ('{"type": "user_message"}', "invalid_field"),
    (MESSAGE % "5", "invalid_field"),
    (MESSAGE % "null", "invalid_field"),
    (MESSAGE % '["x"]', "invalid_field"),
    (MESSAGE % '""', "empty_message"),
    (MESSAGE % '" \\n "', "empty_message"),
    (MESSAGE % json.dumps("x" * (MAX_MESSAGE_LENGTH + 1)), "invalid_field"),
    (MESSAGE % '"a\\u0000b"', "invalid_text"),
    (MESSAGE % '"a\\ud800b"', "invalid_json"),
    (MESSAGE % '"x", "role": "boss"', "invalid_field"),
    (MESSAGE % '"x", "extra": NaN', "invalid_json"),
    (MESSAGE % '"x", "extra": 1e400', "invalid_json"),
    (MESSAGE % f'"x", "extra": [-1{"0" * 400}.5]', "invalid_json"),
    (MESSAGE % f'"x", "extra": {"9" * 4400}', "invalid_json"),
    (MESSAGE % '"x", "client_message_id": "a\\u0000"', "invalid_text"),
    ('{"type": "hitl_decision", "call_id": "c", "decision": "reject", "feedback": "\\u0000"}', "invalid_text"),
    ('{"type": "hello", "tools": ["\\u0000"]}', "invalid_text"),
    ('{"type": "hello", "after": 9223372036854775808}', "invalid_field"),
    (
        '{"type": "hitl_decision", "call_id": "c", "decision": "edit", "modified_arguments": {"n": 1e400}}',
        "invalid_json",
    ),
    ('{"type": "tool_result"}', "invalid_field"),
    ('{"type": "tool_result", "call_id": ""}', "invalid_field"),
    ('{"type": "tool_result", "call_id": "c", "error": {"a": 1}}', "invalid_field"),
    ("[" * 10_000 + "]" * 10_000, "invalid_json"),
    ('{"a":' * 10_000 + "1" + "}" * 10_000, "invalid_json"),
    ("x" * (MAX_FRAME_BYTES + 1), "frame_too_large"),
    ("ж" * (MAX_FRAME_BYTES // 2 + 1), "frame_too_large"),
]


@pytest.mark.parametrize("text", ['"1e400 e99"', '"a backslash: \\\\u0000"', '"x", "extra": 1e99'])
def test_what_only_looks_like_a_bad_value_is_accepted(text: str) -> None:
    assert isinstance(decode(MESSAGE % text), UserMessage)


@pytest.mark.parametrize(("text", "code"), BAD, ids=lambda value: value[:40])
def test_a_bad_frame_is_refused_with_a_code_and_a_sentence(text: str, code: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode(text)
    assert caught.value.code == code
    assert len(str(caught.value)) > 15
    assert str(caught.value).isprintable()


def test_clients_of_the_original_are_understood() -> None:
    editor = '{"type":"user_message","content":"Привет","role":"user","is_final":null,"call_id":null,"metadata":null}'
    assert decode(editor) == UserMessage(type="user_message", content="Привет", role="user")
    assert decode('{"type":"user_message","content":"Hi"}') == UserMessage(type="user_message", content="Hi")
    result = decode('{"type":"tool_result","call_id":"c","tool_name":"read_file","result":{"a":[1]},"error":null}')
    assert result == ToolResult(type="tool_result", call_id="c", result={"a": [1]})


def test_frames_never_carry_an_explicit_null() -> None:
    frame = json.loads(encode(AssistantMessage(token="x", is_final=False)))
    assert frame == {"type": "assistant_message", "token": "x", "is_final": False}
    error = json.loads(encode(error_frame("code", "text")))
    assert error == {"type": "error", "content": "text", "error": "text", "error_code": "code"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)


@given(st.integers(1), st.none() | st.integers(1), st.sampled_from(EventKind), st.dictionaries(st.text(), VALUES))
def test_an_event_is_written_as_its_model_would_be(
    number: int, first: int | None, kind: EventKind, payload: dict[str, object]
) -> None:
    for each in (kind, str(kind)):
        written = encode_event(number=number, first=first, kind=each, payload=payload)
        assert written == encode(EventFrame(number=number, first=first, kind=each, payload=payload))


@given(st.integers(1), st.uuids(), st.uuids(), st.text())
def test_a_piece_is_written_as_its_model_would_be(
    number: int, turn_id: uuid.UUID, message_id: uuid.UUID, token: str
) -> None:
    turn, message = str(turn_id), str(message_id)
    model = AssistantMessage(number=number, turn_id=turn, message_id=message, token=token, is_final=False)
    assert encode_piece(number=number, turn_id=turn, message_id=message, token=token) == encode(model)


@pytest.mark.skipif(CORPORA is None, reason="THE CORPORA ARE NOT HERE: JSONTestSuite was not run")
def test_json_that_must_not_parse_is_refused() -> None:
    assert CORPORA is not None
    with zipfile.ZipFile(CORPORA / "json_test_suite.zip") as suite:
        names = [name for name in suite.namelist() if Path(name).name.startswith(("n_", "y_", "i_"))]
        assert len(names) > 250
        for name in names:
            text = suite.read(name).decode("utf-8", "surrogateescape")
            if "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
                # Not UTF-8, or a NUL outside any string: refused before it is parsed.
                with pytest.raises(FrameError, match=r"cannot be stored|not valid Unicode"):
                    decode(text)
                continue
            with pytest.raises(FrameError) as caught:
                decode(text)
            # What must parse is no frame of ours, but it is no "invalid JSON" either.
            kind = Path(name).name[0]
            if kind == "n":
                assert caught.value.code == "invalid_json", name
            if kind == "y":
                assert caught.value.code != "invalid_json", name


@pytest.mark.skipif(CORPORA is None, reason="THE CORPORA ARE NOT HERE: naughty strings were not tried")
def test_naughty_strings_are_taken_as_they_are() -> None:
    assert CORPORA is not None
    for text in json.loads((CORPORA / "blns.json").read_text()):
        if text.strip():
            frame = decode(json.dumps({"type": "user_message", "content": text}))
            assert isinstance(frame, UserMessage)
            assert frame.content == text

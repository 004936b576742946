"""Any conversation that a session can have is taken by providers that refuse whatever they can."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.context import Window, fit
from llm import catalog
from llm.errors import ModelContextTooLong
from llm.origins import origin_of
from llm.types import Endpoint, ModelImage, ModelMessage, ModelRequest, ModelToolCall, Tool
from llm.wire.cache_marks import takes_cache_marks
from llm.wire.history import NO_ANSWER, NO_OUTPUT, NO_RESULT, fit_name, replay
from llm.wire.requests import build_body, build_conversation
from llm.wire.result_images import IMAGES_FOLLOW, OF_RESULTS
from tests.llm.strict import problems

READ = Tool(name="read_file", description="Reads.", parameters={"type": "object", "properties": {}})
IMAGE = ModelImage("data:image/png;base64,aGk=")
PROVIDER = catalog.provider_of("openai/fake")


def user(text: str, *images: ModelImage) -> ModelMessage:
    return ModelMessage(role="user", content=text, images=images)


def said(text: str, *calls: ModelToolCall, **fields: Any) -> ModelMessage:
    return ModelMessage(role="assistant", content=text, tool_calls=calls, **fields)


def call(call_id: str, name: str = "read_file", **fields: Any) -> ModelToolCall:
    return ModelToolCall(id=call_id, name=name, arguments={"path": "a.txt"}, **fields)


def result(call_id: str, text: str = "text", *images: ModelImage) -> ModelMessage:
    return ModelMessage(role="tool", content=text, tool_call_id=call_id, images=images)


def send(*messages: ModelMessage, model: str = "openai/fake", **fields: Any) -> dict[str, Any]:
    """Return the body of a request."""
    assert PROVIDER
    request = ModelRequest(model=model, messages=messages, tools=(READ,), **fields)
    body: dict[str, Any] = json.loads(build_body(request, PROVIDER))
    return body


def replayed(*messages: ModelMessage, **fields: Any) -> list[tuple[str, Any]]:
    body = send(*messages, **fields)
    assert problems(body) == []
    return [(message["role"], message["content"]) for message in body["messages"]]


SYSTEM = ModelMessage(role="system", content="Be brief.")

texts = st.one_of(st.sampled_from(["", " ", "\n", "one", "два", "x" * 3000]), st.text(max_size=20))
ids = st.one_of(st.sampled_from(["call_0", "call_1", "c.1", "abcdefghi", "x" * 60]), st.text(max_size=50))
names = st.one_of(
    st.sampled_from(["read_file", "functions.read_file", "r" * 65, "прочитать", "9"]), st.text(max_size=70)
)
json_values = st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=2))
extras = st.dictionaries(st.sampled_from(["reasoning_content", "role", "content", "tool_calls", "id"]), texts)
calls = st.builds(
    ModelToolCall, id=ids, name=names, arguments=st.dictionaries(texts, json_values, max_size=2), extra=extras
)
messages = st.one_of(
    st.builds(user, texts),
    st.builds(user, texts, st.builds(ModelImage, st.just(IMAGE.url), st.just(""), st.none() | st.integers(0, 5))),
    st.builds(said, texts),
    st.builds(
        lambda text, calls, extra: said(text, *calls, extra=extra, origin="openai"),
        texts,
        st.lists(calls, max_size=3),
        extras,
    ),
    st.builds(result, ids, texts),
    st.builds(result, ids, texts, st.just(IMAGE)),
)


@given(st.lists(messages, max_size=14), st.sampled_from(["openai/fake", "openai/gpt-4.1", "openai/mistral-small"]))
def test_strict_providers_take_any_conversation(history: list[ModelMessage], model: str) -> None:
    assert problems(send(SYSTEM, *history, model=model)) == []


def is_whole(history: list[ModelMessage]) -> list[ModelMessage]:
    """Leave out of a conversation what a session cannot have: results without their call."""
    open_ids: set[str] = set()
    kept = []
    for message in history:
        if message.role == "tool" and message.tool_call_id not in open_ids:
            continue
        open_ids |= {each.id for each in message.tool_calls}
        kept.append(message)
    return kept


@given(st.lists(messages, max_size=20), st.integers(300, 4000))
def test_strict_providers_take_a_shortened_conversation(history: list[ModelMessage], tokens: int) -> None:
    try:
        fitted = fit("Be brief.", is_whole(history), window=Window(tokens=tokens, answer=100), tools=[READ])
    except ModelContextTooLong:
        return
    assert problems(send(*fitted.messages)) == []


@given(st.lists(messages, max_size=10), st.lists(messages, max_size=6))
def test_no_text_of_a_user_and_no_result_is_lost(before: list[ModelMessage], after: list[ModelMessage]) -> None:
    history = [
        *before,
        user("the words of the user"),
        said("", call("of-its-own")),
        result("of-its-own", "found"),
        *after,
    ]
    body = json.dumps(send(SYSTEM, *history))
    assert "the words of the user" in body
    assert "found" in body


@given(st.lists(messages, max_size=12), st.lists(messages, min_size=1, max_size=5))
def test_a_longer_conversation_begins_in_the_same_way(history: list[ModelMessage], more: list[ModelMessage]) -> None:
    before = send(SYSTEM, *history, user("go on"))["messages"]
    step = [said("Let me see.", call("new")), result("new")]
    after = send(SYSTEM, *history, user("go on"), *step)["messages"]
    assert after[: len(before)] == before


def test_messages_of_the_user_are_joined_with_their_images() -> None:
    """As after turns that were stopped or have failed before a word."""
    assert replayed(SYSTEM, user("one"), said(""), user("two"), user("last")) == [
        ("system", "Be brief."),
        ("user", "one\n\ntwo\n\nlast"),
    ]
    joined = replayed(user("one", IMAGE), user("two", replace(IMAGE, at=1)), model="openai/gpt-4.1")[0][1]
    assert [part.get("text", "image") for part in joined] == ["one", "image", "\nt", "image", "wo"]


def test_a_turn_that_was_stopped_behind_a_result_gets_a_note() -> None:
    history = [user("one"), said("", call("c1")), result("c1"), user("last")]
    assert replayed(*history)[-2:] == [("assistant", NO_ANSWER), ("user", "last")]


def test_each_call_gets_its_result_behind_it() -> None:
    first = said("", call("c1"), call("c2"), call("c3"))
    history = [user("x"), first, result("c2", "second"), user("y"), result("c1", " "), result("c1", "again")]
    assert replayed(*history)[2:5] == [("tool", NO_OUTPUT), ("tool", "second"), ("tool", NO_RESULT)]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("read_file", "read_file"),
        ("read_file<|channel|>commentary", "read_file__channel__commentary"),
        ("functions.read_file", "functions_read_file"),
        ("прочитать", "_________"),
        ("9lives", "tool_9lives"),
        ("-x", "tool_-x"),
        ("r" * 65, "r" * 64),
    ],
)
def test_a_made_up_name_is_made_fit(name: str, sent: str) -> None:
    body = send(user("x"), said("", call("c1", name)), result("c1"))
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == sent


def test_the_name_of_an_offered_tool_stays() -> None:
    assert fit_name("files.read", {"files.read"}) == "files.read"


def test_ids_stay_where_they_are_possible() -> None:
    history = [user("x"), said("", call("call_1"), call("call.2")), result("call_1"), result("call.2")]
    ids = [each["id"] for each in send(*history)["messages"][1]["tool_calls"]]
    assert ids[0] == "call_1"
    assert ids == [message["tool_call_id"] for message in send(*history)["messages"][2:]]
    assert ids == [each["id"] for each in send(*history)["messages"][1]["tool_calls"]]


def test_a_callers_messages_stay_as_they_are() -> None:
    """Only what no provider takes is repaired: the caller of a plain model decides about the rest."""
    history = [user("one"), user("two"), said("", call("c 1", "made.up")), SYSTEM, said("x ")]
    body = send(*history, written_for="openai/fake")
    assert [message["content"] for message in body["messages"]] == ["one", "two", None, "Be brief.", "x "]
    assert body["messages"][2]["tool_calls"][0]["id"] == "c 1"
    assert body["messages"][2]["tool_calls"][0]["function"]["name"] == "made_up"


def test_thoughts_go_back_to_their_provider_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_BASE", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    signature = {"extra_content": {"google": {"thought_signature": "c2ln"}}, "id": "no", "function": "no"}
    thought = said(
        "",
        call("c1", extra=signature),
        extra={"reasoning_content": "Hm.", "role": "no"},
        origin=origin_of("openai/fake"),
    )
    history = [user("x"), thought, result("c1")]
    sent = send(*history)["messages"][1]
    assert (sent["reasoning_content"], sent["role"]) == ("Hm.", "assistant")
    assert sent["tool_calls"][0]["extra_content"] == signature["extra_content"]
    assert sent["tool_calls"][0]["id"] == "c1"
    own = Endpoint(api_base="https://models.example/v1")
    for others in (send(*history, model="groq/fake"), send(*history, endpoint=own)):
        assert "reasoning_content" not in others["messages"][1]
        assert "extra_content" not in others["messages"][1]["tool_calls"][0]


def test_anthropics_models_are_told_what_to_keep_in_their_cache() -> None:
    history = [SYSTEM, user("x"), said("", call("c1")), result("c1"), said("", call("c2")), result("c2")]
    first = send(*history[:4], model="openrouter/anthropic/claude-sonnet-5")["messages"]
    second = send(*history, model="openrouter/anthropic/claude-sonnet-5")["messages"]
    assert [place for place, each in enumerate(first) if "cache_control" in json.dumps(each)] == [0, 1, 3]
    assert [place for place, each in enumerate(second) if "cache_control" in json.dumps(each)] == [0, 3, 5]
    assert "cache_control" not in json.dumps(send(*history))
    assert "cache_control" not in json.dumps(send(*history, model="openrouter/anthropic/x", written_for="x"))
    assert takes_cache_marks("anthropic/claude-opus-5")
    assert takes_cache_marks("bedrock/us.anthropic.claude-sonnet-5-v1:0")
    assert not takes_cache_marks("gemini/gemini-2.5-pro")


def test_what_surrounds_a_message_follows_its_text() -> None:
    block = "<workspace_now>\nx\n</workspace_now>"

    def around(text: str, *images: ModelImage) -> ModelMessage:
        return replace(user(text, *images), surroundings=block)

    (said,) = replay([around("Hi")])
    assert (said.content, said.surroundings) == (f"Hi\n\n{block}", "")
    (joined,) = replay([around("Hi"), user("Still there?")])
    assert joined.content == f"Hi\n\n{block}\n\nStill there?"
    (shown,) = replay([around("See", IMAGE)])
    assert (shown.content, shown.images[0].at) == (f"See\n\n{block}", 3)
    (blank,) = replay([around(" ", IMAGE)])
    assert (blank.content, blank.images[0].at) == (block, 0)


def test_images_of_results_follow_them_where_a_provider_reads_those_of_users_alone() -> None:
    calls = said("", call("c1"), call("c2"))
    history = [user("x"), calls, result("c1", "one", IMAGE), result("c2", "two", IMAGE, IMAGE), said("Seen.")]
    *_, first, second, note, (role, parts), answer, _ = replayed(*history, user("y"), model="openai/gpt-4.1")
    assert (first, second) == (("tool", "one"), ("tool", "two"))
    assert (note, answer) == (("assistant", IMAGES_FOLLOW), ("assistant", "Seen."))
    assert (role, parts[0]["text"], len(parts)) == ("user", OF_RESULTS, 4)


def test_a_model_that_sees_nothing_gets_a_word_about_images_of_results() -> None:
    history = [user("x"), said("", call("c1")), result("c1", "one", IMAGE)]
    assert replayed(*history)[-1] == ("tool", "one\n\n[1 of 1 images left out: this model does not read images.]")


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-5", "gemini/gemini-2.5-pro"])
def test_images_of_results_stay_in_them_where_a_provider_reads_them_there(model: str) -> None:
    history = [user("x"), said("", call("c1")), result("c1", "one", IMAGE)]
    request = ModelRequest(model=model, messages=tuple(history), tools=(READ,))
    (*_, last) = build_conversation(request)
    assert (last["role"], [part["type"] for part in last["content"]]) == ("tool", ["text", "image_url"])
    assert "image" in json.dumps(litellm_messages(model, build_conversation(request)))


def litellm_messages(model: str, messages: Any) -> Any:
    """What LiteLLM makes of messages for the provider's own API."""
    if model.startswith("gemini"):
        from litellm.llms.vertex_ai.gemini.transformation import _gemini_convert_messages_with_history

        return _gemini_convert_messages_with_history(messages, model=model)
    from litellm.litellm_core_utils.prompt_templates.factory import anthropic_messages_pt

    return anthropic_messages_pt(messages, model=model, llm_provider="anthropic")

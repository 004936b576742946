"""What a worker remembers of a provider that refused a request, and what it must not believe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm import calls, catalog, remembered
from llm.errors import ModelContextTooLong, ModelError, ModelRefused
from llm.types import CallRecord, Endpoint, ModelMessage, ModelRequest, Tool
from llm.wire.requests import leave_out
from tests.llm.recorded import Recorded, ending, text

MODEL = "openai/fake"


def request(words: int = 1, **changes: Any) -> ModelRequest:
    """Return a request of about so many tokens."""
    fields = {"model": MODEL, "messages": (ModelMessage(role="user", content="abc " * words),), **changes}
    return ModelRequest(**fields)


async def ask(wanted: ModelRequest) -> tuple[list[CallRecord], ModelError | None]:
    records: list[CallRecord] = []
    try:
        async for _ in calls.stream(wanted, observe=records.append):
            pass
    except ModelError as error:
        return records, error
    return records, None


def said(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


UNKNOWN_FIELD = said("Unrecognized request argument supplied: stream_options", type="invalid_request_error")
EXTRA_FIELD = {
    "detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are bad"}]
}


@pytest.mark.parametrize(("status", "body"), [(400, UNKNOWN_FIELD), (422, EXTRA_FIELD), (501, UNKNOWN_FIELD)])
async def test_a_refused_field_is_left_out_and_that_is_remembered(
    server: Recorded, way: str, status: int, body: dict[str, Any]
) -> None:
    server.refuse(status, body).play(*text("hello"), *ending())
    records, error = await ask(request())
    assert (error, len(records)) == (None, 2)
    await ask(request())
    assert ["stream_options" in post.body for post in server.posts] == [True, False, False]


async def test_a_catalog_may_say_what_is_left_out(server: Recorded, tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(f'[providers.lab]\napi_base = "{server.url}"\nleave_out = ["stream_options"]\n')
    catalog.use([file])
    server.play(*text("hello"), *ending())
    await ask(request(model="lab/x"))
    catalog.use([])
    assert "stream_options" not in server.posts[0].body


def test_fields_of_messages_are_left_out_of_all_their_parts() -> None:
    part = {"type": "text", "text": "reasoning_content", "cache_control": {"type": "ephemeral"}}
    call = {"id": "c", "extra_content": {"google": {}}, "function": {"name": "f", "arguments": '{"reasoning": 1}'}}
    messages = [
        {"role": "user", "content": [part]},
        {"role": "assistant", "reasoning_content": "Hm", "tool_calls": [call]},
    ]
    kept = leave_out(messages, frozenset({"cache_control", "reasoning_content", "extra_content", "stream_options"}))
    assert kept == [
        {"role": "user", "content": [{"type": "text", "text": "reasoning_content"}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": call["function"]}]},
    ]
    assert leave_out(messages, frozenset({"role"})) is messages


async def test_a_refused_option_is_named(server: Recorded) -> None:
    server.refuse(400, said("secret: Unsupported parameter: 'seed'", param="seed"))
    _, error = await ask(request(options={"seed": 7}))
    assert str(error).startswith("The model's provider does not support `seed` in the request, or its value.")


async def test_another_model_is_asked_with_all_fields(server: Recorded) -> None:
    server.refuse(400, UNKNOWN_FIELD).play(*text("hello"), *ending())
    await ask(request())
    await ask(request(model="openai/other"))
    assert "stream_options" in server.posts[-1].body


async def test_a_field_that_is_refused_again_is_told(server: Recorded) -> None:
    server.refuse(400, UNKNOWN_FIELD)
    _, error = await ask(request())
    assert isinstance(error, ModelRefused)
    assert len(server.posts) == 2


async def test_the_limit_on_the_answer_has_two_names(server: Recorded) -> None:
    words = "Unsupported parameter: 'max_completion_tokens'. Use 'max_tokens' instead."
    server.refuse(400, said(words, param="max_completion_tokens")).play(*text("hello"), *ending())
    _, error = await ask(request(max_output_tokens=50))
    assert error is None
    assert [post.body.get("max_tokens") for post in server.posts] == [None, 50]
    assert "max_completion_tokens" not in server.posts[1].body


async def test_a_provider_that_takes_no_limit_on_the_answer_gets_none(server: Recorded) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        server.refuse(400, said(f"Unknown parameter: {name}"))
    server.play(*text("hello"), *ending())
    _, error = await ask(request())
    assert error is None
    assert not remembered.OUTPUT_LIMITS & server.posts[2].body.keys()


@pytest.mark.parametrize(
    ("option", "value", "requests"),
    [
        ("temperature", 1, 2),
        ("temperature", 0.2, 1),
        ("parallel_tool_calls", True, 2),
        ("parallel_tool_calls", False, 1),
        ("user", "alice", 2),
        ("seed", 7, 1),
        ("reasoning_effort", "high", 1),
    ],
)
async def test_an_option_of_the_caller_is_left_out_only_if_it_changes_nothing(
    server: Recorded, option: str, value: Any, requests: int
) -> None:
    words = f"Unsupported parameter: '{option}' is not supported with this model."
    server.refuse(400, said(words, param=option, code="unsupported_parameter")).play(*text("hello"), *ending())
    _, error = await ask(request(options={option: value}))
    assert len(server.posts) == requests
    assert isinstance(error, ModelRefused) == (requests == 1)


@pytest.mark.parametrize(("strict", "requests"), [(False, 2), (True, 1), (None, 1)])
async def test_a_promise_of_strict_arguments_is_kept_or_refused(
    server: Recorded, strict: bool | None, requests: int
) -> None:
    server.refuse(400, said("tools.0.function.strict: Extra inputs are not permitted")).play(*text("a"), *ending())
    tool = Tool(name="f", description="F.", parameters={"type": "object"}, strict=strict)
    await ask(request(tools=(tool,)))
    assert len(server.posts) == requests


async def test_a_limit_of_ours_that_is_too_large_becomes_smaller(server: Recorded) -> None:
    server.refuse(400, said("max_tokens is too large: 8192. This model supports at most 4096 completion tokens."))
    server.play(*text("hello"), *ending())
    _, error = await ask(request())
    assert error is None
    assert [post.body["max_completion_tokens"] for post in server.posts] == [8192, 4096]


async def test_a_limit_of_ours_leaves_room_for_the_input(server: Recorded) -> None:
    words = (
        "maximum context length is 8192 tokens. However, you requested 13192 tokens (5000 in the messages, 8192 in the"
    )
    server.refuse(400, said(f"This model's {words} completion).")).play(*text("hello"), *ending())
    _, error = await ask(request(5000))
    assert error is None
    assert [post.body["max_completion_tokens"] for post in server.posts] == [8192, 1942]
    assert remembered.window(MODEL) == 8192


TOO_LARGE = "max_tokens is too large: 32000. This model supports at most 4096 completion tokens."
TOO_LONG = (
    "This model's maximum context length is 40000 tokens. However, you requested 52000 tokens (20000 in the messages, "
    "32000 in the completion)."
)


@pytest.mark.parametrize(("words", "most"), [(TOO_LARGE, 4096), (TOO_LONG, 20_000)])
async def test_a_limit_that_clients_send_to_every_model_becomes_smaller(
    server: Recorded, words: str, most: int
) -> None:
    server.refuse(400, said(words)).play(*text("hello"), *ending())
    _, error = await ask(request(20_000, max_output_tokens=32_000, is_translated=True))
    assert error is None
    first, second = (post.body["max_completion_tokens"] for post in server.posts)
    assert first == 32_000
    assert 4096 <= second <= most


async def test_a_limit_beyond_the_catalogs_becomes_smaller(server: Recorded, tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(
        f'[providers.lab]\napi_base = "{server.url}"\n[models."lab/small"]\nwindow = 20000\nmax_output = 8192\n'
    )
    catalog.use([file])
    for words, wanted, sent in ((1, 32_000, 8192), (1, 100, 100), (12_000, 32_000, 5000)):
        server.play(*text("hello"), *ending())
        await ask(request(words, model="lab/small", max_output_tokens=wanted, is_translated=True))
        assert server.posts[-1].body["max_tokens"] <= sent
    await ask(request(model="lab/small", max_output_tokens=32_000))
    catalog.use([])
    assert server.posts[-1].body["max_tokens"] == 32_000


async def test_a_limit_of_the_callers_is_told(server: Recorded) -> None:
    words = (
        "maximum context length is 8192 tokens. However, you requested 13192 tokens (5000 in the messages, 8192 in the"
    )
    server.refuse(400, said(f"This model's {words} completion)."))
    _, error = await ask(request(5000, max_output_tokens=8192))
    assert isinstance(error, ModelContextTooLong)
    assert len(server.posts) == 1


WINDOWS: dict[str, tuple[dict[str, Any], int, int]] = {
    "a number": (said("This model's maximum context length is 8192 tokens."), 9000, 8192),
    "a field": (said("too long", type="exceed_context_size_error", n_ctx=8192, n_prompt_tokens=9000), 9000, 8192),
    "no number: half of the request": (said("Input is too long for requested model."), 20_000, 10_000),
    "more tokens than we count": (said("prompt is too long: 20000 tokens > 10000 maximum"), 10_000, 5_000),
    "larger than the catalog's": (said("prompt is too long: 210000 tokens > 200000 maximum"), 210_000, 0),
    "a number of another request": (said("This model's maximum context length is 16384 tokens."), 10, 0),
    "our limit on the answer": (said("This model's maximum context length is 8192 tokens."), 10, 8192),
    "no number, and a short request": (said("context length exceeded"), 1000, 4596),
    "no window of any model": (said("This model's maximum context length is 20 tokens."), 9000, 4500),
}


@pytest.mark.parametrize("name", WINDOWS)
async def test_a_refusal_teaches_the_window(server: Recorded, name: str) -> None:
    body, words, window = WINDOWS[name]
    server.refuse(400, body)
    _, error = await ask(request(words))
    assert isinstance(error, ModelContextTooLong)
    assert len(server.posts) == 1
    assert remembered.window(MODEL) == window


async def test_a_request_that_should_have_fitted_makes_the_window_smaller(server: Recorded) -> None:
    server.refuse(400, said("This model's maximum context length is 8192 tokens."))
    windows = []
    for words in (9000, 6000, 9000, 4000):
        await ask(request(words, max_output_tokens=1))
        windows.append(remembered.window(MODEL))
    # Longer ones than the window are no news.
    assert windows == [8192, 4500, 4500, 3000]


async def test_a_callers_server_teaches_nothing_about_the_operators(server: Recorded) -> None:
    server.refuse(400, said("This model's maximum context length is 2048 tokens."))
    endpoint = Endpoint(api_base=server.url, allow_private=True)
    await ask(request(9000, endpoint=endpoint))
    assert remembered.window(MODEL, endpoint) == 2048
    assert remembered.window(MODEL) == 0


async def test_what_is_remembered_has_limits(server: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MAX_MODELS", 2)
    server.refuse(400, said("This model's maximum context length is 2048 tokens."))
    for name in ("openai/a", "openai/b", "openai/c"):
        await ask(request(9000, model=name))
    assert [remembered.window(f"openai/{name}") for name in "abc"] == [0, 2048, 2048]
    monkeypatch.setattr(remembered, "LESSON_SECONDS", 0)
    assert remembered.window("openai/c") == 0


async def test_no_credit_leads_to_the_next_model(server: Recorded) -> None:
    server.refuse(402, said("Insufficient Balance")).play(*text("hello"), *ending())
    records, error = await ask(request(fallbacks=("openai/b",)))
    assert error is None
    assert [(each.model, each.error_code) for each in records] == [(MODEL, "model_out_of_credit"), ("openai/b", "")]


async def test_a_quota_that_is_too_small_is_not_asked_again(server: Recorded) -> None:
    words = "Request too large for fake on tokens per minute (TPM): Limit 6000, Requested 8000"
    server.refuse(413, said(words, code="rate_limit_exceeded"))
    records, _ = await ask(request())
    assert [each.error_code for each in records] == ["model_rate_limited"]


async def test_a_model_of_the_operators_catalog_gets_its_limit(server: Recorded, tmp_path: Path) -> None:
    """The built-in catalog has models of large providers. Others may run where nothing ends an answer."""
    file = tmp_path / "models.toml"
    file.write_text(f'[models."{MODEL}"]\nwindow = 8192\nmax_output = 300\n')
    catalog.use([file])
    server.play(*text("a"), *ending())
    await ask(request())
    catalog.use([])
    assert server.posts[-1].body["max_completion_tokens"] == 300

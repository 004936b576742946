"""What a session keeps of each request to a model is, to the byte, what the provider received."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from llm import catalog
from sessions.billing import prompts
from sessions.models import Completion, Message, ModelCall, PromptPiece, Session
from sessions.results import ToolOutput
from sessions.turns import attempts, deletion, inbox, retention, tool_calls
from sessions.turns.images import store as store_image
from tests.live.provider import Provider
from tests.sessions import story
from tests.sessions.worker.worker import MODEL, Worker, look, worker_of

pytestmark = pytest.mark.django_db(transaction=True)

#: A model that sees, with a window that a few long messages fill.
CATALOG = f"""
[models."{MODEL}"]
window = 8192
max_output = 512
capabilities = ["tools", "images"]
prices = [{{ input = 1, output = 1 }}]
"""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20


@pytest.fixture
async def worker(
    provider: Provider, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Worker]:
    file = tmp_path / "models.toml"
    file.write_text(CATALOG)
    catalog.use([file])
    provider.bodies.clear()
    async with worker_of(provider.url, settings, monkeypatch) as it:
        yield it
    catalog.use([])


def kept(session: Session) -> list[prompts.SentPrompt]:
    """Return what the session keeps of its calls, in their order."""
    calls = ModelCall.objects.filter(session=session).order_by("pk")
    return [sent for call in calls if (sent := prompts.read(call))]


async def require_same(session: Session, provider: Provider) -> list[prompts.SentPrompt]:
    """Compare all requests of the session with what the provider received."""
    sent = await look(lambda: kept(session))
    assert [each.body.join() for each in sent] == provider.bodies
    assert all(each.is_proven for each in sent)
    return sent


async def test_the_kept_prompt_is_what_the_provider_received(
    worker: Worker, session: Session, provider: Provider
) -> None:
    image = await look(lambda: store_image(session.pk, PNG))
    # A call, its result with an image, and a message that is steered into the turn meanwhile.
    accepted = await look(lambda: inbox.accept_message(session.pk, "Read 😀 call=read_file", images=[image.pk]))
    await worker.run(accepted.turn_id)
    call = await look(lambda: session_call(session))
    await look(lambda: inbox.accept_message(session.pk, "Briefly, please. tokens=2", steer=True))
    output = ToolOutput(text="line 1\nline 2", failed=False, has_run=True, images=[image.pk])
    await look(lambda: tool_calls.record_output(session.pk, call, output))
    await worker.run(accepted.turn_id)
    # A conversation that outgrows its window: old messages are left out, and a summary takes their place.
    for number in range(4):
        await worker.answer(session, f"Request {number} tokens=2: {'word ' * 2500}")
    # The provider refuses it.
    await worker.answer(session, "limit=1 tokens=2")

    sent = await require_same(session, provider)

    bodies = [json.loads(body) for body in provider.bodies]
    assert any("tool_calls" in message for message in bodies[1]["messages"])
    assert "Briefly, please." in bodies[1]["messages"][-1]["content"]
    assert any("data:image/png;base64," in json.dumps(body) for body in bodies)
    assert any(str(body["messages"][0]["content"]).startswith("Summarize the following") for body in bodies)
    assert any("<summary>" in str(body["messages"][0]["content"]) for body in bodies)
    calls = await look(lambda: list(ModelCall.objects.order_by("pk")))
    assert [prompts.count_messages(each.prompt) for each in calls] == [len(body["messages"]) for body in bodies]
    answers = {each.answer for each in calls if each.purpose == "step" and each.outcome == "ok"}
    assert answers == set(
        await look(lambda: list(Message.objects.filter(role="assistant").values_list("pk", flat=True)))
    )
    texts = await look(lambda: "".join(PromptPiece.objects.values_list("text", flat=True)))
    assert "base64" not in texts, "an image is stored once, as an image"
    assert len(texts) < sum(map(len, provider.bodies)) / 2, "a message that two requests have is stored once"
    assert all(each.body.messages for each in sent)


def session_call(session: Session) -> str:
    return str(Message.objects.filter(session=session, role="assistant").latest("number").tool_calls[0]["id"])


async def test_another_worker_stores_nothing_again_and_many_messages_are_a_short_name(
    worker: Worker, session: Session, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(18):
        await worker.answer(session, f"{number} tokens=1")
        monkeypatch.setattr(prompts, "_stored", type(prompts._stored)())
    await require_same(session, provider)
    calls = await look(lambda: list(ModelCall.objects.order_by("pk")))
    assert prompts.count_messages(calls[-1].prompt) == 36
    assert len(calls[-1].prompt or b"") == 16 * (2 + 1 + 4), "32 messages are one list"
    pieces = await look(lambda: PromptPiece.objects.count())
    assert pieces == 1 + 1 + 18 + 1 + 1, "frame, instructions, messages, the one answer that all have, the list"


async def test_a_step_costs_one_insert_more(worker: Worker, session: Session) -> None:
    turn_id = await worker.answer(session, "One tokens=1")
    held = await look(lambda: story.begin(session, "Two"))
    queries: list[str] = []

    def complete() -> None:
        with CaptureQueriesContext(connection) as captured:
            attempts.complete(held, story.step("Yes.", call))
        queries.extend(query["sql"] for query in captured)

    call = story.model_call()
    sent = (await look(lambda: kept(session)))[0].body
    object.__setattr__(call, "sent", type(sent)(sent.head, (*sent.messages, '{"role":"user"}'), sent.tail))
    await look(complete)
    assert turn_id
    about = [sql for sql in queries if "promptpiece" in sql]
    assert len(about) == 1, about
    assert "INSERT" in about[0]


async def test_a_changed_piece_is_told_from_what_was_sent(worker: Worker, session: Session) -> None:
    await worker.answer(session, "Hello tokens=1")
    await look(lambda: PromptPiece.objects.filter(text__contains="Hello").update(text='{"role":"user"}'))
    (sent,) = await look(lambda: kept(session))
    assert (sent.is_proven, sent.wrong_pieces) == (False, 1)
    await look(lambda: PromptPiece.objects.all().delete())
    (sent,) = await look(lambda: kept(session))
    assert sent.wrong_pieces == len(sent.digests) + 1


@pytest.fixture(params=["by its owner", "by its age"])
def delete(request: pytest.FixtureRequest) -> Callable[[Session], None]:
    def by_owner(session: Session) -> None:
        deletion.delete_session(session.pk)
        deletion.delete_rows(session.pk, math.inf)

    def by_age(session: Session) -> None:
        retention._delete_expired(Session.objects.filter(pk=session.pk).order_by("updated_at"), math.inf, set())

    return by_owner if request.param == "by its owner" else by_age


async def test_prompts_are_deleted_with_their_session(
    worker: Worker, session: Session, delete: Callable[[Session], None]
) -> None:
    await worker.answer(session, "Hello tokens=1")
    await worker.answer(session, "status=400")
    await look(lambda: delete(session))
    assert not await look(lambda: PromptPiece.objects.exists())
    rows = await look(lambda: list(ModelCall.objects.all()))
    assert len(rows) == 2
    assert not any(row.prompt or row.answer or row.detail or row.session_id for row in rows)


async def test_what_a_caller_sends_to_a_model_is_kept_once(worker: Worker, alice: User, provider: Provider) -> None:
    await worker.complete(alice, "Hello tokens=1")
    assert not await look(lambda: PromptPiece.objects.exists())
    assert (await look(lambda: Completion.objects.get())).messages[0]["content"] == "Hello tokens=1"
    await worker.complete(alice, "Hello tokens=1", agent="universal")
    call = await look(lambda: ModelCall.objects.latest("pk"))
    sent = await look(lambda: prompts.read(call))
    assert sent is not None
    assert sent.body.join() == provider.bodies[-1]

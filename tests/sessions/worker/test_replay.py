"""A replay sends a step's prompt to another model once, and is paid for by the person who asks."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from llm import catalog
from sessions import broker
from sessions.models import ModelCall, Replay, Session
from sessions.models import Worker as WorkerRow
from sessions.turns import deletion, replays
from sessions.worker import replay
from tests.live.provider import Provider
from tests.sessions.worker.worker import MODEL, Worker, look, worker_of

pytestmark = pytest.mark.django_db(transaction=True)

OTHER = "openai/other"
CATALOG = f"""
[models."{MODEL}"]
prices = [{{ input = 1, output = 1 }}]
[models."{OTHER}"]
prices = [{{ input = 10, output = 20 }}]
"""


@pytest.fixture
async def worker(
    provider: Provider, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Worker]:
    file = tmp_path / "models.toml"
    file.write_text(CATALOG)
    catalog.use([file])
    provider.bodies.clear()
    async with worker_of(provider.url, settings, monkeypatch) as it:
        settings.CODELAB_MODEL = MODEL
        yield it
    catalog.use([])


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("staff", password="a long password of staff", is_staff=True)
    names = ("view_modelcall", *permissions)
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)
    return client


async def test_a_prompt_is_replayed_once_and_priced(
    worker: Worker, session: Session, provider: Provider, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered: list[uuid.UUID] = []
    monkeypatch.setattr(broker, "send_replay", ordered.append)
    await worker.answer(session, "Hello call=read_file tokens=2")
    call = await look(lambda: ModelCall.objects.get())
    path = f"/admin/agent_sessions/modelcall/{call.pk}/replay/"
    settings.CODELAB_MODEL = OTHER
    client = await look(lambda: staff("view_prompts", "replay_prompts"))
    page = (await look(lambda: client.get(path))).content.decode()
    assert f"{OTHER}: about $0.00017, at most $" in page, "7 tokens read at $10 and 5 written at $20 a million"
    await look(lambda: client.post(path, {"model": "openai/unknown"}))
    assert not ordered
    for _ in ("a click", "another one, before the answer"):
        await look(lambda: client.post(path, {"model": OTHER}))
    (replay_id,) = ordered
    (entry,) = await look(lambda: list(LogEntry.objects.all()))
    assert OTHER in entry.change_message

    before = await look(lambda: Session.objects.get().last_number)
    row = await look(lambda: Replay.objects.get(pk=replay_id))
    await replay.run(row.pk, worker="w")
    await replay.run(row.pk, worker="w")
    assert len(provider.bodies) == 2, "once"
    first, second = (json.loads(body) for body in provider.bodies)
    assert second["model"] == "other"
    assert (second["messages"], second["tools"]) == (first["messages"], first["tools"])
    row = await look(lambda: Replay.objects.select_related("result").get())
    assert (row.status, row.answer) == ("completed", "w0 w1 ")
    assert row.tool_calls == [{"name": "read_file", "arguments": {"path": "README.md"}}]
    assert row.result is not None
    assert (row.result.purpose, row.result.session_id, row.result.owner_id) == ("replay", None, row.requested_by_id)
    assert f"{row.result.cost:f}".rstrip("0") == "0.00017"
    assert await look(lambda: Session.objects.get().last_number) == before, "nothing in the session changes"
    page = (await look(lambda: client.get(path))).content.decode()
    for words in ("w0 w1", "$0.00017", "$0.000012", "as it was", "which were not run"):
        assert words in page

    await look(lambda: deletion.delete_session(session.pk))
    while await look(lambda: deletion.delete_piece(session.pk)):
        pass
    assert not await look(lambda: Replay.objects.exists())
    assert await look(lambda: ModelCall.objects.filter(purpose="replay").exists()), "what it cost stays"


async def test_a_refused_replay_says_why(worker: Worker, session: Session, settings: Settings) -> None:
    await worker.answer(session, "Hello status=400")
    call = await look(lambda: ModelCall.objects.get())
    row = await look(lambda: Replay.objects.create(session=session, call=call, model=OTHER))
    await replay.run(row.pk, worker="w")
    row = await look(lambda: Replay.objects.select_related("result").get())
    assert row.status == "failed"
    assert "secret detail" in row.error
    assert row.result is not None
    assert row.result.detail == ""


async def test_a_replay_needs_its_permission(worker: Worker, session: Session) -> None:
    await worker.answer(session, "Hello tokens=1")
    call = await look(lambda: ModelCall.objects.get())
    client = await look(lambda: staff("view_prompts"))
    path = f"/admin/agent_sessions/modelcall/{call.pk}/replay/"
    assert (await look(lambda: client.get(path))).status_code == 403
    assert (await look(lambda: client.post(path, {"model": MODEL}))).status_code == 403
    assert "replay/" not in (await look(lambda: client.get(path.replace("replay/", "prompt/")))).content.decode()


async def test_a_replay_whose_worker_died_fails(worker: Worker, session: Session) -> None:
    await worker.answer(session, "Hello tokens=1")
    call = await look(lambda: ModelCall.objects.get())
    now = timezone.now()

    def order(name: str, *, at: datetime = now, **fields: Any) -> uuid.UUID:
        row = Replay.objects.create(session=session, call=call, model=name, **fields)
        Replay.objects.filter(pk=row.pk).update(created_at=at)
        return row.pk

    def orphan() -> dict[str, str]:
        for name, silence in (("alive", 1), ("dead", 60)):
            WorkerRow.objects.create(name=name, started_at=now, seen_at=now - timedelta(seconds=silence))
        for name in ("alive", "dead", "gone"):
            order(name, status="running", worker=name)
        order("new task")
        order("lost task", at=now - timedelta(days=2))
        order("done", status="completed", worker="gone")
        assert replays.fail_lost(math.inf) == 3
        return dict(Replay.objects.values_list("model", "status"))

    left = {"alive": "running", "new task": "queued", "done": "completed"}
    assert await look(orphan) == {**dict.fromkeys(("dead", "gone", "lost task"), "failed"), **left}
    lost = await look(lambda: Replay.objects.get(model="dead"))
    assert (lost.error, bool(lost.finished_at)) == (replays.LOST, True)

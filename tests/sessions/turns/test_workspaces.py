"""Workspaces: stored once, announced when they change, the same for a whole turn, and deleted with their last use."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents.context import Window
from llm.types import ModelMessage
from sessions import tasks
from sessions.events import log
from sessions.models import Event, EventKind, Message, Session, Turn, Workspace
from sessions.protocol import workspace as protocol
from sessions.protocol.codes import FrameError
from sessions.results import Change, Claim
from sessions.turns import attempts, deletion, inbox, tool_calls, workspaces
from sessions.turns.sessions import open_session
from sessions.worker import prompt
from tests.sessions import story
from tests.sessions.calls import read_call

WINDOW = Window(tokens=100_000)
SHOP: dict[str, Any] = {
    "name": "shop",
    "system": "Linux",
    "git": {"branch": "main", "status": " M a.py"},
    "open_files": ["a.py"],
    "instructions": [{"path": "AGENTS.md", "text": "Use tabs."}],
}


def shop(**changes: Any) -> protocol.Workspace:
    return protocol.Workspace.model_validate(SHOP | changes)


def set_shop(session: Session, **changes: Any) -> Change:
    return workspaces.set_workspace(session.pk, shop(**changes))


def asked(claim: Claim) -> tuple[ModelMessage, ...]:
    """Return what the model of a step reads."""
    return prompt.model_input(claim.turn_id, "coder", WINDOW)[0]


def test_a_change_is_one_event_and_the_same_again_is_none(session: Session) -> None:
    change = set_shop(session)
    (event,) = change.events
    assert event.kind == EventKind.WORKSPACE_CHANGED
    digest = event.payload["hash"]
    assert event.payload == {
        "hash": digest,
        "name": "shop",
        "system": "Linux",
        "branch": "main",
        "instructions": ["AGENTS.md"],
    }
    assert len(digest) == 64
    assert set_shop(session) == Change()
    # Unknown fields and nulls change nothing.
    again = protocol.Workspace.model_validate(SHOP | {"shell": None, "colour": "green"})
    assert workspaces.set_workspace(session.pk, again) == Change()
    assert [event.payload["branch"] for event in set_shop(session, git={"branch": "next"}).events] == ["next"]
    assert set_shop(session).events[0].payload["hash"] == digest


def test_sessions_of_a_user_share_a_row_and_users_do_not(session: Session, alice: User, bob: User) -> None:
    other, bobs = open_session(alice.pk, "other"), open_session(bob.pk, "s")
    for each in (session, other, bobs):
        set_shop(each)
    rows = {each.pk: Session.objects.get(pk=each.pk).workspace_id for each in (session, other, bobs)}
    assert rows[session.pk] == rows[other.pk] != rows[bobs.pk]
    assert set(Workspace.objects.values_list("owner", flat=True)) == {alice.pk, bob.pk}
    assert Workspace.objects.count() == 2


def test_a_row_goes_with_its_last_use(session: Session, alice: User) -> None:
    other = open_session(alice.pk, "other")
    for each in (session, other):
        set_shop(each)
    set_shop(session, name="a")
    assert Workspace.objects.count() == 2, "the other session uses it"
    set_shop(other, name="a")
    assert list(Workspace.objects.values_list("data__name", flat=True)) == ["a"]


def old_workspaces() -> None:
    Workspace.objects.update(used_at=Now() - timedelta(hours=1))


def test_upkeep_deletes_what_no_session_and_no_open_turn_uses(session: Session, alice: User) -> None:
    other = open_session(alice.pk, "other")
    set_shop(session)
    set_shop(other, name="other")
    held = story.begin(session)
    set_shop(session, name="later")
    old_workspaces()
    tasks.tidy()
    assert Workspace.objects.count() == 3, "the turn keeps what it began with"
    attempts.complete(held, story.step("Done."))
    deletion.delete_session(other.pk)
    assert workspaces.delete_unused_workspaces(math.inf) == 2
    assert list(Workspace.objects.values_list("data__name", flat=True)) == ["later"]
    # What is new may be taken into use at this moment.
    Workspace.objects.create(owner=alice, hash="x", summary={}, data={})
    assert workspaces.delete_unused_workspaces(math.inf) == 0


def test_a_deleted_user_takes_workspaces_along(session: Session, alice: User, bob: User) -> None:
    set_shop(session)
    set_shop(open_session(bob.pk, "s"))
    Workspace.objects.create(owner=alice, hash="unused", summary={}, data={})
    User.objects.create_superuser("root", password="a long password of root")
    client = Client()
    client.login(username="root", password="a long password of root")
    path = f"/admin/auth/user/{alice.pk}/delete/"
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status_code == 200
    assert not any("agent_sessions_workspace" in query["sql"] for query in queries)
    assert client.post(path, {"post": "yes"}).status_code == 302
    assert [row.owner for row in Workspace.objects.all()] == [bob]
    assert deletion.delete_marked_sessions(math.inf) == 1


def test_a_model_is_told_in_its_prompt_what_stays_and_beside_the_message_what_changes(session: Session) -> None:
    set_shop(session)
    system, message = asked(story.begin(session, "Fix it."))
    assert "- Project: shop" in system.content
    assert "<project_rules>\n[AGENTS.md]\nUse tabs.\n</project_rules>" in system.content
    assert "a.py" not in system.content
    assert message.content == "Fix it."
    assert message.surroundings.startswith("<workspace_now>\nGit branch: main\nGit status:\n M a.py\nOpen files:\na.py")
    # The user did not write it.
    stored = Event.objects.get(kind=EventKind.MESSAGE_ADDED)
    assert "workspace_now" not in str(stored.payload)
    assert Message.objects.get().content == "Fix it."


def test_every_request_of_a_turn_begins_with_the_one_before(session: Session) -> None:
    set_shop(session)
    claim = story.begin(session)
    requests = [asked(claim)]
    for number in range(3):
        tool_calls.request_tools(claim, story.step("Reading."), [read_call(f"c{number}")])
        instructions = [{"path": "AGENTS.md", "text": f"Rules {number}."}]
        set_shop(session, name=f"shop {number}", open_files=[f"{number}.py"], instructions=instructions)
        tool_calls.record_tool_result(session.pk, f"c{number}", content="x", failed=False)
        claim = story.claim(claim.turn_id)
        requests.append(asked(claim))
    for before, after in pairwise(requests):
        assert after[: len(before)] == before
    attempts.complete(claim, story.step("Done."))
    # The next turn has the new facts, and the history has the old ones.
    claim = story.begin(session, "And now?")
    last, now = requests[-1], asked(claim)
    assert now[1 : len(last)] == last[1:]
    assert "Rules 2." in now[0].content
    assert now[-1].surroundings == "<workspace_now>\nOpen files:\n2.py\n</workspace_now>"


def test_the_prompt_stays_the_same_while_only_the_moment_changes(session: Session) -> None:
    set_shop(session)
    claim = story.begin(session)
    first = asked(claim)
    attempts.complete(claim, story.step("Done."))
    set_shop(session, git={"branch": "main", "status": ""}, date="2026-11-29", selection={"text": "x = 1"})
    second = asked(story.begin(session))
    assert second[: len(first)] == first
    block = "Date: 2026-11-29\nGit status:\nclean\nSelected in a text without a file:\nx = 1"
    assert second[-1].surroundings == f"<workspace_now>\n{block}\n</workspace_now>"


def test_a_turn_without_a_change_has_no_block(session: Session) -> None:
    set_shop(session)
    attempts.complete(story.begin(session), story.step("Done."))
    held = story.begin(session, "Again.")
    assert [bool(message.surroundings) for message in asked(held)] == [False, True, False, False]


def test_a_message_is_told_as_of_the_moment_when_its_turn_began(session: Session) -> None:
    set_shop(session)
    waiting = inbox.accept_message(session.pk, "Later.")
    set_shop(session, open_files=["b.py"])
    inbox.edit_message(session.pk, waiting.message_id, "Now.")
    assert "b.py" in asked(story.claim(waiting.turn_id))[-1].surroundings


def test_a_worker_that_takes_over_says_the_same(session: Session) -> None:
    set_shop(session)
    claim = story.begin(session)
    first = asked(claim)
    set_shop(session, open_files=["b.py"], name="other")
    attempts.release(claim)
    assert asked(story.claim(claim.turn_id)) == first
    assert Message.objects.exclude(surroundings="").count() == 1


def test_rows_of_the_version_before_have_no_workspace(session: Session) -> None:
    claim = story.begin(session)
    assert "# The workspace" not in asked(claim)[0].content
    assert log.since(session.pk, 0)[-1].kind == EventKind.TURN_STARTED
    # A worker of the version before has begun the turn, and one of this version goes on.
    set_shop(session)
    tool_calls.request_tools(claim, story.step("Reading."), [read_call("c")])
    tool_calls.record_tool_result(session.pk, "c", content="x", failed=False)
    system, message, *_ = asked(story.claim(claim.turn_id))
    assert "# The workspace" not in system.content
    assert message.surroundings == ""
    assert Turn.objects.get().workspace is None


def test_a_turn_without_a_workspace_costs_no_statement(session: Session) -> None:
    def statements() -> list[str]:
        accepted = inbox.accept_message(session.pk, "Hi")
        with CaptureQueriesContext(connection) as queries:
            claim = story.claim(accepted.turn_id)
            asked(claim)
            attempts.complete(claim, story.step("Done."))
        return [query["sql"] for query in queries]

    plain = statements()
    assert not [sql for sql in plain if "agent_sessions_workspace" in sql]
    set_shop(session)
    assert len(statements()) == len(plain) + 4, "two reads, and a write to the message and to the session"
    assert len(statements()) == len(plain) + 2, "nothing has changed"


def test_small_windows_have_room_for_the_message(session: Session) -> None:
    set_shop(session, instructions=[{"path": "AGENTS.md", "text": "word " * 4000}])
    claim = story.begin(session, "Fix it.")
    messages, _ = prompt.model_input(claim.turn_id, "coder", Window(tokens=8000, answer=1000))
    assert messages[-1].content == "Fix it."
    assert "characters were left out. Read the file if you need them.]" in messages[0].content


@pytest.mark.parametrize("part", ["instructions", "tree"])
def test_a_workspace_that_is_too_large_is_refused_with_its_limit(session: Session, part: str) -> None:
    large = {
        "instructions": [{"path": f"{number}.md", "text": "x" * 60_000} for number in range(4)],
        "tree": ["я" * 200] * 1000,
    }
    with pytest.raises(FrameError, match="more than 200 KiB") as caught:
        set_shop(session, **{part: large[part]})
    assert caught.value.code == "invalid_workspace"
    assert not Workspace.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_no_session_loses_its_workspace_when_many_change_theirs_at_once(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than any transaction here: that is what protects a row that one of them begins to use.
    monkeypatch.setattr(workspaces, "UNUSED_RETENTION", timedelta(seconds=2))
    keys = [open_session(alice.pk, f"s{number}").pk for number in range(4)]

    def change(place: int) -> None:
        try:
            for number in range(15):
                name = f"shop {(number * (place + 1)) % 3}"
                workspaces.set_workspace(keys[place], protocol.Workspace(name=name))
                workspaces.delete_unused_workspaces(math.inf)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(keys)) as pool:
        list(pool.map(change, range(len(keys))))
    used = set(Session.objects.values_list("workspace", flat=True))
    assert used <= set(Workspace.objects.values_list("pk", flat=True))
    monkeypatch.setattr(workspaces, "UNUSED_RETENTION", timedelta())
    workspaces.delete_unused_workspaces(math.inf)
    assert used == set(Workspace.objects.values_list("pk", flat=True))

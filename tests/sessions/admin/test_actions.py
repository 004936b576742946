"""Operators act with a permission, through the verbs of users, and each action is written down with its reason."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone

from codelab.identity import api_keys
from codelab.identity.models import ApiKey
from sessions.database import in_thread
from sessions.errors import StaleAttempt
from sessions.models import Approval, Message, ModelCall, Session, ToolCall, Turn
from sessions.protocol.codes import MAX_MESSAGE_LENGTH
from sessions.turns import attempts, inbox, tool_calls
from sessions.turns.sessions import open_session
from tests.sessions.admin.test_admin import body, signed_in
from tests.sessions.calls import write_call
from tests.sessions.story import claim, step


@pytest.fixture(scope="module", autouse=True)
def _urls() -> None:
    """Import all URLs before the first request: transactions that lock a session have 0.7 s."""
    reverse("admin:index")


@pytest.fixture
def operator(db: None) -> Client:
    return signed_in(User.objects.create_superuser("operator", password="a long password of the operator"))


def act(client: Client, model: str, action: str, row: object, **fields: str) -> str:
    form = {"action": action, "_selected_action": [str(row)], **fields}
    response = client.post(reverse(f"admin:agent_sessions_{model}_changelist"), form, follow=True)
    return str(response.content.decode())


def test_an_operator_cancels_a_running_turn_from_its_page_and_says_why(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "notes")
    held = claim(inbox.accept_message(session.pk, "Hi").turn_id)
    page = body(operator, reverse("admin:agent_sessions_turn_change", args=[held.turn_id]))
    assert 'value="cancel"' in page

    page = act(operator, "turn", "cancel", held.turn_id, reason="it  loops", from_page="1")

    assert "Cancelled: 1." in page
    assert "state-cancelled" in page
    assert Turn.objects.get().status == "cancelled"
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id) == ("operator", str(held.turn_id))
    assert entry.get_change_message() == "Cancelled. Reason: it loops"
    assert "it loops" in body(operator, "/admin/")
    with pytest.raises(StaleAttempt):
        attempts.complete(held, step("too late"))
    act(operator, "turn", "cancel", held.turn_id)
    assert LogEntry.objects.count() == 1


def test_an_operator_retries_a_failed_turn_once(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "notes")
    failed = claim(inbox.accept_message(session.pk, "Please").turn_id)
    attempts.fail(failed, code="model_unavailable", text="No answer.")

    assert "Retried: 1." in act(operator, "turn", "retry", failed.turn_id)

    new = Turn.objects.exclude(pk=failed.turn_id).get()
    assert new.status == "queued"
    assert list(Message.objects.filter(withdrawn=False).values_list("content", "turn")) == [("Please", new.pk)]
    assert "was withdrawn or replaced already" in act(operator, "turn", "retry", failed.turn_id)
    assert "has not failed" in act(operator, "turn", "retry", new.pk)
    assert LogEntry.objects.count() == 1


def test_an_operator_puts_turns_back_into_the_queue(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "notes")
    held = claim(inbox.accept_message(session.pk, "Hi").turn_id)
    act(operator, "turn", "requeue", held.turn_id)
    turn = Turn.objects.get()
    assert turn.status == "queued"
    assert ModelCall.objects.get().outcome == "lost"
    with pytest.raises(StaleAttempt):
        attempts.complete(held, step("too late"))

    Turn.objects.update(retry_at=timezone.now() + timedelta(hours=1))
    act(operator, "turn", "requeue", turn.pk)
    assert Turn.objects.get().retry_at is None
    attempts.complete(claim(turn.pk), step("Hello"))
    assert "Only a turn that runs or is queued" in act(operator, "turn", "requeue", turn.pk)


def test_an_operator_rejects_with_a_word_or_withdraws(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "approvals")
    held = claim(inbox.accept_message(session.pk, "write").turn_id)
    tool_calls.request_tools(held, step(""), [write_call("a"), write_call("b")])
    first, second = Approval.objects.order_by("pk")
    act(operator, "approval", "reject", first.pk, reason="not there")
    assert "Withdrew the approval: 1." in act(operator, "approval", "withdraw", second.pk)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.feedback) == ("rejected", "not there")
    assert (second.status, second.decided_by, second.via) == (
        "withdrawn",
        User.objects.get(username="operator"),
        "admin",
    )
    assert set(ToolCall.objects.values_list("status", flat=True)) == {"rejected"}
    assert Turn.objects.get().status == "queued"
    assert LogEntry.objects.count() == 2


def test_an_operator_revokes_a_key_and_says_why(operator: Client, alice: User) -> None:
    key, _ = api_keys.create(alice, name="laptop", scopes="api:read", expires_at=None, address="127.0.0.1")
    form = {"action": "revoke", "_selected_action": [str(key.pk)], "reason": "lost laptop"}
    page = operator.post(reverse("admin:identity_apikey_changelist"), form, follow=True).content.decode()
    assert "Sockets opened with them close within a minute" in page
    assert ApiKey.objects.get().revoked_at is not None
    assert LogEntry.objects.get().get_change_message() == "Revoked. Reason: lost laptop"


def test_read_only_staff_acts_on_nothing_and_sees_no_secret(alice: User, operator: Client) -> None:
    session = open_session(alice.pk, "notes")
    held = claim(inbox.accept_message(session.pk, "Hi").turn_id)
    form = {"user": str(alice.pk), "name": "laptop", "scopes": "api:read", "expires_at_0": "", "expires_at_1": ""}
    made = operator.post(reverse("admin:identity_apikey_add"), form).content.decode()
    secret = made.split('id="secret">')[1].split("<")[0]
    clerk = User.objects.create_user("clerk", password="a long password of the clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = signed_in(clerk)

    for action in ("cancel", "retry", "requeue"):
        act(client, "turn", action, held.turn_id)
    assert Turn.objects.get().status == "running"
    page = body(client, reverse("admin:agent_sessions_turn_change", args=[held.turn_id]))
    assert 'name="action"' not in page
    key = ApiKey.objects.get()
    secrets = [secret, key.digest.hex(), alice.password, clerk.password]
    pages = [
        f"/admin/auth/user/{alice.pk}/change/",
        f"/admin/identity/apikey/{key.pk}/change/",
        "/admin/identity/apikey/",
    ]
    for address in pages:
        text = body(client, address)
        assert [each for each in secrets if each in text] == []


def test_a_row_that_is_gone_or_locked_is_told_and_the_others_are_done(operator: Client, alice: User) -> None:
    turns = [inbox.accept_message(open_session(alice.pk, key).pk, "Hi").turn_id for key in ("gone", "left")]
    Session.objects.filter(key="gone").update(deleted_at=timezone.now())
    form = {"action": "cancel", "_selected_action": [str(each) for each in turns]}
    page = operator.post(reverse("admin:agent_sessions_turn_changelist"), form, follow=True).content.decode()
    assert f"Turn {turns[0]}: it, or its session, was deleted." in page
    assert "Cancelled: 1." in page
    assert LogEntry.objects.get().object_id == str(turns[1])


def test_an_action_without_its_record_is_not_done(operator: Client, alice: User) -> None:
    turn_id = inbox.accept_message(open_session(alice.pk, "notes").pk, "Hi").turn_id
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_admin_log ADD CONSTRAINT no_room CHECK (change_message = '') NOT VALID")
    page = act(operator, "turn", "cancel", turn_id)
    assert "Try again." in page
    assert Turn.objects.get().status == "queued"


def test_a_retry_takes_no_request_of_a_caller_and_no_text_that_is_too_long(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "notes")
    failed = claim(inbox.accept_message(session.pk, "Please").turn_id)
    attempts.fail(failed, code="model_unavailable", text="No answer.")
    Message.objects.update(content="x" * (MAX_MESSAGE_LENGTH + 1))
    assert "longer than" in act(operator, "turn", "retry", failed.turn_id)
    Message.objects.update(content="Please")
    Session.objects.update(hidden=True)
    assert "is a request of a caller" in act(operator, "turn", "retry", failed.turn_id)
    assert Turn.objects.count() == 1


def test_hidden_characters_of_a_reason_are_seen(operator: Client, alice: User) -> None:
    turn_id = inbox.accept_message(open_session(alice.pk, "notes").pk, "Hi").turn_id
    act(operator, "turn", "cancel", turn_id, reason="good \u202edab")
    assert Turn.objects.get().status == "cancelled"
    for page in ("/admin/", reverse("admin:admin_logentry_changelist")):
        assert "\u202e" not in body(operator, page)


@pytest.mark.django_db(transaction=True)
async def test_an_operator_exports_a_session_and_it_is_recorded(alice: User) -> None:
    def prepare() -> Session:
        session = open_session(alice.pk, "notes")
        held = claim(inbox.accept_message(session.pk, "Größe?").turn_id)
        attempts.complete(held, step("1.80 m"))
        return session

    session = await in_thread(prepare)()
    url = reverse("admin:agent_sessions_session_export", args=[session.pk])
    clerk = await in_thread(User.objects.create_user)("clerk", is_staff=True)
    await in_thread(clerk.user_permissions.set)(
        await in_thread(list)(Permission.objects.filter(codename__startswith="view_"))
    )
    client = AsyncClient()
    await client.aforce_login(clerk)
    assert (await client.post(url)).status_code == 403

    await client.aforce_login(await in_thread(User.objects.create_superuser)("operator", password="x" * 20))
    assert (await client.get(url)).status_code == 405
    assert not await in_thread(LogEntry.objects.count)()
    response: Any = await client.post(url, {"reason": "asked by its owner"})
    text = "".join([part.decode() async for part in response.streaming_content])
    document = json.loads(text)
    assert document["session"]["user"] == "alice"
    assert [message["content"] for message in document["messages"]] == ["Größe?", "1.80 m"]
    assert response["Content-Disposition"] == f'attachment; filename="session-{session.pk}.json"'
    entry = await in_thread(LogEntry.objects.get)()
    assert entry.get_change_message() == "Exported. Reason: asked by its owner"

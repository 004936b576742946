"""Budgets: what users see, and what operators do."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from sessions.database import in_thread
from sessions.models import Budget
from tests.sessions.api.rest.conftest import Http, opened

pytestmark = pytest.mark.django_db(transaction=True)


async def test_users_see_what_is_left_of_their_own_budgets(as_alice: Http, as_bob: Http, alice: User) -> None:
    session = await opened(alice)

    def make() -> None:
        Budget.objects.create(owner=alice, limit=10, spent=Decimal("2.5"), reserved=1, period="month")
        Budget.objects.create(session=session, limit=1, spent=2)
        Budget.objects.create(api_key=uuid.uuid4(), limit=1)

    await in_thread(make)()
    answer = await as_alice.ok("GET", "/api/v1/budgets")
    assert answer["total"] == 2
    mine, sessions = answer["budgets"]
    assert (mine["scope"], mine["limit"], mine["spent"], mine["reserved"], mine["left"]) == ("user", 10, 2.5, 1, 6.5)
    assert mine["period"] == "month"
    assert mine["ends_at"]
    assert (sessions["scope"], sessions["session_id"], sessions["left"], sessions["ends_at"]) == (
        "session",
        "s",
        0,
        None,
    )
    assert (await as_bob.ok("GET", "/api/v1/budgets"))["budgets"] == []


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def test_an_operator_makes_and_changes_a_budget_and_the_history_says_so(operator: Client, alice: User) -> None:
    page = "/admin/agent_sessions/budget/"
    form = {"owner": str(alice.pk), "api_key": "", "session": "", "limit": "5", "period": "day"}
    assert operator.post(f"{page}add/", form).status_code == 302
    row = Budget.objects.get()
    Budget.objects.update(spent=3, reserved=1)
    change = {"limit": "7", "period": "month", "owner": "", "spent": "0", "reserved": "0"}
    assert operator.post(f"{page}{row.pk}/change/", change).status_code == 302
    row.refresh_from_db()
    assert row.owner == alice
    assert [int(it) for it in (row.limit, row.spent, row.reserved)] == [7, 3, 1]
    assert row.period == "month"
    assert [entry.user.get_username() for entry in LogEntry.objects.filter(object_id=str(row.pk))] == ["operator"] * 2
    for path in (page, f"{page}?q=alice", f"{page}{row.pk}/history/"):
        assert operator.get(path).status_code == 200


def test_a_budget_without_exactly_one_scope_is_refused(operator: Client, alice: User) -> None:
    form = {"owner": "", "api_key": "", "session": "", "limit": "5", "period": "day"}
    page = operator.post("/admin/agent_sessions/budget/add/", form).content.decode()
    assert "Choose exactly one" in page
    assert not Budget.objects.exists()


def test_staff_without_the_permission_cannot_change_budgets(alice: User) -> None:
    row = Budget.objects.create(owner=alice, limit=1)
    clerk = Client()
    clerk.force_login(User.objects.create_user("clerk", is_staff=True))
    page = f"/admin/agent_sessions/budget/{row.pk}/change/"
    assert clerk.post(page, {"limit": "100", "period": "total"}).status_code == 403
    row.refresh_from_db()
    assert row.limit == 1

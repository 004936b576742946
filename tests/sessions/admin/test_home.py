"""The home answers what operators ask first, from bounded queries, to those who may see it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from pytest_django import DjangoAssertNumQueries

from sessions.admin.display import show_time
from sessions.admin.home.plots import nice
from sessions.admin.home.window import Window, rows_url
from sessions.models import Approval, Turn, Worker
from sessions.turns import attempts, inbox, tool_calls
from sessions.turns.sessions import open_session
from tests.sessions.admin.test_admin import NASTY, body, claim, converse, signed_in
from tests.sessions.calls import write_call
from tests.sessions.story import step

HOME = "/admin/"


@pytest.fixture(scope="module", autouse=True)
def _urls() -> None:
    """Import all URLs before the first request: transactions that lock a session have 0.7 s."""
    reverse("admin:index")


@pytest.fixture
def operator(db: None) -> Client:
    return signed_in(User.objects.create_superuser("operator", password="a long password of the operator"))


def section(page: str, title: str) -> str:
    """Return the part of the page that a heading begins."""
    return page.split(f'id="{title}-title">')[1].split("</section>", maxsplit=1)[0]


def test_the_home_of_a_new_service_has_no_figures_and_no_alarm_but_the_missing_worker(operator: Client) -> None:
    page = body(operator, HOME)
    assert "No worker is alive" in section(page, "attention")
    assert page.count("Nothing in this period.") == 4
    assert "No turn has failed" in page
    Worker.objects.create(name="w", started_at=timezone.now(), seen_at=timezone.now())
    assert "Nothing." in section(body(operator, HOME), "attention")


def test_the_home_shows_what_happened_and_leads_to_the_rows(
    operator: Client, alice: User, bob: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    converse(alice, "notes", turns=3)
    converse(bob, "others")
    Worker.objects.update(host="machine-7", version="1.2.3", memory=300 * 1024**2, running_turns=2)
    waiting = open_session(alice.pk, "approvals")
    held = claim(inbox.accept_message(waiting.pk, "write").turn_id)
    tool_calls.request_tools(held, step(""), [write_call("w")])
    inbox.accept_message(open_session(bob.pk, "waits").pk, "in the queue")

    with django_assert_max_num_queries(16):
        page = body(operator, HOME)

    assert "10 turns: 4 completed, 0 cancelled, 4 failed, 2 open." in page
    failures = section(page, "failures")
    assert "model_cut" in failures
    newest = Turn.objects.filter(status="failed").latest("pk")
    assert f"/admin/agent_sessions/turn/{newest.pk}/change/" in failures
    assert "4 of the 8 turns that ended last have failed" in section(page, "attention")
    assert "write_file" in section(page, "approvals")
    assert "in the queue" in section(page, "queue")
    workers = section(page, "workers")
    assert all(text in workers for text in ("machine-7", "1.2.3", "300.0\xa0MB", "alive", "UTC"))
    for heading in ("By day", "By model", "By agent", "By user"):
        assert heading in section(page, "usage")
    assert "alice" in section(page, "usage")
    assert "<script>alert" not in page
    assert "\x1b" not in page
    # Nothing that a strict policy refuses, and nothing from elsewhere.
    policy = operator.get(HOME)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<style|style=|onclick|<script>|src=\"http", page)


def test_the_links_of_the_home_lead_to_lists_that_can_be_shown(operator: Client, alice: User) -> None:
    converse(alice, "notes")
    page = body(operator, HOME)
    links = {unescape(link) for link in re.findall(r'href="(/admin/agent_sessions/[^"]+)"', page)}
    plots = {link for link in links if "from=" in link}
    assert len(plots) > 3 * 24
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    outcomes = body(operator, rows_url("turn", hour, hour + timedelta(hours=1), status__exact="failed"))
    assert re.search(r"\b1 turn\b", outcomes)
    others = {re.sub(r"from=[^&]*&until=[^&]*", "", link): link for link in links}
    for link in others.values():
        response = operator.get(link)
        assert (link, response.status_code) == (link, 200)
    past = rows_url("turn", hour - timedelta(hours=2), hour - timedelta(hours=1))
    assert "0 turns" in body(operator, past)


@pytest.mark.parametrize("name", ["hour", "day", "week", "month", "nonsense"])
def test_each_period_has_its_slots(operator: Client, alice: User, name: str) -> None:
    converse(alice, "notes")
    page = body(operator, f"{HOME}?window={name}")
    assert "2 turns: 1 completed, 0 cancelled, 1 failed, 0 open." in page
    if name != "nonsense":
        assert f'<a href="?window={name}" aria-current="true">' in page


def test_a_wrong_period_of_a_list_is_refused(operator: Client) -> None:
    for text in ("yesterday", "9999-99-99", "0001-01-01T00:00:00Z"):
        assert operator.get(f"/admin/agent_sessions/turn/?from={text}").status_code == 302
    assert operator.get("/admin/agent_sessions/turn/?error_code=a%00b").status_code == 302


def test_staff_see_only_the_figures_of_what_they_may_see(alice: User) -> None:
    session = converse(alice, "notes")
    claim(inbox.accept_message(session.pk, "write").turn_id)
    staff = User.objects.create_user("staff", password="a long password of staff", is_staff=True)
    page = body(signed_in(staff), HOME)
    for text in ("model_cut", "alice", "plot-", "Workers", "Tokens"):
        assert text not in page, text
    staff.user_permissions.add(Permission.objects.get(codename="view_turn"))
    page = body(signed_in(staff), HOME)
    assert "model_cut" in page
    assert "Tokens and cost" not in page


def test_slots_begin_at_full_hours_and_end_with_the_present_one() -> None:
    window = Window.ending(datetime(2026, 11, 28, 12, 34, 56, tzinfo=UTC), "day")
    slots = list(window.slots())
    assert slots[0][0] == datetime(2026, 11, 27, 13, tzinfo=UTC)
    assert slots[-1] == (datetime(2026, 11, 28, 12, tzinfo=UTC), datetime(2026, 11, 28, 13, tzinfo=UTC))
    assert len(slots) == 24
    days = list(window.days())
    assert [day[0].day for day in days] == [28, 27]
    assert days[0][1] == window.end
    assert days[-1][0] == window.start


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (1.2, 2), (3, 5), (7, 10), (11, 20), (0.03, 0.05)])
def test_an_axis_ends_with_a_round_number(value: float, top: float) -> None:
    assert nice(value) == pytest.approx(top)


def test_a_waiting_approval_and_a_long_queue_are_told(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "approvals")
    held = claim(inbox.accept_message(session.pk, "write").turn_id)
    tool_calls.request_tools(held, step(""), [write_call("w")])
    Approval.objects.update(created_at=timezone.now() - timedelta(hours=2))
    inbox.accept_message(open_session(alice.pk, "queue").pk, "Hi")
    Turn.objects.filter(status="queued").update(queued_at=timezone.now() - timedelta(minutes=5))
    attention = section(body(operator, HOME), "attention")
    assert "An approval has waited since" in attention
    assert "A turn has waited for a worker for 0:05:0" in attention
    assert escape(NASTY) not in attention


def test_a_turn_behind_another_of_its_session_waits_for_no_worker(operator: Client, alice: User) -> None:
    session = open_session(alice.pk, "notes")
    Worker.objects.create(name="w", started_at=timezone.now(), seen_at=timezone.now())
    held = claim(inbox.accept_message(session.pk, "first").turn_id)
    inbox.accept_message(session.pk, "second")
    Turn.objects.filter(status="queued").update(queued_at=timezone.now() - timedelta(minutes=5))
    assert "Nothing." in section(body(operator, HOME), "attention")
    attempts.complete(held, step("done"))
    assert "Nothing." in section(body(operator, HOME), "attention")


def test_a_moment_to_come_is_not_told_as_past() -> None:
    assert 'title="in 5\xa0minutes"' in show_time(timezone.now() + timedelta(minutes=5, seconds=30))
    assert 'title="5\xa0minutes ago"' in show_time(timezone.now() - timedelta(minutes=5, seconds=30))

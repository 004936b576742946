"""The admin in a browser: it answers an operator's questions, and its policy refuses nothing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, ViewportSize, expect

from tests.live.service import PROJECT, Service

pytestmark = pytest.mark.browser

SCREEN, PHONE = ViewportSize(width=1280, height=720), ViewportSize(width=390, height=844)


def talk(service: Service, session: str, *texts: str) -> None:
    for text in texts:
        service.post(
            "/api/v1/message",
            {"session_id": session, "message": text, "wait": "/call" not in text and "/wait" not in text},
        )


@pytest.fixture
def operator(context: BrowserContext, service: Service) -> Page:
    page = context.new_page()
    page.goto(f"{service.url}/admin/login/?next=/admin/")
    page.get_by_label("Username:").fill("admin")
    page.get_by_label("Password:").fill(service.admin_password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()
    return page


def rows_of(page: Page, heading: str) -> Locator:
    """Return the links of the first column of a table of the home."""
    return page.get_by_role("region", name=heading, exact=True).locator("tbody th a")


#: What the words in italics mean.
DESCRIBED: dict[str, Callable[[Page], Locator]] = {
    # Other tests may have had failures of other kinds.
    "the newest turn of a failure": lambda page: (
        page.get_by_role("region", name="Failures").locator("tr", has_text="model_rate_limited").locator("td a")
    ),
    'a user in "By user"': lambda page: rows_of(page, "By user"),
    "an approval that was answered": lambda page: page.locator("#result_list tr", has_text="approved").locator("th a"),
    'a column of "Seconds to the whole answer"': lambda page: page.locator("#plot-duration svg a:has(circle)"),
    'a turn in "Queue"': lambda page: (
        page.get_by_role("region", name="Queue").locator("tr", has_text="running").locator("th a")
    ),
    'a worker in "Workers"': lambda page: rows_of(page, "Workers"),
    'an approval in "Waiting approvals"': lambda page: rows_of(page, "Waiting approvals"),
}
#: What the page says after the clicks, by question.
ANSWERS = {
    1: "model_rate_limited",
    2: "/fail rate_limited",
    3: "scripted",
    4: "Rest",
    5: "slowest",
    6: "cancelled",
    7: "Memory:",
    8: "rejected",
    9: "Needs attention",
    10: "Reason: no longer needed",
}


def questions() -> list[tuple[int, list[str]]]:
    page = (PROJECT / "docs/operating.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE)
    return [(int(number), [] if clicks == "none" else clicks.split(" → ")) for number, clicks in rows]


def test_ten_questions_are_answered_in_three_clicks(operator: Page, service: Service) -> None:
    talk(service, "questions", "/say Hello", "/fail rate_limited")
    for name in ("decided", "undecided"):
        talk(service, name, '/call write_file {"path": "a", "content": "b"}')
    talk(service, "running", "/wait 600")
    calls = [call["call_id"] for call in pending(service, "decided")]
    decision = {"call_id": calls[0], "decision": "approve"}
    status, text = service.post("/api/v1/sessions/decided/hitl-decision", decision)
    assert status == 200, text
    assert pending(service, "undecided")
    asked = questions()
    assert [number for number, _ in asked] == list(range(1, 11))
    for number, clicks in asked:
        assert len(clicks) <= 3
        operator.goto(f"{service.url}/admin/")
        for click in clicks:
            find(operator, click).first.click()
        expect(operator.locator("body"), f"question {number}").to_contain_text(ANSWERS[number])


def pending(service: Service, session: str) -> list[dict[str, str]]:
    """Return the approvals of a session, as soon as there is one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = json.loads(service.get(f"/api/v1/sessions/{session}/pending-approvals")[1])
        if found := answer["pending_approvals"]:
            return list(found)
        time.sleep(0.1)
    raise AssertionError(f"{session} waits for no approval")


def find(page: Page, click: str) -> Locator:
    """Return what a step of the page in the documentation names."""
    name = click.strip("*")
    if click.startswith("**"):
        reason = page.get_by_label("Reason", exact=True)
        if reason.count():
            reason.fill("no longer needed")
        starts = re.compile(f"^{re.escape(name)}")
        return page.get_by_role("link", name=starts).or_(page.get_by_role("button", name=starts))
    return DESCRIBED[name](page)

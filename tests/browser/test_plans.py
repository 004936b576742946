"""Plans on the chat page: a card that asks for approval, and then shows the progress of each sub-task."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from websockets.sync.client import connect

from tests.browser.tab import answer_as_tool, answers, open_tab, say
from tests.live.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("by_hand")]


@pytest.fixture
def page(page: Page, service: Service) -> Page:
    """A session with the agent that proposes plans. The page itself cannot choose one."""
    key = unquote(page.url.partition("#")[2])
    with connect(f"ws://127.0.0.1:{service.port}/ws/{key}", proxy=None) as socket:
        socket.send(json.dumps({"type": "switch_agent", "agent_type": "architect"}))
        assert json.loads(socket.recv(20))["type"] == "agent_switched"
    return page


def propose(page: Page, *subtasks: dict[str, Any], afterwards: str = "/say Then not.") -> Locator:
    say(page, f"/call create_plan {json.dumps({'goal': 'Greet everybody', 'subtasks': subtasks})}\n{afterwards}")
    card = page.locator(".card.plan")
    expect(card).to_contain_text("needs approval")
    expect(page.get_by_text("Waiting for your decision on the plan.")).to_be_visible()
    return card


GREET = {"id": "greet", "description": "/say Hello.", "agent": "coder", "estimated_time": "1 min"}
SLOW = {"id": "look", "description": '/say Wait.\n/call read_file {"path": "a.txt"}\n/say Read.', "agent": "debug"}
LAST = {"id": "bye", "description": "/say Goodbye.", "agent": "ask", "dependencies": ["look"]}


def states(card: Locator) -> list[str]:
    return card.locator(".subtasks .badge").all_inner_texts()


def test_an_approved_plan_shows_its_progress(page: Page, context: BrowserContext) -> None:
    card = propose(page, GREET, SLOW, LAST)
    expect(card).to_contain_text("Greet everybody")
    expect(card.locator("li").first).to_contain_text("coder · 1 min")
    expect(card.locator("li").last).to_contain_text("after look")
    other = open_tab(context, page.url)

    card.get_by_role("button", name="Approve").click()

    expect(card.locator(".subtasks .badge")).to_have_text(["done", "working…", "to do"])
    expect(other.locator(".card.plan .subtasks .badge")).to_have_text(["done", "working…", "to do"])
    expect(card.locator("li").first.locator(".result")).to_have_text("Hello.")
    expect(card.get_by_role("button")).to_have_count(0)
    expect(page.locator(".message.assistant .heading").first).to_contain_text("Assistant · greet")
    page.reload()
    expect(card.locator(".subtasks .badge")).to_have_text(["done", "working…", "to do"])
    expect(page.locator(".card.tool")).to_contain_text("read_file")
    answer_as_tool(page, "x")
    expect(answers(page).last).to_have_text("Goodbye.")
    expect(card.locator(".heading .badge").first).to_have_text("completed")
    assert states(card) == ["done", "done", "done"]


def test_a_plan_shows_characters_that_hide(page: Page) -> None:
    subtasks = [{"id": "one", "description": "Greet \u202ethem", "agent": "coder"}]
    say(page, f"/call create_plan {json.dumps({'goal': 'Be\u200b kind', 'subtasks': subtasks})}")
    card = page.locator(".card.plan")
    expect(card).to_contain_text("Be⟨U+200B⟩ kind")
    expect(card.locator(".subtasks")).to_contain_text("Greet ⟨U+202E⟩them")


def test_a_plan_is_edited_before_it_is_approved(page: Page) -> None:
    card = propose(page, GREET, {**LAST, "dependencies": []})
    card.get_by_role("button", name="Edit").click()
    card.get_by_label("Description of greet").fill("/say never")
    card.get_by_role("button", name="Back").click()
    expect(card.locator("li").first).to_contain_text("/say Hello.")
    card.get_by_role("button", name="Edit").click()
    field = card.get_by_label("Description of greet")
    expect(field).to_be_focused()
    field.fill("")
    card.get_by_role("button", name="Approve as edited").click()
    expect(page.locator("#notice")).to_contain_text("description")
    expect(field).to_have_value("")
    field.fill("/say Good morning.")

    card.get_by_role("button", name="Approve as edited").click()

    expect(answers(page)).to_have_text(["Good morning.", "Goodbye."])
    expect(card.locator("li").first).to_contain_text("/say Good morning.")


def test_a_plan_is_rejected_with_feedback(page: Page) -> None:
    card = propose(page, GREET)
    card.get_by_role("button", name="Reject").click()
    card.get_by_label("What should be different").fill("Greet nobody.")

    card.get_by_role("button", name="Reject the plan").click()

    expect(answers(page)).to_have_text("Then not.")
    expect(card).to_contain_text("cancelled")
    expect(card.get_by_role("button")).to_have_count(0)


def test_stop_cancels_the_plan(page: Page) -> None:
    card = propose(page, SLOW, GREET)
    card.get_by_role("button", name="Approve").click()
    expect(card.locator(".subtasks .badge")).to_have_text(["working…", "to do"])

    page.get_by_role("button", name="Stop", exact=True).click()

    expect(card.locator(".subtasks .badge")).to_have_text(["stopped", "to do"])
    expect(card).to_contain_text("cancelled")

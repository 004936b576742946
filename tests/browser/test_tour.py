"""The tours of the scripted model: what a newcomer sees in the first minute, with clicks alone."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from llm.tours import RELOAD_LINES
from tests.browser.tab import answers
from tests.live.service import Service

pytestmark = pytest.mark.browser

#: From the first paint to the first approved edit, by a person who reads nothing.
MAX_FIRST_EDIT_SECONDS = 60


@pytest.fixture
def page(context: BrowserContext, service: Service) -> Page:
    page = context.new_page()
    page.goto(service.url)
    return page


def pick(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def approve(place: Locator) -> None:
    """Approve what is asked there, and wait until this question is gone: the next one may already stand there."""
    button = place.get_by_role("button", name="Approve", exact=True).element_handle()
    button.click()
    button.wait_for_element_state("hidden")


def open_file(page: Page, path: str) -> str:
    """Return the text of a file of the page's workspace."""
    text: str = page.evaluate(
        "async (path) => (await import('/static/sessions/workspace/open.js')).workspace.read(path)", path
    )
    return text


def test_the_first_approved_edit_takes_less_than_a_minute(page: Page) -> None:
    painted_ms = "() => performance.timeOrigin + performance.getEntriesByName('first-contentful-paint')[0].startTime"
    pick(page, "Edit a file")
    card = page.locator(".card.tool", has_text="apply_diff")
    expect(card).to_contain_text("Earl Grey")
    approve(page.locator("#log"))
    expect(card).to_contain_text("done")
    assert "Earl Grey" in open_file(page, "menu.json")
    assert time.time() - page.evaluate(painted_ms) / 1000 < MAX_FIRST_EDIT_SECONDS
    approve(page.locator("#log"))  # the command of the checks
    expect(answers(page).last).to_contain_text("Earl Grey")
    expect(answers(page).last.locator("table")).to_be_visible()


def test_a_mistake_is_noticed_and_repaired(page: Page) -> None:
    pick(page, "Repair a mistake")
    for _ in range(5):  # two commands, and three edits
        approve(page.locator("#log"))
    expect(answers(page).last).to_contain_text("Repaired.")
    assert "Oolong" in open_file(page, "menu.json")
    expect(page.locator(".card.tool", has_text="apply_diff").first).to_contain_text("failed")


def test_a_plan_is_decided_first_and_then_carried_out(page: Page) -> None:
    pick(page, "Plan a feature")
    plan = page.locator(".card.plan")
    approve(plan)
    for _ in range(2):
        approve(page.locator("#log"))
    expect(plan.locator(".subtasks .badge")).to_have_text(["done", "done"])
    assert "Winter" in open_file(page, "specials.md")
    assert "specials.md" in open_file(page, "README.md")


def test_an_answer_outlives_a_reload(page: Page) -> None:
    pick(page, "Reload the page")
    expect(page.locator("#log")).to_contain_text("12. Still here")
    page.reload()
    expect(answers(page).last).to_contain_text("The end.")
    lines = [f"{number}. Still here, and nothing is missing." for number in range(1, RELOAD_LINES + 1)]
    text = answers(page).last.inner_text()
    items = answers(page).last.locator("li")
    found = items.all_inner_texts() if items.count() else text.splitlines()
    assert [line.partition(". ")[2] if line[0].isdigit() else line for line in found if "Still here" in line] == [
        line.partition(". ")[2] for line in lines
    ]

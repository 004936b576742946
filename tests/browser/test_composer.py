"""The message box and the ends of turns: who answers, what it cost, and how to go on."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.tab import answers, box, open_tab, say, sent_frames
from tests.live.service import Service

pytestmark = pytest.mark.browser


def test_answers_say_who_wrote_them_and_what_they_used(page: Page) -> None:
    say(page, "/say hello")
    signature = page.locator(".message.assistant .signature")
    expect(signature).to_have_text("Universal · Ask before changes · scripted")
    expect(page.locator("#log .use")).to_have_text(re.compile(r"tokens in, \d+ out · \$0$"))
    expect(page.locator("#session-use")).to_have_text(re.compile(r"^[\d,]+ tokens · \$0$"))
    expect(page.locator("#context-text")).to_have_text(re.compile("of context$"))

    page.get_by_label("Mode", exact=True).select_option("auto-edit")
    page.get_by_label("Agent", exact=True).select_option("coder")
    expect(page.locator(".switch")).to_have_text("You switched to Coder.")
    say(page, "/say again")
    expect(signature.last).to_have_text("Coder · Edit freely · scripted")
    page.reload()
    expect(page.get_by_label("Agent", exact=True)).to_have_value("coder")
    expect(page.get_by_label("Mode", exact=True)).to_have_value("auto-edit")
    expect(page.locator(".switch")).to_have_count(1)


def test_the_newest_message_is_regenerated_retried_and_rewritten(page: Page, service: Service) -> None:
    say(page, "/say one")
    expect(answers(page)).to_have_text("one")
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator(".message.user")).to_have_count(1)
    expect(answers(page)).to_have_text("one")

    say(page, "/say half\n/fail rate_limited")
    card = page.locator(".card.error")
    expect(card).to_contain_text("Wait a moment, then try again.")
    expect(page.get_by_role("button", name="Regenerate")).to_have_count(0)
    other = open_tab(page.context, page.url)
    expect(other.locator(".card.error")).to_have_count(1)
    used = page.locator("#session-use").inner_text()
    frames = sent_frames(other)
    other.reload()
    other.get_by_role("button", name="Retry").click()
    expect(other.locator(".message.user")).to_have_count(2)
    expect(page.locator("#session-use")).not_to_have_text(used)
    expect(card).to_have_count(1)
    expect(card.get_by_role("button", name="Retry")).to_be_enabled()
    assert len([one for one in frames if one.get("replaces")]) == 1

    expect(box(page)).to_have_value("")
    box(page).press("ArrowUp")
    expect(box(page)).to_have_value("/say half\n/fail rate_limited")
    expect(page.locator("#rewrite")).to_be_visible()
    box(page).press("Escape")
    expect(page.locator("#rewrite")).to_be_hidden()
    expect(box(page)).to_have_value("")
    box(page).press("ArrowUp")
    box(page).fill("/say better")
    box(page).press("Enter")
    expect(answers(page).last).to_have_text("better")
    expect(card).to_have_count(0)
    expect(answers(page)).to_have_count(2)
    expect(other.locator(".card.error")).to_have_count(0)
    expect(answers(other).last).to_have_text("better")


def test_suggested_answers_are_buttons_and_escape_stops(page: Page) -> None:
    question = {"question": "Which one?", "suggestions": ["/say This", "/tokens 500 20"]}
    say(page, f"/call ask_followup_question {json.dumps(question)}")
    expect(page.get_by_role("group", name="Suggested answers").get_by_role("button")).to_have_count(2)
    expect(page.locator(".card.tool")).to_have_count(0)
    page.get_by_role("button", name="/tokens 500 20").click()
    expect(answers(page).last).to_contain_text("t3 ")
    expect(page.get_by_role("group", name="Suggested answers").get_by_role("button")).to_have_count(0)

    box(page).fill("/say next")
    for name in ("Queue", "Steer", "Stop and send", "Stop"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
    box(page).fill("")
    box(page).press("Escape")
    expect(page.locator(".message.assistant .remark")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


def test_what_was_written_and_chosen_stays_with_its_session(page: Page, service: Service) -> None:
    """Alice edits an old message while a new one stands in the box, and opens another session."""
    say(page, "/say one")
    expect(answers(page)).to_have_text("one")
    box(page).fill("a new thought")
    page.get_by_role("button", name="Edit message").click()
    expect(box(page)).to_have_value("/say one")
    box(page).fill("/say two")
    box(page).press("Enter")
    expect(answers(page)).to_have_text("two")
    expect(box(page)).to_have_value("a new thought")

    first = page.evaluate("location.hash")
    page.get_by_label("Mode", exact=True).evaluate("node => node.value = 'full'")
    # A session may have the name of something that every object has.
    page.evaluate("location.hash = '#constructor'")
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(box(page)).to_have_value("")
    expect(page.get_by_label("Mode", exact=True)).to_have_value("ask")
    expect(page.locator("#model")).to_have_text("scripted")
    say(page, "/say three")
    expect(answers(page)).to_have_text("three")
    page.evaluate("(hash) => (location.hash = hash)", first)
    expect(box(page)).to_have_value("a new thought")


def test_enter_is_a_new_line_on_a_touch_screen(browser: Browser, service: Service) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = open_tab(context, service.url)
    box(page).press_sequentially("/say one")
    box(page).press("Enter")
    box(page).press_sequentially("/say two")
    expect(box(page)).to_have_value("/say one\n/say two")
    page.get_by_role("button", name="Send", exact=True).tap()
    expect(answers(page)).to_have_text("onetwo")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()

"""Plays the cases of `tests/cases` whose input goes into the chat page."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.tab import answers, box, say, sent_frames
from tests.cases.files import Json, cases
from tests.live.service import Frame

pytestmark = pytest.mark.browser

CASES = cases("page")

PLAIN_ENTER = "new KeyboardEvent('keydown', {key: 'Enter', keyCode: 13, which: 13, bubbles: true, cancelable: true})"


def dispatch(field: Locator, event: str) -> bool:
    """Dispatch an event, written as an expression of JavaScript. Return whether its default is prevented."""
    return bool(
        field.evaluate(
            f"node => {{ const event = {event}; node.dispatchEvent(event); return event.defaultPrevented; }}"
        )
    )


def variants(case: Json) -> list[str]:
    """Return the events of a case, and those that it wants to be kept."""
    event = case["input"]["dispatch"]
    keep = [kept["input"] for kept in case.get("keep", ())]
    assert keep in ([], ["isComposing true"])
    return [event, *(event.replace("isComposing: false", "isComposing: true") for _ in keep)]


def reload(page: Page) -> list[Frame]:
    frames = sent_frames(page)
    page.reload()
    expect(page.locator("#connection")).to_have_text("Connected")
    return frames


@pytest.mark.parametrize("case_id", ["enter-of-a-composition-in-the-box"])
def test_message_box(case_id: str, page: Page) -> None:
    frames = reload(page)
    field = page.locator(CASES[case_id]["input"]["focus"])
    box(page).fill("/say half")
    for event in variants(CASES[case_id]):
        assert not dispatch(field, event)
    expect(field).to_have_value("/say half")
    assert dispatch(field, PLAIN_ENTER)
    expect(answers(page)).to_have_text("half")
    assert [frame["content"] for frame in frames if frame["type"] == "user_message"] == ["/say half"]


@pytest.mark.parametrize("case_id", ["enter-of-a-composition-in-the-queue"])
def test_waiting_message(case_id: str, page: Page) -> None:
    frames = reload(page)
    say(page, "/say Wait.\n/wait 600")
    expect(answers(page)).to_have_text("Wait.")
    say(page, "/say one")
    page.get_by_role("button", name="Edit", exact=True).click()
    field = page.locator(CASES[case_id]["input"]["focus"])
    field.fill("/say half")
    for event in variants(CASES[case_id]):
        assert not dispatch(field, event)
    expect(field).to_have_value("/say half")
    assert [frame for frame in frames if frame["type"] == "edit_message"] == []
    assert dispatch(field, PLAIN_ENTER)
    expect(page.locator("#queue li .body")).to_have_text(["/say half"])
    assert [frame["content"] for frame in frames if frame["type"] == "edit_message"] == ["/say half"]


def test_every_case_is_played() -> None:
    assert set(CASES) == {"enter-of-a-composition-in-the-box", "enter-of-a-composition-in-the-queue"}

"""Enter and Escape in the boxes of the chat page, also those that belong to an input method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.tab import answers, box, say, sent_frames

pytestmark = pytest.mark.browser

SCRIPTS = Path(__file__).parents[2] / "sessions/static/sessions"

#: Keys of an input method: Safari's order (after the composition), that of all others, and both at once.
INPUT_METHOD_KEYS: list[dict[str, Any]] = [
    {"keyCode": 229, "which": 229, "isComposing": False},
    {"keyCode": 13, "which": 13, "isComposing": True},
    {"keyCode": 229, "which": 229, "isComposing": True},
]


def press(field: Locator, key: str, fields: dict[str, Any]) -> bool:
    """Dispatch a key to the field. Return whether its default is prevented."""
    script = """(node, [key, fields]) => {
        const event = new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true, ...fields});
        node.dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    return bool(field.evaluate(script, [key, fields]))


def test_enter_of_an_input_method_does_not_send_the_message(page: Page) -> None:
    frames = sent_frames(page)
    page.reload()
    expect(page.locator("#connection")).to_have_text("Connected")
    box(page).fill("/say にほんご")
    for fields in INPUT_METHOD_KEYS:
        for more in ({}, {"ctrlKey": True}):
            assert not press(box(page), "Enter", fields | more)
    expect(box(page)).to_have_value("/say にほんご")

    assert press(box(page), "Enter", {"keyCode": 13, "which": 13})

    expect(answers(page)).to_have_text("にほんご")
    assert [frame["type"] for frame in frames].count("user_message") == 1


def test_enter_of_an_input_method_does_not_save_a_waiting_message(page: Page) -> None:
    frames = sent_frames(page)
    page.reload()
    expect(page.locator("#connection")).to_have_text("Connected")
    say(page, "/say Wait.\n/wait 600")
    expect(answers(page)).to_have_text("Wait.")
    say(page, "/say one")
    page.get_by_role("button", name="Edit", exact=True).click()
    field = page.get_by_label("Waiting message")
    field.fill("/say にほん")
    for fields in INPUT_METHOD_KEYS:
        assert not press(field, "Enter", fields)
        assert not press(field, "Escape", fields)
    expect(field).to_have_value("/say にほん")

    assert press(field, "Enter", {"keyCode": 13, "which": 13})

    expect(page.locator("#queue li .body")).to_have_text(["/say にほん"])
    assert [frame["type"] for frame in frames].count("edit_message") == 1


def test_no_box_listens_to_keys_by_itself() -> None:
    listeners = [path.name for path in SCRIPTS.glob("*.js") if "keydown" in path.read_text()]

    assert listeners == ["keys.js"]

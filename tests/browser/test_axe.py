"""Axe finds no fault on the pages for users, in light and dark colours, on a screen and on a phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.tab import answers, say
from tests.live.service import Service

pytestmark = pytest.mark.browser


def test_the_chat_and_the_sign_in_have_no_faults(
    context: BrowserContext, page: Page, service: Service, axe: Callable[[Page], None]
) -> None:
    axe(page)

    say(page, "/say Look: `code`.")
    expect(answers(page).last).to_contain_text("Look")
    axe(page)

    page.goto(f"{service.url}/login")
    axe(page)

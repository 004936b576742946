"""A browser for the tests of pages, and the errors that it reports."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.browser.tab import open_tab
from tests.live.service import Service

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


# Per module: Playwright keeps an event loop running, in which no asynchronous test can run.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        text = f"The chat page was NOT tested: none of {', '.join(BROWSERS)} is on PATH."
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(text, stacklevel=1)
        pytest.skip(text)
    with sync_playwright() as playwright:
        # Chromium has no sandbox as root in containers; these tests open only this service.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """Errors and warnings of the browser. A test fails if any are left at its end."""
    return []


@pytest.fixture
def context(browser: Browser, complaints: list[str]) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(20_000)
    context.on("console", lambda message: record(complaints, message))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context
    context.close()
    assert complaints == []


def record(complaints: list[str], message: ConsoleMessage) -> None:
    # These include violations of the Content-Security-Policy.
    if message.type in ("error", "warning"):
        complaints.append(message.text)


@pytest.fixture
def page(context: BrowserContext, service: Service) -> Page:
    return open_tab(context, service.url)

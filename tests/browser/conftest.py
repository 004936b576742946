"""A browser for the tests of pages, and what it complained of."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.browser.tab import opened
from tests.live.service import Service

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


# Not longer than a module: Playwright keeps an event loop running, in which no asynchronous test can run.
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
        # As root, in containers, Chromium has no sandbox to use; these tests open nothing but this service.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What browsers complained of; a test fails when there is anything in it at its end."""
    return []


@pytest.fixture
def context(browser: Browser, complaints: list[str]) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(20_000)
    context.on("console", lambda message: note(complaints, message))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context
    context.close()
    assert complaints == []


def note(complaints: list[str], message: ConsoleMessage) -> None:
    # Violations of the Content-Security-Policy are told of in the console, too.
    if message.type in ("error", "warning"):
        complaints.append(message.text)


@pytest.fixture
def page(context: BrowserContext, service: Service) -> Page:
    return opened(context, service.url)

"""A browser for the tests of pages, and the errors that it reports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.tab import open_tab
from tests.live.service import Service

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PHONE = (390, 844)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Five seconds otherwise, which is too short where other tests keep the processors busy.
expect.set_options(timeout=60_000)

_opened = ExitStack()
_browsers: list[Browser] = []


@pytest.fixture(scope="session")
def _close_before_connections(_close_connections: None) -> Iterator[None]:
    """Close the browser before the connections, where a test of pages is the last one of a run."""
    yield
    _opened.close()


@pytest.fixture
def browser(_close_before_connections: None) -> Browser:
    """Return the browser that all consecutive tests of pages share."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"The chat page was NOT tested: none of {', '.join(BROWSERS)} is on PATH.")
    if not _browsers:
        playwright = _opened.enter_context(sync_playwright())
        # Chromium has no sandbox as root in containers; these tests open only this service.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        _opened.callback(_browsers.clear)
        _opened.callback(browser.close)
        _browsers.append(browser)
    return _browsers[0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Close the browser before other tests: Playwright keeps an event loop running, in which asynchronous ones fail."""
    if nextitem is None or nextitem.path.parent != Path(__file__).parent:
        _opened.close()


@pytest.fixture
def complaints() -> list[str]:
    """Errors and warnings of the browser. A test fails if any are left at its end."""
    return []


@pytest.fixture
def context(browser: Browser, complaints: list[str]) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(60_000)
    context.on("console", lambda message: record(complaints, message))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context
    context.close()
    assert complaints == []


@pytest.fixture
def by_hand(context: BrowserContext) -> None:
    """Have no workspace in new sessions: a developer answers tool calls by hand."""
    choices = {"codelab.workspace.last": '"none"', "codelab.answer-as-tool": "true"}
    # An empty tab has no storage.
    context.add_init_script(f"if (location.host) Object.assign(localStorage, {json.dumps(choices)})")


def record(complaints: list[str], message: ConsoleMessage) -> None:
    # These include violations of the Content-Security-Policy.
    if message.type in ("error", "warning"):
        complaints.append(message.text)


@pytest.fixture
def page(context: BrowserContext, service: Service) -> Page:
    return open_tab(context, service.url)


@pytest.fixture
def axe() -> Callable[[Page], None]:
    """Return a check of a page by axe: in light and dark colours, on a screen and on a phone."""
    return require_no_violations


def require_no_violations(page: Page) -> None:
    size = page.viewport_size
    assert size is not None
    for width, height in ((size["width"], size["height"]), PHONE):
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            results = Axe().run(page)
            assert results.violations_count == 0, f"{scheme}, {width} wide: {results.generate_report()}"
    page.set_viewport_size(size)
    page.emulate_media(color_scheme="null", reduced_motion="null")

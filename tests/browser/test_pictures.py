"""Takes the pictures of the documentation. `make pictures` keeps them in docs/images; the test run throws them away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.tab import answers, open_tab
from tests.live.service import PROJECT, Service

pytestmark = pytest.mark.browser

SCREEN = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
#: Names of the files, as the pages of docs/ show them.
NAMES = ("chat", "approval", "phone", "admin-home", "admin-turn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(os.environ.get("PICTURES", tmp_path))


def approve(page: Page) -> None:
    page.locator("#log").get_by_role("button", name="Approve", exact=True).click()


def sign_in(page: Page, service: Service, *, to: str) -> None:
    page.goto(f"{service.url}/login?next={to}")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(service.admin_password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{to}")


def test_the_pictures_show_what_they_are_named_for(context: BrowserContext, service: Service, folder: Path) -> None:
    page = open_tab(context, service.url)
    page.set_viewport_size(SCREEN)  # type: ignore[arg-type]  # a TypedDict
    page.get_by_role("button", name="Edit a file").click()
    expect(page.locator(".card.tool", has_text="apply_diff")).to_contain_text("Earl Grey")
    expect(page.get_by_text("Waiting for your approval.")).to_be_visible()
    page.screenshot(path=folder / "approval.png")

    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="dark")
    page.locator("#log").get_by_role("button", name="Approve", exact=True).scroll_into_view_if_needed()
    page.screenshot(path=folder / "phone.png")

    page.set_viewport_size(SCREEN)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")
    approve(page)
    expect(page.locator(".card.tool", has_text="apply_diff")).to_contain_text("done")
    approve(page)
    expect(answers(page).last).to_contain_text("beside this chat to see it.")
    expect(answers(page).last.locator("table")).to_be_visible()
    page.screenshot(path=folder / "chat.png")

    key = page.evaluate("location.hash.slice(1)")
    sign_in(page, service, to="/admin/")
    expect(page.locator("svg").first).to_be_visible()
    page.screenshot(path=folder / "admin-home.png")
    ((session,),) = service.rows("SELECT id FROM agent_sessions_session WHERE key = %s", key)
    page.goto(f"{service.url}/admin/agent_sessions/session/{session}/conversation/")
    expect(page.locator("#content")).to_contain_text("apply_diff")
    page.set_viewport_size({"width": 1280, "height": 1600})
    page.screenshot(path=folder / "admin-turn.png")
    assert all((folder / f"{name}.png").stat().st_size > 10_000 for name in NAMES)


def test_each_picture_has_a_place_in_the_documentation() -> None:
    pages = [PROJECT / "README.md", PROJECT / "README.ru.md", *(PROJECT / "docs").glob("*.md")]
    texts = [page.read_text() for page in pages]
    for picture in (PROJECT / "docs/images").glob("*.png"):
        assert any(f"images/{picture.name})" in text for text in texts), picture.name
    assert {f"{name}.png" for name in NAMES} <= {picture.name for picture in (PROJECT / "docs/images").glob("*.png")}

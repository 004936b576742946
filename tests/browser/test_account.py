"""The page for the account in a browser: keys, rules, colours and language of Bob, who signs in."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.live.service import Service

pytestmark = pytest.mark.browser

#: Text of the page that is the same in each language.
NAMES = re.compile(
    r"\bclk_[\w-]+|CodeLab|AI Service|OpenAI|API|JavaScript|bob|English|Enter|Shift|Alt|Ctrl|Tab|Esc|scripted|tea-shop"
)


def sign_in(page: Page, service: Service) -> None:
    page.goto(f"{service.url}/login?next=/account")
    page.get_by_label("Username or email address").fill("bob")
    page.get_by_label("Password").fill(service.demo_password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#who")).to_have_text("You are signed in as bob.")


def test_bob_keeps_his_account(
    context: BrowserContext, service: Service, axe: Callable[[Page], None], complaints: list[str]
) -> None:
    page = context.new_page()
    sign_in(page, service)

    # An API key is shown once, works, and works no longer when it is revoked.
    page.get_by_label("Name of the new key").fill("CI <b>")
    page.get_by_role("button", name="Create the key").click()
    secret = page.get_by_label("Copy your new key now: it is shown only once.")
    expect(secret).to_be_focused()
    key = secret.input_value()
    headers = {"X-API-Key": key}
    assert httpx.get(f"{service.url}/api/v1/account", headers=headers).json() == {"username": "bob", "signed_in": True}
    row = page.locator("#api-keys li").filter(has_text="CI <b>")
    axe(page)
    page.reload()
    expect(row).to_contain_text("reads, writes")
    assert key not in page.content()
    row.get_by_role("button", name="Revoke: CI <b>").click()
    row.get_by_role("button", name="Revoke for good").click()
    expect(row).to_contain_text("revoked on")
    assert httpx.get(f"{service.url}/api/v1/account", headers=headers).status_code == 401

    # So is a key for a provider, which never comes back.
    page.get_by_label("Provider", exact=True).select_option("openai")
    page.get_by_label("Key", exact=True).fill("sk-bobs-own-key-9f3c")
    page.get_by_label("Address of your own server (optional)").fill("https://host/v1?key=x")
    page.get_by_role("button", name="Store the key").click()
    expect(page.get_by_role("alert")).to_contain_text("`api_base` is not usable")
    # Chromium reports each refused request.
    assert "400" in complaints.pop()
    page.get_by_label("Address of your own server (optional)").fill("")
    page.get_by_role("button", name="Store the key").click()
    own = page.locator("#provider-keys li").filter(has_text="openai")
    expect(own).to_contain_text("…9f3c")
    expect(page.get_by_role("alert")).to_be_hidden()
    own.get_by_role("button", name="Delete: openai").click()
    own.get_by_role("button", name="Delete for good").click()
    expect(own).to_have_count(0)

    # A rule is listed with what it covers, and can be deleted.
    rule = {"effect": "allow", "tool": "execute_command", "subject": "npm test"}
    cookies = {cookie["name"]: cookie["value"] for cookie in context.cookies()}
    httpx.post(f"{service.url}/api/v1/rules", json=rule, cookies=cookies).raise_for_status()
    page.reload()
    rules = page.locator("#rules li")
    expect(rules).to_contain_text("allowed execute_command npm test")
    rules.get_by_role("button", name=re.compile("^Delete: ")).click()
    rules.get_by_role("button", name="Delete for good").click()
    expect(rules).to_have_count(0)


def test_colours_and_language_are_kept(context: BrowserContext, service: Service) -> None:
    page = context.new_page()
    sign_in(page, service)
    page.get_by_label("Dark").check()
    page.get_by_role("button", name="Русский").click()
    expect(page.locator("#who")).to_have_text("Вы вошли как bob.")
    assert foreign_texts(page) == []

    page.goto(service.url)
    expect(page.locator("#connection")).to_have_text("Подключено")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 27)"
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Горячие клавиши")).to_be_visible()
    assert foreign_texts(page) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Alt+m")
    expect(page.locator("#message")).to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("#message")).to_have_value("?")

    page.goto(f"{service.url}/account")
    page.get_by_role("button", name="Выйти").click()
    expect(page.get_by_role("button", name="Войти")).to_be_visible()
    assert foreign_texts(page) == []


def foreign_texts(page: Page) -> list[str]:
    """Return the visible texts of a page that are in another language, without names of files and the like."""
    script = """() => {
        const texts = [];
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const { data, parentElement: parent } = walker.currentNode;
            const isCode = parent.closest("bdi, code, kbd, pre, select, script, noscript, [data-script]");
            const isName = isCode || parent.closest("[dir], [translate=no]");
            if (!isName && parent.checkVisibility()) texts.push(data.trim());
        }
        return texts;
    }"""
    return [text for text in page.evaluate(script) if re.search("[A-Za-z]{2}", NAMES.sub("", text))]

"""A tab with the chat page, as its user sees it."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, WebSocket, expect


def open_tab(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#connection")).to_have_text("Connected")
    return page


def box(page: Page) -> Locator:
    return page.get_by_label("Message", exact=True)


def say(page: Page, text: str) -> None:
    box(page).fill(text)
    box(page).press("Enter")


def answer_as_tool(page: Page, text: str) -> None:
    """Type the result of a call, as the fixture `by_hand` lets a developer do."""
    page.get_by_label("Result (JSON").fill(text)
    page.get_by_role("button", name="Send result").click()


def answers(page: Page) -> Locator:
    return page.locator(".message.assistant .body")


def conversation(page: Page) -> list[str]:
    """Return the texts of the conversation without times, and without what is said of an answer once it has ended."""
    texts = page.locator("#log > *:not(.end)").all_inner_texts()
    return [re.sub(r"\d+:\d+( [AP]M)?|\n+[^\n]+ · Ask before changes[^\n]*", "", text).strip() for text in texts]


def sent_frames(page: Page) -> list[dict[str, Any]]:
    """Return a list that receives every frame that the page sends from now on."""
    frames: list[dict[str, Any]] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda data: frames.append(json.loads(data)))

    page.on("websocket", listen)
    return frames

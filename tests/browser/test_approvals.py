"""Approvals on the chat page: what a person sees of a call, how they answer it, and the inbox over all sessions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, FloatRect, Locator, Page, expect
from websockets.sync.client import ClientConnection, connect

from tests.browser.tab import answers, box, open_tab, say
from tests.live.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("by_hand")]

EDIT = {
    "path": "src/tea.py",
    "diff": "<<<<<<< SEARCH\nprice = 1\nsize = 2\n=======\nprice = 3\u200b\nsize = 2\n>>>>>>> REPLACE",
}
WRITE = {"path": "src/b.txt", "content": "one\r\ntwo\r\n"}


def call(tool: str, arguments: dict[str, Any]) -> str:
    return f"/call {tool} {json.dumps(arguments)}"


def card(page: Page, place: int = 0) -> Locator:
    return page.locator("#log .card.tool").nth(place)


def place_of(locator: Locator) -> FloatRect:
    place = locator.bounding_box()
    assert place
    return place


class Editor:
    """A client in the same session, which runs what a person has approved."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def next_call(self) -> dict[str, Any]:
        while (frame := json.loads(self.socket.recv(20)))["type"] != "tool_call":
            pass
        return dict(frame)

    def run(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return the next call after it was answered."""
        asked = self.next_call()
        self.socket.send(json.dumps({"type": "tool_result", "call_id": asked["call_id"], "result": result}))
        return asked


@contextmanager
def editing(page: Page, service: Service) -> Iterator[Editor]:
    key = page.evaluate("location.hash.slice(1)")
    url = f"ws://127.0.0.1:{service.port}/ws/{key}"
    with connect(url, subprotocols=["codelab.v2"], proxy=None) as socket:  # type: ignore[list-item]
        tools = ["write_file", "apply_diff", "execute_command"]
        socket.send(json.dumps({"type": "hello", "client_id": "editor", "tools": tools}))
        assert json.loads(socket.recv(20))["type"] == "welcome"
        yield Editor(socket)


def test_a_call_of_an_editor_is_approved_and_run_by_the_editor(page: Page, service: Service) -> None:
    page.get_by_role("checkbox", name="Developer").uncheck()
    with editing(page, service) as editor:
        say(page, f"{call('apply_diff', EDIT)}\n{call('write_file', WRITE)}\n/say Done.")
        expect(card(page)).to_contain_text("needs approval")
        expect(page.get_by_text("Waiting for your approval.", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Send result")).to_have_count(0)
        expect(card(page).locator("del")).to_have_text(["price = 1"])
        expect(card(page).locator("ins")).to_have_text(["price = 3⟨U+200B⟩"])

        card(page).get_by_role("button", name="Approve").click()
        diff = "--- a/src/tea.py\n+++ b/src/tea.py\n@@ -1,2 +1,2 @@\n-price = 1\n+price = 3\n size = 2\n"
        assert editor.run({"success": True, "diff": diff})["arguments"] == EDIT

        expect(card(page).locator(".heading").first).to_contain_text("+1−1done")
        expect(card(page).locator("details").first).not_to_have_attribute("open", "")
        card(page).locator("summary").first.click()
        expect(card(page).locator("ins")).to_have_text(["price = 3"])

        card(page, 1).get_by_role("button", name="Edit").click()
        field = card(page, 1).get_by_label("content")
        field.fill(f"{field.input_value()}th\u202eree\n")
        expect(card(page, 1)).to_contain_text("th⟨U+202E⟩ree")
        field.fill("one\nTWO\n")
        card(page, 1).get_by_role("button", name="Approve as edited").click()
        # A text box has no carriage returns; the file still does.
        assert editor.run({"success": True})["arguments"] == {**WRITE, "content": "one\r\nTWO\r\n"}
        expect(answers(page).last).to_have_text("Done.")
        card(page, 1).locator("summary").first.click()
        expect(card(page, 1)).to_contain_text("A person edited these arguments.")
        # A page that begins with a snapshot, or without its state, asks for the change when the card is opened.
        page.reload()
        card(page).locator("summary").first.click()
        expect(card(page).locator("ins")).to_have_text(["price = 3"])


def test_an_edit_of_the_workspace_is_shown_against_the_file(page: Page, service: Service) -> None:
    page.evaluate("localStorage.clear()")
    page.add_init_script("if (location.host) localStorage.clear()")
    page.set_viewport_size({"width": 1600, "height": 900})
    page.goto("about:blank")
    page.go_back()
    page.get_by_role("button", name="New session").click()
    expect(page.locator("#workspace")).to_have_text("Workspace: tea-shop")
    page.get_by_role("button", name="Files", exact=True).click()  # they leave the diff half of the screen
    edits = [
        {"path": "menu.json", "diff": f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"}
        for old, new in (('  "teas": [', '  "Teas": ['), ('  "Teas": [', '  "TEAS": ['))
    ]
    say(page, "\n".join([*(call("apply_diff", edit) for edit in edits), "/say Done."]))
    left, right = (card(page).locator(side) for side in (".change .left", ".change .right"))
    expect(left).to_have_text('  "teas": [')
    expect(card(page).locator("figcaption")).not_to_contain_text("A part of the file")
    first, second = place_of(left), place_of(right)
    assert first["x"] + first["width"] <= second["x"] + 1
    # The second edit fits only after the first one.
    expect(card(page, 1).locator("figcaption")).to_contain_text("A part of the file")
    card(page).get_by_role("button", name="Approve").click()
    expect(card(page, 1).locator("figcaption")).not_to_contain_text("A part of the file")
    page.set_viewport_size({"width": 390, "height": 844})
    left, right = (card(page, 1).locator(side) for side in (".change .left", ".change .right"))
    first, second = place_of(left), place_of(right)
    assert first["y"] + first["height"] <= second["y"] + 1
    card(page, 1).get_by_role("button", name="Approve").click()
    expect(answers(page).last).to_have_text("Done.")
    expect(card(page, 1)).to_contain_text("done")

    # Another client works in another folder: the files here do not say what its call would change. A message tells
    # agents of the file that was opened here, so the other client comes behind it.
    say(page, "/say Told.")
    expect(answers(page).last).to_have_text("Told.")
    key = page.evaluate("location.hash.slice(1)")
    page.request.put(f"{service.url}/api/v1/sessions/{key}/workspace", data={"name": "elsewhere"})
    expect(page.locator("#workspace")).to_have_text("Workspace: elsewhere")
    back = {"path": "menu.json", "diff": '<<<<<<< SEARCH\n  "TEAS": [\n=======\n  "teas": [\n>>>>>>> REPLACE'}
    say(page, f"{call('apply_diff', back)}\n/say Again.")
    expect(card(page, 2).locator("ins")).to_have_text('  "teas": [')
    # A preview that was asked for before this one is there by now.
    page.evaluate("import('/static/sessions/workspace/open.js').then(({ workspace }) => workspace.preview('ls', {}))")
    expect(card(page, 2).locator("figcaption")).to_contain_text("A part of the file")
    card(page, 2).get_by_role("button", name="Approve").click()
    expect(answers(page).last).to_have_text("Again.")


def test_a_call_is_rejected_with_a_word_by_keyboard_alone(page: Page) -> None:
    say(page, f"{call('execute_command', {'command': 'rm -rf build'})}\n/say Then not.")
    reject = card(page).get_by_role("button", name="Reject")
    reject.press("Enter")
    field = card(page).get_by_label("What should be different?")
    expect(field).to_be_focused()
    field.press("Escape")
    expect(reject).to_be_focused()
    reject.press("Enter")
    page.keyboard.type("Use make clean.")
    page.keyboard.press("Enter")

    expect(answers(page).last).to_have_text("Then not.")
    expect(card(page)).to_contain_text("rejected")
    expect(box(page)).to_be_focused()
    card(page).locator("summary").first.press("Enter")
    expect(card(page).locator(".result")).to_contain_text("Error: Use make clean.")


def test_a_rule_is_shown_made_and_counts(page: Page, service: Service) -> None:
    say(page, f"{call('write_file', WRITE)}\n{call('execute_command', {'command': 'make a; make b'})}")
    bar = page.locator("#waiting-calls")
    expect(bar).to_contain_text("2 calls wait for your approval")
    card(page).get_by_role("button", name="Always allow…").click()
    rules = card(page).locator(".rules code")
    expect(rules).to_have_text(["allow write_file src/b.txt", "allow write_file src/**", "allow write_file **"])
    path = f"{service.url}/api/v1/rules?session_id={page.evaluate('location.hash.slice(1)')}"
    assert page.request.get(path).json()["total"] == 0
    card(page).get_by_role("radio", name="All files below src").check()
    card(page).get_by_role("button", name="Make the rule and approve").click()
    # Without a client that has the tool it waits, but not for approval.
    expect(card(page)).to_contain_text("running…")
    (rule,) = page.request.get(path).json()["rules"]
    assert (rule["subject"], rule["session_id"] is None) == ("src/**", False)
    expect(bar).to_be_hidden()

    card(page, 1).get_by_role("button", name="Always allow…").click()
    expect(card(page, 1).locator(".rules code")).to_have_text(["allow execute_command make a; make b"])
    expect(card(page, 1).get_by_text("Answer as the tool")).to_be_visible()
    page.get_by_role("checkbox", name="Developer").uncheck()
    expect(card(page, 1).get_by_text("Answer as the tool")).to_be_hidden()


def test_the_inbox_answers_calls_of_other_sessions(
    page: Page, context: BrowserContext, service: Service, axe: Callable[[Page], None]
) -> None:
    other = open_tab(context, service.url)
    say(other, f"{call('write_file', WRITE)}\n{call('execute_command', {'command': 'make'})}\n/say Both.")
    expect(other.locator("#waiting-calls")).to_be_visible()
    toggle = page.locator("#inbox-toggle")
    before = int(toggle.locator(".count").text_content() or "0")
    page.bring_to_front()
    page.reload()
    expect(toggle.locator(".count")).not_to_be_empty()
    assert int(toggle.locator(".count").inner_text()) >= max(before, 2)
    assert page.title().startswith("(")
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", "/static/sessions/icon-waiting.svg")
    toggle.click()
    key = other.evaluate("location.hash")
    section = page.locator("#inbox section").filter(has=page.locator(f"a[href='{key}']"))
    expect(section.locator(".card")).to_have_count(2)
    axe(page)

    section.get_by_role("button", name="Reject 2 calls").click()
    section.get_by_label("What should be different?").fill("Neither.")
    section.get_by_role("button", name="Reject 2 calls").click()

    expect(section).to_have_count(0)
    expect(answers(other)).to_have_text("Both.")
    page.keyboard.press("Escape")
    expect(page.locator("#inbox")).to_be_hidden()


def test_a_tab_in_the_background_notifies(page: Page, context: BrowserContext, service: Service) -> None:
    context.grant_permissions(["notifications"])
    # Chromium without a screen knows no background; the page must take these words for it.
    page.add_init_script("""
        globalThis.Notification = class {
          static permission = "granted";
          constructor(title, { body }) { document.documentElement.dataset.shown = body; }
          close() {}
        };
        Object.defineProperty(document, "hidden", { get: () => globalThis.isHidden ?? false });
    """)
    page.reload()
    expect(page.locator("#connection")).to_have_text("Connected")
    page.evaluate("isHidden = true")
    say(page, call("execute_command", {"command": "make \u202etea"}))
    expect(card(page)).to_contain_text("needs approval")
    shown = re.compile(r"^execute_command make ⟨U\+202E⟩tea\n")
    expect(page.locator("html")).to_have_attribute("data-shown", shown)


def test_a_snapshot_keeps_a_half_filled_form(page: Page) -> None:
    # As after a reconnection: the same call and plan, as other objects.
    page.evaluate(
        """async () => {
          const [{ ToolCard }, { PlanCard }] = await Promise.all([
            import("/static/sessions/approvals/toolcard.js"), import("/static/sessions/plancard.js"),
          ]);
          const args = { path: "a.txt", content: "one" };
          const item = { id: "c", tool: "write_file", args, status: "waiting", approval: true };
          const subtask = { id: "1", description: "Do it.", agent: "coder", dependencies: [], status: "pending" };
          const plan = { goal: "A parser", status: "draft", subtasks: [subtask] };
          const cards = [[new ToolCard(item, { decide() {} }), item], [new PlanCard(plan, () => {}), plan]];
          window.repeat = (change = {}) => {
            for (const [card, item] of cards) card.update(structuredClone({ ...item, ...change }));
          };
          repeat();
          document.getElementById("log").append(...cards.map(([card]) => card.node));
        }"""
    )
    fields = []
    for kind, name in (("tool", "content"), ("plan", "Description of 1")):
        form = page.locator(f".card.{kind}")
        form.get_by_role("button", name="Edit", exact=True).click()
        fields.append(form.get_by_label(name))
        fields[-1].fill("half of it")

    page.evaluate("repeat()")
    for field in fields:
        expect(field).to_have_value("half of it")

    # Another question needs another form.
    page.evaluate("repeat({ args: { path: 'b.txt', content: 'two' }, subtasks: [] })")
    for field in fields:
        expect(field).to_have_count(0)

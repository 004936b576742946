"""The chat page and the admin's conversation in a real browser, on the real processes."""

from __future__ import annotations

import base64
import json
import re

import pytest
from playwright.sync_api import BrowserContext, FilePayload, Locator, Page, expect

from tests.browser.tab import answer_as_tool, answers, box, conversation, open_tab, say, sent_frames
from tests.live.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("by_hand")]

#: A PNG of one pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

TOOL = '/say Let me look.\n/call read_file {"path": "README.md"}\n/say Thank you.'


def test_an_answer_arrives_piece_by_piece_and_is_complete_in_the_end(page: Page) -> None:
    say(page, "/tokens 60 30")

    expect(page.locator(".message.user .body")).to_have_text("/tokens 60 30")
    expect(box(page)).to_have_value("")
    expect(answers(page)).to_contain_text("t3 ")
    expect(page.locator(".message[aria-busy]")).to_have_count(1)
    assert "t59" not in answers(page).inner_text()
    expect(page.locator(".message[aria-busy]")).to_have_count(0)
    expect(answers(page)).to_have_text("".join(f"t{i} " for i in range(60)))


def test_shift_enter_makes_a_new_line_and_a_blank_message_is_not_sent(page: Page) -> None:
    box(page).press("Enter")
    box(page).fill("/say one")
    box(page).press("Shift+Enter")
    box(page).press_sequentially("/say two")
    box(page).press("Enter")

    expect(page.locator(".message.user")).to_have_count(1)
    expect(answers(page)).to_have_text("onetwo")


def test_the_workspace_of_the_session_is_in_the_bar_on_top(page: Page, service: Service) -> None:
    shown = page.locator("#workspace")
    expect(shown).to_be_hidden()
    say(page, "/say hello")
    expect(answers(page)).to_have_text("hello")
    key = page.evaluate("decodeURIComponent(location.hash.slice(1))")
    path = f"{service.url}/api/v1/sessions/{key}/workspace"
    rules = [{"path": "AGENTS.md", "text": "Use tabs."}]
    facts = {"name": "<b>shop</b>", "system": "Linux", "git": {"branch": "main"}, "instructions": rules}
    page.request.put(path, data=facts)
    expect(shown).to_have_text("Workspace: <b>shop</b> · main")
    expect(shown).to_have_attribute("title", "Linux\nAGENTS.md")
    page.reload()
    expect(shown).to_have_text("Workspace: <b>shop</b> · main")
    page.request.put(path, data={})
    expect(shown).to_be_hidden()


def test_a_failure_is_shown_with_its_code(page: Page) -> None:
    say(page, "/say Half an answer\n/fail rate_limited")

    expect(page.locator(".card.error")).to_contain_text("rate limit or quota")
    expect(page.locator(".card.error")).to_contain_text("model_rate_limited")
    expect(page.locator(".message.assistant")).to_contain_text("Interrupted")
    say(page, "/say better now")
    expect(answers(page).last).to_have_text("better now")


def test_an_answer_is_stopped_and_the_conversation_goes_on(page: Page) -> None:
    stop = page.get_by_role("button", name="Stop", exact=True)
    expect(stop).to_be_hidden()
    say(page, "/tokens 500 20")
    expect(answers(page)).to_contain_text("t3 ")

    stop.click()
    expect(page.locator(".remark")).to_have_text("Stopped.")
    expect(stop).to_be_hidden()
    expect(page.locator(".card.error")).to_have_count(0)
    text = answers(page).inner_text().rstrip()
    say(page, "/say next")
    expect(answers(page).last).to_have_text("next")
    assert answers(page).first.inner_text().rstrip() == text


def test_a_tool_call_is_answered_once(page: Page) -> None:
    say(page, TOOL)
    card = page.locator(".card.tool")
    expect(card).to_contain_text("read_file")
    expect(card).to_contain_text("README.md")
    expect(page.get_by_text("Waiting for the tool's result.")).to_be_visible()

    answer_as_tool(page, "# The file")

    expect(answers(page).last).to_have_text("Thank you.")
    expect(card.get_by_role("button")).to_have_count(0)
    card.locator("summary").first.click()
    expect(card).to_contain_text('"path": "README.md"')
    expect(card).to_contain_text('"output": "# The file"')
    expect(page.locator("#progress")).to_be_hidden()


def test_a_reloaded_page_shows_the_same_conversation(page: Page) -> None:
    say(page, TOOL)
    answer_as_tool(page, '{"text": "content"}')
    expect(answers(page).last).to_have_text("Thank you.")
    say(page, "/say and\n/say more")
    expect(answers(page).last).to_have_text("andmore")
    before = conversation(page)

    page.reload()

    expect(answers(page)).to_have_count(3)
    assert conversation(page) == before


def test_an_open_tool_call_can_be_answered_after_a_reload(page: Page) -> None:
    say(page, TOOL)
    expect(page.locator(".card.tool")).to_be_visible()

    page.reload()
    answer_as_tool(page, "1")

    expect(answers(page)).to_have_text(["Let me look.", "Thank you."])


def key_of(page: Page) -> str:
    return str(page.evaluate("decodeURIComponent(location.hash.slice(1))"))


def test_the_session_list_shows_changes_by_other_clients(page: Page, service: Service) -> None:
    current = page.locator("#session-list [aria-current=page]")
    say(page, "/say one")
    expect(current).to_contain_text("2 messages")
    expect(current).to_contain_text("/say one")
    key = key_of(page)
    for session_id in (key, f"{key}-elsewhere"):
        answer = service.post("/api/v1/message", {"session_id": session_id, "message": "/say two", "wait": True})
        assert answer[0] == 200
    expect(current).to_contain_text("4 messages")
    # The page receives no events of this session; it polls the list.
    elsewhere = page.locator(f"#session-list a[href='#{key}-elsewhere']")
    expect(elsewhere).to_contain_text("2 messages")
    page.request.patch(f"{service.url}/api/v1/sessions/{key}", data={"title": "Counting"})
    expect(current).to_contain_text("Counting")


def test_a_deleted_session_is_not_created_again(page: Page, context: BrowserContext, service: Service) -> None:
    say(page, "/tokens 500 20")
    expect(answers(page)).to_contain_text("t3 ")
    other = open_tab(context, page.url)
    path = f"{service.url}/api/v1/sessions/{key_of(page)}"
    frames = sent_frames(page)
    assert page.request.delete(path).ok
    for tab in (page, other):
        expect(tab.locator("#connection")).to_have_text("Deleted")
        expect(tab.locator("#deleted")).to_be_visible()
        expect(tab.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    say(page, "/say to nobody")
    # Longer than the delay before a reconnect.
    page.wait_for_timeout(3000)
    assert frames == []
    assert page.request.get(path).status == 404
    expect(box(page)).to_have_value("/say to nobody")
    page.locator("#after-deletion").click()
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(page.locator("#deleted")).to_be_hidden()
    box(page).press("Enter")
    expect(answers(page)).to_have_text("to nobody")


def test_two_tabs_show_the_same_stream(page: Page, context: BrowserContext) -> None:
    say(page, "/say first")
    expect(answers(page)).to_have_text("first")
    other = open_tab(context, page.url)
    expect(answers(other)).to_have_text("first")

    say(page, "/tokens 40 40")

    expect(other.locator(".message[aria-busy]")).to_have_count(1)
    for tab in (page, other):
        expect(answers(tab).last).to_have_text("".join(f"t{i} " for i in range(40)))
        expect(tab.locator(".message[aria-busy]")).to_have_count(0)
    assert conversation(other) == conversation(page)


def test_a_page_opened_during_a_stream_shows_the_whole_answer(page: Page, context: BrowserContext) -> None:
    say(page, "/tokens 60 30")
    expect(answers(page)).to_contain_text("t9 ")

    other = open_tab(context, page.url)

    expect(answers(other)).to_contain_text("t0 t1 ")
    # The first page is in the background now, where browsers may draw late.
    for tab in (other, page):
        expect(answers(tab)).to_have_text("".join(f"t{i} " for i in range(60)))
    assert conversation(other) == conversation(page)


def test_a_broken_connection_loses_and_repeats_nothing(
    page: Page, context: BrowserContext, complaints: list[str]
) -> None:
    say(page, "/say before")
    expect(answers(page)).to_have_text("before")
    say(page, "/tokens 30 30")
    expect(answers(page).last).to_contain_text("t5 ")

    context.set_offline(True)
    page.evaluate("dispatchEvent(new Event('offline'))")
    expect(page.locator("#connection")).to_contain_text(re.compile("Reconnecting|Connecting"))
    say(page, "/say without a connection")
    expect(page.locator("#queue li")).to_contain_text("Not sent yet")
    say(page, "/say nonsense")
    page.locator("#queue li").filter(has_text="nonsense").get_by_role("button", name="Discard").click()
    context.set_offline(False)

    expect(page.locator("#connection")).to_have_text("Connected")
    tokens = "".join(f"t{i} " for i in range(30))
    expect(answers(page)).to_have_text(["before", tokens, "without a connection"])
    said = ["/say before", "/tokens 30 30", "/say without a connection"]
    expect(page.locator(".message.user .body")).to_have_text(said)
    expect(page.locator("#waiting")).to_be_hidden()
    # Browsers report each failed connection.
    complaints[:] = [text for text in complaints if "ERR_INTERNET_DISCONNECTED" not in text]


def waiting(page: Page, text: str) -> Locator:
    return page.get_by_label("Waiting", exact=True).get_by_role("listitem").filter(has_text=text)


def test_waiting_messages_are_edited_withdrawn_and_answered_in_order(page: Page, context: BrowserContext) -> None:
    say(page, "/say Wait.\n/wait 600")
    expect(answers(page)).to_have_text("Wait.")
    other = open_tab(context, page.url)
    for text in ("/say one", "/say two", "/say three"):
        say(page, text)
    expect(page.locator("#queue li .body")).to_have_text(["/say one", "/say two", "/say three"])
    expect(page.locator(".message.user")).to_have_count(1)

    waiting(page, "one").get_by_role("button", name="Edit").click()
    field = page.get_by_label("Waiting message")
    expect(field).to_be_focused()
    field.fill("/say changed")
    field.press("Enter")
    waiting(other, "two").get_by_role("button", name="Withdraw").click()
    waiting(page, "three").get_by_role("button", name="Edit").click()
    field.fill("never said")
    field.press("Escape")

    for tab in (page, other):
        expect(tab.locator("#queue li .body")).to_have_text(["/say changed", "/say three"])
    page.get_by_role("button", name="Stop", exact=True).click()
    for tab in (page, other):
        expect(answers(tab)).to_have_text(["Wait.", "changed", "three"])
        said = ["/say Wait.\n/wait 600", "/say changed", "/say three"]
        expect(tab.locator(".message.user .body")).to_have_text(said)
        expect(tab.locator("#waiting")).to_be_hidden()
        expect(tab.locator("#log .remark")).to_have_text("Stopped.")
    assert conversation(page) == conversation(other)


def test_a_message_interrupts_the_answer_and_runs_before_waiting_messages(page: Page) -> None:
    interrupt = page.get_by_role("button", name="Stop and send")
    say(page, "/tokens 500 20")
    expect(answers(page)).to_contain_text("t1 ")
    say(page, "/say later")
    expect(interrupt).to_be_hidden()
    box(page).fill("/wait 1\n/say now")

    interrupt.click()

    expect(page.locator("#log .remark")).to_have_text("Stopped.")
    expect(answers(page).nth(1)).to_have_text("now")
    expect(answers(page)).to_have_count(3)
    expect(answers(page).last).to_have_text("later")
    expect(page.locator(".message.user .body")).to_have_text(["/tokens 500 20", "/wait 1\n/say now", "/say later"])


def test_a_waiting_message_is_answered_now(page: Page) -> None:
    say(page, "/wait 60")
    expect(page.get_by_text("Working…")).to_be_visible()
    for text in ("/say one", "/say two"):
        say(page, text)

    waiting(page, "two").get_by_role("button", name="Answer now").click()

    expect(answers(page)).to_have_text(["two", "one"])
    expect(page.locator(".message.user .body")).to_have_text(["/wait 60", "/say two", "/say one"])
    expect(page.locator("#log > .remark")).to_have_text("Stopped.")


def test_a_message_steers_the_answer_without_a_stop(page: Page, context: BrowserContext, service: Service) -> None:
    say(page, TOOL)
    card = page.locator(".card.tool")
    expect(card.get_by_role("button", name="Send result")).to_be_visible()
    box(page).fill("/say steered")
    box(page).press("Alt+Enter")
    box(page).fill("/say by a button")
    page.get_by_role("button", name="Steer", exact=True).click()
    other = open_tab(context, page.url)
    for tab in (page, other):
        expect(tab.locator("#queue li .body")).to_have_text(["/say steered", "/say by a button"])
        expect(tab.locator("#queue .remark").first).to_have_text("Will be read at the next step.")
    waiting(page, "by a button").get_by_role("button", name="Edit").click()
    page.get_by_label("Waiting message").fill("/say edited")
    page.get_by_label("Waiting message").press("Enter")
    expect(other.locator("#queue li .body")).to_have_text(["/say steered", "/say edited"])

    card.get_by_role("button", name="Send result").click()

    for tab in (page, other):
        expect(answers(tab)).to_have_text(["Let me look.", "edited"])
        expect(tab.locator("#waiting")).to_be_hidden()
        expect(tab.locator(".message.user .body")).to_have_text([TOOL, "/say steered", "/say edited"])
        expect(tab.locator(".message.user").last).to_contain_text("steered")
    assert conversation(page) == conversation(other)


def test_a_waiting_message_is_made_to_steer_and_outlives_a_stop(page: Page) -> None:
    say(page, "/wait 60")
    expect(page.get_by_text("Working…")).to_be_visible()
    for text in ("/say one", "/say two"):
        say(page, text)

    waiting(page, "two").get_by_role("button", name="Steer").click()

    expect(page.locator("#queue li .body")).to_have_text(["/say two", "/say one"])
    expect(waiting(page, "two").get_by_role("button", name="Steer")).to_be_hidden()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(answers(page)).to_have_text(["two", "one"])
    expect(page.locator(".message.user .body")).to_have_text(["/wait 60", "/say two", "/say one"])


def test_an_edit_that_comes_too_late_is_not_lost(page: Page) -> None:
    say(page, "/wait 600")
    expect(page.get_by_text("Working…")).to_be_visible()
    say(page, "/say as it was")
    waiting(page, "as it was").get_by_role("button", name="Edit").click()
    page.get_by_label("Waiting message").fill("/say changed")

    page.get_by_role("button", name="Stop", exact=True).click()

    expect(answers(page)).to_have_text("as it was")
    expect(box(page)).to_have_value("/say changed")
    expect(page.locator("#notice")).to_contain_text("already being answered")


def test_a_message_that_the_server_rejects_can_be_edited(page: Page) -> None:
    text = "x" * 100_001
    say(page, text)
    expect(page.locator("#queue li")).to_contain_text("content")

    page.get_by_role("button", name="Edit").click()

    expect(page.locator("#waiting")).to_be_hidden()
    expect(box(page)).to_have_value(text)
    box(page).fill("")


def test_text_of_users_and_models_is_never_html(page: Page) -> None:
    evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    say(page, f"/say {evil}")
    expect(answers(page)).to_have_text(evil)
    say(page, '/call search_in_code {"query": "<i>"}')
    expect(page.locator(".card.tool")).to_contain_text("<i>")

    page.reload()

    expect(answers(page)).to_have_text(evil)
    assert page.title() not in ("1", "2")
    assert page.locator("#log img, #log script, #log b, #log i").count() == 0


def test_code_blocks_appear_when_the_answer_is_complete(page: Page) -> None:
    # The built-in model quotes the message.
    say(page, "See\n```python\nif  a < b:\n    pass\n```\nthere")

    expect(answers(page).locator("pre")).to_have_text("if  a < b:\n    pass")
    expect(answers(page)).to_contain_text("there”")


def test_sessions_are_listed_and_opened(page: Page, context: BrowserContext) -> None:
    say(page, "/say in the first")
    expect(answers(page)).to_have_text("in the first")
    first = page.url
    page.get_by_role("button", name="New session").click()
    expect(page.get_by_text("What shall we work on?")).to_be_visible()
    assert page.url != first
    say(page, "/say in the second")
    expect(answers(page)).to_have_text("in the second")

    page.locator(f'#session-list a[href="{first[first.index("#") :]}"]').click()

    expect(answers(page)).to_have_text("in the first")
    assert page.url == first


def test_the_page_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    say(page, f'/say {"long" * 100}\n/call list_files {{"path": "."}}')
    expect(page.locator(".card.tool")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("button", name="Sessions", exact=True).click()
    expect(page.get_by_role("button", name="New session")).to_be_visible()


def test_the_admin_shows_the_conversation(page: Page, context: BrowserContext, service: Service) -> None:
    say(page, "/say hello from <b>the model</b>\n/fail rate_limited")
    expect(page.locator(".card.error")).to_be_visible()
    key = page.url.partition("#")[2]

    admin = context.new_page()
    admin.goto(f"{service.url}/admin/agent_sessions/session/?q={key}")
    admin.get_by_label("Username").fill("admin")
    admin.get_by_label("Password").fill(service.admin_password)
    admin.get_by_role("button", name="Log in").click()
    admin.get_by_role("link", name="/say hello from <b>the model</b>").click()

    expect(admin.locator(".turn").last).to_contain_text("hello from <b>the model</b>")
    expect(admin.locator(".turn").last).to_contain_text("interrupted")
    expect(admin.locator(".turn").last).to_contain_text("model_rate_limited")


def test_the_policy_allows_nothing_but_files_of_this_server(page: Page, service: Service) -> None:
    response = page.request.get(service.url)

    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "ws:" not in policy


def test_images_are_sent_with_a_message_and_shown(page: Page) -> None:
    frames = sent_frames(page)
    page.reload()
    image = FilePayload(name="dot.png", mimeType="image/png", buffer=PIXEL)
    page.locator("#image-files").set_input_files([image])
    attached = page.get_by_label("Images to send")
    expect(attached.locator("img")).to_have_count(1)
    other = FilePayload(name="other.png", mimeType="image/png", buffer=PIXEL + b"\0")
    page.locator("#image-files").set_input_files([other])
    expect(attached.locator("img")).to_have_count(2)
    attached.get_by_role("button", name="Remove image 2").click()
    expect(attached.locator("img")).to_have_count(1)
    say(page, "/say I see.")
    expect(attached).to_be_hidden()
    expect(answers(page)).to_have_text("I see.")
    (sent,) = [frame for frame in frames if frame["type"] == "user_message"]
    assert len(sent["images"]) == 1
    for _ in range(2):
        images = page.locator(".message.user .images img")
        expect(images).to_have_count(1)
        # Loaded, and an image.
        expect(images).to_have_js_property("naturalWidth", 1)
        page.reload()


def test_a_file_that_is_not_an_image_is_rejected_and_the_text_is_kept(page: Page, complaints: list[str]) -> None:
    box(page).fill("/say Still here.")
    fake = FilePayload(name="fake.png", mimeType="image/png", buffer=b"no image")
    page.locator("#image-files").set_input_files([fake])
    expect(page.locator("#notice")).to_contain_text("fake.png: Unsupported image type. Use PNG, JPEG, GIF or WebP")
    expect(page.get_by_label("Images to send")).to_be_hidden()
    box(page).press("Enter")
    expect(answers(page)).to_have_text("Still here.")
    complaints[:] = [text for text in complaints if "400 (Bad Request)" not in text]


def test_a_person_sees_what_a_call_will_run(page: Page, context: BrowserContext, service: Service) -> None:
    exact = {"command": "ls" + " " * 400 + "; rm -rf \u202e/tmp \u3164 gіt"}
    say(page, f"/call execute_command {json.dumps(exact)}\n/say Done.")

    card = page.locator(".card.tool")
    expect(card.get_by_label("Command", exact=True)).to_have_text(
        "ls⟨400 spaces⟩; rm -rf ⟨U+202E⟩/tmp ⟨U+3164⟩ g⟨U+0456, not i⟩t"
    )
    expect(card).to_contain_text("cannot be seen")
    page.reload()
    expect(card).to_contain_text("⟨400 spaces⟩")
    card.get_by_role("button", name="Reject").click()
    card.get_by_role("button", name="Reject").click()
    expect(card).to_contain_text("rejected")
    expect(card).to_contain_text("⟨U+202E⟩")

"""The list of sessions, drafts, titles and links to messages in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.tab import answers, box, open_tab, say
from tests.live.service import Service

pytestmark = pytest.mark.browser


def entries(page: Page) -> Locator:
    return page.locator("#session-list > li")


def entry(page: Page, text: str) -> Locator:
    return entries(page).filter(has_text=text)


def act(page: Page, text: str, action: str) -> None:
    entry(page, text).get_by_role("button", name="Session actions").click()
    entry(page, text).get_by_role("button", name=action, exact=True).click()


def total(page: Page, service: Service) -> int:
    return int(page.request.get(f"{service.url}/api/v1/sessions?limit=1").json()["total"])


def test_a_visit_leaves_no_session_and_what_was_written_stays_with_its_session(
    page: Page, context: BrowserContext, service: Service
) -> None:
    before = total(page, service)
    word = uuid4().hex[:8]
    open_tab(context, service.url).close()
    expect(page).to_have_title(re.compile(r"New session · CodeLab$"))
    box(page).fill(f"first draft {word}")
    page.reload()
    expect(box(page)).to_have_value(f"first draft {word}")
    assert total(page, service) == before

    page.get_by_role("button", name="New session").first.click()
    expect(box(page)).to_have_value("")
    say(page, f"/say second {word}")
    expect(answers(page)).to_have_text(f"second {word}")
    expect(page).to_have_title(re.compile(rf"/say second {word} · CodeLab$"))
    assert total(page, service) == before + 1
    box(page).fill("unsent")
    entry(page, f"first draft {word}").get_by_role("link").click()
    expect(box(page)).to_have_value(f"first draft {word}")
    expect(answers(page)).to_have_count(0)
    entry(page, f"second {word}").get_by_role("link").click()
    expect(box(page)).to_have_value("unsent")
    expect(entry(page, f"second {word}")).to_contain_text("Draft")
    box(page).press("Enter")
    expect(box(page)).to_have_value("")


def test_sessions_are_found_renamed_pinned_exported_and_deleted(page: Page, service: Service) -> None:
    word = uuid4().hex[:8]
    for name in ("one", "two"):
        body = {"session_id": f"{word}-{name}", "message": f"/say {name} {word}", "wait": True}
        assert service.post("/api/v1/message", body)[0] == 200
    search = page.get_by_label("Search sessions")
    search.fill(f"{word} one")
    expect(page.get_by_text("1 session found")).to_be_visible()
    expect(entries(page)).to_have_count(1)
    entries(page).get_by_role("link").click()
    expect(page.locator(".linked .body")).to_have_text(f"one {word}")
    search.fill("nothing has this")
    expect(page.get_by_text("Nothing found.")).to_be_visible()
    search.fill(word)
    expect(entries(page)).to_have_count(2)

    act(page, "two", "Rename")
    page.get_by_label("Title").fill("<b>Renamed</b>")
    page.keyboard.press("Enter")
    expect(entry(page, "<b>Renamed</b>")).to_be_visible()
    act(page, "Renamed", "Pin")
    expect(entry(page, "Renamed")).to_contain_text("Pinned")
    with page.expect_download() as download:
        entry(page, "Renamed").get_by_role("link", name="Export as JSON").click()
    assert download.value.suggested_filename == "b Renamed b.json"
    whole = json.loads(Path(download.value.path()).read_text())
    assert [message["content"] for message in whole["messages"]] == [f"/say two {word}", f"two {word}"]
    page.keyboard.press("Escape")
    expect(page.get_by_role("group", name="Session actions")).to_have_count(0)

    act(page, f"one {word}", "Delete")
    expect(page.get_by_role("dialog", name=re.compile("^Delete “"))).to_be_visible()
    page.keyboard.press("Escape")
    expect(entries(page)).to_have_count(2)
    entry(page, f"one {word}").get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(entries(page)).to_have_count(1)
    # It was open: its user goes on in a new one.
    expect(page.locator("#deleted")).to_be_hidden()
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(answers(page)).to_have_count(0)
    assert page.request.get(f"{service.url}/api/v1/sessions/{word}-one").status == 404


#: A thousand sessions of the demo user with two messages each; the one used first has 1,200, too many for a snapshot.
FILL = """
    WITH owner AS (SELECT id FROM auth_user WHERE username = 'demo'),
    made AS (
        INSERT INTO agent_sessions_session (
            id, owner_id, key, title, current_agent, last_number, created_at, updated_at
        )
        SELECT gen_random_uuid(), owner.id, %(word)s || '-' || n, %(word)s || ' number ' || n, 'universal',
            CASE n WHEN 0 THEN 6000 ELSE 2 END, now(), now() + n * interval '1 ms' - interval '1 hour'
        FROM owner, generate_series(0, 999) AS n RETURNING id, owner_id, last_number
    ),
    turn AS (
        INSERT INTO agent_sessions_turn (
            id, session_id, status, position, attempt, worker, model, lost_leases, steps, input_tokens, output_tokens,
            error_code, error, created_at, finished_at, worked, folded
        )
        SELECT gen_random_uuid(), id, 'completed', 1, 1, '', '', 0, 1, 0, 0, '', '', now(), now(), '0', true FROM made
        RETURNING id, session_id
    )
    INSERT INTO agent_sessions_message (
        id, session_id, turn_id, role, content, tool_calls, tool_call_id, client_message_id, interrupted, number,
        owner_id, created_at
    )
    SELECT gen_random_uuid(), made.id, turn.id, CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
        'message ' || n, '[]', '', '', false, n, owner_id, now()
    FROM made JOIN turn ON turn.session_id = made.id
    CROSS JOIN LATERAL generate_series(1, CASE last_number WHEN 2 THEN 2 ELSE 1200 END) AS n
"""


def test_a_thousand_sessions_are_reached_and_a_link_leads_to_a_message_before_the_snapshot(
    page: Page, service: Service
) -> None:
    word = uuid4().hex[:8]
    with psycopg.connect(service.database_url) as connection:
        connection.execute(FILL, {"word": word})
    page.goto(f"{service.url}/")
    page.reload()
    expect(page.locator("#more-sessions")).to_be_attached()
    oldest = page.locator("#session-list .name", has_text=re.compile(f"^{word} number 0$"))
    for _ in range(40):
        count = entries(page).count()
        if count >= 1000 and oldest.count():
            break
        page.locator("#session-list > li").last.scroll_into_view_if_needed()
        page.wait_for_function("count => document.querySelectorAll('#session-list > li').length > count", arg=count)
    assert len(set(page.locator("#session-list .name").all_text_contents())) >= 1000
    oldest.click()
    expect(page.locator("#log .message").last).to_contain_text("message 1200")
    expect(page).to_have_title(re.compile(rf"{word} number 0 · CodeLab$"))

    path = f"{service.url}/api/v1/sessions/{word}-0/history"
    before = page.request.get(path).json()["messages"][0]["id"]
    message = page.request.get(f"{path}?before={before}").json()["messages"][3]
    page.goto(f"{service.url}/#{word}-0?message={message['id']}")
    expect(page.locator(".linked .body")).to_have_text("message 4")
    expect(page.locator(".linked")).to_be_in_viewport()
    expect(page.locator(".linked")).to_be_focused()
    expect(page.locator("#older")).to_be_hidden()
    # They appear in pieces.
    expect(page.locator(".message .body")).to_have_count(1200)
    texts = page.locator(".message .body").all_inner_texts()
    assert texts == [f"message {number}" for number in range(1, 1201)]

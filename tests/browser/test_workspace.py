"""The workspace in the browser: tools that really run, on files that outlive a reload."""

from __future__ import annotations

import json
from zipfile import ZipFile

import pytest
from playwright.sync_api import BrowserContext, FilePayload, Locator, Page, expect

from tests.browser.tab import answers, open_tab, say
from tests.live.service import Service

pytestmark = pytest.mark.browser

READ_TEA = "(path) => import('/static/sessions/workspace/open.js').then(({ workspace }) => workspace.read(path))"
PREVIEW = """([tool, args]) =>
  import('/static/sessions/workspace/open.js').then(({ workspace }) => workspace.preview(tool, args))"""


def call(tool: str, **arguments: object) -> str:
    return f"/call {tool} {json.dumps(arguments)}"


def session_url(page: Page, service: Service) -> str:
    return f"{service.url}/api/v1/sessions/{page.evaluate('location.hash.slice(1)')}"


def results(page: Page, service: Service) -> list[str]:
    """Return what the model was told of the calls of the open session."""
    history = page.request.get(f"{session_url(page, service)}/history").json()
    return [message["content"] for message in history["messages"] if message["role"] == "tool"]


def test_tools_run_on_the_demo_project_and_edits_outlive_a_reload(page: Page, service: Service) -> None:
    """Alice reads, edits and checks files; the page shows what an edit would change, and says what it does not have."""
    expect(page.locator("#workspace")).to_have_text("Workspace: tea-shop")
    say(page, "\n".join([call("read_file", path="menu.json"), call("list_files", path="."), "/say Read."]))
    expect(answers(page).last).to_have_text("Read.")
    read, listed = map(json.loads, results(page, service))
    assert "Sencha" in read["content"]
    assert listed["total_count"] == 5

    page.request.patch(session_url(page, service), data={"mode": "full"})
    diff = '<<<<<<< SEARCH\n  "teas": [\n=======\n  "teas": [,\n>>>>>>> REPLACE\n'
    change = page.evaluate(PREVIEW, ["apply_diff", {"path": "menu.json", "diff": diff}])
    assert change["path"] == "menu.json"
    assert change["after"] == change["before"].replace("[", "[,")
    edit = call("apply_diff", path="menu.json", diff=diff)
    say(page, "\n".join([edit, edit, call("execute_command", command="check"), "/say Edited."]))
    expect(answers(page).last).to_have_text("Edited.")
    applied, again, checked = results(page, service)[2:]
    assert '+  "teas": [,' in json.loads(applied)["diff"]
    assert again.startswith("Error: Block 1 of 1: the SEARCH part")
    assert json.loads(checked)["exit_code"] == 1

    # An expression that takes exponential time ends, and the page goes on.
    bomb = call("write_file", path="a.txt", content="a" * 40 + "!")
    say(page, "\n".join([bomb, call("search_in_code", query="(a+)+$", regex=True), "/say Searched."]))
    expect(answers(page).last).to_have_text("Searched.")
    assert "took too long" in json.loads(results(page, service)[-1])["note"]

    page.reload()
    expect(answers(page).last).to_have_text("Searched.")
    assert "[," in page.evaluate(READ_TEA, "menu.json")
    say(page, call("execute_command", command="npm test") + "\n/say Ended.")
    expect(answers(page).last).to_have_text("Ended.")
    ended = json.loads(results(page, service)[-1])
    assert (ended["exit_code"], ended["stdout"]) == (127, "")
    assert "npm: not here" in ended["stderr"]

    # The next session has a project of its own.
    page.get_by_role("button", name="New session").click()
    expect(page.locator("#workspace")).to_have_text("Workspace: tea-shop")
    assert "[," not in page.evaluate(READ_TEA, "menu.json")


def files(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Workspace")


def write(page: Page, service: Service, path: str, content: str) -> None:
    """Have an agent write a file in the open session, without a question."""
    say(page, "/say Ready.")
    expect(answers(page).last).to_have_text("Ready.")
    page.request.patch(session_url(page, service), data={"mode": "full"})
    say(page, call("write_file", path=path, content=content, create_dirs=True) + "\n/say Written.")
    expect(answers(page).last).to_have_text("Written.")


def test_files_are_shown_uploaded_and_downloaded(page: Page, service: Service) -> None:
    """Alice sees what the agent writes, takes it out of the browser, works on her own files, and starts over."""
    panel = files(page)
    write(page, service, "src/tea.py", "<b>tea</b>\n")
    expect(panel.get_by_role("button", name="tea.py changed")).to_have_attribute("aria-current", "true")
    expect(panel.get_by_label("src/tea.py")).to_have_text("<b>tea</b>\n")

    menu = panel.get_by_text("Other files…")
    menu.click()
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download all").click()
    with ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert archive.read("src/tea.py") == b"<b>tea</b>\n"
        assert "README.md" in archive.namelist()

    menu.click()
    panel.get_by_role("button", name="Start the demo project over").click()
    expect(panel.get_by_text("src", exact=True)).to_have_count(0)

    other = open_tab(page.context, page.url)
    expect(files(other).get_by_role("heading", name="tea-shop")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        menu.click()
        panel.get_by_role("button", name="Upload files…").click()
    chooser.value.set_files([FilePayload(name="note.txt", mimeType="text/plain", buffer=b"mine")])
    expect(panel.get_by_role("heading", name="Uploaded files")).to_be_visible()
    expect(page.locator("#workspace")).to_have_text("Workspace: Uploaded files")
    # Calls of the session may come to either tab.
    expect(files(other).get_by_role("heading", name="Uploaded files")).to_be_visible()
    other.close()
    panel.get_by_role("button", name="note.txt").click()
    expect(panel.get_by_label("note.txt")).to_have_text("mine")

    # On a phone the files take the place of the chat, and Escape brings it back. It does not mean the answer that runs.
    say(page, "/tokens 500 20")
    expect(answers(page).last).to_contain_text("t3 ")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(panel).to_be_hidden()
    page.get_by_role("button", name="Files", exact=True).click()
    panel.get_by_role("button", name="note.txt").press("Escape")
    expect(panel).to_be_hidden()
    expect(page.get_by_role("button", name="Files", exact=True)).to_be_focused()
    expect(answers(page).last).to_contain_text("t20 ")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".message.assistant .remark")).to_have_text("Stopped.")


@pytest.mark.parametrize("width", [1199, 1200, 1201])
def test_the_files_never_cover_the_chat_that_a_person_opens(page: Page, width: int) -> None:
    """At a width of 1200 pixels the files were open, as on wide screens, and lay on the chat, as on narrow ones."""
    page.set_viewport_size({"width": width, "height": 800})
    page.reload()
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(page.get_by_role("button", name="Edit a file")).to_be_visible()
    expect(page.locator("#message")).to_be_visible()


def test_agents_work_in_a_picked_folder_and_again_after_a_reload(
    page: Page, context: BrowserContext, service: Service
) -> None:
    # A dialog of the browser cannot be clicked, so the person picks a folder of the page's own storage: a real one.
    pick = "globalThis.showDirectoryPicker = async () => (await navigator.storage.getDirectory())"
    context.add_init_script(pick)
    page.reload()
    panel = files(page)
    panel.get_by_text("Other files…").click()
    panel.get_by_role("button", name="Open a folder…").click()
    expect(panel.get_by_text("A folder on this device")).to_be_visible()
    write(page, service, "docs/a.txt", "on the disk")
    page.reload()
    expect(panel.get_by_text("docs", exact=True)).to_be_visible()
    calls = [call("move_file", **{"from": "docs", "to": "texts"}), call("read_file", path="texts/a.txt"),
             call("search_in_code", query="DISK"), call("delete_file", path="texts/a.txt"),
             call("list_files", path=".", recursive=True), "/say Done."]  # fmt: skip
    say(page, "\n".join(calls))
    expect(answers(page).last).to_have_text("Done.")
    moved, read, found, deleted, listed = map(json.loads, results(page, service)[1:])
    assert (moved["success"], deleted["success"]) == (True, True)
    assert (read["content"], found["total_matches"]) == ("on the disk", 1)
    assert [item["path"] for item in listed["items"]] == ["texts"]


STORED = """async () => {
  const { Database } = await import("/static/sessions/workspace/database.js");
  const database = await Database.open();
  const records = await Promise.all(["workspaces", "files", "calls"].map((store) => database.all(store)));
  return records.map((each) => each.length);
}"""


def test_files_of_a_deleted_session_are_deleted_on_the_device(page: Page, service: Service) -> None:
    def edit() -> None:
        expect(page.locator("#workspace")).to_have_text("Workspace: tea-shop")
        page.request.post(
            f"{service.url}/api/v1/sessions", data={"session_id": page.evaluate("location.hash.slice(1)")}
        )
        page.request.patch(session_url(page, service), data={"mode": "full"})
        say(page, call("write_file", path="secret.txt", content="x") + "\n/say Written.")
        expect(answers(page).last).to_have_text("Written.")
        workspaces, files, calls = page.evaluate(STORED)
        assert (workspaces, calls) == (1, 1)
        assert files > 1

    edit()
    # Another program deletes it.
    page.request.delete(session_url(page, service))
    expect(page.locator("#deleted")).to_be_visible()
    page.wait_for_function(f"({STORED})().then((counts) => counts.every((count) => !count))")

    page.locator("#after-deletion").click()
    edit()
    row = page.locator("#session-list > li").filter(has=page.locator("[aria-current]"))
    row.get_by_role("button", name="Session actions").click()
    row.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(answers(page)).to_have_count(0)
    page.wait_for_function(f"({STORED})().then((counts) => counts.every((count) => !count))")

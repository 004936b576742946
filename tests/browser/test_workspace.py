"""The workspace in the browser: tools that really run, on files that outlive a reload."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from tests.browser.tab import answers, say
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

    page.reload()
    expect(answers(page).last).to_have_text("Edited.")
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

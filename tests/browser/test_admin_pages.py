"""Axe finds no fault on any page of the admin: each in light or dark colours, on a screen or on a phone, in turn."""

from __future__ import annotations

import re
from itertools import count

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.test_admin import PHONE, SCREEN, operator, pending, talk
from tests.live.service import Service

pytestmark = pytest.mark.browser

__all__ = ["operator"]  # the fixture

#: Pages that no page of a row leads to.
OTHERS = ["password_change/", "auth/group/add/", "auth/user/add/", "identity/apikey/add/", "agent_sessions/budget/add/"]
#: Lists with templates, forms or actions of their own. All others look like the one of log entries.
LISTS = (
    *(f"agent_sessions/{name}" for name in ("turn", "approval", "modelcall", "session", "worker")),
    *("admin/logentry", "auth/group", "auth/user", "identity/apikey"),
)
#: Links of a row's page that lead to more pages of this row.
LINKS = ".object-tools a, .story .links a, .proof a, nav.pages a, td.field-session a"
HREFS = "links => links.map((link) => new URL(link.getAttribute('href'), location.href).pathname)"
#: A colour that changes slowly is another one for a moment.
AT_REST = "Promise.all(document.getAnimations().map((animation) => animation.finished))"


def make_rows(service: Service) -> None:
    """Have something of each kind: what fails, waits and ends, a rule, a key, a completion."""
    talk(
        service, "pages", "/say Hello **bold**", "/fail rate_limited", '/call write_file {"path": "a", "content": "b"}'
    )
    pending(service, "pages")
    service.post("/api/v1/rules", {"effect": "allow", "tool": "execute_command", "subject": "npm test"})


def make_key(page: Page, service: Service) -> None:
    """Have an API key: the page that shows it is the answer to the form."""
    page.goto(f"{service.url}/admin/identity/apikey/add/")
    ((bob,),) = service.rows("SELECT id FROM auth_user WHERE username = 'bob'")
    page.get_by_label("User:").fill(str(bob))
    page.get_by_label("Name:").fill("pages")
    page.get_by_role("button", name="Save", exact=True).click()


class Crawl:
    """Visits each kind of page once."""

    def __init__(self, page: Page, service: Service) -> None:
        self.page, self.url = page, f"{service.url}/admin/"
        self.seen: set[str] = set()
        self.faults: dict[str, str] = {}
        self.numbers = count()

    def visit(self, path: str) -> bool:
        """Check a page, unless one of its kind was checked. Return whether it was shown."""
        kind = re.sub(r"/(?:[0-9a-f-]{36}|\d+|[^/]*_[0-9A-F]{2}[^/]*)(?=/)", "/ID", path)
        if kind in self.seen or not path.startswith("/admin/"):
            return False
        self.seen.add(kind)
        number = next(self.numbers)
        self.page.set_viewport_size(PHONE if number % 2 else SCREEN)
        self.page.emulate_media(color_scheme="dark" if number % 4 > 1 else "light", reduced_motion="reduce")
        response = self.page.goto(self.url + path.removeprefix("/admin/"))
        assert response is not None
        assert response.status == 200, path
        self.check(path)
        return True

    def open(self, path: str) -> None:
        """Go to a page, whose links are to be followed, and check it once."""
        if not self.visit(path):
            self.page.goto(self.url + path.removeprefix("/admin/"))

    def check(self, path: str) -> None:
        self.page.evaluate(AT_REST)
        results = Axe().run(self.page)
        if results.violations_count:
            self.faults[path] = results.generate_report()
        # A name in the context that Django's own templates know shows Python objects as notices.
        if notices := self.page.locator(".messagelist li").all_inner_texts():
            self.faults[path] = f"notices: {notices}"
        if (extra := self.page.evaluate("document.documentElement.scrollWidth - innerWidth")) > 1:
            self.faults[path] = f"{extra} pixels wider than the window"

    def hrefs(self, selector: str) -> list[str]:
        return list(dict.fromkeys(self.page.eval_on_selector_all(selector, HREFS)))


def test_no_page_of_the_admin_has_a_fault(operator: Page, service: Service) -> None:
    make_rows(service)
    crawl = Crawl(operator, service)
    make_key(operator, service)
    crawl.check("the new key")
    for path in ["/admin/", *(f"/admin/{path}" for path in OTHERS)]:
        crawl.visit(path)
    for path in (f"/admin/{name}/" for name in LISTS):
        crawl.open(path)
        rows = crawl.hrefs("#result_list tbody th a, #result_list tbody td.field-the_name a")
        if not rows:
            continue
        crawl.open(rows[0])
        # One history stands for all; a row that people may delete says so.
        links = crawl.hrefs(LINKS) + crawl.hrefs("a.deletelink")
        further = []
        for link in links:
            if ("/history/" not in link or path.endswith("/turn/")) and crawl.visit(link):
                further += crawl.hrefs(LINKS)
        for link in further:
            if "/history/" not in link:
                crawl.visit(link)
    ((session,),) = service.rows("SELECT id FROM agent_sessions_session WHERE key = 'pages'")
    crawl.visit(f"/admin/agent_sessions/session/{session}/past/")
    assert crawl.faults == {}
    for kind in ("prompt", "replay", "past", "conversation", "history", "delete"):
        assert any(f"/{kind}/" in page for page in crawl.seen), f"no page of the kind {kind} was checked"
    assert len(crawl.seen) > 25, sorted(crawl.seen)

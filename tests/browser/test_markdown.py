"""Answers in Markdown: what a person sees, while it streams and afterwards, and what hostile text cannot do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import BrowserContext, Page, expect

from sessions.api.markdown.documents import is_kept, render
from tests.browser.tab import answers, say
from tests.sessions.api.markdown.test_documents import TEXTS

pytestmark = pytest.mark.browser

ANSWER = r"""# Plan for `app`

First *one* thing, then [a link](https://example.com/x "why") and https://example.org.

שלום to all

- [x] read
- [ ] write
  3. three

| name | size |
|------|-----:|
| a | 1 | surplus |

````md
```inner
```
````

```python
def double(x):
    return 2 * x  # twice
```

Costs $5, and $x^2$.[^1] ![image](https://example.com/i.png)

[^1]: A note.
"""
HOSTILE = r"""<img src=x onerror="document.title=1"><script>document.title=2</script>
<svg/onload=document.title=3> <a href="javascript:document.title=4">x</a>

[a](javascript:document.title=5) [b](data:text/html,<script>1</script>) [c](//evil.example) <javascript:x>
[d][ref] ![e](javascript:x) [f](https://example.com/"onmouseover="document.title=6)

[ref]: javascript:document.title=7

```"><script>document.title=8</script>
</code></pre><img src=x onerror=document.title=9>
```

| <b>x</b> |
|---|
| <style>*{display:none}</style> |
"""
#: Keeps the nodes of blocks, and notes when one of them leaves the page or the text gets shorter.
WATCH = """() => {
  window.left = [];
  const look = (records) => {
    for (const { removedNodes, target } of records)
      for (const node of removedNodes)
        if (node.nodeType === 1 && target.matches?.(".message.assistant .body")) left.push(node.textContent);
  };
  new MutationObserver(look).observe(document.getElementById("log"), { childList: true, subtree: true });
}"""


def typed(text: str) -> str:
    return "/type " + text.replace("\n", "\\n")


def test_an_answer_is_markdown_and_its_finished_blocks_stay(page: Page, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(WATCH)
    say(page, typed(ANSWER))

    body = answers(page)
    expect(body.get_by_role("heading", name="Plan for app")).to_be_visible()
    expect(page.locator(".message[aria-busy]")).to_have_count(1)
    expect(page.locator(".message[aria-busy]")).to_have_count(0)
    assert page.evaluate("left") == []
    expect(body.locator("h1")).to_have_attribute("aria-level", "3")
    expect(body.get_by_role("link", name="a link")).to_have_attribute("title", "why\nhttps://example.com/x")
    for link in body.get_by_role("link").all():
        assert "noopener" in (link.get_attribute("rel") or "")
    assert body.get_by_role("link").count() == 3
    hebrew = body.locator("p").filter(has_text="שלום")
    assert hebrew.evaluate("(p) => getComputedStyle(p).direction") == "rtl"
    expect(body.get_by_role("checkbox", name="Done")).to_be_checked()
    expect(body.get_by_role("checkbox", name="To do")).not_to_be_checked()
    expect(body.locator("table td")).to_have_text(["a", "1", "surplus"])
    expect(body.locator(".code").nth(0).locator("pre")).to_have_text("```inner\n```")
    python = body.get_by_role("group", name="Code: python")
    expect(python.locator(".keyword")).to_have_text(["def", "return"])
    whole = body.inner_text()
    python.get_by_role("button", name="Copy").click()
    expect(python.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "def double(x):\n    return 2 * x  # twice"
    expect(body.locator("code.math")).to_have_text("$x^2$")
    body.get_by_role("button", name="Footnote 1").click()
    expect(body.get_by_role("note")).to_be_focused()
    expect(body.locator("img")).to_have_count(0)
    page.reload()
    expect(body.locator("table")).to_be_visible()
    assert body.inner_text() == whole


def test_hostile_text_of_a_model_stays_text(page: Page) -> None:
    say(page, typed(HOSTILE))

    expect(page.locator(".message[aria-busy]")).to_have_count(0)
    body = answers(page)
    expect(body.locator("pre")).to_have_text("</code></pre><img src=x onerror=document.title=9>")
    assert is_kept(HOSTILE, text_with_addresses(page))
    allowed = "H1 H2 H3 P DIV SPAN BUTTON PRE CODE TABLE THEAD TBODY TR TH TD A BR EM STRONG UL OL LI"
    names = page.evaluate("[...new Set([...document.querySelectorAll('.message .body *')].map((e) => e.tagName))]")
    assert set(names) <= set(allowed.split())
    for address in page.evaluate("[...document.querySelectorAll('.message .body a')].map((a) => a.href)"):
        assert address.startswith(("https://example.com/", "https://evil.example")), address
    attributes = page.evaluate(
        "[...document.querySelectorAll('.message .body *')].flatMap((e) => e.getAttributeNames())"
    )
    assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert not page.title().isdigit()


#: What a person reads of a body, and finds at it.
TEXT = """(body) => {
  const shown = (node) => {
    if (node.nodeType === 3) return node.data;
    if (node.classList.contains("copy")) return "";
    const before = (node.tagName === "LI" && node.hasAttribute("value") ? node.value : "") + (node.checked ? "x" : "");
    return before + [...node.childNodes].map(shown).join("") + (node.title ?? "");
  };
  return shown(body);
}"""
SHOW = f"""(blocks) => {{
  const body = document.createElement("div");
  body.append(...blocks.map(nodes.blockElement));
  return ({TEXT})(body);
}}"""


def text_with_addresses(page: Page) -> str:
    return str(answers(page).last.evaluate(TEXT))


def test_the_page_shows_every_character_of_a_tree(page: Page) -> None:
    """What a tree has, the page has: no name, attribute or child is left out."""
    page.evaluate("async () => { window.nodes = await import('/static/sessions/markdown/nodes.js') }")

    @settings(max_examples=30)
    @given(st.lists(TEXTS, min_size=5, max_size=5))
    def check(texts: list[str]) -> None:
        text = "\n\n".join(texts)
        assert is_kept(text, page.evaluate(SHOW, render(text, is_open=False).blocks))

    check()

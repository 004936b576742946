"""Two tabs on one session while processes of the service are killed: neither may lose or repeat anything."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import BrowserContext, Page, WebSocketRoute, expect

from codelab.local.embedded_servers import PostgresServer, RedisServer
from tests.browser.tab import answers, conversation, open_tab, say, sent_frames
from tests.live.service import Service, running
from tests.ports import free_port

pytestmark = pytest.mark.browser

TOKENS = "".join(f"t{i} " for i in range(100))
#: Records in the page whether it ever shows anything but one prefix of TOKENS.
WATCH = """(whole) => {
  window.wrong = [];
  const look = () => {
    const texts = [...document.querySelectorAll(".message.assistant .body")].map((body) => body.textContent);
    const answers = texts.filter((text) => text.startsWith("t0"));
    if (answers.length > 1 || !answers.every((text) => whole.startsWith(text))) window.wrong.push(...answers);
  };
  const all = { childList: true, subtree: true, characterData: true };
  new MutationObserver(look).observe(document.getElementById("log"), all);
}"""


class Fragile:
    """A service whose processes may be killed."""

    def __init__(self, service: Service, postgres: PostgresServer, redis: RedisServer) -> None:
        self.service, self.url = service, service.url
        self.servers = {"postgres": postgres, "redis": redis}

    def kill(self, name: str) -> None:
        if name not in self.servers:
            self.service.stop(name, signal_number=signal.SIGKILL)
            return
        server = self.servers[name]
        assert server.process is not None
        main = psutil.Process(server.process.pid)
        for process in (main, *main.children(recursive=True)):
            # Children end by themselves when the first of them are gone.
            with suppress(psutil.NoSuchProcess):
                process.kill()
        server.process.wait()

    def start(self, name: str) -> None:
        if name in self.servers:
            self.servers[name].start()
        else:
            self.service.start(name)


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fragile]:
    folder: Path = tmp_path_factory.mktemp("fragile")
    with (
        # Commits must survive a kill, so this server writes them to the disk.
        PostgresServer(folder / "postgres", port=free_port(), durable=True) as postgres,
        RedisServer(folder / "redis", port=free_port(), durable=False) as redis,
        running(folder, postgres=postgres.url, redis=redis.url) as service,
    ):
        service.start("beat")
        yield Fragile(service, postgres, redis)


@pytest.mark.parametrize("victims", [["web", "worker"], ["redis", "beat"], ["postgres"]], ids=" and ".join)
def test_two_tabs_lose_nothing_when_processes_are_killed(
    fragile: Fragile, context: BrowserContext, complaints: list[str], victims: list[str]
) -> None:
    page = open_tab(context, fragile.url)
    other = open_tab(context, page.url)
    tabs = (page, other)
    for tab in tabs:
        tab.evaluate(WATCH, TOKENS)
    say(page, "/tokens 100 20")
    for tab in tabs:
        expect(answers(tab)).to_contain_text("t9 ")

    for name in victims:
        fragile.kill(name)
    say(other, "/say after it")
    for name in victims:
        fragile.start(name)

    for tab in tabs:
        # The lease of a killed worker, recovery, and a busy machine.
        expect(answers(tab)).to_have_text([TOKENS, "after it"], timeout=120_000)
        expect(tab.locator(".message.user .body")).to_have_text(["/tokens 100 20", "/say after it"])
        expect(tab.locator("#connection")).to_have_text("Connected")
        expect(tab.locator("#waiting")).to_be_hidden()
        assert tab.evaluate("window.wrong") == []
    assert conversation(page) == conversation(other)
    drop_expected(complaints)


def drop_expected(complaints: list[str]) -> None:
    """Drop the reports of failed connections and failed requests for the session list."""
    expected = re.compile(r"ERR_CONNECTION|ERR_EMPTY_RESPONSE|status of 50[0-9]|WebSocket connection to")
    complaints[:] = [text for text in complaints if not expected.search(text)]


def test_a_reload_during_an_answer_resumes_where_the_page_was(page: Page) -> None:
    say(page, "/say before\n/fail rate_limited")
    expect(page.locator(".card.error")).to_be_visible()
    say(page, "/tokens 100 30")
    expect(answers(page).last).to_contain_text("t9 ")
    frames = sent_frames(page)

    page.reload()

    expect(answers(page).last).to_contain_text("t0 t1 ")
    expect(answers(page).last).to_have_text(TOKENS)
    expect(page.locator(".card.error")).to_have_count(1)
    assert frames[0]["type"] == "hello"
    assert frames[0]["after"] > 10


def test_a_message_that_was_not_acknowledged_is_sent_again_after_a_reload(
    context: BrowserContext, service: Service
) -> None:
    page = context.new_page()
    frames = sent_frames(page)
    is_deaf = True

    def route(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda frame: None if is_deaf and '"accepted"' in str(frame) else socket.send(frame))

    page.route_web_socket(re.compile("/ws/"), route)
    page.goto(service.url)
    say(page, "/say once")
    expect(answers(page)).to_have_text("once")

    is_deaf = False
    page.reload()
    say(page, "/say twice")

    expect(answers(page)).to_have_text(["once", "twice"])
    expect(page.locator(".message.user .body")).to_have_text(["/say once", "/say twice"])
    first, again, second = (frame for frame in frames if frame["type"] == "user_message")
    assert first == again
    assert first["client_message_id"] != second["client_message_id"]

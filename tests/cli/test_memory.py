"""What a folder's client remembers, also when several clients work in one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from codelab_cli.items import Shown
from codelab_cli.memory import MAX_SESSIONS, Memory, Unsent
from codelab_cli.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state")


def test_two_clients_in_one_folder_keep_what_the_other_remembers(settings: Settings, tmp_path: Path) -> None:
    chat, run = Memory(settings, tmp_path), Memory(settings, tmp_path)
    chat.state.session = "chat"
    chat.state.outbox = [Unsent("chat", "Hello.", "m1"), Unsent("chat", "Again.", "m2")]
    chat.save()
    run.state.tasks = {"run": Unsent("run", "Do it.", "m3")}
    run.save()
    chat.state.outbox = chat.state.outbox[1:]
    chat.remember_shown("chat", Shown(5, "a", "text"))
    run.remember_shown("run", Shown(7))
    left = Memory(settings, tmp_path).state
    assert left.session == "chat"
    assert left.shown == {"chat": Shown(5, "a", "text"), "run": Shown(7)}
    assert left.tasks == {"run": Unsent("run", "Do it.", "m3")}
    assert left.outbox == [Unsent("chat", "Again.", "m2")]
    # A task that has ended is forgotten, and only that one.
    chat.state.tasks = {"other": Unsent("other", "More.", "m4")}
    chat.save()
    run.state.tasks = {}
    run.save()
    assert list(Memory(settings, tmp_path).state.tasks) == ["other"]


def test_old_sessions_are_forgotten_first(settings: Settings, tmp_path: Path) -> None:
    memory = Memory(settings, tmp_path)
    for number in range(MAX_SESSIONS + 2):
        memory.remember_shown(f"s{number}", Shown(number))
    assert list(Memory(settings, tmp_path).state.shown) == [f"s{number}" for number in range(2, MAX_SESSIONS + 2)]


def test_a_folder_that_cannot_be_written_costs_the_memory_only(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    Memory(Settings(state_dir=tmp_path / "state"), tmp_path).save()

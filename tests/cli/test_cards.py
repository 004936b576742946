"""What people see of a question, of a message's files, and of a session that is exported."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

from rich.console import Console

from codelab_cli.cards import call_card, plan_card
from codelab_cli.export import as_json, as_markdown
from codelab_cli.mentions import expand, list_files
from codelab_cli.visible import one_line, visible


def rendered(lines: list[Any], *, width: int = 60, color: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=color, color_system="standard" if color else None)
    with console.capture() as capture:
        for line in lines:
            console.print(line)
    return capture.get()


def asks(tool: str, display: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    shown = {"display": display} if display else {}
    return {"tool": tool, "arguments": arguments, "agent": "coder", "reason": "It asks.", **shown}


def test_a_command_is_shown_as_display_has_it_and_nothing_moves_the_cursor(tmp_path: Path) -> None:
    card = rendered(call_card(asks("execute_command", {"command": "ls⟨U+202E⟩ \x1b[2J"}, command="ls"), tmp_path))
    assert card == "coder wants to run:\n$ ls⟨U+202E⟩ ⟨U+001B⟩[2J\nIt asks.\n"


def test_a_write_is_a_coloured_diff_against_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\n")
    card = rendered(call_card(asks("write_file", path="a.py", content="one\nTWO\n"), tmp_path), color=True)
    assert "\x1b[31m-two" in card
    assert "\x1b[32m+TWO" in card
    assert "coder wants to write a.py" in card
    assert "create b.py" in rendered(call_card(asks("write_file", path="b.py", content="x"), tmp_path))


def test_no_file_outside_of_the_workspace_is_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden words")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    for path in ("link", "../secret"):
        assert "hidden words" not in rendered(call_card(asks("write_file", path=path, content="x"), root))


def test_blocks_of_apply_diff_are_hunks_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("zero\none\ntwo\n")
    block = "<<<<<<< SEARCH\none\ntwo\n=======\none\nTWO\n>>>>>>> REPLACE\n<<<<<<< SEARCH\nno\n=======\n>>>>>>> REPLACE"
    card = rendered(call_card(asks("apply_diff", path="a.py", diff=block), tmp_path))
    assert "@@ line 2 @@\n one\n-two\n+TWO\n@@ not found in the file @@\n-no\n" in card


def test_other_tools_and_long_diffs(tmp_path: Path) -> None:
    assert '"count": 3' in rendered(call_card(asks("mcp__git__log", count=3), tmp_path))
    assert "delete a.py" in rendered(call_card(asks("delete_file", path="a.py"), tmp_path))
    assert "move a to b" in rendered(call_card(asks("move_file", None, **{"from": "a", "to": "b"}), tmp_path))
    long = rendered(call_card(asks("write_file", path="a", content="x\n" * 1000), tmp_path))
    assert "more lines; `e` opens all of them" in long
    assert long.count("\n") < 350


def test_a_plan_in_a_narrow_terminal() -> None:
    subtasks = [{"id": "a", "description": "Write the parser.", "agent": "coder", "dependencies": ["b"]}]
    card = rendered(plan_card({"goal": "A parser", "subtasks": subtasks}), width=30)
    assert card == "Plan: A parser\n○ 1. coder: Write the parser. \n(a, after b)\n"


def test_hidden_characters_are_named() -> None:
    assert visible("a\x1bb\u202ec\td\r\n") == "a⟨U+001B⟩b⟨U+202E⟩c\td\n"
    assert one_line("a\n  b " + "x" * 300, 10) == "a b xxxxx…"


def test_files_that_a_message_names_are_sent_along(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print('```')\n")
    (tmp_path / ".env").write_text("KEY=secret words")
    (tmp_path / "dir x").mkdir()
    (tmp_path / "dir x" / "b.txt").write_text("b")
    (tmp_path / "p.png").write_bytes(b"\x89PNG")
    message = expand('See @a.py, @p.png @"dir x" @.env and @nobody, me@a.py.', tmp_path, allow_secrets=False)
    assert message.text.startswith('See @a.py, @p.png @"dir x" @.env and @nobody, me@a.py.\n\na.py:\n````\nprint(')
    assert message.text.endswith("\n\ndir x:\n```\nb.txt\n```")
    assert [image.name for image in message.images] == ["p.png"]
    assert [problem.partition(" ")[0] for problem in message.problems] == [".env"]
    assert "secret words" not in message.text
    assert "secret words" in expand("@.env", tmp_path, allow_secrets=True).text
    # A key is one whatever its name is.
    (tmp_path / "deploy").write_text("-----BEGIN RSA PRIVATE KEY-----\nabc\n")
    message = expand("@deploy", tmp_path, allow_secrets=False)
    assert (message.text, message.problems) == (
        "@deploy",
        ["deploy is a private key and was not sent. --allow-secrets sends it."],
    )
    assert "abc" in expand("@deploy", tmp_path, allow_secrets=True).text


def test_files_outside_binary_files_and_long_files_are_not_sent(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("hidden words")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "binary").write_bytes(b"\xff\xfe\x00")
    (root / "long").write_text("x" * 50_000)
    message = expand("@link @../outside @binary @long", root, allow_secrets=True)
    assert message.text == "@link @../outside @binary @long"
    assert len(message.problems) == 2


def test_files_are_listed_without_those_of_packages(tmp_path: Path) -> None:
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "x.js").touch()
    (tmp_path / "a b.py").touch()
    assert list_files(tmp_path) == ["a b.py"]


def test_listing_files_runs_nothing_of_a_repository(tmp_path: Path) -> None:
    monitor = tmp_path / "monitor.sh"
    monitor.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    monitor.chmod(0o755)
    for words in (["init", "--quiet"], ["config", "core.fsmonitor", str(monitor)], ["add", "monitor.sh"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (tmp_path / "ran").unlink(missing_ok=True)
    assert list_files(tmp_path) == ["monitor.sh"]
    assert not (tmp_path / "ran").exists()


def test_an_export_keeps_text_of_tools_in_its_fence() -> None:
    session = {"session_id": "s", "title": "T\n# no heading", "current_agent": "coder", "created_at": "now"}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Do it."},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c", "function": {"name": "x", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "name": "x", "content": "```\n# not a heading"},
    ]
    text = as_markdown(session, messages)
    assert text.startswith("# T # no heading\n")
    assert "**Result of x**\n\n````\n```\n# not a heading\n````" in text
    assert '"a": 1' in text
    assert '"role": "tool"' in as_json(session, messages)

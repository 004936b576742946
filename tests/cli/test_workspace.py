"""Facts about a workspace: what a session is told, within bounds and without secrets."""

from __future__ import annotations

import subprocess
from pathlib import Path

from codelab_cli.workspace import MAX_INSTRUCTIONS_CHARACTERS, MAX_TREE_ENTRIES, facts


def git(root: Path, *words: str) -> None:
    who = ["-c", "user.name=Alice", "-c", "user.email=alice@example.org"]
    subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)


def write(root: Path, **files: str) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def test_facts_of_a_repository(tmp_path: Path) -> None:
    write(tmp_path, **{"src/a.py": "x", "README.md": "# Shop", ".gitignore": "out/\n", "out/b": "", ".env": "KEY=abc"})
    git(tmp_path, "init", "--quiet", "--initial-branch=shop")
    git(tmp_path, "add", "README.md", "src")
    git(tmp_path, "commit", "--quiet", "--message=Begin")
    write(tmp_path, **{"src/a.py": "y", "new name.py": ""})

    found = facts(tmp_path)
    assert found["name"] == tmp_path.name
    assert found["tree"] == ["README.md", "new name.py", "src/", "src/a.py"]
    assert found["git"]["branch"] == "shop"
    assert len(found["git"]["head"]) == 12
    assert found["git"]["status"].split("\n") == [" M src/a.py", "?? .gitignore", "?? new name.py"]
    assert found["shell"] in ("bash", "sh")
    assert found["time_zone"]
    assert len(found["date"]) == 10
    assert "abc" not in str(found)
    assert ".env" not in str(found)


def test_a_folder_without_git_has_no_git(tmp_path: Path) -> None:
    found = facts(tmp_path)

    assert "git" not in found
    assert "instructions" not in found
    assert found["tree"] == []


def test_instructions_of_the_folders_that_are_worked_in_are_told(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{
            "AGENTS.md": "Root.",
            "CLAUDE.md": "Not this one.",
            "shop/CLAUDE.md": "Shop.",
            "shop/cart/AGENTS.md": "Cart.",
            "other/AGENTS.md": "Other.",
        },
    )

    assert facts(tmp_path)["instructions"] == [{"path": "AGENTS.md", "text": "Root."}]
    assert facts(tmp_path, ["shop/cart/a.py", "../outside/x", "/etc/passwd"])["instructions"] == [
        {"path": "AGENTS.md", "text": "Root."},
        {"path": "shop/CLAUDE.md", "text": "Shop."},
        {"path": "shop/cart/AGENTS.md", "text": "Cart."},
    ]


def test_instructions_come_only_from_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    root = tmp_path / "project"
    root.mkdir()
    (root / "AGENTS.md").symlink_to(tmp_path / "secret")
    (root / "CLAUDE.md").write_text("-----BEGIN RSA PRIVATE KEY-----\n")

    assert "instructions" not in facts(root)
    (root / "AGENTS.md").unlink()
    (root / "docs.md").write_text("Ours.")
    (root / "AGENTS.md").symlink_to("docs.md")
    assert facts(root)["instructions"] == [{"path": "AGENTS.md", "text": "Ours."}]


def test_facts_are_bounded(tmp_path: Path) -> None:
    for number in range(30):
        for name in range(20):
            write(tmp_path, **{f"folder{number}/{name}.txt": ""})
    write(tmp_path, **{"AGENTS.md": "ж" * 100_000})

    found = facts(tmp_path)
    assert len(found["tree"]) == MAX_TREE_ENTRIES
    assert {"folder0/", "folder29/", "AGENTS.md"} <= set(found["tree"])
    text = found["instructions"][0]["text"]
    assert len(text) < MAX_INSTRUCTIONS_CHARACTERS + 100
    assert "characters left out" in text

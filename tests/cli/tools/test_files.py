"""The tools that read, list, search and change files: arguments, defaults and results of docs/protocol.md."""

from __future__ import annotations

import hashlib
import shutil
import stat
from pathlib import Path

import pytest

from tests.cli.tools.conftest import Runner


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def read(path: str) -> str:
    return Path(path).read_text()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_all_tools_of_the_protocol_are_offered(tools: Runner) -> None:
    assert tools.toolbox.definitions() == [
        "read_file", "list_files", "search_in_code", "write_file", "apply_diff", "create_directory", "delete_file",
        "move_file", "execute_command", "git_diff", "git_commit",
    ]  # fmt: skip


async def test_a_file_is_read_whole_or_by_lines(tools: Runner, root: Path) -> None:
    (root / "a.txt").write_bytes(b"one\r\ntwo\nthree")

    assert await tools.result("read_file", path="a.txt") == {
        "success": True,
        "content": "one\r\ntwo\nthree",
        "lines_read": 3,
    }
    part = await tools.result("read_file", path="a.txt", start_line=2, end_line=2)
    assert (part["content"], part["lines_read"]) == ("two\n", 1)
    behind = await tools.result("read_file", path="a.txt", start_line=9)
    assert (behind["content"], behind["lines_read"], behind["note"]) == ("", 0, "The file has 3 lines.")


async def test_an_empty_file_has_no_lines(tools: Runner, root: Path) -> None:
    (root / "empty").touch()

    assert await tools.result("read_file", path="empty") == {"success": True, "content": "", "lines_read": 0}


async def test_a_long_file_says_where_to_read_on(tools: Runner, root: Path) -> None:
    (root / "long.txt").write_text("".join(f"line {number} of many\n" for number in range(1, 50_001)))

    first = await tools.result("read_file", path="long.txt")
    assert first["truncated"]
    following = first["lines_read"] + 1
    assert f"start_line {following}" in first["note"]
    second = await tools.result("read_file", path="long.txt", start_line=following, end_line=following)
    assert second["content"] == f"line {following} of many\n"


async def test_one_endless_line_fits_into_a_frame(tools: Runner, root: Path) -> None:
    (root / "min.js").write_text("ж" * 2_000_000)

    result = await tools.result("read_file", path="min.js")
    assert result["truncated"]
    assert "left out" in result["content"]


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        ("привет\n".encode("cp1251"), "cp1251", "привет\n"),
        ("\ufeffhi\n".encode(), "utf-8", "hi\n"),
        ("\ufeffhi\n".encode("utf-16-le"), "utf-8", "hi\n"),
    ],
)
async def test_encodings_are_read(tools: Runner, root: Path, content: bytes, encoding: str, text: str) -> None:
    (root / "a.txt").write_bytes(content)

    assert (await tools.result("read_file", path="a.txt", encoding=encoding))["content"] == text


async def test_what_is_no_text_is_said_to_be_binary(tools: Runner, root: Path) -> None:
    (root / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    (root / "data").write_bytes(b"ab\0cd")
    (root / "old.txt").write_bytes("привет".encode("cp1251"))

    assert await tools.error("read_file", path="logo.png") == (
        "logo.png is a binary file (PNG image, 10 bytes), not text"
    )
    assert "binary file" in await tools.error("read_file", path="data")
    assert "give its `encoding`" in await tools.error("read_file", path="old.txt")
    assert "encoding 'klingon' is unknown" in await tools.error("read_file", path="old.txt", encoding="klingon")
    assert "is unknown" in await tools.error("read_file", path="old.txt", encoding="zip")


async def test_a_missing_file_and_a_folder_are_errors(tools: Runner, root: Path) -> None:
    (root / "src").mkdir()

    assert await tools.error("read_file", path="nothing.py") == "nothing.py does not exist"
    assert await tools.error("read_file", path="no/thing.py") == "The folder no does not exist"
    assert await tools.error("read_file", path="src") == "src is a folder"
    assert "`path`: field required" in await tools.error("read_file")


async def test_a_new_file_is_written_with_its_hash_and_diff(tools: Runner, root: Path) -> None:
    result = await tools.result("write_file", path="a.py", content="x = 1\n")

    assert result == {
        "success": True,
        "path": "a.py",
        "bytes_written": 6,
        "sha256_after": sha256("x = 1\n"),
        "diff": "--- /dev/null\n+++ b/a.py\n@@ -0,0 +1,1 @@\n+x = 1\n",
    }
    assert (root / "a.py").read_text() == "x = 1\n"


async def test_a_file_is_replaced_with_its_mode_and_a_copy_is_kept(tools: Runner, root: Path) -> None:
    (root / "run.sh").write_text("old\n")
    (root / "run.sh").chmod(0o750)

    result = await tools.result("write_file", path="run.sh", content="new\n")
    assert (result["sha256_before"], result["sha256_after"]) == (sha256("old\n"), sha256("new\n"))
    assert result["diff"] == "--- a/run.sh\n+++ b/run.sh\n@@ -1,1 +1,1 @@\n-old\n+new\n"
    copy = result["backup_path"]
    assert read(copy) == "old\n"
    assert not copy.startswith(str(root))
    assert stat.S_IMODE((root / "run.sh").stat().st_mode) == 0o750
    assert names_in(root) == ["run.sh"]

    again = await tools.result("write_file", path="run.sh", content="newer\n", backup=False)
    assert "backup_path" not in again


async def test_folders_are_made_only_when_asked(tools: Runner, root: Path) -> None:
    assert await tools.error("write_file", path="a/b/c.txt", content="") == "The folder a does not exist"
    assert (await tools.result("write_file", path="a/b/c.txt", content="", create_dirs=True))["bytes_written"] == 0
    assert (root / "a/b/c.txt").is_file()


async def test_a_read_only_file_is_left_alone(tools: Runner, root: Path) -> None:
    (root / "a").write_text("old")
    (root / "a").chmod(0o444)

    assert await tools.error("write_file", path="a", content="new") == "a is read-only"
    assert (root / "a").read_text() == "old"


async def test_text_is_written_in_an_encoding(tools: Runner, root: Path) -> None:
    await tools.result("write_file", path="a.txt", content="привет", encoding="cp1251")

    assert (root / "a.txt").read_bytes() == "привет".encode("cp1251")
    assert "cannot be written in ascii" in await tools.error("write_file", path="b", content="ж", encoding="ascii")


async def test_folders_are_created_and_deleted(tools: Runner, root: Path) -> None:
    created = {"success": True, "path": "a/b", "created": True, "already_exists": False}
    assert await tools.result("create_directory", path="a/b") == created
    again = await tools.result("create_directory", path="a/b")
    assert (again["created"], again["already_exists"]) == (False, True)
    assert await tools.error("create_directory", path="x/y", recursive=False) == "The folder x does not exist"
    (root / "file").touch()
    assert await tools.error("create_directory", path="file") == "file is a file"

    assert await tools.error("delete_file", path="a") == "a is a folder that is not empty"
    assert await tools.result("delete_file", path="a/b") == {"success": True, "path": "a/b"}
    assert "cannot be deleted" in await tools.error("delete_file", path=".")


async def test_a_file_is_deleted_and_its_lines_are_told(tools: Runner, root: Path) -> None:
    (root / "old.py").write_text("gone\n")

    result = await tools.result("delete_file", path="old.py")
    assert result["sha256_before"] == sha256("gone\n")
    assert result["diff"] == "--- a/old.py\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-gone\n"
    assert await tools.error("delete_file", path="old.py") == "old.py does not exist"


async def test_a_file_is_moved_and_nothing_is_overwritten(tools: Runner, root: Path) -> None:
    (root / "a.py").write_text("a")
    (root / "b.py").write_text("b")

    assert "exists already" in await tools.error("move_file", from_="a.py", to="b.py")
    assert await tools.error("move_file", from_="a.py", to="src/a.py") == "The folder src does not exist"
    (root / "src").mkdir()
    moved = await tools.result("move_file", from_="a.py", to="src/a.py")
    assert moved == {
        "success": True, "from": "a.py", "to": "src/a.py", "sha256_before": sha256("a"), "sha256_after": sha256("a")
    }  # fmt: skip
    assert await tools.result("move_file", from_="src", to="lib") == {"success": True, "from": "src", "to": "lib"}
    assert (root / "lib/a.py").read_text() == "a"
    assert (root / "b.py").read_text() == "b"


async def test_a_folder_is_listed_without_what_is_hidden_or_ignored(tools: Runner, root: Path) -> None:
    for path in ("src/a.py", "src/deep/b.ts", "build/out.o", "node_modules/x/y.js", ".git/config", ".env", "log.txt"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
    (root / ".gitignore").write_text("build/\n*.txt\n")

    flat = await tools.result("list_files", path=".")
    assert [item["path"] for item in flat["items"]] == ["node_modules", "src"]
    assert flat["items"][1] | {"size": 0, "modified": ""} == {
        "name": "src", "path": "src", "type": "directory", "size": 0, "modified": ""
    }  # fmt: skip
    deep = await tools.result("list_files", path=".", recursive=True, include_hidden=True)
    paths = [item["path"] for item in deep["items"]]
    assert paths == [".env", ".git", ".gitignore", "node_modules", "src", "src/a.py", "src/deep", "src/deep/b.ts"]
    assert (deep["total_count"], deep["ignored_by_git"]) == (8, 2)
    some = await tools.result("list_files", path="src", recursive=True, pattern="*.{ts,tsx}")
    assert [item["path"] for item in some["items"]] == ["src/deep/b.ts"]
    # Asked for by name, also what git ignores is shown.
    assert (await tools.result("list_files", path="build"))["total_count"] == 1


async def test_a_long_list_is_counted_to_its_end(tools: Runner, root: Path) -> None:
    for number in range(1_500):
        (root / f"{number}.txt").touch()

    result = await tools.result("list_files", path=".")
    assert (len(result["items"]), result["total_count"], result["truncated"]) == (1000, 1500, True)


async def test_code_is_searched(tools: Runner, root: Path) -> None:
    for path, text in {
        "a.py": "def Total():\n    return total\n",
        "src/b.ts": "let total = 1\r\n",
        "out/c.py": "total\n",
        ".git/d": "total\n",
        "node_modules/e.js": "total\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    (root / ".gitignore").write_text("/out\n")
    (root / "f.bin").write_bytes(b"total\0")

    result = await tools.result("search_in_code", query="total")
    assert result == {
        "query": "total",
        "matches": [
            {"file": "a.py", "line": 1, "text": "def Total():"},
            {"file": "a.py", "line": 2, "text": "    return total"},
            {"file": "src/b.ts", "line": 1, "text": "let total = 1"},
        ],
        "total_matches": 3,
        "truncated": False,
    }
    assert (await tools.result("search_in_code", query="total", case_sensitive=True))["total_matches"] == 2
    assert (await tools.result("search_in_code", query=r"^let \w+", regex=True))["total_matches"] == 1
    assert (await tools.result("search_in_code", query="(", path="a.py"))["total_matches"] == 1
    assert (await tools.result("search_in_code", query="total", file_pattern="*.ts"))["total_matches"] == 1
    assert (await tools.result("search_in_code", query="total", path="src"))["total_matches"] == 1
    cut = await tools.result("search_in_code", query="total", max_results=1)
    assert (len(cut["matches"]), cut["total_matches"], cut["truncated"]) == (1, 3, True)
    assert "not a regular expression" in await tools.error("search_in_code", query="(", regex=True)


async def test_an_expression_without_end_is_ended(tools: Runner, root: Path) -> None:
    (root / "a.txt").write_text("a" * 40 + "\n")

    result = await tools.result("search_in_code", query="(a|a)+b$", regex=True)
    assert result["truncated"]
    assert "took too long" in result["note"]


async def test_links_are_listed_and_not_followed_by_a_search(tools: Runner, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.txt").write_text("needle\n")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root)

    listed = await tools.result("list_files", path=".", recursive=True)
    assert [item["path"] for item in listed["items"]] == ["link", "loop"]
    assert (await tools.result("search_in_code", query="needle"))["total_matches"] == 0


async def test_an_unknown_tool_is_an_error(tools: Runner) -> None:
    assert await tools.error("format_disk") == "This client has no tool 'format_disk'"


async def test_a_root_that_was_replaced_is_not_followed(root: Path, tools: Runner, tmp_path: Path) -> None:
    (root / "a").write_text("mine")
    shutil.move(root, tmp_path / "moved")
    (tmp_path / "project").symlink_to("/etc")

    assert (await tools.result("read_file", path="a"))["content"] == "mine"


async def test_patterns_that_take_for_ever_are_bounded(tools: Runner, root: Path) -> None:
    (root / ".gitignore").write_text("*a*a*a*a*a*a*a*a*b\n*.log\n")
    (root / ("a" * 200)).touch()
    (root / "x.log").touch()

    result = await tools.result("list_files", path=".", pattern="*a*a*a*a*a*a*a*a*a*b")
    assert result["items"] == []
    assert (await tools.result("list_files", path="."))["total_count"] == 1
    too_many = "{a,b}" * 20
    assert "too many alternatives" in await tools.error("list_files", path=".", pattern=too_many)
    deep = await tools.result("search_in_code", query="x", file_pattern="**/" * 100 + "*.py")
    assert deep["total_matches"] == 0

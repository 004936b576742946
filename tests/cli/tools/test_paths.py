"""The root is law: nothing that a path, a link or a race names outside of it is read, changed or made."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codelab_cli.outcome import ToolFailed
from codelab_cli.tools import paths
from codelab_cli.tools.root import Links, Root
from tests.cli.tools.conftest import Runner

#: What a call needs besides its path.
CALLS = {
    "read_file": {},
    "list_files": {},
    "search_in_code": {"query": "x"},
    "write_file": {"content": "x"},
    "apply_diff": {"diff": "<<<<<<< SEARCH\nsecret\n=======\nx\n>>>>>>> REPLACE"},
    "create_directory": {},
    "delete_file": {},
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("secret\n")
    (folder / "empty").mkdir()
    return folder


def state(folder: Path) -> list[tuple[str, bytes]]:
    return sorted((str(each), each.read_bytes() if each.is_file() else b"") for each in folder.rglob("*"))


OUTWARD = (
    "../outside/file", "/etc/passwd", "src/../../outside/file", "~/x", "~root/x", "C:\\x", "c:x", "a\\..\\b", "a\0b",
    "", "  ", "a\u202eb", "a/" * 600, "x" * 300, "src/..", "..",
)  # fmt: skip


@pytest.mark.parametrize("name", list(CALLS))
async def test_paths_that_leave_the_root_are_refused(tools: Runner, outside: Path, name: str) -> None:
    before = state(outside)

    for path in OUTWARD:
        assert "is refused" in await tools.error(name, path=path, **CALLS[name])
    assert state(outside) == before


@pytest.mark.parametrize("name", list(CALLS))
@pytest.mark.parametrize("is_absolute", [True, False])
async def test_links_that_lead_out_are_refused(
    tools: Runner, root: Path, outside: Path, name: str, is_absolute: bool
) -> None:
    (root / "folder").symlink_to(outside if is_absolute else "../outside")
    (root / "file").symlink_to((outside if is_absolute else Path("../outside")) / "file")
    before = state(outside)

    for path in ("folder", "file", "folder/file", "folder/empty", "folder/new", "folder/../file"):
        if name == "delete_file" and path in ("folder", "file"):
            continue
        assert "outside" in (await tools.error(name, path=path, **CALLS[name])) or ".." in path
    assert state(outside) == before


async def test_a_link_itself_is_deleted_and_moved(tools: Runner, root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside / "file")
    before = state(outside)

    await tools.result("move_file", from_="link", to="moved")
    assert (root / "moved").is_symlink()
    await tools.result("delete_file", path="moved")
    assert not (root / "moved").is_symlink()
    assert state(outside) == before


async def test_nothing_is_moved_through_a_link(tools: Runner, root: Path, outside: Path) -> None:
    (root / "folder").symlink_to(outside)
    (root / "a").write_text("a")
    before = state(outside)

    assert "outside" in await tools.error("move_file", from_="a", to="folder/a")
    assert "outside" in await tools.error("move_file", from_="folder/file", to="b")
    assert "outside" in await tools.error("execute_command", command="touch x", cwd="folder")
    assert state(outside) == before


async def test_links_in_the_workspace_are_read_and_edited_by_their_real_path(tools: Runner, root: Path) -> None:
    (root / "src/deep").mkdir(parents=True)
    (root / "src/a.py").write_text("x\n")
    (root / "src/deep/up").symlink_to("../a.py")
    (root / "absolute").symlink_to(root / "src")
    (root / "loop").symlink_to("loop")

    assert (await tools.result("read_file", path="src/deep/up"))["content"] == "x\n"
    assert (await tools.result("read_file", path="absolute/a.py"))["content"] == "x\n"
    assert await tools.error("write_file", path="src/deep/up", content="") == (
        "src/deep/up leads through a symbolic link. Use the real path: src/a.py"
    )
    assert "real path: src/new" in await tools.error("write_file", path="absolute/new", content="")
    assert "too many symbolic links" in await tools.error("read_file", path="loop")
    assert "does not exist" in await tools.error("read_file", path="src/a.py/x")


async def test_pipes_devices_and_sockets_are_not_opened(tools: Runner, root: Path) -> None:
    os.mkfifo(root / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(root / "socket"))
    special = ["pipe", "socket"]
    if os.geteuid() == 0:
        os.mknod(root / "zero", 0o666 | 0o020000, os.makedev(1, 5))
        special.append("zero")

    for path in special:
        for name in ("read_file", "write_file", "apply_diff"):
            error = await tools.error(name, path=path, **CALLS[name])
            assert error == f"{path} is not a regular file but a device, a pipe or a socket"
    assert (await tools.result("search_in_code", query="x"))["total_matches"] == 0
    assert (await tools.result("list_files", path="."))["total_count"] == len(special)
    listener.close()


async def test_a_hard_link_to_a_file_outside_is_cut_and_not_written_through(
    tools: Runner, root: Path, outside: Path
) -> None:
    os.link(outside / "file", root / "file")

    await tools.result("write_file", path="file", content="new\n")
    assert (outside / "file").read_text() == "secret\n"


@pytest.mark.parametrize("victim", ["folder", "file"])
def test_a_link_between_check_and_use_leads_nowhere(root: Path, outside: Path, victim: str) -> None:
    """Another process swaps a folder, or a file, and a link to the outside as fast as it can."""
    inside, link = root / "inside", root / "link"
    target = root / "target"
    if victim == "folder":
        inside.mkdir()
        (inside / "file").write_text("mine\n")
        link.symlink_to(outside)
    else:
        inside.write_text("mine\n")
        link.symlink_to(outside / "file")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for each in (inside, link):
                each.rename(target)
                target.rename(each)

    thread = threading.Thread(target=swap)
    thread.start()
    law = Root(root)
    path = "target/file" if victim == "folder" else "target"
    reads = 0
    try:
        for _ in range(3000):
            try:
                with law.place(path, Links.FOLLOW) as place:
                    assert place.read(1000) == b"mine\n"
                    reads += 1
            except ToolFailed:
                pass
    finally:
        done.set()
        thread.join()
        law.close()
    assert reads


NAMES = st.sampled_from(["a", "b", "up", "out", "home", "..", ".", "", "loop", "file", "new"])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux where a descriptor is")
@given(parts=st.lists(NAMES, min_size=1, max_size=6), links=st.sampled_from(list(Links)))
def test_no_path_of_these_names_leads_out(
    parts: list[str], links: Links, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.getbasetemp() / "law"
    root = base / "root"
    if not root.exists():
        (root / "a/b").mkdir(parents=True)
        (base / "secret").mkdir()
        (base / "secret/file").write_text("secret")
        (root / "a/file").write_text("mine")
        (root / "a/up").symlink_to("..")
        (root / "a/b/up").symlink_to("../..")
        (root / "up").symlink_to("..")
        (root / "a/out").symlink_to("../../secret")
        (root / "out").symlink_to(base / "secret")
        (root / "home").symlink_to(root / "a")
        (root / "a/home").symlink_to("../../root/a")
        (root / "loop").symlink_to("a/loop")
        (root / "a/loop").symlink_to("../loop")
    law = Root(root)
    try:
        with law.place("/".join(parts), links) as place:
            there = Path(f"/proc/self/fd/{place.folder}").readlink()
            assert there.is_relative_to(root)
            assert place.name not in ("", "..")
            assert "/" not in place.name
            assert Path(place.path) == (there / place.name).relative_to(root)
    except ToolFailed:
        pass
    finally:
        law.close()


@given(st.text(alphabet=st.sampled_from("ab./\\~:\0 \u202e\u0430-"), max_size=30))
def test_names_of_a_path_are_harmless(path: str) -> None:
    try:
        names = paths.split(path)
    except ToolFailed:
        return
    assert all(name not in ("", ".", "..") and "/" not in name and "\0" not in name for name in names)
    assert paths.split(paths.join(names)) == names

"""The chat page is a client of the package in clients/javascript, and is served with it."""

from __future__ import annotations

import posixpath
import re
import subprocess
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from codelab.environment import PROJECT
from sessions.templatetags.modules import modules

PAGE, CLIENT = PROJECT / "sessions/static/sessions", PROJECT / "clients/javascript/src"
IMPORT = re.compile(r"""^(?:import|export) .*?["'](\.[^"']+)["'];$""", re.MULTILINE | re.DOTALL)


def imports(script: Path) -> list[str]:
    return IMPORT.findall(script.read_text())


def test_every_module_that_the_page_imports_is_served() -> None:
    served = {f"sessions/{script.relative_to(PAGE).as_posix()}": script for script in PAGE.rglob("*.js")}
    served |= {f"client/{script.name}": script for script in CLIENT.glob("*.js")}
    for url, script in served.items():
        assert finders.find(url) == str(script)
        for name in imports(script):
            assert posixpath.normpath(posixpath.join(posixpath.dirname(url), name)) in served, f"{url} imports {name}"
    assert "../client/index.js" in imports(PAGE / "chat.js")


@pytest.mark.django_db
def test_the_page_preloads_every_module_that_it_imports() -> None:
    served = {f"sessions/{script.relative_to(PAGE).as_posix()}" for script in PAGE.rglob("*.js")}
    served |= {f"client/{script.name}" for script in CLIENT.glob("*.js")}
    preloaded = set(modules("sessions/chat.js"))
    assert "client/state.js" in preloaded
    for name in preloaded | {"sessions/chat.js"}:
        path = finders.find(name)
        assert path
        for imported in imports(Path(path)):
            assert posixpath.normpath(posixpath.join(posixpath.dirname(name), imported)) in preloaded
    assert preloaded < served
    page = Client().get("/").content.decode()
    assert re.findall(r'<link rel="modulepreload" href="/static/([^"]+)">', page) == modules("sessions/chat.js")


def test_the_client_imports_nothing_but_itself() -> None:
    for script in CLIENT.glob("*.js"):
        sources = re.findall(r"""(?: from |import\(?)["']([^"']+)["']""", script.read_text())
        assert all(source.startswith("./") for source in sources), script


def test_the_modules_of_the_page_work_in_node(node: str) -> None:
    # The page's modules have no package.json that says what they are.
    command = [node, "--experimental-default-type=module", "--test", "--test-reporter=spec", "page/"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

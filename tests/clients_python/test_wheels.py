"""The clients as packages: built, installed into an environment that has nothing of the server, and started there."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.live.service import PROJECT

PACKAGES = {"python": "codelab_client", "cli": "codelab_cli"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    paths = [str(PROJECT / "clients" / name) for name in PACKAGES]
    subprocess.run([*build, "--wheel-dir", str(folder), *paths], check=True, stdin=subprocess.DEVNULL)
    return {name: next(folder.glob(f"{package}-*.whl")) for name, package in PACKAGES.items()}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_has_the_whole_package_and_its_types(name: str, wheels: dict[str, Path]) -> None:
    package = PACKAGES[name]
    root = PROJECT / "clients" / name
    sources = {path.relative_to(root).as_posix() for path in (root / package).rglob("*.py")} | {f"{package}/py.typed"}
    with zipfile.ZipFile(wheels[name]) as wheel:
        names = set(wheel.namelist())
    assert sources <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {package}


def test_they_start_without_the_server(wheels: dict[str, Path], tmp_path: Path) -> None:
    # Their dependencies come from this environment; the project's folder and what is installed as editable do not.
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env/bin/python"
    site = next((tmp_path / "env/lib").glob("python3*/site-packages"))
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    (site / "dependencies.pth").write_text(f"import sys; sys.path.append({str(packages)!r})\n")
    program = """
import sys, codelab_client, codelab_cli.main
print(codelab_client.__file__, codelab_cli.__file__, "django" in sys.modules)
"""
    done = subprocess.run([python, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, has_django = done.stdout.split()
    assert Path(first).is_relative_to(site)
    assert Path(second).is_relative_to(site)
    assert has_django == "False"


def test_versions_agree() -> None:
    versions = [
        tomllib.loads((PROJECT / "clients" / name / "pyproject.toml").read_text())["project"] for name in PACKAGES
    ]
    client, cli = versions
    assert f"{client['name']}=={client['version']}" in cli["dependencies"]
    assert client["version"] == cli["version"]

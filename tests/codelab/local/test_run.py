"""What `make run` refuses and what it generates, without starting anything."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from codelab.environment import Environment
from codelab.local.__main__ import check_ports, only_run
from codelab.local.accounts import CREDENTIALS, load_credentials, mark_shown
from codelab.local.operating_system import StartupError, free_port
from codelab.local.startup import address, describe_health

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[3]


def settings(**ports: int) -> Environment:
    # Nothing is set; the environment contains the tests' own servers.
    unset: dict[str, int | None] = {
        "DATABASE_URL": None,
        "REDIS_URL": None,
        "PORT": free_port(),
        "FLOWER_PORT": free_port(),
    }
    return Environment.model_validate(unset | ports)


def test_a_port_in_use_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for name in ("PORT", "FLOWER_PORT", "POSTGRES_PORT", "REDIS_PORT"):
            with pytest.raises(StartupError, match=rf"Port {port} is in use: .* `make run {name}=\d+`"):
                check_ports(settings(**{name: port}))
    check_ports(settings(PORT=port))


def test_two_servers_cannot_share_a_port() -> None:
    port = free_port()
    with pytest.raises(StartupError, match=f"PORT and FLOWER_PORT are both {port}"):
        check_ports(settings(PORT=port, FLOWER_PORT=port))


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(StartupError, match=r"cannot be used on 192\.0\.2\.1"):
        check_ports(Environment.model_validate({"HOST": "192.0.2.1", "PORT": free_port()}))


def test_a_second_run_names_the_first(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from codelab.local.__main__ import only_run;"
        "only_run(Path(sys.argv[1]), '').__enter__()"
    )
    with only_run(tmp_path, "http://127.0.0.1:1/"):
        command = [sys.executable, "-c", code, str(tmp_path)]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert "Already running (pid " in second.stderr
        assert "http://127.0.0.1:1/" in second.stderr
    with only_run(tmp_path, "http://127.0.0.1:2/"):
        pass


def test_a_data_folder_that_cannot_be_created_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="CODELAB_DATA_DIR"), only_run(tmp_path / "file" / "data", ""):
        pass


def test_secrets_are_generated_once_and_stay_private(tmp_path: Path) -> None:
    made = load_credentials(tmp_path)
    assert len({made.secret_key, made.admin_password, made.demo_password, made.flower_password}) == 4
    assert len(made.secret_key) >= 50
    assert not made.shown
    assert load_credentials(tmp_path) == made
    assert (tmp_path / CREDENTIALS).stat().st_mode & 0o777 == 0o600
    mark_shown(tmp_path, made)
    assert load_credentials(tmp_path).shown


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"secret_key": '])
def test_broken_credentials_are_explained(tmp_path: Path, text: str) -> None:
    (tmp_path / CREDENTIALS).write_text(text)
    with pytest.raises(StartupError, match="cannot be read"):
        load_credentials(tmp_path)


def test_addresses_are_usable_in_a_browser() -> None:
    assert address("0.0.0.0", 80) == "127.0.0.1:80"
    assert address("::", 80) == "[::1]:80"
    assert address("localhost", 80) == "localhost:80"


def test_health_has_a_line_for_each_check() -> None:
    assert describe_health('{"Redis": "OK", "Worker": "no answer"}') == "Redis: OK\nWorker: no answer"
    assert describe_health("<h1>Bad\n  Gateway</h1>") == "<h1>Bad Gateway</h1>"

"""`make image-test`: builds the image, runs docker-compose.yml and checks what an operator relies on.

Works on a copy of the files that Git knows, with secrets, ports and volumes of its own, and removes all of it
afterwards. Without Docker it says so and succeeds.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from codelab.environment import PROJECT
from tests.ports import free_port

SECRETS = ("CODELAB_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_PASSWORD")
RESTARTED = ("worker", "web", "beat", "flower", "redis", "postgres")
OURS = ("web", "worker", "beat", "flower")
WITH_FILES = ("-f", "docker-compose.yml", "-f", "docker-compose.secrets.yml")
#: The service's user in the image.
USER_ID = "10001"
START_SECONDS = 180.0
IDLE_SECONDS = 60.0
#: Of one core, for all containers together. The goal is 4 %; the rest is for a busy machine.
MAX_IDLE_PERCENT = 8.0


class Installation:
    """One installation by Compose in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = f"codelab-test-{os.getpid()}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.password = secrets.token_urlsafe(16)
        self.values = {name: secrets.token_hex(32) for name in SECRETS}
        self.files: tuple[str, ...] = ()

    def compose(
        self, *arguments: str, check: bool = True, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command of Compose and return its output."""
        command = ["docker", "compose", "-p", self.project, *self.files, *arguments]
        # A variable of the shell would win over .env.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CODELAB_")}
        done = subprocess.run(command, cwd=self.folder, env=environment, input=stdin, capture_output=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr.decode()[-3000:]}")
        return done

    def execute(self, service: str, *command: str, check: bool = True) -> str:
        """Run a command in a container and return what it prints."""
        return self.compose("exec", "-T", service, *command, check=check).stdout.decode().strip()

    def copy_files(self) -> None:
        names = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, stdout=subprocess.PIPE, check=True).stdout
        for name in filter(None, names.decode().split("\0")):
            if (PROJECT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, self.folder / name)

    def write_settings(self, *, in_files: bool) -> None:
        ports = {"PORT": self.port} | {name: free_port() for name in ("FLOWER_PORT", "POSTGRES_PORT", "REDIS_PORT")}
        known = {} if in_files else self.values
        lines = [f"{name}={value}" for name, value in {**known, **ports, "CODELAB_OPENED_SESSION_SECONDS": 0}.items()]
        (self.folder / ".env").write_text("\n".join(lines) + "\n")
        if in_files:
            self.files = WITH_FILES
            folder = self.folder / "secrets"
            folder.mkdir(mode=0o700)
            for name, value in self.values.items():
                (folder / name.lower().removeprefix("codelab_")).write_text(value)
            postgres, redis = self.values["POSTGRES_PASSWORD"], self.values["REDIS_PASSWORD"]
            (folder / "database_url").write_text(f"postgresql://codelab:{postgres}@postgres:5432/codelab")
            (folder / "redis_url").write_text(f"redis://:{redis}@redis:6379/0")

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise AssertionError(self.compose("logs", "--tail=30").stdout.decode()[-6000:])

    def wait_until_checked(self) -> None:
        """Wait until every health check has passed."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            text = self.compose("ps", "--format", "json").stdout.decode()
            # Compose prints a list, newer ones an object a line.
            rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
            states = {row["Service"]: row["Health"] for row in rows}
            if len(states) >= len(RESTARTED) and set(states.values()) == {"healthy"}:
                return
            time.sleep(1)
        raise AssertionError(f"not healthy: {states}")

    def ask(self, text: str = "hello") -> None:
        """Send a message, as a signed-in user, until it is answered: a restart may refuse some."""
        deadline, last = time.monotonic() + START_SECONDS, "another answer"
        while time.monotonic() < deadline:
            try:
                if self._answer(text) == text:
                    return
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                last = repr(error)
            time.sleep(0.5)
        raise AssertionError(f"no answer: {last}")

    def _answer(self, text: str) -> str:
        form = {
            "grant_type": "password",
            "client_id": "codelab-flutter-app",
            "username": "boss",
            "password": self.password,
        }
        token = httpx.post(f"{self.url}/oauth/token", data=form, timeout=10).json()["access_token"]
        body = {"session_id": "image-test", "message": f"/say {text}", "wait": True}
        headers = {"Authorization": f"Bearer {token}"}
        return str(
            httpx.post(f"{self.url}/api/v1/message", json=body, headers=headers, timeout=60).json()["answer"]["content"]
        )

    def messages(self) -> int:
        query = "SELECT count(*) FROM agent_sessions_message"
        return int(self.execute("postgres", "psql", "-U", "codelab", "-tAc", query))

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time of each container so far, from its control group."""
        both = "cd /sys/fs/cgroup; head -1 cpu.stat 2>/dev/null || cat cpuacct/cpuacct.usage"
        seconds = {}
        for service in RESTARTED:
            text = self.execute(service, "sh", "-c", both)
            is_new = text.startswith("usage_usec")
            seconds[service] = int(text.split()[1 if is_new else -1]) / (1e6 if is_new else 1e9)
        return seconds


@contextmanager
def step(what: str) -> Iterator[Callable[[str], None]]:
    """Print a step, how long it took and what it found."""
    started, found = time.monotonic(), list[str]()
    yield found.append
    print(f"ok  {time.monotonic() - started:6.1f} s  {what}{': ' if found else ''}{', '.join(found)}", flush=True)


def check(it: Installation) -> None:
    """Run all checks; raises AssertionError."""
    it.write_settings(in_files=False)
    arguments = [f"--build-arg={name}" for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX") if os.environ.get(name)]
    with step("the image is built"):
        it.compose("build", *arguments, "web")
    with step("all services start"):
        it.compose("up", "--detach")
        it.wait_until_healthy()
    with step("all health checks pass"):
        it.wait_until_checked()
    with step("a user is made, signs in and gets an answer"):
        password = f"DJANGO_SUPERUSER_PASSWORD={it.password}"
        it.compose(
            "run",
            "--rm",
            "-T",
            "-e",
            password,
            "migrate",
            "createsuperuser",
            "--no-input",
            "--username=boss",
            "--email=b@x.example",
        )
        it.ask()
    with step("processes have an ordinary user, no capabilities and read-only files"):
        for service in OURS:
            assert it.execute(service, "id", "-u") == USER_ID
            assert it.execute(service, "sh", "-c", "grep CapEff /proc/self/status").split()[1] == "0" * 16
            assert it.execute(service, "sh", "-c", "touch /app/x 2>/dev/null || echo refused") == "refused"
    with step(f"idle for {IDLE_SECONDS:.0f} s, percent of a core") as found:
        before = it.processor_seconds()
        time.sleep(IDLE_SECONDS)
        after = it.processor_seconds()
        percents = {service: 100 * (after[service] - before[service]) / IDLE_SECONDS for service in after}
        found(f"{sum(percents.values()):.1f} in all")
        for service, percent in percents.items():
            found(f"{service} {percent:.1f}")
        assert sum(percents.values()) < MAX_IDLE_PERCENT, percents
    for service in RESTARTED:
        with step(f"answers after a restart of {service}"):
            it.compose("restart", service)
            it.ask(f"after {service}")
    with step("a dump is restored"):
        it.compose("stop", "web", "worker", "beat")
        count = it.messages()
        dump = it.compose("exec", "-T", "postgres", "pg_dump", "-U", "codelab", "--format=custom", "codelab").stdout
        it.execute(
            "postgres",
            "psql",
            "-U",
            "codelab",
            "-qc",
            "DELETE FROM agent_sessions_event; DELETE FROM agent_sessions_message",
        )
        restore = ("pg_restore", "-U", "codelab", "-d", "codelab", "--clean", "--if-exists", "--single-transaction")
        it.compose("exec", "-T", "postgres", *restore, stdin=dump)
        assert it.messages() == count > 0
        it.compose("up", "--detach")
        it.ask("after the dump")
    with step("secrets come from files"):
        it.write_settings(in_files=True)
        it.compose("up", "--detach")
        it.wait_until_healthy()
        it.ask("from files")
        shown = subprocess.run(
            ["docker", "inspect", it.compose("ps", "-q", "web").stdout.decode().strip()],
            stdout=subprocess.PIPE,
            check=True,
        )
        assert not [value for value in it.values.values() if value in shown.stdout.decode()]


def has_docker() -> bool:
    """Return whether an engine and Compose answer."""
    commands = (["docker", "info"], ["docker", "compose", "version"])
    return shutil.which("docker") is not None and not any(
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
        for command in commands
    )


def main() -> None:
    if not has_docker():
        print("skipped: no Docker Engine with Compose 2 answers here")
        return
    with tempfile.TemporaryDirectory(prefix="codelab-image-") as name:
        it = Installation(Path(name))
        it.copy_files()
        try:
            check(it)
        except AssertionError as error:
            print(f"failed: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        finally:
            it.compose("down", "--volumes", "--timeout=20", check=False)
    print("all passed")


if __name__ == "__main__":
    main()

"""The files for deployment and development: they parse, match their schemas and follow our own rules."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from codelab.environment import PROJECT, VERSION, Environment
from sessions.models import Worker

LOCKS = ["base.txt", "dev.txt", "uv.txt"]
PROCESSES = {"web", "worker", "beat", "flower"}
SETTINGS = {str(field.validation_alias) for field in Environment.model_fields.values()}


def read(path: str) -> str:
    return (PROJECT / path).read_text(encoding="utf-8")


def load(path: str) -> dict[str, Any]:
    text = read(path)
    loaded = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    assert isinstance(loaded, dict)
    return loaded


COMPOSE = load("docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
WORKFLOWS = sorted(str(path.relative_to(PROJECT)) for path in (PROJECT / ".github" / "workflows").iterdir())
CI = load(".github/workflows/ci.yml")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, each with its arguments as one line."""
    text = read("Dockerfile")
    lines = re.sub(r"\\\n", "", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines()
    return [(name.upper(), rest.strip()) for name, _, rest in (line.strip().partition(" ") for line in lines) if name]


def of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def locked(lock: str) -> dict[str, list[tuple[Requirement, int]]]:
    """Return the packages of a lock, each with its requirements (one for each platform) and their counts of hashes."""
    text = read(f"requirements/{lock}")
    found: dict[str, list[tuple[Requirement, int]]] = {}
    for line in re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n?", "", text)).splitlines():
        if line.strip():
            requirement = Requirement(line.split("--hash")[0].strip())
            found.setdefault(requirement.name.lower(), []).append((requirement, line.count("--hash=sha256:")))
    return found


def versions(lock: str, package: str) -> list[Version]:
    return [Version(next(iter(it.specifier)).version) for it, _ in locked(lock).get(package, [])]


# ---------------------------------------------------------------- schemas


@pytest.mark.parametrize(
    ("schema", "path"),
    [("vendor.compose-spec", "docker-compose.yml"), *(("vendor.github-workflows", path) for path in WORKFLOWS)],
)
def test_the_file_matches_its_schema(schema: str, path: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, path]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pre_commit_accepts_its_file() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------- image


def test_the_image_has_stages_and_ends_as_an_ordinary_user() -> None:
    stages = of("FROM")
    assert len(stages) >= 2
    assert {stage.split()[0] for stage in stages} == {f"python:{read('.python-version').strip()}-slim"}
    user = of("USER")[-1].partition(":")[0]
    assert user.isdigit()
    assert int(user) > 0
    assert not [rest for name, rest in instructions()[-2:] if name in ("RUN", "USER")]


def test_the_image_installs_what_is_locked() -> None:
    run = " ".join(of("RUN"))
    assert run.count("--require-hashes") == 2
    assert {"/requirements/uv.txt", "/requirements/base.txt"} <= set(run.split())
    assert "apt-get" not in run


def test_the_image_has_all_of_our_code() -> None:
    copied = {word.strip("./") for rest in of("COPY") if "--from" not in rest for word in rest.split()[:-1]}
    ignore = read(".dockerignore").splitlines()
    packages = {path.parent.name for path in PROJECT.glob("*/__init__.py")} - {"tests"}
    # The chat page imports the client.
    for name in packages | {"manage.py", "celeryconfig.py", "clients/javascript/src"}:
        assert name in copied
        assert f"!{name}" in ignore
    assert "*" in ignore


def test_the_image_starts_a_process_by_its_name() -> None:
    assert json.loads(of("ENTRYPOINT")[-1]) == ["python", "-m", "codelab"]
    assert json.loads(of("CMD")[-1]) == ["web"]


def test_health_checks_start_no_python() -> None:
    checks = [of("HEALTHCHECK")[0].partition("CMD ")[2]]
    checks += [" ".join(service.get("healthcheck", {}).get("test", [])) for service in OURS.values()]
    assert len([check for check in checks if check]) == 4
    assert not [check for check in checks if "python" in check]


class Answer(BaseHTTPRequestHandler):
    """Answers /live, as the web process does, and keeps the host names it was asked by."""

    hosts: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        self.send_response(200 if self.path == "/live" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def probe(*arguments: str, hosts: str = "") -> int:
    environment = {**os.environ, "CODELAB_ALLOWED_HOSTS": hosts}
    return subprocess.run(
        ["bash", "codelab/probe.sh", *arguments], cwd=PROJECT, env=environment, stderr=subprocess.DEVNULL, check=False
    ).returncode


def test_the_probe_asks_a_server_by_an_allowed_name() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_address[1])
        names = {"": "localhost", " .example.com,b.example": "example.com", "*": "localhost", "a.example": "a.example"}
        for hosts, expected in names.items():
            assert probe(port, "/live", hosts=hosts) == 0
            assert Answer.hosts[-1] == expected
        assert probe(port, "/ready") != 0
        server.shutdown()
    assert probe(port, "/live") != 0


def test_the_probe_requires_a_file_that_was_written_lately(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    assert probe(str(file), "15") != 0
    file.touch()
    assert probe(str(file), "15") == 0
    os.utime(file, (time.time() - 20,) * 2)
    assert probe(str(file), "15") != 0


# ---------------------------------------------------------------- compose


def test_compose_starts_every_process() -> None:
    assert {service["command"][0] for name, service in OURS.items() if name != "migrate"} == PROCESSES


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if check.get("disable"):
        # A service that does one job and exits; the others wait for its exit.
        assert SERVICES[name]["restart"] == "no"
        waiting = [it for it in OURS.values() if name in it["depends_on"]]
        assert waiting
        assert {it["depends_on"][name]["condition"] for it in waiting} == {"service_completed_successfully"}
        return
    assert {"interval", "timeout", "retries", "start_period"} <= check.keys()
    # The web process uses the image's health check.
    assert ("test" in check) == (name != "web")
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_with_least_privilege(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "user", "network_mode", "pid"}


@pytest.mark.parametrize("name", OURS)
def test_services_wait_for_what_they_need(name: str) -> None:
    for needed, how in OURS[name]["depends_on"].items():
        expected = "service_completed_successfully" if needed == "migrate" else "service_healthy"
        assert how["condition"] == expected


def test_ports_are_published_to_this_machine_only() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert re.match(r"127\.0\.0\.1:|\$\{(FLOWER_)?HOST:-127\.0\.0\.1\}:", port)


def test_compose_holds_no_secret() -> None:
    text = read("docker-compose.yml")
    secret = re.compile(r"^\s*\w*(PASSWORD|SECRET_KEY|API_KEY|_TOKEN):\s*(\S.*)$", re.MULTILINE)
    for _, value in secret.findall(text):
        assert re.match(r'\$\{\w+:-\}|""$', value)
    for credentials in re.findall(r"://[^\s:/@]*:([^@\n]+)@", text):
        assert re.fullmatch(r"\$\{\w+:-\}", credentials)


def test_each_secret_can_be_a_file() -> None:
    files = load("docker-compose.secrets.yml")
    assert files["services"].keys() == SERVICES.keys()
    for name, service in files["services"].items():
        environment = SERVICES[name]["environment"] | service["environment"]
        paths = {key: value for key, value in service["environment"].items() if key.endswith("_FILE")}
        assert {value.removeprefix("/run/secrets/") for value in paths.values()} == set(service["secrets"])
        for variable in paths:
            # Where both are set, the variable wins.
            assert not re.sub(r"\$\{\w+:-\}", "", environment[variable.removesuffix("_FILE")])
        assert set(service["secrets"]) <= files["secrets"].keys()


def test_every_service_has_limits() -> None:
    for service in SERVICES.values():
        assert {"mem_limit", "pids_limit"} <= service.keys()


def test_every_setting_reaches_the_processes() -> None:
    passed = set(COMPOSE["x-settings"])
    only_flower = {name for name in SETTINGS if name.startswith("FLOWER_")}
    of_make_run = {"POSTGRES_PORT", "REDIS_PORT"}
    some = {"PROMETHEUS_MULTIPROC_DIR", "CODELAB_HEARTBEAT_FILE"}
    assert SETTINGS - passed == only_flower | of_make_run | some
    assert only_flower <= OURS["flower"]["environment"].keys()
    for name in OURS:
        assert passed <= OURS[name]["environment"].keys()


def test_only_workers_get_the_providers_keys() -> None:
    assert [name for name, service in SERVICES.items() if "env_file" in service] == ["worker"]
    secrets = {"CODELAB_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_PASSWORD"}
    given = OURS["worker"]["environment"]
    assert {name for name in secrets if given.get(name) != ""} == {"CODELAB_SECRET_KEY"}


def test_the_workers_health_check_reads_the_file_that_it_writes() -> None:
    worker = OURS["worker"]
    *_, file, seconds = worker["healthcheck"]["test"]
    assert file == worker["environment"]["CODELAB_HEARTBEAT_FILE"]
    assert int(seconds) == Worker.HEARTBEAT_TIMEOUT.total_seconds()


def test_web_and_workers_share_their_metrics() -> None:
    sharing = {name for name, service in OURS.items() if "metrics:/metrics" in service.get("volumes", [])}
    assert sharing == {"web", "worker"}
    assert {OURS[name]["environment"]["PROMETHEUS_MULTIPROC_DIR"] for name in sharing} == {"/metrics"}
    assert COMPOSE["volumes"]["metrics"]["driver_opts"]["type"] == "tmpfs"
    user = of("USER")[-1].partition(":")[0]
    assert f"uid={user}" in COMPOSE["volumes"]["metrics"]["driver_opts"]["o"].split(",")


# ---------------------------------------------------------------- workflow


def targets() -> set[str]:
    makefile = read("Makefile")
    return set(re.findall(r"(?m)^([a-z-]+):", makefile))


def steps() -> list[dict[str, Any]]:
    return [step for job in CI["jobs"].values() for step in job["steps"]]


def test_the_workflow_is_bounded_and_may_only_read() -> None:
    assert CI["permissions"] == {"contents": "read"}
    assert CI["concurrency"]["cancel-in-progress"] is True
    for job in CI["jobs"].values():
        assert job["timeout-minutes"] <= 30
        assert "permissions" not in job
    for step in steps():
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


def test_the_workflow_runs_targets_of_make() -> None:
    run = [shlex.split(step["run"]) for step in steps() if step.get("run", "").startswith("make ")]
    assert {words[1] for words in run} == {"check", "coverage", "test"} <= targets()
    tests = CI["jobs"]["tests"]
    assert tests["services"].keys() == {"postgres", "redis"}
    assert all("--health-cmd" in service["options"] for service in tests["services"].values())
    assert {"DATABASE_URL", "REDIS_URL"} <= tests["env"].keys()
    assert "env" not in CI["jobs"]["embedded"]


# ---------------------------------------------------------------- tools of developers


def test_the_debugger_starts_programs_that_exist() -> None:
    launch = load(".vscode/launch.json")
    by_name = {configuration["name"]: configuration for configuration in launch["configurations"]}
    started = {it["args"][0] for it in by_name.values() if it.get("module") == "codelab"}
    assert started <= PROCESSES
    assert {"web", "worker", "beat"} <= started
    for configuration in by_name.values():
        if module := configuration.get("module"):
            assert importlib.util.find_spec(module)
        assert configuration.get("env", {}).keys() <= SETTINGS
    for compound in launch["compounds"]:
        assert set(compound["configurations"]) <= by_name.keys()


@pytest.mark.parametrize("name", ["settings", "extensions"])
def test_the_editors_files_are_json(name: str) -> None:
    assert load(f".vscode/{name}.json")


def test_pre_commit_runs_the_ruff_that_is_locked() -> None:
    repos = {repo["repo"].rpartition("/")[2]: repo for repo in load(".pre-commit-config.yaml")["repos"]}
    assert [Version(repos["ruff-pre-commit"]["rev"])] == versions("dev.txt", "ruff")


def test_pre_commit_runs_targets_of_make() -> None:
    local = next(repo for repo in load(".pre-commit-config.yaml")["repos"] if repo["repo"] == "local")
    run = [hook["entry"].split() for hook in local["hooks"]]
    assert {words[0] for words in run} == {"make"}
    assert {words[1] for words in run} == {"check-types", "check-imports", "check-migrations"} <= targets()


# ---------------------------------------------------------------- versions and dependencies


def test_the_version_is_the_same_everywhere() -> None:
    assert tomllib.loads(read("pyproject.toml"))["project"]["version"] == VERSION
    assert {service["image"] for service in OURS.values()} == {f"codelab-ai-service:{VERSION}"}
    assert f"org.opencontainers.image.version={VERSION} " in of("LABEL")[0]


def test_the_workflow_tests_each_python_that_make_accepts() -> None:
    usable = re.search(r"not \(3, (\d+)\) <= sys\.version_info\[:2\] < \(3, (\d+)\)", read("scripts/bootstrap.sh"))
    assert usable
    tested = CI["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert tested == [f"3.{minor}" for minor in range(int(usable[1]), int(usable[2]))]


@pytest.mark.parametrize("path", ["codelab/api_handler.py", "codelab/metric_files.py", "codelab/web_server.py"])
def test_overrides_of_private_names_were_read_at_the_locked_versions(path: str) -> None:
    versions_read = re.findall(r"\b(autobahn|daphne|django|prometheus-client|twisted) (\d+(?:\.\d+)+)", read(path))
    assert versions_read
    for package, version in versions_read:
        assert versions("base.txt", package) == [Version(version)], package


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_locked_with_hashes(lock: str) -> None:
    packages = locked(lock)
    assert packages
    for name, requirements in packages.items():
        for requirement, hashes in requirements:
            assert re.fullmatch(r"==[\w.!+]+", str(requirement.specifier)), name
            assert hashes > 0, name


def test_the_locks_agree() -> None:
    dev = locked("dev.txt")
    for name, requirements in locked("base.txt").items():
        assert {str(it) for it, _ in requirements} == {str(it) for it, _ in dev[name]}


@pytest.mark.parametrize("lock", LOCKS)
def test_no_compromised_release_is_locked(lock: str) -> None:
    assert not {"openai-agents", "llm"} & locked(lock).keys()
    assert not {Version("1.82.7"), Version("1.82.8"), Version("1.107.0")} & set(versions(lock, "litellm"))


@pytest.mark.parametrize("lock", ["base.txt", "dev.txt"])
@pytest.mark.parametrize(
    ("package", "floor"),
    [("daphne", "4.2.2"), ("django", "6.0.5"), ("flower", "2"), ("celery", "5.2.2"), ("litellm", "1.109.0")],
)
def test_no_release_with_a_known_vulnerability_is_locked(lock: str, package: str, floor: str) -> None:
    found = versions(lock, package)
    assert found
    assert min(found) >= Version(floor)


@pytest.mark.parametrize("lock", LOCKS)
def test_the_token_library_has_no_known_vulnerability(lock: str) -> None:
    assert all(version >= Version("2.13.0") for version in versions(lock, "pyjwt"))


@pytest.mark.parametrize("package", ["agents", "codelab", "llm", "sessions"])
def test_no_installed_package_takes_our_names(package: str) -> None:
    assert package not in packages_distributions()
    spec = importlib.util.find_spec(package)
    assert spec
    assert spec.origin
    assert Path(spec.origin).is_relative_to(PROJECT)


@pytest.mark.parametrize("name", ["base.in", "dev.in", "uv.in"])
def test_every_dependency_is_explained(name: str) -> None:
    explained = set(re.findall(r"[\w-]+", read("docs/dependencies.md")))
    for line in read(f"requirements/{name}").splitlines():
        if line and line[0] not in "#-":
            assert Requirement(line).name in explained


def test_links_of_the_operators_pages_resolve() -> None:
    for name in ("deployment", "dependencies", "troubleshooting"):
        text = read(f"docs/{name}.md")
        for file, anchor in re.findall(r"\]\((\w+\.md)(?:#([\w-]+))?\)", text):
            headings = re.findall(r"(?m)^#+ (.+)$", read(f"docs/{file}"))
            assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}

"""Secrets stay on this machine unless a person says so: by names, by content, and on every way that a tool has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from codelab_cli.tools import secrets
from tests.cli.tools.conftest import Runner

VALUE = "hunter2"
KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{VALUE}\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "path",
    [".env", ".ENV", "app/.env.production", "prod.env", ".ssh/config", "a/.aws/credentials", "id_rsa", "ID_ED25519",
     "certs/server.key", "server.PEM", "store.p12", ".netrc", ".npmrc", ".pypirc", ".git-credentials", ".git/config",
     "credentials.json", "gcp-credentials.json", "service-account-1.json", "terraform.tfstate", "prod.tfvars",
     "secrets.yaml", ".docker/config.json", ".env/", "./.env", "app//.env/.", ".docker/./config.json"],
)  # fmt: skip
def test_names_of_secrets_are_known(path: str) -> None:
    assert secrets.is_secret(path)


@pytest.mark.parametrize(
    "path",
    [".env.example", "id_rsa.pub", "environment.py", "secrets.py", "src/keys.py", "config.json", "token.py",
     "README.md", "package-lock.json", ".gitignore", "credentials.py", "monkey.txt"],
)  # fmt: skip
def test_other_files_are_no_secrets(path: str) -> None:
    assert not secrets.is_secret(path)


@pytest.fixture
def secret_files(root: Path) -> Path:
    (root / ".env").write_text(f"PASSWORD={VALUE}\n")
    (root / "notes.txt").write_text(KEY)
    (root / "plain.txt").write_text("nothing\n")
    (root / "link").symlink_to(".env")
    return root


DIFF = f"<<<<<<< SEARCH\nPASSWORD={VALUE}\n=======\nx\n>>>>>>> REPLACE"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read_file", {"path": ".env"}),
        ("read_file", {"path": "link"}),
        ("read_file", {"path": "notes.txt"}),
        ("search_in_code", {"query": "PASS", "path": ".env"}),
        ("search_in_code", {"query": "PASS", "path": "link"}),
        ("apply_diff", {"path": ".env", "diff": DIFF}),
        ("move_file", {"from_": ".env", "to": "env.txt"}),
        ("execute_command", {"command": "cat .env"}),
        ("execute_command", {"command": "cat './.env' | base64"}),
        ("execute_command", {"command": "docker run --env-file=.env x"}),
        ("execute_command", {"command": "cat ~/.ssh/config"}),
        ("execute_command", {"command": "cat /srv/bob/.netrc"}),
    ],
)
async def test_a_secret_is_refused_with_a_sentence(
    tools: Runner, secret_files: Path, name: str, arguments: dict[str, str]
) -> None:
    error = await tools.error(name, **arguments)
    assert "may hold secrets" in error
    assert "--allow-secrets" in error
    assert VALUE not in error


async def test_a_search_leaves_secrets_out_and_says_so(tools: Runner, secret_files: Path) -> None:
    result = await tools.result("search_in_code", query=VALUE)
    assert result["matches"] == []
    assert result["note"].startswith("2 files that may hold secrets were not searched.")


async def test_a_secret_may_be_replaced_but_its_old_lines_are_not_told(tools: Runner, secret_files: Path) -> None:
    result = await tools.result("write_file", path=".env", content="PASSWORD=new\n")
    assert VALUE not in str(result)
    assert "diff" not in result
    # The same file, by a path that ends otherwise.
    assert "new" not in str(await tools.result("write_file", path=".env/", content="PASSWORD=other\n"))
    assert VALUE not in str(await tools.result("delete_file", path="notes.txt"))


async def test_names_and_sizes_of_secrets_are_listed(tools: Runner, secret_files: Path) -> None:
    result = await tools.result("list_files", path=".", include_hidden=True)
    assert [item["name"] for item in result["items"]] == [".env", "link", "notes.txt", "plain.txt"]


def stage_all(folder: Path) -> None:
    for words in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *words], cwd=folder, check=True)


async def test_changes_of_secrets_are_not_shown(tools: Runner, trusting: Runner, secret_files: Path) -> None:
    stage_all(secret_files)

    result = await tools.result("git_diff", staged=True)
    assert "+nothing" in result["diff"]
    assert VALUE not in result["diff"]
    assert all(name in result["note"] for name in (".env", "notes.txt"))
    assert VALUE in str((await trusting.toolbox.run("another", "git_diff", {"staged": True})).result)
    assert "may hold secrets" in await tools.error("git_diff", path=".env", staged=True)


async def test_words_that_are_no_files_are_no_secrets(tools: Runner, root: Path) -> None:
    for command in ("echo token", "echo credentials and .env", "echo KEY=x > .env"):
        assert (await tools.result("execute_command", command=command))["exit_code"] == 0
    assert "may hold secrets" in await tools.error("execute_command", command="echo .env")


async def test_a_person_can_allow_secrets(trusting: Runner, secret_files: Path) -> None:
    assert VALUE in (await trusting.result("read_file", path=".env"))["content"]
    assert VALUE in (await trusting.result("execute_command", command="cat .env"))["stdout"]
    assert (await trusting.result("search_in_code", query=VALUE))["total_matches"] == 2


async def test_a_person_who_approves_a_command_has_read_it(tools: Runner, secret_files: Path) -> None:
    outcome = await tools.toolbox.run(
        "x", "execute_command", {"command": "cat .env"}, approved_by_person=True
    )  # fmt: skip
    assert outcome.result["exit_code"] == 0


async def test_commands_do_not_get_secrets_of_the_client(
    tools: Runner, trusting: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODELAB_TOKEN", VALUE)
    monkeypatch.setenv("CODELAB_URL", VALUE)
    monkeypatch.setenv("SHOP_API_KEY", VALUE)
    for name in ("DB_PASSWORD", "SMTP_PASS", "MYSQL_PWD", "OPENAI_KEY", "GITHUB_PAT", "REDISCLI_AUTH", "SENTRY_DSN"):
        monkeypatch.setenv(name, VALUE)
    monkeypatch.setenv("BASH_ENV", "/nowhere")
    monkeypatch.setenv("SHOP_MODE", "test")

    shown = (await tools.result("execute_command", command="env"))["stdout"]
    assert VALUE not in shown
    assert "BASH_ENV" not in shown
    assert "SHOP_MODE=test" in shown
    allowed = (await trusting.toolbox.run("y", "execute_command", {"command": "env"})).result["stdout"]
    assert f"SHOP_API_KEY={VALUE}" in allowed
    assert "CODELAB" not in allowed

"""The command `codelab`: its options, and what each command ends with."""

import asyncio
import json
import os
import secrets
import sys
import traceback
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import platformdirs
import typer

from codelab_cli import __version__
from codelab_cli.failures import ExitCode, Failure
from codelab_cli.private_files import write_private
from codelab_cli.settings import Settings, load_settings
from codelab_cli.visible import visible

CODES = """Exit codes: 0 done · 1 the turn failed · 2 wrong options · 3 a question had no one to answer it
· 4 not signed in · 5 the server does not answer · 6 timed out · 130 interrupted."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=CODES + " Settings: docs/cli.md.",
)

Folder = Annotated[Path, typer.Option("--folder", "-C", help="Folder that the agents work in.")]
SessionOption = Annotated[str, typer.Option("--session", "-s", help="Name of the session.")]
Secrets = Annotated[bool, typer.Option("--allow-secrets", help="Let the agents read .env, keys and other secrets.")]


def run_main(context: typer.Context, work: Coroutine[Any, Any, ExitCode | None]) -> None:
    """Run a command to its end and exit with its code."""
    del context
    try:
        code = asyncio.run(work)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    raise typer.Exit(int(code or ExitCode.DONE))


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"codelab {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    context: typer.Context,
    url: Annotated[str | None, typer.Option("--url", help="Server. Default: CODELAB_URL, or this machine.")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Work with agents in a folder, from a terminal: they read, change and run, and you approve."""
    if not context.resilient_parsing:
        context.obj = load_settings(url=url)


def _settings(context: typer.Context, **changes: Any) -> Settings:
    from dataclasses import replace

    settings: Settings = context.obj
    return replace(settings, **{name: value for name, value in changes.items() if value})


@app.command()
def chat(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the session. Default: the last one of this folder.")] = "",
    session: SessionOption = "",
    new: Annotated[bool, typer.Option("--new", help="Begin a new session.")] = False,
    folder: Folder = Path(),
    agent: Annotated[str, typer.Option(help="Agent that answers.")] = "",
    mode: Annotated[str, typer.Option(help="What runs unasked: ask, auto-read, auto-edit or full.")] = "",
    allow_secrets: Secrets = False,
) -> None:
    """Talk with an agent that works in this folder. /help lists keys and commands."""
    from codelab_cli.talking import talk

    settings = _settings(context, allow_secrets=allow_secrets, agent=agent)
    run_main(context, talk(settings, folder, name or session, is_new=new, mode=mode))


@app.command()
def attach(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Name of the session.")], folder: Folder = Path()
) -> None:
    """Follow a session whose tools run elsewhere.

    You read along, send messages and approve; the tools of this folder are not offered.
    """
    from codelab_cli.talking import talk

    run_main(context, talk(_settings(context), folder, name, has_tools=False))


@app.command(epilog=CODES)
def run(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="What to do; `-` reads it from standard input.")],
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="What may run: read, edit, command, other, plan, all or a tool; with a pattern: command:pytest*"
        ),
    ] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print events, one JSON object a line.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Stop the turn after so many seconds.", min=0.1)] = None,
    session: SessionOption = "",
    folder: Folder = Path(),
    agent: Annotated[str, typer.Option(help="Agent that does it.")] = "",
    image: Annotated[list[Path] | None, typer.Option(help="Image to send along.", exists=True, dir_okay=False)] = None,
    allow_secrets: Secrets = False,
) -> None:
    """Do one task without asking, such as in a CI job.

    What --allow does not cover is rejected, and exit code 3 says so. Questions of the agent have no answer.
    """
    from codelab_cli.allow import parse_allowed
    from codelab_cli.run import do_task

    if task == "-":
        task = sys.stdin.read()
    if not task.strip():
        raise Failure("The task is empty.", "Write what to do.", code=ExitCode.USAGE)
    name = session or f"run-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    settings = _settings(context, allow_secrets=allow_secrets, agent=agent)
    work = do_task(
        settings,
        folder,
        name,
        task,
        allowed=parse_allowed(allow or []),
        is_json=is_json,
        timeout=timeout,
        images=image or [],
    )
    run_main(context, work)


@app.command()
def sessions(
    context: typer.Context,
    is_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=1000)] = 20,
) -> None:
    """List your sessions, the one used last first."""
    from codelab_cli.listing import list_sessions

    run_main(context, list_sessions(_settings(context), is_json=is_json, limit=limit))


@app.command()
def export(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the session. Default: that of this folder.")] = "",
    form: Annotated[str, typer.Option("--format", help="markdown or json.")] = "markdown",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    folder: Folder = Path(),
) -> None:
    """Write a session as Markdown or JSON."""
    from codelab_cli.listing import export_session

    if form not in ("markdown", "md", "json"):
        raise Failure(f"`{form}` is not a format.", "Use markdown or json.", code=ExitCode.USAGE)
    run_main(context, export_session(_settings(context), folder, name, is_json=form == "json", output=output))


@app.command()
def mcp(
    context: typer.Context,
    trust: Annotated[str, typer.Option("--trust", help="Name of a server of this folder that may start.")] = "",
    is_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    folder: Folder = Path(),
) -> None:
    """List the MCP servers of your mcp.json and of this folder's, and their tools.

    A server that comes with a folder is a program of strangers: it starts only when you have trusted it with --trust.
    """
    from codelab_cli.mcp_list import list_servers, trust_server

    settings = _settings(context)
    if trust:
        trust_server(folder, trust)
    run_main(context, list_servers(settings, folder, is_json=is_json))


@app.command()
def acp(context: typer.Context, allow_secrets: Secrets = False) -> None:
    """Be an agent for an editor that speaks the Agent Client Protocol, on standard input and output."""
    from codelab_cli.acp import serve

    run_main(context, serve(_settings(context, allow_secrets=allow_secrets)))


@app.command()
def login(
    context: typer.Context,
    username: Annotated[str, typer.Option("--username", "-u", help="Name or e-mail address.")] = "",
    api_key: Annotated[bool, typer.Option("--api-key", help="Store an API key instead.")] = False,
) -> None:
    """Sign in with name and password, or store an API key. Piped: the password or key is read from standard input."""
    from codelab_cli.signing_in import sign_in

    run_main(context, sign_in(_settings(context), username, is_key=api_key))


@app.command()
def logout(context: typer.Context) -> None:
    """Sign out: end the sign-in at the server and forget its token."""
    from codelab_cli.signing_in import sign_out

    run_main(context, sign_out(_settings(context)))


def with_url_first(words: list[str]) -> list[str]:
    """Return the words of a command with `--url` before the command, wherever it was written."""
    end = words.index("--") if "--" in words else len(words)
    for place, word in enumerate(words[:end]):
        count = 2 if word == "--url" else 1
        if word == "--url" or word.startswith("--url="):
            return [*words[place : place + count], *words[:place], *words[place + count :]]
    return words


def _explain(failure: Failure) -> int:
    if "--json" in sys.argv and "run" in sys.argv:
        payload = {"exit_code": int(failure.code), "error": str(failure)}
        sys.stdout.write(json.dumps({"kind": "run_finished", "payload": payload}, ensure_ascii=False) + "\n")
    sys.stderr.write(visible("\n".join(filter(None, [failure.sentence, failure.advice]))) + "\n")
    return int(failure.code)


def _crash(error: Exception) -> int:
    """Keep the traceback of a fault of this program in a file, and say where it is."""
    file = Path(platformdirs.user_state_dir("codelab")) / "crash.txt"
    where = ""
    with suppress(OSError):
        write_private(file, "".join(traceback.format_exception(error)))
        where = f" Details are in {file}."
    sys.stderr.write(f"The program has a fault: {type(error).__name__}.{where}\n")
    return int(ExitCode.FAILED)


def main() -> None:
    """Run the command line. Every error ends as a sentence."""
    try:
        app(args=with_url_first(sys.argv[1:]), prog_name="codelab")
    except Failure as failure:
        sys.exit(_explain(failure))
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has all it wants. Python would complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # the last line of defence of a program for people
        sys.exit(_crash(error))

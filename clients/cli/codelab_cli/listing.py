"""What `sessions` and `export` print."""

import asyncio
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from codelab_cli.connecting import connected, session_path, workspace_root
from codelab_cli.export import as_json, as_markdown
from codelab_cli.failures import Failure
from codelab_cli.memory import Memory
from codelab_cli.settings import Settings
from codelab_cli.visible import one_line, visible


async def list_sessions(settings: Settings, *, is_json: bool, limit: int) -> None:
    """Print the user's sessions. Raises Failure."""
    async with connected(settings) as client:
        rows = await client.sessions(limit=limit)
    if is_json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False, indent=2) + "\n")
        return
    if not rows:
        sys.stdout.write("You have no sessions. `codelab chat` begins one.\n")
        return
    if not sys.stdout.isatty():
        for row in rows:
            cells = [
                row["session_id"],
                one_line(row.get("title") or ""),
                row.get("current_agent"),
                row["last_activity"],
            ]
            sys.stdout.write("\t".join(str(cell) for cell in cells) + "\n")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("session", overflow="fold")
    table.add_column("title", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("agent", no_wrap=True)
    table.add_column("last used", no_wrap=True)
    for row in rows:
        when = str(row["last_activity"])[:16].replace("T", " ")
        table.add_row(one_line(row["session_id"]), one_line(row.get("title") or "", 60), row.get("current_agent"), when)
    Console(highlight=False, markup=False).print(table)


async def export_session(settings: Settings, folder: Path, name: str, *, is_json: bool, output: Path | None) -> None:
    """Print a session or write it to a file. Raises Failure."""
    name = name or Memory(settings, workspace_root(folder)).session_name()
    async with connected(settings) as client:
        session = await client.request("GET", session_path(name))
        messages = await client.history(name)
    text = as_json(session, messages) if is_json else as_markdown(session, messages)
    if output is None:
        sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
        return
    try:
        await asyncio.to_thread(output.write_text, text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"{output} cannot be written: {error.strerror}.") from error

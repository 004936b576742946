"""Writes the socket's protocol down as AsyncAPI and JSON Schema, for clients that generate code from it."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from sessions.protocol import asyncapi


class Command(BaseCommand):
    help = "Write docs/protocol/*.json from the frame types; --check only says whether they differ."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the folder and --check."""
        parser.add_argument("--folder", type=Path, default=Path("docs/protocol"))
        parser.add_argument("--check", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the files, or fail when one of them is not what would be written."""
        folder: Path = options["folder"]
        documents = {"asyncapi": asyncapi.asyncapi(settings.CODELAB_VERSION), **asyncapi.json_schemas()}
        stale = []
        for name, document in documents.items():
            path = folder / f"{name}.json"
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            if options["check"]:
                if not path.exists() or path.read_text(encoding="utf-8") != text:
                    stale.append(str(path))
                continue
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            self.stdout.write(f"wrote {path}")
        if stale:
            self.stderr.write(f"Out of date: {', '.join(stale)}. Run `make schema` and commit the result.")
            raise SystemExit(1)

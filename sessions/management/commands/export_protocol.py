"""Writes the socket's protocol down: AsyncAPI and JSON Schema, and from them the types of our own clients."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from sessions.protocol import asyncapi, client_types


class Command(BaseCommand):
    help = "Write docs/protocol/*.json and the types of clients/; --check only says whether they differ."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the folders and --check."""
        parser.add_argument("--folder", type=Path, default=Path("docs/protocol"))
        parser.add_argument("--clients", type=Path, default=Path("clients"))
        parser.add_argument("--check", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the files, or fail when one of them is not what would be written."""
        documents = {"asyncapi": asyncapi.asyncapi(settings.CODELAB_VERSION), **asyncapi.json_schemas()}
        texts = {
            options["folder"] / f"{name}.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            for name, document in documents.items()
        }
        texts |= {options["clients"] / path: text() for path, text in client_types.FILES.items()}
        stale = []
        for path, text in texts.items():
            if options["check"]:
                if not path.exists() or path.read_text(encoding="utf-8") != text:
                    stale.append(str(path))
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            self.stdout.write(f"wrote {path}")
        if stale:
            self.stderr.write(f"Out of date: {', '.join(stale)}. Run `make schema` and commit the result.")
            raise SystemExit(1)

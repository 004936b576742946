"""The original's command-line client (`cli_chat.py`): prints every token and nothing else."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.casts import mapping, text
from tests.clients.transcript import Client


class Reader:
    def __init__(self) -> None:
        self.printed = ""

    def take(self, text_of_frame: str) -> dict[str, Any]:
        frame = mapping(json.loads(text_of_frame))
        if frame.get("type") == "assistant_message":
            self.printed += text(frame.get("token", ""))
        return frame

    def shown(self) -> dict[str, Any]:
        return vars(self)


CLIENT = Client(reader=Reader, answers={}, headers={}, body_headers={})

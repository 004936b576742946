"""Input items as the messages that all models know, and back.

Reasoning, text and calls that follow one another are one answer of the assistant. Calls of tools that the client has
run for another provider's model, such as its shell, become calls of functions; what servers have run is left out.
"""

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sessions.api.completions.bounds import require_bounded
from sessions.api.completions.errors import UNSUPPORTED_VALUE, invalid
from sessions.api.completions.rows import image_of, image_row, read_arguments
from sessions.api.completions.sealed import unseal
from sessions.api.responses.schemas import Item, Part
from sessions.api.responses.tools import INPUT, call_item, provider_name

#: Types of parts that are texts.
TEXT_TYPES = ("input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text", "encrypted_content", "")
IMAGE_TYPES = ("input_image", "image_url", "computer_screenshot")
#: Media types of files that are read as texts.
TEXT_FILES = ("text/", "application/json", "application/xml", "application/yaml", "application/toml")
NEED_CALL_ID = ("function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output")
#: Of an item, what is not an argument of its call.
ITEM_FIELDS = frozenset(Item.model_fields) | {"status", "caller", "created_by", "execution", "environment", "phase"}


class Conversation:
    """Puts items together to messages."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, item: Item, where: str) -> None:
        """Add an item; `where` is its place in the request. Raises CompletionError."""
        match item.kind:
            case "message" | "agent_message":
                self._add_message(item, where)
            case "reasoning":
                self._add_reasoning(item)
            case "compaction" | "compaction_summary":
                text = "Only the service that has compacted a conversation can read it: send the conversation itself."
                raise invalid(where, text, UNSUPPORTED_VALUE)
            case "":
                raise invalid(f"{where}.type", "An item has a `type`.")
            case kind if kind in NEED_CALL_ID and not item.call_id:
                raise invalid(f"{where}.call_id", "A call and its output have the same `call_id`.")
            case kind if kind.endswith("_output") and (call_id := item.call_id or item.id):
                content, images = _output(item, f"{where}.output")
                row = {"role": "tool", "content": content, "tool_call_id": call_id}
                self.rows.append({**row, "images": images} if images else row)
            case kind if kind.endswith("_call") and item.call_id:
                self._add_call(item, where)

    def finished(self) -> list[dict[str, Any]]:
        """Return the messages, without thoughts that were left alone or that no model needs any more."""
        last = max((place for place, row in enumerate(self.rows) if row["role"] == "user"), default=-1)
        messages: list[dict[str, Any]] = []
        for place, row in enumerate(self.rows):
            if row["role"] == "assistant" and not (row["content"] or row.get("tool_calls")):
                continue
            if "extra" in row and place < last and not row.get("tool_calls"):
                # Behind the loop of an answer nothing needs its thoughts, and some servers refuse them.
                messages.append({name: value for name, value in row.items() if name not in ("extra", "origin")})
            else:
                messages.append(row)
        return messages

    def _answer(self, *, without: Iterable[str]) -> dict[str, Any]:
        """Return the assistant's message that an item belongs to: the newest, unless it has one of these already."""
        newest = self.rows[-1] if self.rows else None
        if newest is None or newest["role"] != "assistant" or any(newest.get(name) for name in without):
            newest = {"role": "assistant", "content": ""}
            self.rows.append(newest)
        return newest

    def _add_message(self, item: Item, where: str) -> None:
        content, images = _content(item.content, f"{where}.content")
        if item.role == "assistant":
            if images:
                raise invalid(f"{where}.content", "Only messages of users and tools have images.")
            self._answer(without=("content", "tool_calls"))["content"] = content
            return
        role = "user" if item.role in (None, "user") else "system"
        if images and role == "system":
            raise invalid(f"{where}.content", "Only messages of users and tools have images.")
        row = {"role": role, "content": content}
        self.rows.append({**row, "images": images} if images else row)

    def _add_reasoning(self, item: Item) -> None:
        if unsealed := unseal(item.encrypted_content):
            origin, extra = unsealed
            self._answer(without=("extra", "tool_calls")).update(extra=extra, origin=origin)

    def _add_call(self, item: Item, where: str) -> None:
        if item.kind == "function_call":
            arguments: Any = item.arguments if isinstance(item.arguments, str | dict) else ""
        elif item.kind == "custom_tool_call":
            arguments = {INPUT: _text_of(item.input)}
        else:
            fields = (item.model_extra or {}) if item.arguments is None else {"arguments": item.arguments}
            arguments = {name: value for name, value in fields.items() if name not in ITEM_FIELDS}
        arguments = read_arguments(arguments)
        require_bounded(arguments, where)
        has_own_name = item.kind in ("function_call", "custom_tool_call")
        if has_own_name and not item.name:
            raise invalid(f"{where}.name", "A call has the `name` of its tool.")
        name = provider_name(item.name, item.namespace) if has_own_name else item.kind.removesuffix("_call")
        call = {"id": item.call_id, "name": name, "arguments": arguments}
        self._answer(without=()).setdefault("tool_calls", []).append(call)


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _output(item: Item, where: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the text and the images of a tool's output, which may have any form."""
    output = item.output
    if isinstance(output, dict) and output.get("type") in IMAGE_TYPES:
        output = [output]
    if isinstance(output, list) and all(
        isinstance(part, dict) and isinstance(part.get("type"), str) for part in output
    ):
        return _content([Part.model_validate(part) for part in output], where)
    require_bounded(output, where)
    if output is None:
        fields = {k: v for k, v in (item.model_extra or {}).items() if k not in ITEM_FIELDS}
        require_bounded(fields, where)
        return (json.dumps(fields, ensure_ascii=False) if fields else ""), []
    return _text_of(output), []


def _content(content: str | list[Part] | None, where: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the text and the images of parts. An image between texts has its position in the text.

    Raises CompletionError.
    """
    if not isinstance(content, list):
        return content or "", []
    texts: list[str] = []
    images: list[tuple[dict[str, Any], int]] = []
    position = -1
    for part in content:
        if part.type in IMAGE_TYPES:
            images.append((image_row(image_of(part.image_url, part.detail, where)), max(position, 0)))
            continue
        text = _file_text(part, where) if part.type == "input_file" else part.text or part.refusal
        if part.type not in (*TEXT_TYPES, "input_file"):
            kind = part.type[:40]
            raise invalid(
                where, f"Parts of the type `{kind}` cannot be used: send texts and images.", UNSUPPORTED_VALUE
            )
        texts.append(text)
        position += 1 + len(text)
    text = "\n".join(texts)
    return text, [image if at == len(text) else {**image, "at": at} for image, at in images]


def _file_text(part: Part, where: str) -> str:
    """Return a file as text. Raises CompletionError where it is none, or stands elsewhere."""
    head, _, data = part.file_data.partition(",")
    if head.startswith("data:") and head.removeprefix("data:").startswith(TEXT_FILES) and head.endswith(";base64"):
        try:
            return f"{part.filename}\n\n{b64decode(data, validate=True).decode()}".lstrip("\n")
        except ValueError:
            raise invalid(where, "The file is not text in UTF-8 and base64.", UNSUPPORTED_VALUE) from None
    raise invalid(
        where, "Only files of text can be read, in `file_data`: send others as text or images.", UNSUPPORTED_VALUE
    )


def items_of(rows: Iterable[Mapping[str, Any]], client_tools: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """Yield messages as the items of an input; `key` begins the end of their ids."""
    custom = {call["id"] for row in rows for call in row.get("tool_calls", ()) if _is_custom(call, client_tools)}
    for number, row in enumerate(rows):
        place = f"{key}_i{number}"
        if row["role"] == "tool":
            kind = "custom_tool_call_output" if row["tool_call_id"] in custom else "function_call_output"
            output = _parts(row) if row.get("images") else row["content"]
            yield {
                "type": kind,
                "id": f"fco_{place}",
                "call_id": row["tool_call_id"],
                "output": output,
                "status": "completed",
            }
            continue
        if row["content"] or row.get("images") or not row.get("tool_calls"):
            item = {"type": "message", "id": f"msg_{place}", "role": row["role"], "content": _parts(row)}
            yield {**item, "status": "completed"}
        for index, call in enumerate(row.get("tool_calls", ())):
            yield call_item(call, client_tools, f"{place}_{index}")


def _is_custom(call: Mapping[str, Any], client_tools: Mapping[str, Any]) -> bool:
    return bool(client_tools.get(call["name"], {}).get("type") == "custom")


def _parts(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a message's text with its images in their places."""
    kind = "output_text" if row["role"] == "assistant" else "input_text"
    parts: list[dict[str, Any]] = []
    text, start = row["content"], 0
    for image in row.get("images", ()):
        at = image.get("at", len(text))
        if text[start:at]:
            parts.append({"type": kind, "text": text[start:at].removeprefix("\n")})
        start = max(start, at)
        parts.append({"type": "input_image", "image_url": image["url"], "detail": image.get("detail") or "auto"})
    if text[start:] or not parts:
        parts.append({"type": kind, "text": text[start:].removeprefix("\n") if start else text})
    return [{**part, "annotations": []} if kind == "output_text" else part for part in parts]

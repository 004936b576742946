"""Reads the blocks of messages, and returns the neutral rows that they mean."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sessions.api.completions.bounds import require_bounded
from sessions.api.completions.errors import UNSUPPORTED_VALUE, invalid
from sessions.api.completions.rows import image_of
from sessions.api.completions.sealed import thoughts_of
from sessions.api.messages.schemas import (
    DocumentBlock,
    ImageBlock,
    InputMessage,
    OtherBlock,
    RedactedThinkingBlock,
    SearchResultBlock,
    TextBlock,
    ThinkingBlock,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)

#: The signature of thoughts that their provider does not want back, or whose seal follows. Clients drop thoughts
#: without one.
UNSIGNED = "unsigned"
#: Before the text of a failed result that does not say so itself: most providers know no failed results.
FAILED = "Error: {}"


def rows_of(message: InputMessage, where: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a message: results of tools first, as providers want them right behind their calls.

    Raises CompletionError.
    """
    if message.role == "assistant":
        yield from _answer(message.blocks, where)
        return
    rest: list[tuple[str, Any]] = []
    has_results = False
    for place, block in enumerate(message.blocks):
        at = f"{where}.content.{place}" if isinstance(message.content, list) else f"{where}.content"
        if isinstance(block, ToolResultBlock) and message.role == "user":
            has_results = True
            yield _result(block, at)
        else:
            rest.append((at, block))
    content = _read(rest)
    if content.is_empty:
        if not has_results:
            raise invalid(f"{where}.content", "A message needs a text, an image or the result of a tool.")
        return
    if content.images and message.role == "system":
        raise invalid(f"{where}.content", "Only messages of users and results of tools have images.")
    yield _row(message.role, content)


def _answer(blocks: Sequence[Any], where: str) -> Iterator[dict[str, Any]]:
    """Yield the row of an earlier answer, unless it has nothing but what Anthropic's servers did."""
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for place, block in enumerate(blocks):
        match block:
            case TextBlock():
                texts.append(block.text)
            case ToolUseBlock():
                calls.append(_call(block))
            case ThinkingBlock() | RedactedThinkingBlock() | OtherBlock():
                continue
            case _:
                raise _not_usable(block, f"{where}.content.{place}")
    text = "\n".join(each for each in texts if each)
    if not (text or calls):
        return
    row: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        row["tool_calls"] = calls
    row |= _thoughts(blocks)
    require_bounded([calls, row.get("extra")], f"{where}.content")
    if any(block.cache_control for block in blocks):
        row["cached"] = True
    yield row


def _thoughts(blocks: Sequence[Any]) -> dict[str, Any]:
    """Return what the answer's provider wants back, with the name of that provider."""
    thoughts = (block.model_dump() for block in blocks if isinstance(block, ThinkingBlock | RedactedThinkingBlock))
    found = thoughts_of(thought for thought in thoughts if thought.get("signature") != UNSIGNED)
    return {"origin": found[0], "extra": found[1]} if found else {}


def _call(block: ToolUseBlock) -> dict[str, Any]:
    return {"id": block.id, "name": block.name, "arguments": block.input}


def _result(block: ToolResultBlock, where: str) -> dict[str, Any]:
    if isinstance(block.content, str):
        content = _Content()
        content.add_text(block.content)
    else:
        content = _read([(f"{where}.content.{place}", each) for place, each in enumerate(block.content)])
    # Behind a result images have no place within its text.
    images = [{name: value for name, value in image.items() if name != "at"} for image in content.images]
    text = content.text
    if block.is_error and "error" not in text[:100].lower():
        text = FAILED.format(text or "the tool has failed.")
    row: dict[str, Any] = {"role": "tool", "content": text, "tool_call_id": block.tool_use_id}
    if images:
        row["images"] = images
    if block.is_error:
        row["failed"] = True
    if block.cache_control or content.cached:
        row["cached"] = True
    return row


@dataclass(slots=True)
class _Content:
    """Texts with images between them."""

    texts: list[str] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    cached: bool = False
    #: Characters of `text`.
    length: int = 0

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    @property
    def is_empty(self) -> bool:
        return not (any(self.texts) or self.images)

    def add_text(self, text: str) -> None:
        if text:
            self.length += len(text) + bool(self.texts)
            self.texts.append(text)

    def add_image(self, url: str) -> None:
        """Add an image behind the text so far."""
        self.images.append({"url": url, "at": self.length})


def _row(role: str, content: _Content) -> dict[str, Any]:
    text = content.text
    row: dict[str, Any] = {"role": role, "content": text}
    if content.images:
        # Without a position an image follows all text.
        row["images"] = [{"url": image["url"]} if image["at"] == len(text) else image for image in content.images]
    if content.cached:
        row["cached"] = True
    return row


def _read(blocks: Sequence[tuple[str, Any]]) -> _Content:
    """Return the texts and images of blocks, each with its place. Raises CompletionError."""
    content = _Content()
    for where, block in blocks:
        content.cached |= bool(block.cache_control)
        match block:
            case TextBlock():
                content.add_text(block.text)
            case ImageBlock():
                content.add_image(_image(block, where))
            case DocumentBlock():
                _read_document(block, where, content)
            case SearchResultBlock():
                text = "\n".join(each.text for each in block.content)
                content.add_text(_tagged("search_result", text, title=block.title, source=block.source))
            case ToolReferenceBlock():
                content.add_text(f"The tool `{block.tool_name}` is available.")
            case _:
                raise _not_usable(block, where)
    return content


def _read_document(block: DocumentBlock, where: str, content: _Content) -> None:
    """Add a document that is text, or texts and images."""
    source = block.source
    if source.type == "text":
        content.add_text(_tagged("document", source.data, title=block.title, context=block.context))
    elif source.type == "content" and isinstance(source.content, str):
        content.add_text(_tagged("document", source.content, title=block.title, context=block.context))
    elif source.type == "content" and source.content:
        parts = [(f"{where}.source.content.{place}", each) for place, each in enumerate(source.content)]
        for place, each in parts:
            if not isinstance(each, TextBlock | ImageBlock):
                raise _not_usable(each, place)
        inner = _read(parts)
        content.add_text(_tagged("document", inner.text, title=block.title, context=block.context))
        for image in inner.images:
            content.add_image(image["url"])
    else:
        text = "Models here read documents only as text: send it in a source of the type `text`, or pages as images."
        raise invalid(f"{where}.source", text, UNSUPPORTED_VALUE)


def _tagged(tag: str, text: str, **attributes: str) -> str:
    """Return a text with what its sender says about it, as models know it from XML."""
    named = "".join(f' {name}="{value.replace('"', "'")}"' for name, value in attributes.items() if value)
    return f"<{tag}{named}>\n{text}\n</{tag}>"


def _image(block: ImageBlock, where: str) -> str:
    """Return the address of an image, or its data as one."""
    source = block.source
    if source.type not in ("base64", "url"):
        text = "Files are not kept here: send the image itself, in a source of the type `base64`, or its address."
        raise invalid(f"{where}.source", text, UNSUPPORTED_VALUE)
    url = source.url if source.type == "url" else f"data:{source.media_type};base64,{source.data}"
    return image_of(url, None, f"{where}.source").url


def _not_usable(block: Any, where: str) -> Exception:
    text = f"Blocks of the type `{block.type[:40]}` cannot be used here: send texts, images and results of tools."
    return invalid(where, text, UNSUPPORTED_VALUE)

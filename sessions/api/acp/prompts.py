"""The content of a prompt as a message of the session: a text, images that are stored, and the agent that answers."""

import uuid
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass

from agents.roles import ROLES
from sessions.api.acp.rpc import Code, RpcError
from sessions.api.acp.schemas import AudioBlock, Block, ImageBlock, ResourceBlock, ResourceLink, TextBlock
from sessions.database import in_thread
from sessions.protocol.client import require_clean_text
from sessions.protocol.codes import MAX_IMAGES, MAX_MESSAGE_LENGTH
from sessions.turns import images

#: Said for a prompt that has images alone.
ONLY_IMAGES = "Look at the attached image."


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptContent:
    """What a prompt says and shows."""

    text: str
    images: Sequence[bytes] = ()
    #: The agent that the user named with a slash command.
    agent: str | None = None


def content_of(blocks: Sequence[Block]) -> PromptContent:
    """Return the content of a prompt. Raises RpcError and Rejected with a sentence about what cannot be sent."""
    parts: list[str] = []
    data: list[bytes] = []
    for before, block in zip([None, *blocks], blocks, strict=False):
        match block:
            case TextBlock():
                parts.append(f"\n{block.text}" if isinstance(before, TextBlock) else block.text)
            case ResourceLink():
                # Editors send a text with a link in the middle as three blocks.
                parts.append(f"[{block.name}]({block.uri})")
            case ResourceBlock():
                parts.append(f"\n{_resource(block)}\n")
            case ImageBlock():
                data.append(_image(block))
            case AudioBlock():
                raise RpcError(Code.INVALID_PARAMS, "Agents read no audio. Send text and images.")
    if len(data) > MAX_IMAGES:
        raise RpcError(Code.INVALID_PARAMS, f"A prompt shows at most {MAX_IMAGES} images.")
    text, agent = _without_command("".join(parts).strip("\n") or (ONLY_IMAGES if data else ""))
    require_clean_text(text)
    if not text.strip():
        raise RpcError(Code.INVALID_PARAMS, "The prompt is empty: write something.")
    if len(text) > MAX_MESSAGE_LENGTH:
        text = f"A prompt has at most {MAX_MESSAGE_LENGTH:,} characters. Attach less, and let the agent read files."
        raise RpcError(Code.INVALID_PARAMS, text)
    return PromptContent(text=text, images=data, agent=agent)


async def store_images(session_id: uuid.UUID, content: PromptContent) -> list[uuid.UUID]:
    """Store the images of a prompt. Returns their ids. Raises Rejected."""
    return [(await in_thread(images.store)(session_id, data)).pk for data in content.images]


def _without_command(text: str) -> tuple[str, str | None]:
    """Return the text, and the agent of a slash command such as `/coder` before it."""
    if text.startswith("/"):
        word, _, rest = text[1:].partition(" ")
        if word in ROLES and rest.strip():
            return rest.strip(), word
    return text, None


def _resource(block: ResourceBlock) -> str:
    resource = block.resource
    if resource.text is None:
        # Models read no binary files, and the agent can read the file by its name.
        return f"[{resource.uri}]({resource.uri})"
    return f'<resource uri="{resource.uri}">\n{resource.text}\n</resource>'


def _image(block: ImageBlock) -> bytes:
    try:
        data = b64decode(block.data, validate=True)
    except ValueError:
        raise RpcError(Code.INVALID_PARAMS, "The data of an image is not base64.") from None
    images.require_image(data)
    return data

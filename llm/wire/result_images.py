"""Puts images in results of tools where a model's provider reads them.

Anthropic's and Google's APIs read them in the result, and LiteLLM passes them on. OpenAI's reads images of users alone,
so there they follow the results of the same answer in a user's message, and, as strict servers want a word in between,
behind one of the assistant.
"""

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from llm import catalog
from llm.types import ModelImage, ModelMessage

#: LiteLLM's names of models that read images in results.
WITHIN_RESULTS = ("anthropic/*", "bedrock/*", "gemini/*", "vertex_ai/*")
IMAGES_FOLLOW = "(The images follow.)"
OF_RESULTS = "[The images of the tool results above, in their order.]"


def reads_within_results(model: str) -> bool:
    """Return whether a model's provider takes images in the result of a tool."""
    return catalog.provider_of(model) is None and any(fnmatchcase(model, pattern) for pattern in WITHIN_RESULTS)


def place_images(messages: Iterable[ModelMessage], model: str) -> list[ModelMessage]:
    """Return the messages of a session with the images of results where the model, which reads images, gets them."""
    if reads_within_results(model):
        return list(messages)
    out: list[ModelMessage] = []
    images: list[ModelImage] = []
    for message in messages:
        if message.role != "tool":
            _add(images, out)
            out.append(message)
            continue
        images += [replace(image, at=None) for image in message.images]
        out.append(replace(message, images=()) if message.images else message)
    _add(images, out)
    return out


def _add(images: list[ModelImage], out: list[ModelMessage]) -> None:
    if images:
        out.append(ModelMessage(role="assistant", content=IMAGES_FOLLOW))
        out.append(ModelMessage(role="user", content=OF_RESULTS, images=tuple(images)))
        images.clear()

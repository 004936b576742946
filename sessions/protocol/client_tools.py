"""What frames say of tools: those that a client can run, and the parts of what one gave."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError

from agents.client_tools import MAX_TOOLS, ToolDefinition
from sessions.protocol.codes import ErrorCode, FrameError


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TextPart(Part):
    type: Literal["text"]
    text: str


class ImagePart(Part):
    """An image that was uploaded to the session. Models that read images see it."""

    type: Literal["image"]
    image_id: UUID


class FilePart(Part):
    """A file of the workspace, by its hash. The model reads both."""

    type: Literal["file"]
    path: str = Field(min_length=1, max_length=1024)
    sha256: str = Field(pattern=r"^[0-9a-fA-F]{64}$")


type ResultPart = Annotated[TextPart | ImagePart | FilePart, Field(discriminator="type")]


def _kind_of_entry(value: Any) -> str:
    return "definition" if isinstance(value, dict | ToolDefinition) else "name"


type ToolEntry = Annotated[
    Annotated[str, Field(max_length=128), Tag("name")] | Annotated[ToolDefinition, Tag("definition")],
    Discriminator(_kind_of_entry),
]


def find_tools_problem(problem: Any) -> str:
    """Return what is wrong with tools that a client defines; an empty text where it only names some."""
    match problem["loc"][2:]:
        case ():
            entries = problem["input"]
            if problem["type"] == "too_long" and any(isinstance(entry, dict) for entry in entries):
                return f"A client may have at most {MAX_TOOLS} tools, and these are {len(entries)}."
        case (int() as place, "definition", *fields):
            field = ".".join(map(str, fields)) or "name"
            return f"Entry {place + 1} of `tools` is not usable: `{field[:100]}`: {problem['msg']}."
    return ""


_ENTRIES: TypeAdapter[list[ToolEntry]] = TypeAdapter(Annotated[list[ToolEntry], Field(max_length=MAX_TOOLS)])


def read_tools(entries: list[Any]) -> tuple[list[str], list[ToolDefinition]]:
    """Return the names and the definitions in what a client says of its tools elsewhere than in `hello`.

    Raises FrameError.
    """
    try:
        tools = _ENTRIES.validate_python(entries)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        located = {**problem, "loc": ("", "tools", *problem["loc"])}
        text = find_tools_problem(located) or f"The list of tools is not usable: {problem['msg']}."
        raise FrameError(ErrorCode.INVALID_TOOLS, text) from None
    return split_tools(tools)


def split_tools(entries: Sequence[ToolEntry]) -> tuple[list[str], list[ToolDefinition]]:
    """Return the tools that the server is expected to know, and those that the client defines."""
    names = [entry for entry in entries if isinstance(entry, str)]
    return names, [entry for entry in entries if isinstance(entry, ToolDefinition)]

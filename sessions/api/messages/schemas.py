"""Requests in Anthropic's words, as pydantic reads them.

Fields of betas are ignored, and so are blocks in answers that only Anthropic's own servers make. Null means that a
field is left out.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from sessions.api.completions.bounds import MAX_MESSAGES, MAX_OUTPUT_TOKENS, MAX_TOOLS, check_parts
from sessions.protocol.codes import MAX_CALL_ID_LENGTH

#: The type of a tool that the caller defines. All others are Anthropic's own.
CUSTOM = "custom"


def _require_no_truth(value: Any) -> Any:
    """Return what may be a number. Python's own conversion takes true for 1."""
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


type _Number = Annotated[int | float, BeforeValidator(_require_no_truth)]
type _Integer = Annotated[int, BeforeValidator(_require_no_truth)]
type _CallId = Annotated[str, Field(min_length=1, max_length=MAX_CALL_ID_LENGTH)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


class _Block(_Input):
    """What all blocks have."""

    type: str
    #: Marks the end of a prefix that the provider shall keep in its cache.
    cache_control: dict[str, Any] | None = None


class TextBlock(_Block):
    """A text."""

    text: str


class ImageSource(_Input):
    """Where an image is."""

    type: str
    media_type: str = ""
    data: str = ""
    url: str = ""


class ImageBlock(_Block):
    """An image."""

    source: ImageSource


class DocumentSource(_Input):
    """A document: a text, or a file of another format."""

    type: str
    media_type: str = ""
    data: str = ""
    content: "str | list[Block] | None" = None


class DocumentBlock(_Block):
    """A document."""

    source: DocumentSource
    title: str = ""
    context: str = ""


class SearchResultBlock(_Block):
    """A text that the caller has found somewhere."""

    source: str
    title: str = ""
    content: list[TextBlock]


class ToolReferenceBlock(_Block):
    """The name of a tool that the caller's search has found."""

    tool_name: str


class ThinkingBlock(_Block):
    """Thoughts of an earlier answer, with the signature that they came with."""

    thinking: str = ""
    signature: str = ""


class RedactedThinkingBlock(_Block):
    """Thoughts of an earlier answer that only their provider reads."""

    data: str = ""


class ToolUseBlock(_Block):
    """A call of a tool in an earlier answer."""

    id: _CallId
    name: Annotated[str, Field(min_length=1, max_length=128)]
    input: dict[str, Any] = {}


class ToolResultBlock(_Block):
    """The result of a call."""

    tool_use_id: _CallId
    content: "str | list[Block]" = ""
    is_error: bool = False


class OtherBlock(_Block):
    """A block of a kind that is not known here."""


_BLOCKS = {
    "text": TextBlock,
    "image": ImageBlock,
    "document": DocumentBlock,
    "search_result": SearchResultBlock,
    "tool_reference": ToolReferenceBlock,
    "thinking": ThinkingBlock,
    "redacted_thinking": RedactedThinkingBlock,
    "tool_use": ToolUseBlock,
    "tool_result": ToolResultBlock,
}


def _kind_of(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else getattr(block, "type", "")
    return kind if isinstance(kind, str) and kind in _BLOCKS else "other"


type Block = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[ImageBlock, Tag("image")]
    | Annotated[DocumentBlock, Tag("document")]
    | Annotated[SearchResultBlock, Tag("search_result")]
    | Annotated[ToolReferenceBlock, Tag("tool_reference")]
    | Annotated[ThinkingBlock, Tag("thinking")]
    | Annotated[RedactedThinkingBlock, Tag("redacted_thinking")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[OtherBlock, Tag("other")],
    Discriminator(_kind_of),
]


class InputMessage(_Input):
    """A message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]

    @property
    def blocks(self) -> list[Any]:
        """Return the content as blocks."""
        return [TextBlock(type="text", text=self.content)] if isinstance(self.content, str) else self.content


class CustomTool(_Input):
    """A tool that the caller can run."""

    type: str = CUSTOM
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
    description: str = ""
    input_schema: dict[str, Any]
    strict: bool | None = None
    cache_control: dict[str, Any] | None = None


class ServerTool(_Input):
    """A tool of Anthropic's: one that its servers run, or whose arguments only its models know."""

    type: str
    name: str = ""


def _kind_of_tool(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else getattr(tool, "type", None)
    return CUSTOM if kind in (None, CUSTOM, "function") else "server"


type Tool = Annotated[
    Annotated[CustomTool, Tag(CUSTOM)] | Annotated[ServerTool, Tag("server")], Discriminator(_kind_of_tool)
]


class ToolChoice(_Input):
    """Whether the model must call a tool, and which."""

    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False


class Thinking(_Input):
    """Whether the model is to think, and whether the caller wants to see it."""

    type: str
    budget_tokens: _Integer | None = None
    display: str = ""


class OutputFormat(_Input):
    """The form of the answer."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(_Input):
    """How much effort the model makes, and the form of its answer."""

    effort: Annotated[str, Field(max_length=32)] | None = None
    format: OutputFormat | None = None


class Prompt(_Input):
    """What the model reads, and how it is asked."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[InputMessage], Field(min_length=1, max_length=MAX_MESSAGES), BeforeValidator(check_parts)]
    system: str | list[TextBlock] = ""
    tools: Annotated[list[Tool], Field(max_length=MAX_TOOLS)] = []
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    #: The name of `output_config.format` while that was a beta.
    output_format: OutputFormat | None = None


class MessagesRequest(Prompt):
    """A request for an answer."""

    max_tokens: Annotated[_Integer, Field(gt=0, le=MAX_OUTPUT_TOKENS)]
    stop_sequences: list[str] = []
    temperature: _Number | None = None
    top_p: _Number | None = None
    top_k: _Integer | None = None
    stream: bool = False

    @property
    def shows_thinking(self) -> bool:
        """Return whether the caller has asked for thoughts, as a model of Anthropic's would send them."""
        return self.thinking is not None and self.thinking.type != "disabled" and self.thinking.display != "omitted"

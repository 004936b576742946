"""The params of a client's requests, as types. Unknown fields are ignored, as in all our protocols."""

from typing import Annotated, Any, Literal

from pydantic import AliasGenerator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from sessions.api.acp.rpc import Code, RpcError
from sessions.protocol.codes import MAX_CLIENT_ID_LENGTH, MAX_KEY_LENGTH

#: Of a prompt. A text of 100,000 characters is one of them.
MAX_BLOCKS = 200
MAX_PATH_LENGTH = 500
MAX_MCP_SERVERS = 50
#: The extensions in `_meta`, by their names.
CURSOR, CLIENT_MESSAGE_ID, OPEN_PROMPTS = "acp/cursor", "codelab/client_message_id", "codelab/open_prompts"


def _or_empty(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


type Meta = Annotated[dict[str, Any], BeforeValidator(_or_empty)]
type SessionId = Annotated[str, Field(min_length=1, max_length=MAX_KEY_LENGTH)]
type Name = Annotated[str, Field(max_length=MAX_CLIENT_ID_LENGTH)]
type Path = Annotated[str, Field(min_length=1, max_length=MAX_PATH_LENGTH)]


class Params(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, alias_generator=AliasGenerator(validation_alias=to_camel)
    )

    meta: Meta = Field({}, validation_alias="_meta")

    @property
    def codelab(self) -> dict[str, Any]:
        """Return our extension in `_meta`."""
        extension = self.meta.get("codelab")
        return extension if isinstance(extension, dict) else {}

    def chosen_name(self, field: str) -> str | None:
        """Return a name that a client has chosen in our extension, None where it is missing or unusable."""
        value = self.codelab.get(field)
        is_usable = isinstance(value, str) and 0 < len(value) <= MAX_CLIENT_ID_LENGTH and "\x00" not in value
        return str(value) if is_usable else None


class Initialize(Params):
    protocol_version: Annotated[int, Field(ge=0, le=65535)]
    client_capabilities: Meta = {}
    client_info: Meta = {}


class Authenticate(Params):
    method_id: Name


class FolderParams(Params):
    """What all requests say that open a session."""

    cwd: Path
    mcp_servers: list[Any] | None = Field(max_length=MAX_MCP_SERVERS)


class NewSession(FolderParams):
    pass


class OpenSession(FolderParams):
    """The params of `session/load`."""

    session_id: SessionId


class ResumeSession(OpenSession):
    mcp_servers: list[Any] | None = Field(None, max_length=MAX_MCP_SERVERS)


class ListSessions(Params):
    cwd: Path | None = None
    cursor: Annotated[str, Field(max_length=100)] | None = None


class OfSession(Params):
    """The params of `session/close`, `session/delete` and `session/cancel`."""

    session_id: SessionId


class SetMode(OfSession):
    mode_id: Name


class SetConfigOption(OfSession):
    config_id: Name
    value: Name | bool


class CancelRequest(Params):
    request_id: int | str | None


class TextBlock(Params):
    type: Literal["text"]
    text: str


class ImageBlock(Params):
    type: Literal["image"]
    data: str


class AudioBlock(Params):
    type: Literal["audio"]


class ResourceLink(Params):
    type: Literal["resource_link"]
    name: str
    uri: str


class Resource(Params):
    uri: str
    text: str | None = None


class ResourceBlock(Params):
    type: Literal["resource"]
    resource: Resource


type Block = Annotated[TextBlock | ImageBlock | AudioBlock | ResourceLink | ResourceBlock, Field(discriminator="type")]


class Prompt(OfSession):
    prompt: list[Block] = Field(max_length=MAX_BLOCKS)

    @property
    def client_message_id(self) -> str | None:
        """Return the client's own id of the message, by which a repeated prompt is the same one."""
        value = self.meta.get(CLIENT_MESSAGE_ID)
        return value if isinstance(value, str) and 0 < len(value) <= MAX_CLIENT_ID_LENGTH else None


class PermissionAnswer(Params):
    """A client's answer to `session/request_permission`."""

    class Outcome(Params):
        outcome: Literal["selected", "cancelled"]
        option_id: str = ""

    outcome: Outcome


def parse[P: Params](model: type[P], params: dict[str, Any]) -> P:
    """Return valid params. Raises RpcError with a sentence that names the field."""
    try:
        return TypeAdapter(model).validate_python(params)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise RpcError(Code.INVALID_PARAMS, f"Field `{place}` is not usable: {problem['msg']}.") from None

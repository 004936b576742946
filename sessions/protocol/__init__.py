"""The WebSocket protocol: the frames of clients and of the server, with error codes and close codes.

It serves the clients of the original unchanged (docs/protocol.md has the reasons): it ignores unknown fields, accepts
explicit nulls, sends no frame that they do not expect, and adds facts as extra fields of known frames. This package
must never use the database or the network. `manage.py export_protocol` writes it as JSON Schema and AsyncAPI.
"""

from sessions.protocol.client import (
    CLIENT_FRAME,
    AnyClientFrame,
    Cancel,
    ClientFrame,
    EditMessage,
    Hello,
    HitlDecision,
    HitlResponse,
    PlanDecision,
    Request,
    SwitchAgent,
    ToolResult,
    UserMessage,
    WithdrawMessage,
    decode,
    require_clean_text,
)
from sessions.protocol.codes import (
    EVENTS_SUBPROTOCOL,
    MAX_CALL_ID_LENGTH,
    MAX_CLIENT_ID_LENGTH,
    MAX_FEEDBACK_LENGTH,
    MAX_FRAME_BYTES,
    MAX_IMAGE_BYTES,
    MAX_IMAGES,
    MAX_KEY_LENGTH,
    MAX_MESSAGE_LENGTH,
    SUBPROTOCOLS,
    CloseCode,
    ErrorCode,
    FrameError,
    Rejected,
)
from sessions.protocol.server import (
    Accepted,
    AgentSwitched,
    AnyServerFrame,
    AssistantMessage,
    Error,
    EventFrame,
    PlanCompleted,
    PlanNotification,
    PlanProgress,
    ServerFrame,
    SubtaskCompleted,
    SubtaskStarted,
    ToolCallRequest,
    Welcome,
    encode,
    encode_event,
    encode_piece,
    error_frame,
)

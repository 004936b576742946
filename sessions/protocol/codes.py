"""Limits, stable codes, and the base of all errors that carry one."""

from enum import IntEnum, StrEnum

#: The WebSocket subprotocol of clients that read events.
EVENTS_SUBPROTOCOL = "codelab.v2"
#: The subprotocols that the server chooses from. A page that sends its token as one must also name one of these.
SUBPROTOCOLS = (EVENTS_SUBPROTOCOL, "codelab.v1")
#: Bytes of a client's frame; below the web server's own limit of 1 MiB, which closes the socket (1009).
MAX_FRAME_BYTES = 256 * 1024
#: Characters of a message.
MAX_MESSAGE_LENGTH = 100_000
#: Images of one message, and bytes of one image. Clients upload them by REST.
MAX_IMAGES, MAX_IMAGE_BYTES = 8, 5 * 1024 * 1024
#: Parts of the result of a tool.
MAX_RESULT_PARTS = 100
#: Characters of a session's key.
MAX_KEY_LENGTH = 128
#: Characters of a tool call's id.
MAX_CALL_ID_LENGTH = 128
#: Characters of a user's text for the model in a rejection.
MAX_FEEDBACK_LENGTH = 10_000
#: Characters of an id that a client chooses.
MAX_CLIENT_ID_LENGTH = 128
MAX_REF_LENGTH = 64


class ErrorCode(StrEnum):
    """Stable codes of error frames and of REST errors, besides the model's own (`llm.errors`)."""

    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_FIELD = "invalid_field"
    INVALID_TEXT = "invalid_text"
    EMPTY_MESSAGE = "empty_message"
    HELLO_FIRST = "hello_first"
    BINARY_FRAME = "binary_frame"
    BODY_TOO_LARGE = "body_too_large"
    FRAME_TOO_LARGE = "frame_too_large"
    TOO_MANY_FRAMES = "too_many_frames"
    INVALID_SESSION_KEY = "invalid_session_key"
    INVALID_WORKSPACE = "invalid_workspace"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    SESSION_NOT_FOUND = "session_not_found"
    SESSION_DELETED = "session_deleted"
    PROJECT_NOT_FOUND = "project_not_found"
    RULE_NOT_FOUND = "rule_not_found"
    TOO_MANY_RULES = "too_many_rules"
    TOO_MANY_PINNED = "too_many_pinned"
    MESSAGE_NOT_FOUND = "message_not_found"
    MESSAGE_BEGUN = "message_begun"
    NOT_REPLACEABLE = "not_replaceable"
    INVALID_IMAGE = "invalid_image"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_STORAGE_FULL = "image_storage_full"
    IMAGE_NOT_FOUND = "image_not_found"
    UNKNOWN_TOOL_CALL = "unknown_tool_call"
    INVALID_TOOLS = "invalid_tools"
    UNKNOWN_AGENT = "unknown_agent"
    UNKNOWN_PLAN = "unknown_plan"
    PLAN_IN_PROGRESS = "plan_in_progress"
    AGENTS_ARE_FIXED = "agents_are_fixed"
    APPROVAL_DECIDED = "approval_decided"
    INVALID_ARGUMENTS = "invalid_arguments"
    TOOL_CALL_FINISHED = "tool_call_finished"
    NOT_SIGNED_IN = "not_signed_in"
    #: The original's documents write these two in capitals.
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    TOKEN_INVALID = "TOKEN_INVALID"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    RATE_LIMITED = "rate_limited"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    SEARCH_TIMED_OUT = "search_timed_out"
    SHUTTING_DOWN = "shutting_down"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    BROKER_UNAVAILABLE = "broker_unavailable"
    TURN_TIMED_OUT = "turn_timed_out"
    TOO_EXPENSIVE = "too_expensive"
    BUDGET_EXHAUSTED = "budget_exhausted"
    PRICE_UNKNOWN = "price_unknown"
    PROVIDER_KEY_NOT_FOUND = "provider_key_not_found"
    PROVIDER_KEY_UNREADABLE = "provider_key_unreadable"
    PROVIDER_KEY_REFUSED = "provider_key_refused"
    UNKNOWN_PROVIDER = "unknown_provider"
    CANCELLED = "cancelled"
    NOTHING_TO_CANCEL = "nothing_to_cancel"
    TOO_MANY_STEPS = "too_many_steps"
    REPEATED_CALLS = "repeated_calls"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    TOOL_TIMED_OUT = "tool_timed_out"
    INTERNAL_ERROR = "internal_error"


class CloseCode(IntEnum):
    """Why the server closes a socket. Bad frames never do."""

    TOO_MANY_FRAMES = 1008
    INTERNAL_ERROR = 1011
    NOT_SIGNED_IN = 4401
    NOT_ALLOWED = 4403
    INVALID_SESSION_KEY = 4404
    SESSION_DELETED = 4410
    RATE_LIMITED = 4429


class Rejected(Exception):
    """The server does not do what a client asked for. `sessions.errors` has the tree of all subclasses."""

    def __init__(self, code: str, text: str, *, retry_after: int | None = None) -> None:
        super().__init__(text)
        #: An `ErrorCode`, or one of `llm.errors` where a model has failed. Clients match it, people read the text.
        self.code = code
        #: Seconds after which another try is worth it.
        self.retry_after = retry_after


class FrameError(Rejected):
    """A frame or a text that cannot be used. `ref` is the frame's, where it could be read."""

    def __init__(self, code: ErrorCode, text: str, *, ref: str | None = None) -> None:
        super().__init__(code, text)
        self.ref = ref

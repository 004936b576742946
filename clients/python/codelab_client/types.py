"""The frames, events and snapshots of codelab.v2. Generated from the server's schemas by `make schema`. Do not edit."""

from typing import Any, Literal, NotRequired, TypedDict

type ClientFrame = (
    UserMessage
    | EditMessage
    | WithdrawMessage
    | ToolResult
    | HitlDecision
    | HitlResponse
    | PlanDecision
    | SwitchAgent
    | SetWorkspace
    | Cancel
    | Hello
)
type ServerFrame = Welcome | Accepted | EventFrame | ToolCallRequest | Error
type Approval = Literal["ask", "never"]
type When = Literal["queue", "interrupt", "steer"]
type ResultPart = TextPart | ImagePart | FilePart
type ToolEntry = str | ToolDefinition
type EventFrame = (
    PlanProposedEvent
    | PlanDecidedEvent
    | PlanUpdatedEvent
    | PlanFinishedEvent
    | AgentSwitchedEvent
    | MessageAddedEvent
    | SessionChangedEvent
    | SessionDeletedEvent
    | WorkspaceChangedEvent
    | MessageEditedEvent
    | MessageWithdrawnEvent
    | TurnQueuedEvent
    | QueueChangedEvent
    | TurnStartedEvent
    | TextDeltaEvent
    | ReasoningDeltaEvent
    | ToolCallRequestedEvent
    | ApprovalDecidedEvent
    | ToolCallFinishedEvent
    | TurnWaitingEvent
    | RetryScheduledEvent
    | SummaryAddedEvent
    | TurnCompletedEvent
    | TurnFailedEvent
    | TurnCancelledEvent
    | TurnReplacedEvent
)
#: The kinds of events.
type Kind = Literal[
    "plan_proposed",
    "plan_decided",
    "plan_updated",
    "plan_finished",
    "agent_switched",
    "message_added",
    "session_changed",
    "session_deleted",
    "workspace_changed",
    "message_edited",
    "message_withdrawn",
    "turn_queued",
    "queue_changed",
    "turn_started",
    "text_delta",
    "reasoning_delta",
    "tool_call_requested",
    "approval_decided",
    "tool_call_finished",
    "turn_waiting",
    "retry_scheduled",
    "summary_added",
    "turn_completed",
    "turn_failed",
    "turn_cancelled",
    "turn_replaced",
]
#: What an event holds.
type Payload = (
    PlanProposedPayload
    | PlanDecidedPayload
    | PlanUpdatedPayload
    | PlanFinishedPayload
    | AgentSwitchedPayload
    | MessageAddedPayload
    | SessionChangedPayload
    | SessionDeletedPayload
    | WorkspaceChangedPayload
    | MessageEditedPayload
    | MessageWithdrawnPayload
    | TurnQueuedPayload
    | QueueChangedPayload
    | TurnStartedPayload
    | TextDeltaPayload
    | ReasoningDeltaPayload
    | ToolCallRequestedPayload
    | ApprovalDecidedPayload
    | ToolCallFinishedPayload
    | TurnWaitingPayload
    | RetryScheduledPayload
    | SummaryAddedPayload
    | TurnCompletedPayload
    | TurnFailedPayload
    | TurnCancelledPayload
    | TurnReplacedPayload
)


class Accepted(TypedDict):
    """Only in `codelab.v2`: what a frame asks for is stored. For messages, and for other frames that have a `ref`."""

    number: NotRequired[int]
    turn_id: NotRequired[str]
    type: Literal["accepted"]
    message_id: NotRequired[str]
    client_message_id: NotRequired[str]
    repeated: NotRequired[bool]
    ref: NotRequired[str]


class AgentSwitchedPayload(TypedDict):
    """Another agent answers from here on."""

    from_agent: str
    to_agent: str
    reason: str
    confidence: str
    by_user: NotRequired[Literal[True]]


class ApprovalDecidedPayload(TypedDict):
    """The approval of a tool call was decided."""

    turn_id: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    status: Literal["approved", "edited", "rejected", "expired"]
    via: Literal["socket", "result", "rest", "admin", "deadline"]
    display: NotRequired[dict[str, Any]]


class Cancel(TypedDict):
    """Stop a turn; without an id the one that runs, waits or is next. Text that clients have seen stays."""

    ref: NotRequired[str | None]
    type: Literal["cancel"]
    turn_id: NotRequired[str | None]


class ContextUse(TypedDict):
    """How much of a model's window a step has used, in tokens."""

    used: int
    window: int


class MessageImage(TypedDict):
    """An image that a message of the user or of a tool shows."""

    image_id: str
    media_type: str
    bytes: int


class MessageToolCall(TypedDict):
    """A tool call that a message of the assistant requests."""

    id: str
    name: str
    arguments: dict[str, Any] | str
    display: NotRequired[dict[str, Any]]
    edited: NotRequired[Literal[True]]
    extra: NotRequired[dict[str, Any]]


class DefinedTool(TypedDict):
    """What a client has said of a tool that it defines itself. The approval of a call covers it."""

    kind: Literal["read", "edit", "command", "other"]
    description: str


class EditMessage(TypedDict):
    """Change the text of a message that waits for its turn, or for the next step of the open one."""

    ref: NotRequired[str | None]
    type: Literal["edit_message"]
    message_id: str
    content: str


class Error(TypedDict):
    """An error. `content` and `error` have the same sentence, because old clients read one or the other."""

    number: NotRequired[int]
    turn_id: NotRequired[str]
    type: Literal["error"]
    content: str
    error: str
    error_code: str
    is_final: NotRequired[bool]
    retry_after: NotRequired[int]
    ref: NotRequired[str]


class FilePart(TypedDict):
    """A file of the workspace, by its hash. The model reads both."""

    type: Literal["file"]
    path: str
    sha256: str


class Git(TypedDict):
    """The state of the repository."""

    branch: NotRequired[str | None]
    head: NotRequired[str | None]
    status: NotRequired[str | None]


class HitlDecision(TypedDict):
    """The decision on a call that requires approval: run it, run it with other arguments, or reject it."""

    ref: NotRequired[str | None]
    type: Literal["hitl_decision"]
    call_id: str
    decision: Literal["approve", "edit", "reject"]
    modified_arguments: NotRequired[dict[str, Any] | None]
    feedback: NotRequired[str | None]


class HitlResponse(TypedDict):
    """The same as `hitl_decision`, with the field names of another document of the original."""

    ref: NotRequired[str | None]
    type: Literal["hitl_response"]
    call_id: str
    action: Literal["approve", "edit", "reject"]
    edited_arguments: NotRequired[dict[str, Any] | None]
    feedback: NotRequired[str | None]


class ImagePart(TypedDict):
    """An image that was uploaded to the session. Models that read images see it."""

    type: Literal["image"]
    image_id: str


class Instructions(TypedDict):
    """A file with the project's own rules for agents: AGENTS.md, or CLAUDE.md where it is missing."""

    path: str
    text: str


class MessageEditedPayload(TypedDict):
    """The text of a waiting message has changed."""

    message_id: str
    turn_id: str
    content: str


class MessageWithdrawnPayload(TypedDict):
    """A waiting message left the conversation."""

    message_id: str
    turn_id: str


class OpenTurn(TypedDict):
    """A turn that has not ended."""

    turn_id: str
    status: Literal["queued", "running", "waiting"]
    attempt: int
    error_code: NotRequired[str]
    retry_at: NotRequired[str]
    retry_after: NotRequired[int]


class PlanSubtask(TypedDict):
    """A sub-task of a plan."""

    id: str
    description: str
    agent: str
    dependencies: list[str]
    status: Literal["pending", "in_progress", "completed", "failed", "skipped"]
    result: str
    estimated_time: NotRequired[str]


class PlanDecision(TypedDict):
    """The decision on a proposed plan: carry it out, carry it out with other sub-tasks, or reject it."""

    ref: NotRequired[str | None]
    type: Literal["plan_decision"]
    plan_id: NotRequired[str | None]
    approval_request_id: NotRequired[str | None]
    decision: Literal["approve", "edit", "modify", "reject"]
    modified_subtasks: NotRequired[list[dict[str, Any]] | None]
    feedback: NotRequired[str | None]


class PlanFinishedPayload(TypedDict):
    """A plan has ended."""

    plan_id: str
    turn_id: str
    status: Literal["completed", "failed", "cancelled"]
    total: int
    completed: int
    failed: int


class PlanUpdatedPayload(TypedDict):
    """A sub-task has another status."""

    plan_id: str
    subtask_id: str
    status: Literal["in_progress", "completed", "failed", "skipped"]
    agent: str
    result: str


class QueueChangedPayload(TypedDict):
    """The order of the waiting turns has changed."""

    turn_ids: list[str]


class ReasoningDeltaPayload(TypedDict):
    """A piece of what the model thinks before a message."""

    turn_id: str
    message_id: str
    text: str
    again: NotRequired[Literal[True]]


class TextPart(TypedDict):
    """TextPart."""

    type: Literal["text"]
    text: str


class RetryScheduledPayload(TypedDict):
    """The model's provider asks to wait. The turn is queued, and goes on by itself at that time."""

    turn_id: str
    error_code: str
    retry_at: str
    retry_after: int


class Selection(TypedDict):
    """What the user has selected in the editor. Lines are counted from 1 and inclusive."""

    path: NotRequired[str | None]
    start_line: NotRequired[int | None]
    end_line: NotRequired[int | None]
    text: NotRequired[str | None]


class SessionChangedPayload(TypedDict):
    """The title or the mode has changed."""

    title: str
    mode: Literal["ask", "auto-read", "auto-edit", "full"]


class SessionDeletedPayload(TypedDict):
    """The session was deleted. No event follows."""

    session_id: NotRequired[str]


class SessionState(TypedDict):
    """The session itself."""

    session_id: str
    title: str
    current_agent: str
    mode: Literal["ask", "auto-read", "auto-edit", "full"]


class SummaryAddedPayload(TypedDict):
    """A model has summarized older messages, which no longer fit its window. From now on it reads this instead."""

    turn_id: str
    summary_id: str
    text: str
    messages: int
    until: str


class UnfinishedText(TypedDict):
    """A message that was begun and is not stored yet."""

    turn_id: str
    message_id: str
    text: str
    reasoning: NotRequired[str]


class WorkspaceChangedPayload(TypedDict):
    """The client works in another workspace, or something in it has changed. The same again has no event."""

    hash: str
    name: str
    system: str
    branch: str
    instructions: list[str]


class SwitchAgent(TypedDict):
    """Let another agent answer from now on."""

    ref: NotRequired[str | None]
    type: Literal["switch_agent"]
    agent_type: str
    content: NotRequired[str | None]
    reason: NotRequired[str | None]


class TextDeltaPayload(TypedDict):
    """A piece of a message."""

    turn_id: str
    message_id: str
    text: str
    again: NotRequired[Literal[True]]


class ToolCallFinishedPayload(TypedDict):
    """A tool call has its result."""

    turn_id: str
    call_id: str
    status: Literal["completed", "failed", "rejected", "unknown"]
    exit_code: NotRequired[int]
    sha256_before: NotRequired[str]
    sha256_after: NotRequired[str]
    diff: NotRequired[str]


class ToolCallRequest(TypedDict):
    """The model asks the client to run a tool, after the user's approval when `requires_approval` is true."""

    number: NotRequired[int]
    turn_id: NotRequired[str]
    type: Literal["tool_call"]
    call_id: str
    tool_name: str
    arguments: dict[str, Any]
    requires_approval: bool
    unknown: NotRequired[Literal[True]]
    reason: NotRequired[str]
    edited: NotRequired[Literal[True]]
    is_final: bool


class TurnCancelledPayload(TypedDict):
    """The turn was stopped."""

    input_tokens: NotRequired[int]
    output_tokens: NotRequired[int]
    cached_tokens: NotRequired[int]
    cost: NotRequired[str]
    turn_id: str


class TurnCompletedPayload(TypedDict):
    """The turn has ended with an answer."""

    turn_id: str
    input_tokens: int
    output_tokens: int
    cached_tokens: NotRequired[int]
    cost: NotRequired[str]


class TurnQueuedPayload(TypedDict):
    """The turn waits for a worker."""

    turn_id: str
    messages: NotRequired[list[str]]


class TurnStartedPayload(TypedDict):
    """A worker has begun a step of the turn."""

    turn_id: str
    attempt: int
    model: str
    agent: NotRequired[str]
    mode: NotRequired[Literal["ask", "auto-read", "auto-edit", "full"]]
    replaces: list[str]
    reads: NotRequired[list[str]]


class TurnWaitingPayload(TypedDict):
    """The turn waits for results or approvals of its tool calls."""

    turn_id: str


class WithdrawMessage(TypedDict):
    """Withdraw a message that waits for its turn, or for the next step of the open one."""

    ref: NotRequired[str | None]
    type: Literal["withdraw_message"]
    message_id: str


class AgentSwitchedEvent(TypedDict):
    """Another agent answers from here on."""

    type: Literal["event"]
    number: int
    kind: Literal["agent_switched"]
    payload: AgentSwitchedPayload


class ToolDefinition(TypedDict):
    """A tool that the client defines and runs. The model gets name, description and parameters as they are."""

    name: str
    description: NotRequired[str | None]
    parameters: NotRequired[dict[str, Any] | None]
    kind: NotRequired[Literal["read", "edit", "command", "other"] | None]
    approval: NotRequired[Approval | None]


class ApprovalDecidedEvent(TypedDict):
    """The approval of a tool call was decided."""

    type: Literal["event"]
    number: int
    kind: Literal["approval_decided"]
    payload: ApprovalDecidedPayload


class TurnFailedPayload(TypedDict):
    """The turn has ended with an error."""

    input_tokens: NotRequired[int]
    output_tokens: NotRequired[int]
    cached_tokens: NotRequired[int]
    cost: NotRequired[str]
    turn_id: str
    error_code: str
    error: str
    retry_after: NotRequired[int]
    context: NotRequired[ContextUse]


class Usage(TypedDict):
    """What the turns of a session that have ended used, replaced ones included."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: str
    unpriced_turns: int
    context: NotRequired[ContextUse]


class ConversationMessage(TypedDict):
    """A message of the conversation."""

    message_id: str
    turn_id: str
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    reasoning: NotRequired[str]
    tool_calls: NotRequired[list[MessageToolCall]]
    interrupted: NotRequired[Literal[True]]
    tool_call_id: NotRequired[str]
    images: NotRequired[list[MessageImage]]
    steer: NotRequired[Literal[True]]
    subtask_id: NotRequired[str]
    agent: NotRequired[str]
    mode: NotRequired[Literal["ask", "auto-read", "auto-edit", "full"]]
    model: NotRequired[str]
    context: NotRequired[ContextUse]
    read: NotRequired[Literal[True]]


class MessageAddedPayload(TypedDict):
    """A message of the conversation is stored."""

    message_id: str
    turn_id: str
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    reasoning: NotRequired[str]
    tool_calls: NotRequired[list[MessageToolCall]]
    interrupted: NotRequired[Literal[True]]
    tool_call_id: NotRequired[str]
    images: NotRequired[list[MessageImage]]
    steer: NotRequired[Literal[True]]
    subtask_id: NotRequired[str]
    agent: NotRequired[str]
    mode: NotRequired[Literal["ask", "auto-read", "auto-edit", "full"]]
    model: NotRequired[str]
    context: NotRequired[ContextUse]


class OpenToolCall(TypedDict):
    """A tool call without a result."""

    turn_id: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    requires_approval: bool
    agent: str
    rule: str
    reason: str
    display: NotRequired[dict[str, Any]]
    client_tool: NotRequired[DefinedTool]
    unknown: NotRequired[Literal[True]]
    edited: NotRequired[Literal[True]]


class ToolCallRequestedPayload(TypedDict):
    """A tool call waits for approval, or for its result."""

    turn_id: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    requires_approval: bool
    agent: str
    rule: str
    reason: str
    display: NotRequired[dict[str, Any]]
    client_tool: NotRequired[DefinedTool]
    unknown: NotRequired[Literal[True]]


class MessageEditedEvent(TypedDict):
    """The text of a waiting message has changed."""

    type: Literal["event"]
    number: int
    kind: Literal["message_edited"]
    payload: MessageEditedPayload


class MessageWithdrawnEvent(TypedDict):
    """A waiting message left the conversation."""

    type: Literal["event"]
    number: int
    kind: Literal["message_withdrawn"]
    payload: MessageWithdrawnPayload


class PlanDecidedPayload(TypedDict):
    """A plan was approved, edited or rejected."""

    plan_id: str
    turn_id: str
    call_id: str
    decision: Literal["approve", "edit", "reject"]
    goal: NotRequired[str]
    subtasks: NotRequired[list[PlanSubtask]]
    feedback: NotRequired[str]


class PlanProposedPayload(TypedDict):
    """A plan waits for approval."""

    plan_id: str
    turn_id: str
    call_id: str
    goal: str
    agent: str
    status: Literal["draft", "in_progress", "completed", "failed", "cancelled"]
    subtasks: list[PlanSubtask]


class PlanFinishedEvent(TypedDict):
    """A plan has ended."""

    type: Literal["event"]
    number: int
    kind: Literal["plan_finished"]
    payload: PlanFinishedPayload


class PlanUpdatedEvent(TypedDict):
    """A sub-task has another status."""

    type: Literal["event"]
    number: int
    kind: Literal["plan_updated"]
    payload: PlanUpdatedPayload


class QueueChangedEvent(TypedDict):
    """The order of the waiting turns has changed."""

    type: Literal["event"]
    number: int
    kind: Literal["queue_changed"]
    payload: QueueChangedPayload


class ReasoningDeltaEvent(TypedDict):
    """A piece of what the model thinks before a message."""

    type: Literal["event"]
    number: int
    kind: Literal["reasoning_delta"]
    payload: ReasoningDeltaPayload
    first: NotRequired[int]


class RetryScheduledEvent(TypedDict):
    """The model's provider asks to wait. The turn is queued, and goes on by itself at that time."""

    type: Literal["event"]
    number: int
    kind: Literal["retry_scheduled"]
    payload: RetryScheduledPayload


class Workspace(TypedDict):
    """The project and the machine that a client works on. All fields are optional."""

    name: NotRequired[str | None]
    system: NotRequired[str | None]
    shell: NotRequired[str | None]
    date: NotRequired[str | None]
    time_zone: NotRequired[str | None]
    git: NotRequired[Git | None]
    tree: NotRequired[list[str] | None]
    open_files: NotRequired[list[str] | None]
    selection: NotRequired[Selection | None]
    instructions: NotRequired[list[Instructions] | None]


class SessionChangedEvent(TypedDict):
    """The title or the mode has changed."""

    type: Literal["event"]
    number: int
    kind: Literal["session_changed"]
    payload: SessionChangedPayload


class SessionDeletedEvent(TypedDict):
    """The session was deleted. No event follows."""

    type: Literal["event"]
    number: int
    kind: Literal["session_deleted"]
    payload: SessionDeletedPayload


class SummaryAddedEvent(TypedDict):
    """A model has summarized older messages, which no longer fit its window. From now on it reads this instead."""

    type: Literal["event"]
    number: int
    kind: Literal["summary_added"]
    payload: SummaryAddedPayload


class TurnReplacedPayload(TypedDict):
    """The user's next message takes the place of an ended turn. All messages of the turn left the conversation."""

    turn_id: str
    by: str
    summary: NotRequired[SummaryAddedPayload | None]


class WorkspaceChangedEvent(TypedDict):
    """The client works in another workspace, or something in it has changed. The same again has no event."""

    type: Literal["event"]
    number: int
    kind: Literal["workspace_changed"]
    payload: WorkspaceChangedPayload


class TextDeltaEvent(TypedDict):
    """A piece of a message."""

    type: Literal["event"]
    number: int
    kind: Literal["text_delta"]
    payload: TextDeltaPayload
    first: NotRequired[int]


class ToolCallFinishedEvent(TypedDict):
    """A tool call has its result."""

    type: Literal["event"]
    number: int
    kind: Literal["tool_call_finished"]
    payload: ToolCallFinishedPayload


class TurnCancelledEvent(TypedDict):
    """The turn was stopped."""

    type: Literal["event"]
    number: int
    kind: Literal["turn_cancelled"]
    payload: TurnCancelledPayload


class TurnCompletedEvent(TypedDict):
    """The turn has ended with an answer."""

    type: Literal["event"]
    number: int
    kind: Literal["turn_completed"]
    payload: TurnCompletedPayload


class TurnQueuedEvent(TypedDict):
    """The turn waits for a worker."""

    type: Literal["event"]
    number: int
    kind: Literal["turn_queued"]
    payload: TurnQueuedPayload


class TurnStartedEvent(TypedDict):
    """A worker has begun a step of the turn."""

    type: Literal["event"]
    number: int
    kind: Literal["turn_started"]
    payload: TurnStartedPayload


class TurnWaitingEvent(TypedDict):
    """The turn waits for results or approvals of its tool calls."""

    type: Literal["event"]
    number: int
    kind: Literal["turn_waiting"]
    payload: TurnWaitingPayload


class UserMessage(TypedDict):
    """A message of the user. It starts a turn, waits for earlier turns, or goes into the open one."""

    ref: NotRequired[str | None]
    type: Literal["user_message"]
    content: str
    role: NotRequired[Literal["user", "assistant", "system", "tool"] | None]
    client_message_id: NotRequired[str | None]
    agent_type: NotRequired[str | None]
    when: NotRequired[When | None]
    interrupt: NotRequired[bool | None]
    images: NotRequired[list[str] | None]
    replaces: NotRequired[str | None]


class TurnFailedEvent(TypedDict):
    """The turn has ended with an error."""

    type: Literal["event"]
    number: int
    kind: Literal["turn_failed"]
    payload: TurnFailedPayload


class MessageAddedEvent(TypedDict):
    """A message of the conversation is stored."""

    type: Literal["event"]
    number: int
    kind: Literal["message_added"]
    payload: MessageAddedPayload


class ToolCallRequestedEvent(TypedDict):
    """A tool call waits for approval, or for its result."""

    type: Literal["event"]
    number: int
    kind: Literal["tool_call_requested"]
    payload: ToolCallRequestedPayload


class PlanDecidedEvent(TypedDict):
    """A plan was approved, edited or rejected."""

    type: Literal["event"]
    number: int
    kind: Literal["plan_decided"]
    payload: PlanDecidedPayload


class PlanProposedEvent(TypedDict):
    """A plan waits for approval."""

    type: Literal["event"]
    number: int
    kind: Literal["plan_proposed"]
    payload: PlanProposedPayload


class Snapshot(TypedDict):
    """The state of a session: the same as all events up to its number."""

    number: int
    session: SessionState
    messages: list[ConversationMessage]
    older_messages: bool
    turns: list[OpenTurn]
    texts: list[UnfinishedText]
    tool_calls: list[OpenToolCall]
    plan: PlanProposedPayload | None
    workspace: WorkspaceChangedPayload | None
    summary: SummaryAddedPayload | None
    usage: Usage


class ToolResult(TypedDict):
    """The result of a tool that ran in the client, or why it did not run. The turn continues after the last one."""

    ref: NotRequired[str | None]
    type: Literal["tool_result"]
    call_id: str
    result: NotRequired[Any]
    error: NotRequired[str | None]
    parts: NotRequired[list[ResultPart] | None]
    is_error: NotRequired[bool | None]


class SetWorkspace(TypedDict):
    """What the project and the machine are like now. Replaces all that was said of them before."""

    ref: NotRequired[str | None]
    type: Literal["workspace"]
    workspace: Workspace


class TurnReplacedEvent(TypedDict):
    """The user's next message takes the place of an ended turn. All messages of the turn left the conversation."""

    type: Literal["event"]
    number: int
    kind: Literal["turn_replaced"]
    payload: TurnReplacedPayload


class Hello(TypedDict):
    """The first frame in `codelab.v2`: what the client has and can do. The server answers with Welcome and events."""

    ref: NotRequired[str | None]
    type: Literal["hello"]
    after: NotRequired[int | None]
    tools: NotRequired[list[ToolEntry] | None]
    plans: NotRequired[bool | None]
    workspace: NotRequired[Workspace | None]
    client_id: NotRequired[str | None]
    lazy: NotRequired[bool]


class Welcome(TypedDict):
    """Only in `codelab.v2`: the answer to Hello. The next events have numbers above `after`."""

    number: NotRequired[int]
    turn_id: NotRequired[str]
    type: Literal["welcome"]
    mode: Literal["replay", "snapshot"]
    after: int
    snapshot: NotRequired[Snapshot]
    ref: NotRequired[str]

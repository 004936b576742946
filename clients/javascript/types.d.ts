/** The frames, events and snapshots of codelab.v2. Generated from the server's schemas by `make schema`. Do not edit. */

/** ClientFrame. */
export type ClientFrame = UserMessage | EditMessage | WithdrawMessage | ToolResult | HitlDecision | HitlResponse | PlanDecision | SwitchAgent | SetWorkspace | Cancel | Hello;

/** ServerFrame. */
export type ServerFrame = Welcome | Accepted | EventFrame | ToolCallRequest | Error;

/** Only in `codelab.v2`: what a frame asks for is stored. For messages, and for other frames that have a `ref`. */
export interface Accepted {
  number?: number;
  turn_id?: string;
  type: "accepted";
  message_id?: string;
  client_message_id?: string;
  repeated?: boolean;
  ref?: string;
}

/** Another agent answers from here on. */
export interface AgentSwitchedPayload {
  from_agent: string;
  to_agent: string;
  reason: string;
  confidence: string;
  by_user?: true;
}

/** What a client says about questions to its user. */
export type Approval = "ask" | "never";

/** The approval of a tool call was decided. */
export interface ApprovalDecidedPayload {
  turn_id: string;
  call_id: string;
  tool: string;
  arguments: Record<string, unknown>;
  status: "approved" | "edited" | "rejected" | "expired";
  via: "socket" | "result" | "rest" | "admin" | "deadline";
  display?: Record<string, unknown>;
}

/** Stop a turn; without an id the one that runs, waits or is next. Text that clients have seen stays. */
export interface Cancel {
  ref?: string | null;
  type: "cancel";
  turn_id?: string | null;
}

/** How much of a model's window a step has used, in tokens. */
export interface ContextUse {
  used: number;
  window: number;
}

/** An image that a message of the user or of a tool shows. */
export interface MessageImage {
  image_id: string;
  media_type: string;
  bytes: number;
}

/** A tool call that a message of the assistant requests. */
export interface MessageToolCall {
  id: string;
  name: string;
  arguments: Record<string, unknown> | string;
  display?: Record<string, unknown>;
  edited?: true;
  extra?: Record<string, unknown>;
}

/** What a client has said of a tool that it defines itself. The approval of a call covers it. */
export interface DefinedTool {
  kind: "read" | "edit" | "command" | "other";
  description: string;
}

/** Change the text of a message that waits for its turn, or for the next step of the open one. */
export interface EditMessage {
  ref?: string | null;
  type: "edit_message";
  message_id: string;
  content: string;
}

/** An error. `content` and `error` have the same sentence, because old clients read one or the other. */
export interface Error {
  number?: number;
  turn_id?: string;
  type: "error";
  content: string;
  error: string;
  error_code: string;
  is_final?: boolean;
  retry_after?: number;
  ref?: string;
}

/** A file of the workspace, by its hash. The model reads both. */
export interface FilePart {
  type: "file";
  path: string;
  sha256: string;
}

/** The state of the repository. */
export interface Git {
  branch?: string | null;
  head?: string | null;
  status?: string | null;
}

/** The decision on a call that requires approval: run it, run it with other arguments, or reject it. */
export interface HitlDecision {
  ref?: string | null;
  type: "hitl_decision";
  call_id: string;
  decision: "approve" | "edit" | "reject";
  modified_arguments?: Record<string, unknown> | null;
  feedback?: string | null;
}

/** The same as `hitl_decision`, with the field names of another document of the original. */
export interface HitlResponse {
  ref?: string | null;
  type: "hitl_response";
  call_id: string;
  action: "approve" | "edit" | "reject";
  edited_arguments?: Record<string, unknown> | null;
  feedback?: string | null;
}

/** An image that was uploaded to the session. Models that read images see it. */
export interface ImagePart {
  type: "image";
  image_id: string;
}

/** A file with the project's own rules for agents: AGENTS.md, or CLAUDE.md where it is missing. */
export interface Instructions {
  path: string;
  text: string;
}

/** The text of a waiting message has changed. */
export interface MessageEditedPayload {
  message_id: string;
  turn_id: string;
  content: string;
}

/** A waiting message left the conversation. */
export interface MessageWithdrawnPayload {
  message_id: string;
  turn_id: string;
}

/** A turn that has not ended. */
export interface OpenTurn {
  turn_id: string;
  status: "queued" | "running" | "waiting";
  attempt: number;
  error_code?: string;
  retry_at?: string;
  retry_after?: number;
}

/** A sub-task of a plan. */
export interface PlanSubtask {
  id: string;
  description: string;
  agent: string;
  dependencies: Array<string>;
  status: "pending" | "in_progress" | "completed" | "failed" | "skipped";
  result: string;
  estimated_time?: string;
}

/** The decision on a proposed plan: carry it out, carry it out with other sub-tasks, or reject it. */
export interface PlanDecision {
  ref?: string | null;
  type: "plan_decision";
  plan_id?: string | null;
  approval_request_id?: string | null;
  decision: "approve" | "edit" | "modify" | "reject";
  modified_subtasks?: Array<Record<string, unknown>> | null;
  feedback?: string | null;
}

/** A plan has ended. */
export interface PlanFinishedPayload {
  plan_id: string;
  turn_id: string;
  status: "completed" | "failed" | "cancelled";
  total: number;
  completed: number;
  failed: number;
}

/** A sub-task has another status. */
export interface PlanUpdatedPayload {
  plan_id: string;
  subtask_id: string;
  status: "in_progress" | "completed" | "failed" | "skipped";
  agent: string;
  result: string;
}

/** The order of the waiting turns has changed. */
export interface QueueChangedPayload {
  turn_ids: Array<string>;
}

/** A piece of what the model thinks before a message. */
export interface ReasoningDeltaPayload {
  turn_id: string;
  message_id: string;
  text: string;
  again?: true;
}

/** TextPart. */
export interface TextPart {
  type: "text";
  text: string;
}

/** The model's provider asks to wait. The turn is queued, and goes on by itself at that time. */
export interface RetryScheduledPayload {
  turn_id: string;
  error_code: string;
  retry_at: string;
  retry_after: number;
}

/** What the user has selected in the editor. Lines are counted from 1 and inclusive. */
export interface Selection {
  path?: string | null;
  start_line?: number | null;
  end_line?: number | null;
  text?: string | null;
}

/** The title or the mode has changed. */
export interface SessionChangedPayload {
  title: string;
  mode: "ask" | "auto-read" | "auto-edit" | "full";
}

/** The session was deleted. No event follows. */
export interface SessionDeletedPayload {
  session_id?: string;
}

/** The session itself. */
export interface SessionState {
  session_id: string;
  title: string;
  current_agent: string;
  mode: "ask" | "auto-read" | "auto-edit" | "full";
}

/** A model has summarized older messages, which no longer fit its window. From now on it reads this instead. */
export interface SummaryAddedPayload {
  turn_id: string;
  summary_id: string;
  text: string;
  messages: number;
  until: string;
}

/** A message that was begun and is not stored yet. */
export interface UnfinishedText {
  turn_id: string;
  message_id: string;
  text: string;
  reasoning?: string;
}

/** The client works in another workspace, or something in it has changed. The same again has no event. */
export interface WorkspaceChangedPayload {
  hash: string;
  name: string;
  system: string;
  branch: string;
  instructions: Array<string>;
}

/** Let another agent answer from now on. */
export interface SwitchAgent {
  ref?: string | null;
  type: "switch_agent";
  agent_type: string;
  content?: string | null;
  reason?: string | null;
}

/** A piece of a message. */
export interface TextDeltaPayload {
  turn_id: string;
  message_id: string;
  text: string;
  again?: true;
}

/** A tool call has its result. */
export interface ToolCallFinishedPayload {
  turn_id: string;
  call_id: string;
  status: "completed" | "failed" | "rejected" | "unknown";
  exit_code?: number;
  sha256_before?: string;
  sha256_after?: string;
  diff?: string;
}

/** The model asks the client to run a tool, after the user's approval when `requires_approval` is true. */
export interface ToolCallRequest {
  number?: number;
  turn_id?: string;
  type: "tool_call";
  call_id: string;
  tool_name: string;
  arguments: Record<string, unknown>;
  requires_approval: boolean;
  unknown?: true;
  reason?: string;
  edited?: true;
  is_final: boolean;
}

/** The turn was stopped. */
export interface TurnCancelledPayload {
  input_tokens?: number;
  output_tokens?: number;
  cached_tokens?: number;
  cost?: string;
  turn_id: string;
}

/** The turn has ended with an answer. */
export interface TurnCompletedPayload {
  turn_id: string;
  input_tokens: number;
  output_tokens: number;
  cached_tokens?: number;
  cost?: string;
}

/** The turn waits for a worker. */
export interface TurnQueuedPayload {
  turn_id: string;
  messages?: Array<string>;
}

/** A worker has begun a step of the turn. */
export interface TurnStartedPayload {
  turn_id: string;
  attempt: number;
  model: string;
  agent?: string;
  mode?: "ask" | "auto-read" | "auto-edit" | "full";
  replaces: Array<string>;
  reads?: Array<string>;
}

/** The turn waits for results or approvals of its tool calls. */
export interface TurnWaitingPayload {
  turn_id: string;
}

/** When. */
export type When = "queue" | "interrupt" | "steer";

/** Withdraw a message that waits for its turn, or for the next step of the open one. */
export interface WithdrawMessage {
  ref?: string | null;
  type: "withdraw_message";
  message_id: string;
}

/** Another agent answers from here on. */
export interface AgentSwitchedEvent {
  type: "event";
  number: number;
  kind: "agent_switched";
  payload: AgentSwitchedPayload;
}

/** A tool that the client defines and runs. The model gets name, description and parameters as they are. */
export interface ToolDefinition {
  name: string;
  description?: string | null;
  parameters?: Record<string, unknown> | null;
  kind?: "read" | "edit" | "command" | "other" | null;
  approval?: Approval | null;
}

/** The approval of a tool call was decided. */
export interface ApprovalDecidedEvent {
  type: "event";
  number: number;
  kind: "approval_decided";
  payload: ApprovalDecidedPayload;
}

/** The turn has ended with an error. */
export interface TurnFailedPayload {
  input_tokens?: number;
  output_tokens?: number;
  cached_tokens?: number;
  cost?: string;
  turn_id: string;
  error_code: string;
  error: string;
  retry_after?: number;
  context?: ContextUse;
}

/** What the turns of a session that have ended used, replaced ones included. */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cached_tokens: number;
  cost: string;
  unpriced_turns: number;
  context?: ContextUse;
}

/** A message of the conversation. */
export interface ConversationMessage {
  message_id: string;
  turn_id: string;
  role: "system" | "user" | "assistant" | "tool";
  content: string;
  reasoning?: string;
  tool_calls?: Array<MessageToolCall>;
  interrupted?: true;
  tool_call_id?: string;
  images?: Array<MessageImage>;
  steer?: true;
  subtask_id?: string;
  agent?: string;
  mode?: "ask" | "auto-read" | "auto-edit" | "full";
  model?: string;
  context?: ContextUse;
  read?: true;
}

/** A message of the conversation is stored. */
export interface MessageAddedPayload {
  message_id: string;
  turn_id: string;
  role: "system" | "user" | "assistant" | "tool";
  content: string;
  reasoning?: string;
  tool_calls?: Array<MessageToolCall>;
  interrupted?: true;
  tool_call_id?: string;
  images?: Array<MessageImage>;
  steer?: true;
  subtask_id?: string;
  agent?: string;
  mode?: "ask" | "auto-read" | "auto-edit" | "full";
  model?: string;
  context?: ContextUse;
}

/** A tool call without a result. */
export interface OpenToolCall {
  turn_id: string;
  call_id: string;
  tool: string;
  arguments: Record<string, unknown>;
  requires_approval: boolean;
  agent: string;
  rule: string;
  reason: string;
  display?: Record<string, unknown>;
  client_tool?: DefinedTool;
  unknown?: true;
  edited?: true;
}

/** A tool call waits for approval, or for its result. */
export interface ToolCallRequestedPayload {
  turn_id: string;
  call_id: string;
  tool: string;
  arguments: Record<string, unknown>;
  requires_approval: boolean;
  agent: string;
  rule: string;
  reason: string;
  display?: Record<string, unknown>;
  client_tool?: DefinedTool;
  unknown?: true;
}

/** The text of a waiting message has changed. */
export interface MessageEditedEvent {
  type: "event";
  number: number;
  kind: "message_edited";
  payload: MessageEditedPayload;
}

/** A waiting message left the conversation. */
export interface MessageWithdrawnEvent {
  type: "event";
  number: number;
  kind: "message_withdrawn";
  payload: MessageWithdrawnPayload;
}

/** A plan was approved, edited or rejected. */
export interface PlanDecidedPayload {
  plan_id: string;
  turn_id: string;
  call_id: string;
  decision: "approve" | "edit" | "reject";
  goal?: string;
  subtasks?: Array<PlanSubtask>;
  feedback?: string;
}

/** A plan waits for approval. */
export interface PlanProposedPayload {
  plan_id: string;
  turn_id: string;
  call_id: string;
  goal: string;
  agent: string;
  status: "draft" | "in_progress" | "completed" | "failed" | "cancelled";
  subtasks: Array<PlanSubtask>;
}

/** A plan has ended. */
export interface PlanFinishedEvent {
  type: "event";
  number: number;
  kind: "plan_finished";
  payload: PlanFinishedPayload;
}

/** A sub-task has another status. */
export interface PlanUpdatedEvent {
  type: "event";
  number: number;
  kind: "plan_updated";
  payload: PlanUpdatedPayload;
}

/** The order of the waiting turns has changed. */
export interface QueueChangedEvent {
  type: "event";
  number: number;
  kind: "queue_changed";
  payload: QueueChangedPayload;
}

/** A piece of what the model thinks before a message. */
export interface ReasoningDeltaEvent {
  type: "event";
  number: number;
  kind: "reasoning_delta";
  payload: ReasoningDeltaPayload;
  first?: number;
}

/** ResultPart. */
export type ResultPart = TextPart | ImagePart | FilePart;

/** The model's provider asks to wait. The turn is queued, and goes on by itself at that time. */
export interface RetryScheduledEvent {
  type: "event";
  number: number;
  kind: "retry_scheduled";
  payload: RetryScheduledPayload;
}

/** The project and the machine that a client works on. All fields are optional. */
export interface Workspace {
  name?: string | null;
  system?: string | null;
  shell?: string | null;
  date?: string | null;
  time_zone?: string | null;
  git?: Git | null;
  tree?: Array<string> | null;
  open_files?: Array<string> | null;
  selection?: Selection | null;
  instructions?: Array<Instructions> | null;
}

/** The title or the mode has changed. */
export interface SessionChangedEvent {
  type: "event";
  number: number;
  kind: "session_changed";
  payload: SessionChangedPayload;
}

/** The session was deleted. No event follows. */
export interface SessionDeletedEvent {
  type: "event";
  number: number;
  kind: "session_deleted";
  payload: SessionDeletedPayload;
}

/** A model has summarized older messages, which no longer fit its window. From now on it reads this instead. */
export interface SummaryAddedEvent {
  type: "event";
  number: number;
  kind: "summary_added";
  payload: SummaryAddedPayload;
}

/** The user's next message takes the place of an ended turn. All messages of the turn left the conversation. */
export interface TurnReplacedPayload {
  turn_id: string;
  by: string;
  summary?: SummaryAddedPayload | null;
}

/** The client works in another workspace, or something in it has changed. The same again has no event. */
export interface WorkspaceChangedEvent {
  type: "event";
  number: number;
  kind: "workspace_changed";
  payload: WorkspaceChangedPayload;
}

/** A piece of a message. */
export interface TextDeltaEvent {
  type: "event";
  number: number;
  kind: "text_delta";
  payload: TextDeltaPayload;
  first?: number;
}

/** A tool call has its result. */
export interface ToolCallFinishedEvent {
  type: "event";
  number: number;
  kind: "tool_call_finished";
  payload: ToolCallFinishedPayload;
}

/** The turn was stopped. */
export interface TurnCancelledEvent {
  type: "event";
  number: number;
  kind: "turn_cancelled";
  payload: TurnCancelledPayload;
}

/** The turn has ended with an answer. */
export interface TurnCompletedEvent {
  type: "event";
  number: number;
  kind: "turn_completed";
  payload: TurnCompletedPayload;
}

/** The turn waits for a worker. */
export interface TurnQueuedEvent {
  type: "event";
  number: number;
  kind: "turn_queued";
  payload: TurnQueuedPayload;
}

/** A worker has begun a step of the turn. */
export interface TurnStartedEvent {
  type: "event";
  number: number;
  kind: "turn_started";
  payload: TurnStartedPayload;
}

/** The turn waits for results or approvals of its tool calls. */
export interface TurnWaitingEvent {
  type: "event";
  number: number;
  kind: "turn_waiting";
  payload: TurnWaitingPayload;
}

/** A message of the user. It starts a turn, waits for earlier turns, or goes into the open one. */
export interface UserMessage {
  ref?: string | null;
  type: "user_message";
  content: string;
  role?: "user" | "assistant" | "system" | "tool" | null;
  client_message_id?: string | null;
  agent_type?: string | null;
  when?: When | null;
  interrupt?: boolean | null;
  images?: Array<string> | null;
  replaces?: string | null;
}

/** ToolEntry. */
export type ToolEntry = string | ToolDefinition;

/** The turn has ended with an error. */
export interface TurnFailedEvent {
  type: "event";
  number: number;
  kind: "turn_failed";
  payload: TurnFailedPayload;
}

/** A message of the conversation is stored. */
export interface MessageAddedEvent {
  type: "event";
  number: number;
  kind: "message_added";
  payload: MessageAddedPayload;
}

/** A tool call waits for approval, or for its result. */
export interface ToolCallRequestedEvent {
  type: "event";
  number: number;
  kind: "tool_call_requested";
  payload: ToolCallRequestedPayload;
}

/** A plan was approved, edited or rejected. */
export interface PlanDecidedEvent {
  type: "event";
  number: number;
  kind: "plan_decided";
  payload: PlanDecidedPayload;
}

/** A plan waits for approval. */
export interface PlanProposedEvent {
  type: "event";
  number: number;
  kind: "plan_proposed";
  payload: PlanProposedPayload;
}

/** The state of a session: the same as all events up to its number. */
export interface Snapshot {
  number: number;
  session: SessionState;
  messages: Array<ConversationMessage>;
  older_messages: boolean;
  turns: Array<OpenTurn>;
  texts: Array<UnfinishedText>;
  tool_calls: Array<OpenToolCall>;
  plan: PlanProposedPayload | null;
  workspace: WorkspaceChangedPayload | null;
  summary: SummaryAddedPayload | null;
  usage: Usage;
}

/** The result of a tool that ran in the client, or why it did not run. The turn continues after the last one. */
export interface ToolResult {
  ref?: string | null;
  type: "tool_result";
  call_id: string;
  result?: unknown;
  error?: string | null;
  parts?: Array<ResultPart> | null;
  is_error?: boolean | null;
}

/** What the project and the machine are like now. Replaces all that was said of them before. */
export interface SetWorkspace {
  ref?: string | null;
  type: "workspace";
  workspace: Workspace;
}

/** The user's next message takes the place of an ended turn. All messages of the turn left the conversation. */
export interface TurnReplacedEvent {
  type: "event";
  number: number;
  kind: "turn_replaced";
  payload: TurnReplacedPayload;
}

/** The first frame in `codelab.v2`: what the client has and can do. The server answers with Welcome and events. */
export interface Hello {
  ref?: string | null;
  type: "hello";
  after?: number | null;
  tools?: Array<ToolEntry> | null;
  plans?: boolean | null;
  workspace?: Workspace | null;
  client_id?: string | null;
  lazy?: boolean;
}

/** Only in `codelab.v2`: the answer to Hello. The next events have numbers above `after`. */
export interface Welcome {
  number?: number;
  turn_id?: string;
  type: "welcome";
  mode: "replay" | "snapshot";
  after: number;
  snapshot?: Snapshot;
  ref?: string;
}

/** EventFrame. */
export type EventFrame = PlanProposedEvent | PlanDecidedEvent | PlanUpdatedEvent | PlanFinishedEvent | AgentSwitchedEvent | MessageAddedEvent | SessionChangedEvent | SessionDeletedEvent | WorkspaceChangedEvent | MessageEditedEvent | MessageWithdrawnEvent | TurnQueuedEvent | QueueChangedEvent | TurnStartedEvent | TextDeltaEvent | ReasoningDeltaEvent | ToolCallRequestedEvent | ApprovalDecidedEvent | ToolCallFinishedEvent | TurnWaitingEvent | RetryScheduledEvent | SummaryAddedEvent | TurnCompletedEvent | TurnFailedEvent | TurnCancelledEvent | TurnReplacedEvent;

/** The payload of each kind of event. */
export interface Payloads {
  plan_proposed: PlanProposedPayload;
  plan_decided: PlanDecidedPayload;
  plan_updated: PlanUpdatedPayload;
  plan_finished: PlanFinishedPayload;
  agent_switched: AgentSwitchedPayload;
  message_added: MessageAddedPayload;
  session_changed: SessionChangedPayload;
  session_deleted: SessionDeletedPayload;
  workspace_changed: WorkspaceChangedPayload;
  message_edited: MessageEditedPayload;
  message_withdrawn: MessageWithdrawnPayload;
  turn_queued: TurnQueuedPayload;
  queue_changed: QueueChangedPayload;
  turn_started: TurnStartedPayload;
  text_delta: TextDeltaPayload;
  reasoning_delta: ReasoningDeltaPayload;
  tool_call_requested: ToolCallRequestedPayload;
  approval_decided: ApprovalDecidedPayload;
  tool_call_finished: ToolCallFinishedPayload;
  turn_waiting: TurnWaitingPayload;
  retry_scheduled: RetryScheduledPayload;
  summary_added: SummaryAddedPayload;
  turn_completed: TurnCompletedPayload;
  turn_failed: TurnFailedPayload;
  turn_cancelled: TurnCancelledPayload;
  turn_replaced: TurnReplacedPayload;
}

/** Sessions of CodeLab AI Service, in browsers and in Node. `types.d.ts` has the frames and events. */

import type {
  AgentSwitchedPayload,
  EventFrame,
  Hello,
  OpenToolCall,
  OpenTurn,
  MessageAddedPayload,
  PlanProposedPayload,
  Snapshot,
  ToolCallFinishedPayload,
  ToolResult,
  UnfinishedText,
  Usage,
  WorkspaceChangedPayload,
} from "./types.js";

export type * from "./types.js";

export const CLOSE_NOT_SIGNED_IN: 4401;
export const CLOSE_DELETED: 4410;

/** An error of the protocol, or of this client: `session_closed`. */
export class CodelabError extends Error {
  readonly code: string;
  readonly retryAfter?: number;
}

/** A turn that ended without an answer. */
export class TurnFailed extends CodelabError {
  readonly turnId: string;
}

/** Tokens of a sign-in; `expiresAt` in milliseconds, as Date.now(). */
export interface Tokens {
  access: string;
  refresh?: string;
  expiresAt: number;
}

/** Who the client is. Without any of these: the browser's cookie, or open access. */
export interface CredentialOptions {
  /** A token or an API key, or a function that returns one for each socket. */
  token?: string | (() => string | Promise<string>);
  login?: { username: string; password: string };
  tokens?: Tokens;
  /** Called with new tokens before they are used. */
  save?: (tokens: Tokens) => unknown;
  /** Returns a ticket for a socket of this session. */
  ticket?: (name: string) => string | Promise<string>;
  clientId?: string;
}

export function signIn(url: string, username: string, password: string, options?: { clientId?: string }): Promise<Tokens>;

export class Credentials {
  constructor(url: string, options?: CredentialOptions);
  tokens?: Tokens;
  token(): Promise<string | null>;
}

export type When = "queue" | "interrupt" | "steer";

/** A call that this client runs. */
export interface RunningCall {
  call_id: string;
  name: string;
  arguments: Record<string, unknown>;
  turn_id: string;
  /** A person has changed the model's arguments. */
  edited: boolean;
}

/** A tool: one that the server knows by its name, or, with a description, one of this client's own. */
export interface Tool {
  name: string;
  /** What it returns is the result. What it throws is told to the model. */
  run(arguments_: any, context: { call: RunningCall; signal: AbortSignal }): unknown;
  description?: string;
  /** A JSON Schema of an object. */
  parameters?: Record<string, unknown>;
  kind?: "read" | "edit" | "command" | "other";
  approval?: "ask" | "never";
}

export type DecisionWord = "approve" | "edit" | "reject";

/** A user's answer; nothing leaves the question to others. */
export type Decision<Fields> = DecisionWord | ({ decision: DecisionWord; feedback?: string } & Fields) | undefined;

/** What a session keeps through a reload of its page. */
export interface SessionStorage {
  takeState(): State | undefined;
  entries(): object[];
  saveEntries(entries: object[]): void;
}

/** A snapshot, as an event that replaces all before it. */
export interface SnapshotEvent {
  kind: "snapshot";
  number: number;
  payload: Snapshot;
}

export interface SessionOptions {
  tools?: Tool[];
  /** Asked for each call that requires approval, until `signal` says that the question is over. */
  approve?: (call: OpenToolCall, context: { signal: AbortSignal }) => Promise<Decision<{ arguments?: Record<string, unknown> }>> | Decision<{ arguments?: Record<string, unknown> }>;
  /** Asked for each plan. With it models may propose plans. */
  approvePlan?: (plan: PlanProposedPayload, context: { signal: AbortSignal }) => Promise<Decision<{ subtasks?: object[] }>> | Decision<{ subtasks?: object[] }>;
  /** Whether this client can show plans. */
  plans?: boolean;
  workspace?: Record<string, unknown>;
  /** The same after a restart of this program: only then it gets its open calls back. */
  clientId?: string;
  /** All events from the first one on, instead of a snapshot. */
  fromStart?: boolean;
  /** Begin a new session with its first message, not with the socket. */
  lazy?: boolean;
  /** Leave refused messages in the outbox. */
  keepRefused?: boolean;
  storage?: SessionStorage;
  onChange?: () => void;
  onEvent?: (event: EventFrame | SnapshotEvent) => void;
  onNotice?: (text: string, frame?: object, code?: string) => void;
  onState?: (name: "connecting" | "open" | "waiting" | "refused", code?: number) => void;
}

/** What a turn used. Without a cost it is unknown. */
export interface TurnUse {
  input_tokens?: number;
  output_tokens?: number;
  cached_tokens?: number;
  cost?: string;
}

/** What a client knows of a session. Plain data; each event makes another one. */
export interface State {
  number: number;
  olderMessages: boolean;
  order: string[];
  turns: Record<string, OpenTurn>;
  ends: Record<string, { status: "completed" | "failed" | "cancelled"; error?: string; code?: string } & TurnUse>;
  messages: Array<MessageAddedPayload & { number?: number }>;
  texts: Record<string, UnfinishedText>;
  calls: Record<string, OpenToolCall>;
  plans: Record<string, PlanProposedPayload>;
  outcomes: Record<string, Omit<ToolCallFinishedPayload, "turn_id" | "call_id">>;
  workspace: WorkspaceChangedPayload | null;
  agent: string;
  mode: string;
  switches: Array<AgentSwitchedPayload & { number: number }>;
  usage: Usage;
}

export const EMPTY_STATE: Readonly<State>;
export function apply(state: State, event: Pick<EventFrame, "number" | "kind" | "payload">): State;
export function fromSnapshot(snapshot: Snapshot): State;
/** The ids of the open turns, the current one first. */
export function openTurns(state: Pick<State, "order" | "turns">): string[];

export interface StoredMessage {
  message_id: string;
  turn_id: string;
  repeated: boolean;
}

export interface Answer {
  text: string;
  turnId: string;
  inputTokens?: number;
  outputTokens?: number;
}

/** A session, connected until it is closed. Promises reject with a CodelabError. */
export class Session {
  constructor(name: string, options?: SessionOptions & { url?: string; credentials?: Credentials; WebSocket?: unknown });
  readonly key: string;
  readonly state: State;
  readonly isOpen: boolean;
  start(): this;
  send(content: string, options?: { when?: When; images?: string[]; agent?: string; replaces?: string; id?: string }): Promise<StoredMessage>;
  ask(content: string, options?: { when?: When; images?: string[]; agent?: string; id?: string }): Promise<Answer>;
  cancel(turn_id?: string): Promise<unknown>;
  result(call_id: string, fields: Omit<ToolResult, "type" | "call_id">): Promise<unknown>;
  decide(call_id: string, decision: DecisionWord, fields?: { arguments?: Record<string, unknown>; feedback?: string }): Promise<unknown>;
  decidePlan(plan_id: string, decision: DecisionWord, fields?: { subtasks?: object[]; feedback?: string }): Promise<unknown>;
  edit(message_id: string, content: string): Promise<unknown>;
  withdraw(message_id: string): Promise<unknown>;
  /** Have a waiting message count sooner. */
  hurry(message_id: string, when: When): Promise<unknown>;
  switchAgent(agent_type: string): Promise<unknown>;
  setWorkspace(workspace: Record<string, unknown>): Promise<unknown>;
  /** Run other tools from now on; an empty list: none. */
  setTools(tools: Tool[], workspace?: Record<string, unknown>): void;
  /** Leave the session. Turns go on in the server. */
  close(): void;
}

/** The socket of a session; `Session` has one. */
export class Connection {
  constructor(
    name: string,
    options: {
      url: string;
      credentials?: Credentials;
      WebSocket?: unknown;
      hello: () => Hello;
      onFrame: (frame: object) => void;
      onState: (name: string, code?: number, refusal?: object) => void;
    },
  );
  send(frame: object): void;
  close(): void;
}

export class Client {
  /** `WebSocket` is for Node before 22, which has none by default. */
  constructor(url: string, options?: CredentialOptions & { WebSocket?: unknown });
  readonly credentials: Credentials;
  session(name: string, options?: SessionOptions): Session;
  /** A request to the REST API: the path below /api/v1. */
  request(path: string, options?: { method?: string; body?: unknown }): Promise<any>;
  sessions(options?: { limit?: number }): Promise<any[]>;
  history(name: string): Promise<any>;
}

/** Sessions against a running service with the scripted model: CODELAB_URL, and CODELAB_LOGIN as name:password. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { after, test } from "node:test";

import { apply, Client, CodelabError, EMPTY_STATE, fromSnapshot, Session, signIn, TurnFailed } from "@codelab/client";

const url = process.env.CODELAB_URL ?? "http://127.0.0.1:8000";
const [username, password] = (process.env.CODELAB_LOGIN ?? ":").split(/:(.*)/);
const client = new Client(url);
const opened = [];
after(() => opened.forEach((session) => session.close()));

function open(options, { name = `js-${randomUUID()}`, of = client } = {}) {
  const session = of.session(name, options);
  opened.push(session);
  return session;
}

/** Wait until `condition()` is true after a change of the session. */
async function until(session, condition) {
  const target = new EventTarget();
  const before = session.onChange;
  session.onChange = () => (before(), target.dispatchEvent(new Event("change")));
  while (!condition()) await once(target, "change", { signal: AbortSignal.timeout(20_000) });
  session.onChange = before;
}

test("a message is stored and answered, and its events come in order", async () => {
  const events = [];
  const session = open({ fromStart: true, onEvent: (event) => events.push(event) });
  const { text, inputTokens } = await session.ask("/say Hello there.");
  assert.equal(text, "Hello there.");
  assert.ok(inputTokens > 0);
  assert.deepEqual(events.map(({ number }) => number), events.map((_, index) => index + 1));
  assert.equal(events.at(-1).kind, "turn_completed");
});

test("an answer is whole although its turn has ended before", async () => {
  const session = open();
  const id = randomUUID();
  const first = await session.ask("/say Hello there.", { id });
  assert.deepEqual(await session.ask("/say Hello there.", { id }), first);
});

test("a state from a snapshot is that of all events", async () => {
  const events = [];
  const session = open({ fromStart: true, onEvent: (event) => events.push(event) });
  await session.ask("/say One.\n/say Two.");
  const snapshots = [];
  const other = open({ onEvent: (event) => snapshots.push(event) }, { name: session.key });
  await until(other, () => other.isOpen);
  const whole = events.reduce(apply, EMPTY_STATE);
  const begun = fromSnapshot(snapshots[0].payload);
  assert.equal(snapshots[0].kind, "snapshot");
  assert.deepEqual(begun.messages, whole.messages.map(({ number, ...message }) => message));
  assert.deepEqual(begun.order, whole.order);
});

test("sockets that are cut lose and repeat nothing", async () => {
  let frames = 0;
  class Cut extends WebSocket {
    set onmessage(handle) {
      super.onmessage = (event) => {
        // In the middle of something: an answer to a frame, a piece of text.
        if (++frames % 9 === 0) this.close();
        else handle(event);
      };
    }
  }
  const numbers = [];
  const session = open({ fromStart: true, onEvent: ({ number, first = number }) => numbers.push([first, number]) }, { of: new Client(url, { WebSocket: Cut }) });
  const answers = await Promise.all(["a", "b", "c"].map((word) => session.ask(`/say ${word}`)));
  assert.deepEqual(answers.map(({ text }) => text), ["a", "b", "c"]);
  assert.ok(frames > 18, "it was cut at least twice");
  numbers.reduce((last, [first, number]) => (assert.equal(first, last + 1), number), 0);
  const { messages } = await client.history(session.key);
  assert.deepEqual(messages.filter(({ role }) => role === "user").map(({ content }) => content), ["/say a", "/say b", "/say c"]);
});

test("tools run once, after the user's approval, with what was approved", async () => {
  const ran = [];
  const asked = [];
  const session = open({
    tools: [
      { name: "read_file", run: ({ path }) => (ran.push(path), { success: true, content: "# Hi", lines_read: 1 }) },
      { name: "write_file", run: ({ path, content }) => (ran.push([path, content]), { success: true, bytes_written: 1 }) },
      { name: "delete_file", run: () => { throw new Error("It is not there."); } },
    ],
    approve: async ({ call_id, tool, arguments: args }) => {
      asked.push([call_id, tool]);
      return tool === "write_file" ? { decision: "edit", arguments: { ...args, content: "y" } } : "approve";
    },
  });
  const call = (name, args) => `/call ${name} ${JSON.stringify(args)}`;
  const { text } = await session.ask(
    [call("read_file", { path: "a" }), call("write_file", { path: "b", content: "x" }), call("delete_file", { path: "c" }), "/say Done."].join("\n"),
  );
  assert.equal(text, "Done.");
  assert.deepEqual(ran, ["a", ["b", "y"]]);
  assert.deepEqual(asked.map(([, tool]) => tool), ["write_file", "delete_file"]);
  const results = session.state.messages.filter(({ role }) => role === "tool").map(({ content }) => content);
  assert.match(results.at(-1), /Error: It is not there\./);
  assert.ok(session.state.messages.some(({ tool_calls }) => tool_calls?.some(({ edited }) => edited)));
});

test("a call that is offered again after a cut is answered and not run again", async () => {
  let runs = 0;
  const socketsOf = [];
  class Watched extends WebSocket {
    constructor(...options) {
      super(...options);
      socketsOf.push(this);
    }
  }
  const session = open(
    {
      tools: [
        {
          name: "read_file",
          async run() {
            runs++;
            socketsOf.at(-1).close();
            await new Promise((resolve) => setTimeout(resolve, 1500));
            return { success: true, content: "", lines_read: 0 };
          },
        },
      ],
    },
    { of: new Client(url, { WebSocket: Watched }) },
  );
  const { text } = await session.ask('/call read_file {"path": "a"}\n/say Read.');
  assert.deepEqual([text, runs, socketsOf.length > 1], ["Read.", 1, true]);
});

test("a rejection is told to the model, and a stop ends tools and questions", async () => {
  let stopped = 0;
  const session = open({
    tools: [{ name: "read_file", run: (_, { signal }) => new Promise((resolve) => signal.addEventListener("abort", () => resolve(++stopped))) }, { name: "write_file", run: () => 0 }],
    approve: () => ({ decision: "reject", feedback: "Not this file." }),
  });
  await session.ask('/call write_file {"path": "b", "content": "x"}\n/say Well.');
  assert.ok(session.state.messages.some(({ content }) => content.includes("Not this file.")));
  const turn = session.ask('/call read_file {"path": "a"}');
  await until(session, () => session.toolbox.runs.size);
  await session.cancel();
  await assert.rejects(turn, (error) => error instanceof TurnFailed && error.code === "cancelled");
  assert.equal(stopped, 1);
});

test("a result that cannot be sent is an error for the model", async () => {
  const results = { long: "x".repeat(300_000), longer: "x".repeat(1_200_000), number: 1n };
  const session = open({ tools: [{ name: "read_file", run: ({ path }) => results[path] }] });
  const { text } = await session.ask(`${Object.keys(results).map((path) => `/call read_file {"path": "${path}"}`).join("\n")}\n/say Well.`);
  assert.equal(text, "Well.");
  const told = session.state.messages.filter(({ role }) => role === "tool").map(({ content }) => content);
  assert.equal(told.length, 3);
  assert.ok(told.every((content) => /cannot take its result|BigInt/.test(content)), told.join("\n"));
});

test("a session whose tools are refused ends with the reason", async () => {
  const session = open({ tools: [{ name: "read_file", description: "Another one.", run: () => 1 }] });
  await assert.rejects(session.send("/say x"), (error) => error instanceof CodelabError && error.code === "invalid_tools");
});

test("a plan is answered by a function", async () => {
  const goals = [];
  const session = open({ approvePlan: ({ goal }) => (goals.push(goal), "approve") });
  await session.switchAgent("architect");
  const plan = { goal: "g", subtasks: [{ id: "a", description: "/say a", agent: "coder" }, { id: "b", description: "/say b", agent: "ask", dependencies: ["a"] }] };
  await session.ask(`/call create_plan ${JSON.stringify(plan)}`);
  assert.deepEqual(goals, ["g"]);
  assert.deepEqual(Object.values(session.state.plans).map(({ status }) => status), ["completed"]);
});

test("waiting messages are edited, withdrawn and answered first", async () => {
  const session = open({ fromStart: true });
  const slow = session.ask("/wait 60");
  const [first, second, third] = await Promise.all([session.send("/say first"), session.send("/say second"), session.send("/say third")]);
  await session.edit(first.message_id, "/say edited");
  await session.withdraw(second.message_id);
  await session.hurry(third.message_id, "interrupt");
  await assert.rejects(slow, { code: "cancelled" });
  await until(session, () => Object.keys(session.state.turns).length === 0);
  const answers = session.state.messages.filter(({ role }) => role === "assistant").map(({ content }) => content);
  assert.deepEqual(answers.sort(), ["edited", "third"]);
});

test("a message steers the open turn, and the workspace is told", async () => {
  let answer;
  const result = new Promise((resolve) => (answer = resolve));
  const session = open({ tools: [{ name: "read_file", run: () => result }], workspace: { name: "shop" } });
  const turn = session.ask('/call read_file {"path": "a"}\n/say Read.');
  await until(session, () => session.toolbox.runs.size);
  const steered = await session.send("Look at b, too.", { when: "steer" });
  await session.setWorkspace({ name: "store" });
  answer({ success: true, content: "", lines_read: 0 });
  const { turnId } = await turn;
  assert.equal(steered.turn_id, turnId);
  const added = session.state.messages.find(({ message_id }) => message_id === steered.message_id);
  assert.deepEqual([added.steer, added.turn_id], [true, turnId]);
  assert.equal(session.state.workspace.name, "store");
});

test("a message that steers is answered by the turn that reads it, and so is the first", async () => {
  const session = open();
  const first = session.ask("/tokens 40 40");
  await until(session, () => Object.keys(session.state.texts).length);
  // The only step of that turn runs already, so the message gets a turn of its own.
  const second = await session.ask("/say Steered.", { when: "steer" });
  assert.equal(second.text, "Steered.");
  assert.match((await first).text, /t39 $/);
  assert.notEqual(second.turnId, (await first).turnId);
});

test("refusals have codes", async () => {
  const session = open();
  await assert.rejects(session.send(" "), (error) => error instanceof CodelabError && error.code === "empty_message");
  await assert.rejects(session.cancel(), { code: "nothing_to_cancel" });
  await assert.rejects(session.switchAgent("made-up"), { code: "unknown_agent" });
  await assert.rejects(session.result("made-up", { result: 1 }), { code: "unknown_tool_call" });
  await assert.rejects(session.ask("/fail refused"), (error) => error instanceof TurnFailed && error.code === "model_refused");
  const same = await session.send("/say once", { id: "the-same" });
  const again = await session.send("/say once", { id: "the-same" });
  assert.deepEqual([again.message_id, again.repeated], [same.message_id, true]);
  session.close();
  assert.throws(() => new Session("x", { url, WebSocket: null }).start(), /WebSocket/);
});

test("a sign-in opens sockets, and its tokens are refreshed; so do tickets", { skip: !password && "CODELAB_LOGIN is not set" }, async () => {
  const saved = [];
  const tokens = await signIn(url, username, password);
  const expired = new Client(url, { tokens: { ...tokens, expiresAt: 0 }, save: (fresh) => saved.push(fresh) });
  assert.equal((await open({}, { of: expired }).ask("/say in")).text, "in");
  assert.ok(saved.length === 1 && saved[0].access !== tokens.access);
  const byName = new Client(url, { login: { username, password } });
  assert.equal((await open({}, { of: byName }).ask("/say me")).text, "me");
  const ticket = async (name) => (await byName.request("ws-ticket", { method: "POST", body: { session_id: name } })).ticket;
  assert.equal((await open({}, { of: new Client(url, { ticket }) }).ask("/say in")).text, "in");
  await assert.rejects(open({}, { of: new Client(url, { token: "made-up" }) }).ask("x"), { code: "TOKEN_INVALID" });
  await assert.rejects(open({}, { of: new Client(url, { login: { username, password: "wrong" } }) }).ask("x"), CodelabError);
});

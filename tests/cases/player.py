"""Plays a case: as a session over a socket, and as a request to the OpenAI-compatible API. Keeps what was seen."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.cases.files import Json, Script
from tests.live.service import Frame, Service, Socket

#: Failed calls are repeated, so requests are counted only then.
SETTLE_SECONDS = 3.0
TURN_TIMEOUT_SECONDS = 60.0


type Room = AbstractAsyncContextManager[Any]


@dataclass(slots=True)
class Turn:
    """One turn of a session, as a client without a subprotocol and the log of events tell it."""

    frames: list[Frame] = field(default_factory=list)
    events: list[Frame] = field(default_factory=list)

    @property
    def calls(self) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == "tool_call"]

    @property
    def errors(self) -> list[str]:
        return [frame["error_code"] for frame in self.frames if frame["type"] == "error"]

    @property
    def text(self) -> str:
        """Return the whole text of the frame that ends the turn."""
        finals = [frame for frame in self.frames if frame["type"] == "assistant_message" and frame["is_final"]]
        return str(finals[-1]["content"]) if finals else ""

    @property
    def end(self) -> str:
        return next((event["kind"] for event in reversed(self.events) if event["kind"].startswith("turn_")), "none")

    @property
    def thought(self) -> str:
        return "".join(event["payload"]["text"] for event in self.events if event["kind"] == "reasoning_delta")


@dataclass(slots=True)
class Session:
    """A session after its last turn."""

    turns: list[Turn]
    history: list[Json]
    requests: list[Json]
    headers: list[dict[str, str]]


@dataclass(slots=True)
class Answer:
    """An answer of the OpenAI-compatible API, put together when it was streamed."""

    status: int
    text: str = ""
    thought: str = ""
    calls: list[Json] = field(default_factory=list)
    reason: str | None = None
    error: Json | None = None
    message: Json = field(default_factory=dict)
    requests: list[Json] = field(default_factory=list)
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    raw: str = ""


def client_of(service: Service) -> httpx.AsyncClient:
    """Return a client for all requests of a run: to make one takes longer than most requests, for its certificates."""
    return httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=60)


async def play_session(
    service: Service, http: httpx.AsyncClient, script: Script, steps: list[Json], *, agent: str, room: Room
) -> Session:
    """Do what a case's client does, in a session of its own. `room` limits how many do at once."""
    turns: list[Turn] = []
    async with room, service.connect(f"/ws/case-{script.name}") as client:
        for place, step in enumerate(steps):
            if "message" not in step:
                continue
            following = steps[place + 1] if place + 1 < len(steps) else {}
            turns.append(await _take_turn(client, step["message"], following, agent))
    await asyncio.sleep(SETTLE_SECONDS)
    path = f"/api/v1/sessions/case-{script.name}"
    events = (await http.get(f"{path}/events")).json()["events"]
    history = (await http.get(f"{path}/history")).json()["messages"]
    names = list(dict.fromkeys(event["payload"]["turn_id"] for event in events if event["kind"] == "turn_started"))
    for name, turn in zip(names, turns, strict=False):
        turn.events = [event for event in events if event["payload"].get("turn_id") == name]
    return Session(turns, history, script.requests, script.headers)


async def _take_turn(client: Socket, message: str, following: Json, agent: str) -> Turn:
    """Send a message, and do what follows it."""
    turn = Turn()
    await client.say(message, agent_type=agent)
    if "cancel_after_seconds" in following:
        await asyncio.sleep(following["cancel_after_seconds"])
        await client.send({"type": "cancel"})
    try:
        async with asyncio.timeout(TURN_TIMEOUT_SECONDS):
            await _follow(client, turn, message, agent, following.get("answer_tool_calls"))
    except TimeoutError:
        seen = [frame.get("error_code", frame["type"]) for frame in turn.frames]
        raise TimeoutError(f"the turn did not end; frames: {seen}") from None
    return turn


async def _follow(client: Socket, turn: Turn, message: str, agent: str, result: Any) -> None:
    """Read frames to the end of a turn, and answer calls of tools. What a busy machine refuses is sent again."""
    reply = {"result": result} if result else {"error": "No answer to calls was expected."}
    is_repeated = False
    while True:
        frame = await client.receive()
        if is_repeated and frame.get("error_code") == "tool_call_finished":
            # One of several results was stored before.
            continue
        if frame.get("error_code") == "storage_unavailable":
            is_repeated = True
            for call in turn.calls:
                await client.send({"type": "tool_result", "call_id": call["call_id"], **reply})
            if not turn.frames:
                await client.say(message, agent_type=agent)
            continue
        turn.frames.append(frame)
        match frame["type"]:
            case "tool_call":
                await client.send({"type": "tool_result", "call_id": frame["call_id"], **reply})
            case "error":
                return
            case "assistant_message" if frame["is_final"]:
                return


async def post(http: httpx.AsyncClient, body: Json, *, headers: dict[str, str] | None = None) -> Answer:
    """Post a body to the OpenAI-compatible API and read the answer, whole or streamed."""
    response = await http.post("/v1/chat/completions", json=body, headers=headers)
    answer = Answer(response.status_code, headers=response.headers, raw=response.text)
    if response.headers["content-type"].startswith("text/event-stream"):
        _read_stream(answer, response.text)
        return answer
    read = response.json()
    answer.error = read.get("error")
    for choice in read.get("choices", ()):
        message = answer.message = choice["message"]
        answer.text, answer.thought = message.get("content") or "", message.get("reasoning_content") or ""
        answer.calls, answer.reason = message.get("tool_calls") or [], choice["finish_reason"]
    return answer


def _read_stream(answer: Answer, text: str) -> None:
    calls: dict[int, Json] = {}
    for line in text.splitlines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        chunk = json.loads(line.removeprefix("data: "))
        answer.error = chunk.get("error") or answer.error
        for choice in chunk.get("choices", ()):
            delta = choice["delta"]
            answer.text += delta.get("content") or ""
            answer.thought += delta.get("reasoning_content") or ""
            answer.reason = choice["finish_reason"] or answer.reason
            for piece in delta.get("tool_calls") or ():
                call = calls.setdefault(piece["index"], {"function": {"name": "", "arguments": ""}})
                call |= {key: value for key, value in piece.items() if key not in ("function", "index")}
                for key, value in (piece.get("function") or {}).items():
                    call["function"][key] += value or ""
    answer.calls = [calls[index] for index in sorted(calls)]
    answer.message = {"role": "assistant", "content": answer.text or None}
    if answer.calls:
        answer.message["tool_calls"] = answer.calls


async def play_door(
    http: httpx.AsyncClient, script: Script, body: Json | list[Any], *, stream: bool, room: Room
) -> list[Answer]:
    """Post a case's body to its provider's model; a list of two is a request and one with the tool's result."""
    first = dict(body[0] if isinstance(body, list) else body)
    first |= {"model": f"{script.name}/fake"} | ({"stream": True} if stream else {})
    async with room:
        answers = [await post(http, first)]
        if isinstance(body, list) and answers[0].message:
            result = {"role": "tool", "tool_call_id": "c1", "content": "r"}
            answers.append(await post(http, first | {"messages": [*first["messages"], answers[0].message, result]}))
    await asyncio.sleep(SETTLE_SECONDS)
    for answer in answers:
        answer.requests = script.requests
    return answers

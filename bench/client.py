"""The load client, a process of its own: opens sockets, sends messages on all at once, records when frames arrive.

It reads a command as a line of JSON and answers with one. While answers stream it only records; `bench.figures`
evaluates the record afterwards.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

from bench.provider import wish
from bench.records import Turn
from bench.requests import Request
from bench.sockets import ENDS, EVENTS, Broken, Message, Socket

#: What each file of the client has.
RESULT = "def add(a: int, b: int) -> int:\n    return a + b\n"
#: Handshakes at the same time.
MAX_HANDSHAKES = 32
#: Delay between the start of a turn, or its first text, and its cancellation.
CANCEL_DELAY_SECONDS = 0.3


class Talker:
    """One socket and its current turn."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        socket.on_frame, socket.on_close = self._take, self._fail
        self._number = 0
        self._reason = ""
        self._turn = Turn("", 0)
        self.begun, self.spoken, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @classmethod
    async def open(cls, url: str, subprotocol: str) -> Talker:
        """Open a socket; send `hello` on one that follows events, with the tool that the provider asks for."""
        talker = cls(await Socket.open(url, subprotocol))
        if subprotocol == EVENTS:
            # Without `after`, because the ends of earlier turns would look like those of its own.
            talker._socket.send({"type": "hello", "tools": ["read_file"]})
            async with asyncio.timeout(30):
                await talker.begun.wait()
        return talker

    def close(self) -> None:
        self._socket.close()

    def say(self, **what: Any) -> Turn:
        """Start a turn."""
        for event in (self.begun, self.spoken, self.over):
            event.clear()
        self._turn = turn = Turn(what["wish_id"], time.monotonic())
        try:
            self._socket.send({"type": "user_message", "content": wish(**what)})
        except Broken as error:
            self._fail(self._reason or str(error))
        return turn

    def cancel(self) -> None:
        """Cancel the current turn."""
        self._turn.cancelled = time.monotonic()
        self._socket.send({"type": "cancel"})

    def _fail(self, reason: str) -> None:
        self._reason = self._turn.error = reason
        self.over.set()

    def _take(self, now: float, frame: Message) -> None:
        turn = self._turn
        match frame["type"]:
            case "event":
                if self._number and frame.get("first", frame["number"]) != self._number + 1:
                    turn.error = f"event {frame['number']} came after {self._number}"
                self._number = frame["number"]
                kind = frame["kind"]
                if kind == "text_delta":
                    turn.texts.append((now, frame["payload"]["text"]))
                    self.spoken.set()
                elif kind == "turn_started":
                    self.begun.set()
                elif kind in ENDS:
                    self._end(now, frame["payload"].get("error", ""))
            case "tool_call":
                turn.results.append(time.monotonic())
                self._socket.send({"type": "tool_result", "call_id": frame["call_id"], "result": RESULT})
            case "token":
                turn.texts.append((now, frame["token"]))
            case "accepted":
                turn.accepted = now
            case "welcome":
                self._number = frame["after"]
                self.begun.set()
            case "error":
                self._end(now, frame["content"])
            case "done":
                self._end(now, "")

    def _end(self, now: float, error: str) -> None:
        self._turn.ended = now
        self._turn.error = self._turn.error or error
        self.over.set()


class Client:
    """The commands, one method each."""

    def __init__(self) -> None:
        self._groups: dict[str, list[Talker]] = {}

    async def open(self, *, group: str, urls: Sequence[str], subprotocol: str) -> Message:
        """Open a socket for each address, a few at a time."""
        gate = asyncio.Semaphore(MAX_HANDSHAKES)

        async def one(url: str) -> Talker:
            async with gate:
                return await Talker.open(url, subprotocol)

        started = time.monotonic()
        talkers = self._groups.setdefault(group, [])
        talkers += await asyncio.gather(*(one(url) for url in urls))
        return {"open": len(talkers), "seconds": time.monotonic() - started}

    async def close(self, *, group: str) -> Message:
        """Close the sockets of a group."""
        for talker in self._groups.pop(group, []):
            talker.close()
        # Let the close frames out before anything else is measured.
        await asyncio.sleep(0.5)
        return {}

    async def talk(
        self, *, group: str, prefix: str, tokens: int, rate: int, patience: float, count: int | None = None
    ) -> Message:
        """Send a message on all sockets of a group, or the first ones, at the same moment; wait for all answers."""
        talkers = self._groups[group][:count]
        used = time.process_time()
        turns = [talker.say(wish_id=f"{prefix}-{i}", tokens=tokens, rate=rate) for i, talker in enumerate(talkers)]
        waiting = [asyncio.ensure_future(talker.over.wait()) for talker in talkers]
        _, late = await asyncio.wait(waiting, timeout=patience)
        for task in late:
            task.cancel()
        used = time.process_time() - used
        return {"turns": [asdict(turn) for turn in turns], "cpu": used}

    async def request(
        self, *, api: str, urls: Sequence[str], prefix: str, tokens: int, rate: int, patience: float
    ) -> Message:
        """Ask an API for answers at the same moment, each on a connection of its own; wait for all of them."""
        requests = await asyncio.gather(*(Request.open(api, url) for url in urls))
        used = time.process_time()
        async with asyncio.timeout(patience):
            turns = await asyncio.gather(
                *(each.run(wish_id=f"{prefix}-{i}", tokens=tokens, rate=rate) for i, each in enumerate(requests))
            )
        used = time.process_time() - used
        return {"turns": [asdict(turn) for turn in turns], "cpu": used}

    async def cycle(self, *, group: str, prefix: str, seconds: float, tools: int, at_once: int) -> Message:
        """Run turns of one token for so many seconds, this many at once. The sockets of a group take turns."""
        started, used = time.monotonic(), time.process_time()
        turns: list[Turn] = []
        free = deque(self._groups[group])

        async def one() -> None:
            while free and time.monotonic() < started + seconds:
                talker = free.popleft()
                turns.append(turn := talker.say(wish_id=f"{prefix}-{len(turns)}", tokens=1, rate=0, tools=tools))
                async with asyncio.timeout(60):
                    await talker.over.wait()
                if not turn.error:
                    free.append(talker)

        await asyncio.gather(*(one() for _ in range(at_once)))
        ended, used = time.monotonic(), time.process_time() - used
        return {"turns": [asdict(turn) for turn in turns], "seconds": ended - started, "cpu": used}

    async def stop(self, *, group: str, prefix: str, silent: bool) -> Message:
        """Start a turn on each socket of a group in sequence; cancel it while the model streams or is silent."""
        turns = []
        for i, talker in enumerate(self._groups[group]):
            async with asyncio.timeout(30):
                turn = talker.say(wish_id=f"{prefix}-{i}", tokens=1500, rate=50, silent=silent)
                await (talker.begun if silent else talker.spoken).wait()
                await asyncio.sleep(CANCEL_DELAY_SECONDS)
                talker.cancel()
                await talker.over.wait()
            turns.append(asdict(turn) | {"texts": []})
        return {"turns": turns}

    async def attach(self, *, url: str, subprotocol: str, after: int | None, until: int) -> Message:
        """Connect and follow a session up to an event, or to `welcome` when it announces a snapshot."""
        over: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        frames = 0

        def take(now: float, frame: Message) -> None:
            nonlocal frames
            frames += 1
            number = frame["after"] if frame.get("mode") == "snapshot" else frame.get("number", 0)
            if number >= until and not over.done():
                over.set_result(now)

        started = time.monotonic()
        socket = await Socket.open(url, subprotocol)
        socket.on_frame = take
        if subprotocol:
            socket.send({"type": "hello"} | ({} if after is None else {"after": after}))
        async with asyncio.timeout(60):
            ended = await over
        socket.close()
        return {"seconds": ended - started, "frames": frames}


async def main() -> None:
    """Execute commands until the input ends."""
    client = Client()
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        method: Callable[..., Awaitable[Message]] = getattr(client, command.pop("do"))
        print(json.dumps(await method(**command)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

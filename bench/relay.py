"""The floor: a bare relay from a provider's HTTP lines to a WebSocket, the least that a server can do.

It has no database, history or accounts. The product's cost is reported in multiples of it, measured beside it on the
same machine with the same load. `python -m bench.relay PORT` prints its own port and ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.server import ServerConnection, serve

REQUEST = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{}"


async def answer(socket: ServerConnection, provider: int) -> None:
    """Forward each message to the provider, and each token to the client as it arrives."""
    async for wish in socket:
        reader, writer = await asyncio.open_connection("127.0.0.1", provider)
        body = json.dumps({"model": "fake", "stream": True, "messages": [{"role": "user", "content": wish}]})
        writer.write(REQUEST.format(len(body), body).encode())
        async for line in reader:
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and (token := choices[0]["delta"].get("content")):
                    await socket.send(json.dumps({"type": "token", "token": token}))
            elif line.startswith(b"data: [DONE]"):
                break
        writer.close()
        await socket.send(json.dumps({"type": "done"}))


async def main(provider: int) -> None:
    async with serve(lambda socket: answer(socket, provider), "127.0.0.1", 0, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

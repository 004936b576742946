"""Odd messages on the channel layer, as another version of the service sends them during an update."""

from __future__ import annotations

import json
import time
from typing import Any

import redis
from channels.layers import get_channel_layer

from tests.live.service import Service
from tests.neighbours.stream import neighbour

ODD: list[Any] = [{}, {"type": "of a later version"}, {"events": 1, "turn_id": 1}, 1, "text", None, [["a"]]]


def test_odd_messages_end_no_worker_and_make_no_web_process_deaf(service: Service) -> None:
    layer: Any = get_channel_layer()
    with redis.Redis.from_url(service.environment["REDIS_URL"]) as server, neighbour(service) as stream:
        # The group's names begin like this in channels_redis.
        for group in ("sessions", "workers"):
            for message in ODD:
                assert server.publish(f"asgi__group__{group}", layer.serialize(message)) >= 1
            server.publish(f"asgi__group__{group}", b"\xc1 no message at all")
        # Longer than a worker needs to end; a deaf hub shows tokens every two seconds.
        time.sleep(3)
    assert all(process.poll() is None for process in service.processes.values())
    assert stream.frames > 12
    for name in ("web", "worker"):
        lines = [line for line in service.log_of(name).splitlines() if "layer_message_skipped" in line]
        assert 1 <= len(lines) <= 2, "once a minute"
        assert json.loads(lines[0])["error"]

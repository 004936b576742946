"""Plays many cases at once against one service, because most of a play is waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from tests.cases.files import DOOR, STEPS, Json, script, variations
from tests.cases.player import Answer, Room, Session, client_of, play_door, play_session
from tests.cases.providers import Providers
from tests.live.service import Service

#: Plays at the same time. More would only wait for the processors.
PLAYS = 12

type Side = Literal["session", "door"]
type Job = Callable[[httpx.AsyncClient, Room], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Play:
    """One input of a case and what was seen of it, on each side that was played."""

    #: The reason or name that was put in.
    label: str
    session: Session | Exception | None = None
    #: Whole, and streamed.
    door: dict[bool, list[Answer] | Exception] = field(default_factory=dict)


class Plays:
    """Collects what is to be played, then plays all of it. What goes wrong is kept in the plays."""

    def __init__(self, service: Service, providers: Providers) -> None:
        self._service, self._providers = service, providers
        self._jobs: list[Job] = []

    def add_case(self, given: Json, *sides: Side) -> list[Play]:
        """Add all variations of an input."""
        plays = []
        for label, each in variations(given).items():
            plays.append(play := Play(label))
            if "session" in sides:
                self._jobs.append(self._session(play, each))
            if "door" in sides:
                self._jobs += [self._door(play, each, stream=stream) for stream in (False, True)]
        return plays

    def _session(self, play: Play, given: Json) -> Job:
        async def run(http: httpx.AsyncClient, room: Room) -> None:
            it = self._providers.add(script(given))
            try:
                steps = given.get("steps", STEPS)
                play.session = await play_session(self._service, http, it, steps, agent=it.name, room=room)
            except Exception as error:
                play.session = error

        return run

    def _door(self, play: Play, given: Json, *, stream: bool) -> Job:
        async def run(http: httpx.AsyncClient, room: Room) -> None:
            it = self._providers.add(script(given))
            try:
                body = given.get("door", DOOR)
                play.door[stream] = await play_door(http, it, body, stream=stream, room=room)
            except Exception as error:
                play.door[stream] = error

        return run

    def run(self) -> None:
        """Play all that was added."""

        async def run() -> None:
            room = asyncio.Semaphore(PLAYS)
            async with client_of(self._service) as http:
                await asyncio.gather(*(job(http, room) for job in self._jobs))

        asyncio.run(run())

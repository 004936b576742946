"""Many sessions at once. Several clients follow each, and a new one replaces it after some turns."""

from __future__ import annotations

import asyncio
import itertools

from tests.chaos.author import Author
from tests.chaos.clients import Follower, OldFollower, StreamFollower, World

#: Messages that an author sends at once; all but the first wait in the queue.
BURSTS = (1, 1, 1, 2, 3)
TOOLS = (0, 0, 1, 1, 2)
#: Share of turns that their user stops, and of those whose steps meet a rate limit.
STOPPED, LIMITED = 0.12, 0.1
#: Share of messages that interrupt or steer, and of waiting messages that are edited or withdrawn.
URGENT, STEERED, CHANGED, WITHDRAWN = 0.08, 0.25, 0.15, 0.1
#: Seconds within which followers must receive what the author of their session has.
CATCH_UP = 20.0


class Crowd:
    """Keeps a number of sessions busy until `leave` is called."""

    def __init__(self, world: World, size: int, *, turns: int = 10, rates: tuple[int, ...] = (10, 15, 20)) -> None:
        self.world, self.size, self.turns, self.rates = world, size, turns, rates
        #: Names of all sessions so far.
        self.sessions: list[str] = []
        self.leaving = False
        self._numbers = itertools.count(1)

    async def run(self) -> None:
        """Return when all clients have left, after the end of all turns."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.size):
                tasks.create_task(self._seat())

    def leave(self) -> None:
        """Let the clients leave when their turns have ended."""
        self.leaving = True

    async def _seat(self) -> None:
        # Start at different moments, or the first answers would all begin and end together.
        await asyncio.sleep(self.world.dice.uniform(0, 2))
        while not self.leaving:
            await self._session(next(self._numbers))

    async def _session(self, number: int) -> None:
        name = f"session-{number}"
        self.sessions.append(name)
        author = Author(self.world, name, first=number)
        others: list[Follower] = [Follower(self.world, name, first=number + 1)]
        others += [OldFollower(self.world, name, first=number)] if number % 4 == 0 else []
        others += [StreamFollower(self.world, name, first=number)] if number % 4 == 1 else []
        for follower in (author, *others):
            follower.start()
        try:
            said = 0
            while said < self.turns and not self.leaving:
                said += await self._talk(author)
            await self._caught_up(author, others)
        finally:
            for follower in (author, *others):
                await follower.stop()

    async def _talk(self, author: Author) -> int:
        dice = self.world.dice
        turns: list[str] = []
        async with asyncio.TaskGroup() as tasks:
            for _ in range(dice.choice(BURSTS)):
                luck = dice.random()
                when = "interrupt" if luck < URGENT else "steer" if luck < URGENT + STEERED else "queue"
                if when == "steer" and turns:
                    # Into any moment of the turn.
                    await asyncio.sleep(dice.uniform(0, 1.5))
                turn = await author.say(self._wish(), when=when)
                luck = dice.random() if turns else 1
                if luck < CHANGED + WITHDRAWN:
                    await author.change(self._wish() if luck < CHANGED else None)
                turns.append(turn)
                if dice.random() < STOPPED:
                    tasks.create_task(self._stop(author, turn))
            await author.ended(*turns)
        await asyncio.sleep(dice.uniform(0, 0.5))
        return len(turns)

    def _wish(self) -> str:
        dice = self.world.dice
        limit = " limit=1" if dice.random() < LIMITED else ""
        return f"tokens={dice.randint(5, 40)} rate={dice.choice(self.rates)} tools={dice.choice(TOOLS)}{limit}"

    async def _stop(self, author: Author, turn: str) -> None:
        """Stop a turn at a random moment: mostly during an answer, sometimes before it has begun."""
        if self.world.dice.random() < 0.8:
            await author.until(lambda: turn in author.started or turn in author.ended_turns)
        await asyncio.sleep(self.world.dice.uniform(0, 1.5))
        if turn not in author.ended_turns:
            await author.stop_turn(turn)

    async def _caught_up(self, author: Author, others: list[Follower]) -> None:
        for follower in others:
            if follower.kind == "v1":
                continue
            for _ in range(int(CATCH_UP / 0.1)):
                if follower.after >= author.after:
                    break
                await asyncio.sleep(0.1)
            if follower.after < author.after:
                facts = {"session": author.session, "has": follower.after, "lacks": author.after}
                self.world.history.add("behind", **facts, follower=follower.name)

"""Cases of what operators set. `tests/live/test_pooler.py` plays the one with a pooler."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.cases.files import Script, cases, script
from tests.cases.player import Session, client_of, play_session
from tests.cases.process import PLAIN
from tests.cases.providers import KEYS, Providers
from tests.cases.streams import words
from tests.live.service import Service

pytestmark = pytest.mark.live

CASES = cases("ops")
GREETING = {"replies": [words("hello", "stop")]}


def keys_sent(service: Service, agents: Mapping[str, Script]) -> list[str | None]:
    """Say hi to some agents at once; return the header with the key that each of their providers got."""

    async def play() -> list[Session]:
        async with client_of(service) as http:
            steps, room = [{"message": "hi"}], asyncio.Semaphore(len(agents))
            plays = (play_session(service, http, it, steps, agent=agent, room=room) for agent, it in agents.items())
            return await asyncio.gather(*plays)

    found: list[str | None] = []
    for session in asyncio.run(play()):
        assert [(turn.errors, turn.text) for turn in session.turns] == [([], "hello")]
        (headers,) = session.headers
        found.append(headers.get("authorization"))
    return found


@pytest.mark.parametrize("case_id", ["provider-key-with-blanks"])
def test_key(case_id: str, case_service: Service, providers: Providers) -> None:
    given = [each["OPENAI_API_KEY"] for each in CASES[case_id]["input"]["environment"]]
    assert given == list(KEYS.values())[: len(given)]
    agents = {name: providers.add(script(GREETING), name=name) for name in list(KEYS)[: len(given)]}
    assert keys_sent(case_service, agents) == ["Bearer sk-test-1"] * len(given)


@pytest.mark.parametrize("case_id", ["provider-key-with-blanks"])
def test_key_of_the_server_s_model(case_id: str, case_service: Service, providers: Providers) -> None:
    """The address has blanks around it, too, and works."""
    provider = providers.add(script(GREETING), name="openai")
    assert keys_sent(case_service, {PLAIN: provider}) == ["Bearer sk-test-1"]


def test_an_empty_key_stays_no_header(case_service: Service, providers: Providers) -> None:
    (name,) = (name for name, key in KEYS.items() if not key)
    assert keys_sent(case_service, {name: providers.add(script(GREETING), name=name)}) == [None]

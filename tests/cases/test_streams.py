"""Cases of what providers send, in a session and through the OpenAI-compatible API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.cases.checks import Checks
from tests.cases.files import FOLDER, cases
from tests.cases.player import Answer, Session
from tests.cases.providers import Providers
from tests.cases.run import Play, Plays, Side
from tests.cases.streams import STREAMS, near_inputs
from tests.live.service import Service

#: The first test waits for all plays: half a minute alone, several where other tests use both cores.
pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

CASES = cases("provider-stream")
#: Inputs that differ a little from a case, whose checks are theirs.
MORE = cases("provider-stream", FOLDER / "more")
type Played = dict[tuple[str, str], tuple[list[Play], Checks]]


def test_every_case_has_checks() -> None:
    assert set(STREAMS) == set(CASES)
    assert len(list(FOLDER.glob("*.json"))) == 67


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, case_service: Service, providers: Providers) -> Played:
    """Play all cases that this run has chosen, at once."""
    plays = Plays(case_service, providers)
    found: Played = {}
    for item in request.session.items:
        if item.path != request.path or not hasattr(item, "callspec"):
            continue
        key = item.callspec.params["case_id"]
        if item.function.__name__ == "test_near_inputs_stay_right":  # type: ignore[attr-defined]
            for place, (given, checks) in enumerate(near_inputs(CASES[key])):
                found[key, f"keep {place}"] = (plays.add_case(given, *_sides(checks)), checks)
        elif key in MORE:
            checks = STREAMS[MORE[key]["like"]]
            found[key, ""] = (plays.add_case(MORE[key]["input"], *_sides(checks)), checks)
        else:
            found[key, ""] = (plays.add_case(CASES[key]["input"], *_sides(STREAMS[key])), STREAMS[key])
    plays.run()
    return found


def _sides(checks: Checks) -> list[Side]:
    return [side for side in ("session", "door") if getattr(checks, side)]


def _problems(plays: Sequence[Play], checks: Checks) -> list[str]:
    found: list[str] = []

    def look(where: str, seen: Any, side: Sequence[Any]) -> None:
        if isinstance(seen, Exception):
            found.append(f"{where}: {type(seen).__name__}: {seen}")
            return
        wrong = []
        for check in side if seen is not None else ():
            try:
                check(seen)
            except (AssertionError, ValueError, LookupError) as error:
                wrong.append(f"  {check.__qualname__.partition('.')[0]}: {error}")
        if wrong:
            found.append("\n".join([f"{where.strip()}: {_digest(seen)}", *wrong]))

    for play in plays:
        look(f"session {play.label}", play.session, checks.session)
        for stream, answers in play.door.items():
            look(f"{'streamed' if stream else 'whole'} {play.label}", answers, checks.door)
    return found


def _digest(seen: Session | list[Answer]) -> str:
    """Return what was seen in one line."""
    if isinstance(seen, Session):
        turns = [f"{turn.end} {turn.errors or repr(turn.text)}, {len(turn.calls)} calls" for turn in seen.turns]
        return f"{'; '.join(turns)}; {len(seen.requests)} requests"
    each = [
        f"{it.status} {(it.error or {}).get('code') or repr(it.text)}, {it.reason}, {len(it.calls)} calls"
        for it in seen
    ]
    return f"{'; '.join(each)}; {len(seen[-1].requests)} requests"


@pytest.mark.parametrize("case_id", [*CASES, *MORE])
def test_case(case_id: str, played: Played) -> None:
    problems = _problems(*played[case_id, ""])
    if problems:
        pytest.fail("\n\n".join(problems), pytrace=False)


@pytest.mark.parametrize("case_id", [name for name, case in CASES.items() if "keep" in case])
def test_near_inputs_stay_right(case_id: str, played: Played) -> None:
    problems = [
        f"{which} {problem}"
        for (name, which), (plays, checks) in played.items()
        if name == case_id and which
        for problem in _problems(plays, checks)
    ]
    if problems:
        pytest.fail("\n\n".join(problems), pytrace=False)

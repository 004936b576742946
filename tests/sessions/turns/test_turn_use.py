"""What the ends of turns say of tokens and costs, and answers of who wrote them."""

from __future__ import annotations

from typing import Any

from sessions.models import Session
from sessions.results import Change
from sessions.turns import attempts
from tests.sessions import story


def end(change: Change) -> dict[str, Any]:
    return {name: value for name, value in change.events[-1].payload.items() if "tokens" in name or name == "cost"}


def test_every_end_says_what_the_turn_used_and_no_unknown_cost(session: Session) -> None:
    priced, unpriced = story.model_call(cost=2), story.model_call()
    used = {"input_tokens": 30, "output_tokens": 4, "cached_tokens": 0}
    answered = attempts.complete(story.begin(session), story.step("ok", priced, window=1000))
    assert end(answered) == {**used, "cost": "2"}
    (answer,) = (event.payload for event in answered.events if event.kind == "message_added")
    assert (answer["agent"], answer["mode"], answer["model"]) == ("universal", "ask", "m")
    assert answer["context"] == {"used": 34, "window": 1000}
    assert end(attempts.complete(story.begin(session), story.step("ok", unpriced))) == used
    failed = attempts.fail(story.begin(session), code="model_error", text="No.", result=story.step("half", priced))
    assert end(failed) == {**used, "cost": "2"}
    story.begin(session)
    nothing = {"input_tokens": 0, "output_tokens": 0, "cached_tokens": 0}
    # The worker reports the call that was stopped later, to the ledger.
    assert end(attempts.cancel(session.pk, None)) == nothing

"""Repeated requests: which turn answers them, who follows it, and when it is cancelled."""

from __future__ import annotations

import math
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from agents.events import StepFinished
from llm.types import TokenUsage
from sessions.api.completions.turn_follower import Text, TurnFollower, collect
from sessions.database import in_thread
from sessions.models import Completion, CompletionApi, EventKind, ModelCall, Turn, TurnStatus, new_id
from sessions.results import AcceptedMessage, Claim
from sessions.turns import attempts, completions, deletion, recovery, repeats
from sessions.turns.completions import CompletionRequest
from sessions.turns.repeats import KeyReused, Marks, Repeated
from tests.sessions import story

pytestmark = pytest.mark.django_db(transaction=True)

type Accepted = AcceptedMessage | Repeated


def marks(user: User, body: str = "body", **options: Any) -> Marks:
    return repeats.marks_of(user.pk, CompletionApi.CHAT, body, **options)


def ask(user: User, body: str = "body", *, client_session: str = "", **options: Any) -> Accepted:
    request = CompletionRequest(
        model="scripted", messages=[{"role": "user", "content": "Hello."}], client_session=client_session
    )
    if client_session:
        options["client"] = (client_session, "")
    return repeats.accept(user.pk, request, marks(user, body, **options))


def answer(claim: Claim, text: str = "Hi.", message_id: uuid.UUID | None = None) -> None:
    finished = StepFinished(text=text, tool_calls=(), broken={}, reason="stop", usage=TokenUsage())
    completions.finish(claim, replace(story.step(text), message_id=message_id or new_id()), finished)


def lose(turn: Accepted, *, seconds: float = 0) -> Any:
    lost_at = repeats.leave(turn.turn_id)
    if lost_at and seconds:
        Completion.objects.filter(turn=turn.turn_id).update(lost_at=lost_at - timedelta(seconds=seconds))
    return lost_at


def test_equal_requests_whose_connections_are_healthy_are_two_turns(alice: User) -> None:
    first, second = ask(alice), ask(alice)
    assert first.turn_id != second.turn_id
    assert not isinstance(second, Repeated)


@pytest.mark.parametrize(
    "options", [{"key": "one"}, {"is_retry": True}, {"client_session": "a session of the client"}], ids=str
)
@pytest.mark.parametrize("state", ["queued", "running", "completed"])
def test_a_repeated_request_is_the_same_turn(alice: User, options: dict[str, Any], state: str) -> None:
    first = ask(alice, **{**options, "is_retry": False})
    if state != "queued":
        claim = story.claim(first.turn_id)
        if state == "completed":
            answer(claim)
    again = ask(alice, **options)
    assert isinstance(again, Repeated)
    assert again.turn_id == first.turn_id
    assert Turn.objects.count() == 1


@pytest.mark.parametrize("options", [{"key": "one"}, {"is_retry": True}, {"client_session": "s"}, {}], ids=str)
def test_a_request_that_had_no_answer_begins_anew(alice: User, options: dict[str, Any]) -> None:
    first = ask(alice, **{**options, "is_retry": False})
    attempts.fail(story.claim(first.turn_id), code="model_unavailable", text="It is away.")
    lose(first)
    second = ask(alice, **options)
    assert second.turn_id != first.turn_id
    third = ask(alice, **options)
    assert (third.turn_id == second.turn_id) is bool(options)


def test_a_request_whose_connection_was_lost_is_repeated_without_a_word(alice: User) -> None:
    first, healthy = ask(alice), ask(alice)
    lose(first)
    again = ask(alice)
    assert again.turn_id == first.turn_id
    # Another equal request is a new one: the lost one has its repetition.
    assert ask(alice).turn_id not in (first.turn_id, healthy.turn_id)


def test_each_of_several_lost_requests_has_its_own_repetition(alice: User) -> None:
    turns = [ask(alice) for _ in range(3)]
    for turn in turns:
        lose(turn)
    again = {ask(alice, is_retry=True).turn_id for _ in turns}
    assert again == {turn.turn_id for turn in turns}


def test_what_was_lost_long_ago_is_not_repeated_without_a_word(alice: User) -> None:
    first = ask(alice)
    lose(first, seconds=61)
    assert ask(alice).turn_id != first.turn_id


@pytest.mark.parametrize(
    ("options", "age", "repeats_it"),
    [
        ({"is_retry": True}, timedelta(minutes=9), True),
        ({"is_retry": True}, timedelta(minutes=11), False),
        ({"client_session": "s"}, timedelta(minutes=9), True),
        ({"client_session": "s"}, timedelta(minutes=11), False),
        ({"key": "one"}, timedelta(hours=23), True),
        ({"key": "one"}, timedelta(hours=25), False),
    ],
    ids=str,
)
def test_a_repetition_has_its_time(alice: User, options: dict[str, Any], age: timedelta, repeats_it: bool) -> None:
    first = ask(alice, **options)
    answer(story.claim(first.turn_id))
    Completion.objects.update(created_at=timezone.now() - age)
    again = ask(alice, **options)
    assert (again.turn_id == first.turn_id) is repeats_it


def test_another_users_request_is_never_repeated(alice: User, bob: User) -> None:
    for options in ({"key": "one"}, {"is_retry": True}, {"client_session": "s"}):
        assert ask(alice, **options).turn_id != ask(bob, **options).turn_id


def test_another_body_is_another_request(alice: User) -> None:
    for options in ({"is_retry": True}, {"client_session": "s"}):
        assert ask(alice, "one", **options).turn_id != ask(alice, "two", **options).turn_id
    ask(alice, "one", key="named")
    with pytest.raises(KeyReused):
        ask(alice, "two", key="named")
    # A client that names its requests names those that it repeats.
    assert not isinstance(ask(alice, "one", key="another"), Repeated)


def test_equal_requests_with_one_key_at_the_same_time_are_one_turn(alice: User) -> None:
    def once(_: int) -> Accepted:
        try:
            return ask(alice, key="one")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        turns = {turn.turn_id for turn in pool.map(once, range(8))}
    assert len(turns) == Turn.objects.count() == 1


def test_a_turn_is_cancelled_when_its_last_connection_is_lost(alice: User) -> None:
    first = ask(alice)
    ask(alice, is_retry=True)
    assert lose(first) is None, "the repetition follows"
    lost_at = lose(first)
    assert lost_at
    assert [event.kind for event in repeats.cancel_lost(first.session_id, first.turn_id, lost_at).events] == [
        EventKind.TURN_CANCELLED
    ]
    assert ask(alice, is_retry=True).turn_id != first.turn_id


def test_a_turn_that_is_followed_again_is_not_cancelled(alice: User) -> None:
    first = ask(alice)
    lost_at = lose(first)
    ask(alice)
    assert not repeats.cancel_lost(first.session_id, first.turn_id, lost_at).events
    # Lost once more: the first loss decides no longer.
    assert lose(first)
    assert not repeats.cancel_lost(first.session_id, first.turn_id, lost_at).events
    assert Turn.objects.get().status == TurnStatus.QUEUED


def test_a_lost_turn_ends_although_its_web_process_has_ended(alice: User) -> None:
    first = ask(alice)
    lose(first)
    assert repeats.cancel_abandoned(math.inf) == 0, "its process may be about to do it"
    Completion.objects.update(lost_at=timezone.now() - timedelta(minutes=3))
    followed = ask(alice, "another body")
    assert repeats.cancel_abandoned(math.inf) == 1
    statuses = dict(Turn.objects.values_list("pk", "status"))
    assert statuses == {first.turn_id: TurnStatus.CANCELLED, followed.turn_id: TurnStatus.QUEUED}


async def test_a_repeated_request_gets_the_whole_answer_without_what_was_taken_back(alice: User) -> None:
    first = await in_thread(ask)(alice)

    def begin() -> Repeated:
        claim = story.claim(first.turn_id)
        story.stream(claim, new_id(), "Half of ", "a lost ")
        Turn.objects.update(lease_expires_at=timezone.now() - timedelta(minutes=1))
        recovery.recover(first.turn_id)
        claim = story.claim(first.turn_id)
        story.stream(claim, message_id := new_id(), "Who", "le.")
        again = ask(alice, is_retry=True)
        assert isinstance(again, Repeated)
        answer(claim, "Whole.", message_id)
        return again

    again = await in_thread(begin)()
    follower = TurnFollower(again.session_id, again.turn_id, 0, backlog=again.last_number)
    texts = [piece async for piece in follower.pieces() if isinstance(piece, Text)]
    assert "".join(text.text for text in texts) == "Whole."
    follower = TurnFollower(again.session_id, again.turn_id, 0)
    assert "".join(text.text for text in (await collect(follower.pieces()))[0]) == "Whole."


def test_calls_of_a_clients_session_are_in_the_ledger(alice: User) -> None:
    accepted = completions.accept(
        alice.pk,
        CompletionRequest(
            model="scripted", messages=[{"role": "user", "content": "x"}], client_session="s", client_agent="a"
        ),
    )
    answer(story.claim(accepted.turn_id))
    failed = ask(alice, client_session="of the one that failed")
    attempts.fail(story.claim(failed.turn_id), code="model_error", text="No.", result=story.step())
    calls = ModelCall.objects.order_by("pk").values_list("client_session", "client_agent")
    assert list(calls) == [("s", "a"), ("of the one that failed", "")]


@pytest.mark.parametrize("options", [{"key": "k"}, {"client_session": "s"}])
def test_the_key_of_a_deleted_request_is_free_before_its_rows_are_gone(alice: User, options: Any) -> None:
    first = ask(alice, **options)
    answer(story.claim(first.turn_id))
    deletion.delete_session(first.session_id)
    second = ask(alice, **options)
    assert isinstance(second, AcceptedMessage)
    assert ask(alice, **options).turn_id == second.turn_id

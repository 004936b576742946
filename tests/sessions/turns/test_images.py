"""Images of a session: what is stored, what messages and models get of them, and when they are deleted."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from sessions.api.rest import history
from sessions.api.websocket.snapshot import snapshot
from sessions.models import Event, Image, Session, new_id
from sessions.protocol.codes import MAX_IMAGE_BYTES, Rejected
from sessions.results import AcceptedMessage, StepResult
from sessions.turns import attempts, images, inbox, retention
from sessions.turns.deletion import delete_rows, delete_session
from sessions.turns.sessions import open_session
from sessions.worker import conversation
from tests.sessions import story

PNG = b"\x89PNG\r\n\x1a\n"


def put(session: Session, number: int = 0, size: int = 0) -> Image:
    return images.store(session.pk, PNG + b"%d" % number + bytes(size))


def show(session: Session, *shown: Image, text: str = "Look.") -> AcceptedMessage:
    return inbox.accept_message(session.pk, text, images=[image.pk for image in shown])


def answer(accepted: AcceptedMessage) -> None:
    claim = story.claim(accepted.turn_id)
    attempts.complete(claim, StepResult(message_id=new_id(), text="I see."))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG + b"x", "image/png"),
        (b"\xff\xd8\xff\xe0x", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
def test_the_first_bytes_of_an_image_are_its_type(session: Session, data: bytes, kind: str) -> None:
    assert images.store(session.pk, data).media_type == kind


@pytest.mark.parametrize("data", [b"", b"<svg></svg>", b"RIFF\x10\x00\x00\x00WAVE", b"\x89PNG", b"BM1234"])
def test_an_image_that_no_model_can_read_is_rejected(session: Session, data: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        images.store(session.pk, data)
    assert caught.value.code == "invalid_image"
    assert not session.images.exists()


def test_the_largest_allowed_image_is_stored_and_a_larger_one_is_rejected(session: Session) -> None:
    put(session, size=MAX_IMAGE_BYTES - len(PNG) - 1)
    with pytest.raises(Rejected) as caught:
        put(session, size=MAX_IMAGE_BYTES - len(PNG))
    assert caught.value.code == "image_too_large"


def test_a_repeated_upload_is_the_same_image(session: Session, bob: User) -> None:
    first = put(session)
    assert put(session).pk == first.pk
    assert put(session, 1).pk != first.pk
    assert put(open_session(bob.pk, "images")).pk != first.pk, "no user learns which images others have"


def test_a_message_shows_its_image_to_users_and_to_the_model(session: Session) -> None:
    image = put(session)
    accepted = show(session, image, image)
    described = [{"image_id": str(image.pk), "media_type": "image/png", "bytes": len(PNG) + 1}]
    (added,) = Event.objects.filter(session=session, kind="message_added")
    assert added.payload["images"] == described
    assert snapshot(session.pk)["messages"][0]["images"] == described
    (said,) = history.history(session).messages
    assert said.images is not None
    assert [str(each.image_id) for each in said.images] == [str(image.pk)]
    (message,) = story.history(accepted.turn_id)
    assert [each.url for each in message.images] == ["data:image/png;base64,iVBORw0KGgow"]


def test_an_image_is_shown_with_later_messages_too(session: Session) -> None:
    answer(show(session, put(session)))
    later = inbox.accept_message(session.pk, "And now?")
    assert [len(message.images) for message in story.history(later.turn_id)] == [1, 0, 0]


def test_a_message_without_images_has_no_field_for_them(session: Session) -> None:
    accepted = inbox.accept_message(session.pk, "Hello.")
    assert all("images" not in event.payload for event in accepted.events)
    assert history.history(session).messages[0].images is None


def test_a_missing_image_rejects_the_whole_message(session: Session, bob: User) -> None:
    foreign = put(open_session(bob.pk, "images"))
    mine = put(session)
    for missing in (foreign, Image(pk=new_id())):
        with pytest.raises(Rejected) as caught:
            show(session, mine, missing)
        assert caught.value.code == "image_not_found"
    assert not session.messages.exists()
    mine.refresh_from_db()
    assert not mine.is_shown


def test_a_model_gets_only_the_newest_images(session: Session) -> None:
    for number in range(conversation.MAX_IMAGES_SHOWN // 5 + 1):
        accepted = show(session, *(put(session, number * 5 + i) for i in range(5)), text=f"{number}")
        answer(accepted)
    shown = [message for message in story.history(accepted.turn_id) if message.role == "user"]
    assert [len(message.images) for message in shown] == [0, 5, 5, 5, 5]
    assert shown[0].content == "0\n\n[5 of 5 images left out: they come again below, or there are newer ones.]"
    assert shown[1].content == "1"


def test_a_model_gets_an_image_once_and_with_the_newest_message(session: Session) -> None:
    image, other = put(session, 1, MAX_IMAGE_BYTES - 100), put(session, 2)
    for _ in range(5):
        accepted = show(session, image, other)
        answer(accepted)
    shown = [message for message in story.history(accepted.turn_id) if message.role == "user"]
    assert [len(message.images) for message in shown] == [0, 0, 0, 0, 2]
    assert all("2 of 2 images left out" in message.content for message in shown[:-1])


def test_a_model_gets_only_so_many_bytes_of_images(session: Session) -> None:
    for number in range(3):
        accepted = show(session, put(session, number, MAX_IMAGE_BYTES - 100))
        answer(accepted)
    shown = [message for message in story.history(accepted.turn_id) if message.role == "user"]
    assert [len(message.images) for message in shown] == [0, 1, 1]


def test_images_of_a_user_take_so_much_room_and_no_more(
    session: Session, alice: User, bob: User, settings: Settings
) -> None:
    settings.CODELAB_IMAGE_STORAGE_BYTES = 3000
    put(session, 1, 1400)
    put(open_session(alice.pk, "another"), 2, 1400)
    with pytest.raises(Rejected) as caught:
        put(session, 3, 1400)
    assert caught.value.code == "image_storage_full"
    put(open_session(bob.pk, "of bob"), 4, 1400)
    delete_session(session.pk)
    put(open_session(alice.pk, "another"), 3, 1400)


def test_an_unused_image_is_deleted_after_a_day(session: Session) -> None:
    shown, _unused, again = put(session, 1), put(session, 2), put(session, 3)
    show(session, shown)
    Image.objects.update(uploaded_at=timezone.now() - timedelta(days=1, seconds=1))
    new = put(session, 4)
    assert put(session, 3).pk == again.pk
    retention.delete_unused_images(math.inf)
    assert set(session.images.values_list("pk", flat=True)) == {shown.pk, again.pk, new.pk}


def test_images_are_deleted_with_their_session(session: Session) -> None:
    show(session, put(session))
    delete_session(session.pk)
    delete_rows(session.pk, math.inf)
    assert not Image.objects.exists()

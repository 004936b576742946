"""The exact text of each request to a model: stored once in pieces, and proven when it is read.

Code, roles, windows and summaries change, so a prompt cannot be built again later. But each request of a conversation
begins with the one before, so a session keeps a piece only once, under its digest, and a call only names its pieces. A
step adds its new messages with one INSERT. The digests are those of what was sent: a prompt that is read is
compared with them. Pieces are deleted with their session.
"""

import re
import threading
import uuid
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Buffer, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from django.db import transaction

from llm.types import CallRecord
from llm.wire.pieces import BodyPieces
from sessions.models import Image, ModelCall, PromptPiece
from sessions.models.prompts import DIGEST_BYTES
from sessions.statements import write

#: Digests that a list of pieces names. A call that names lists needs few digests, however long its prompt is.
LIST_LENGTH = 32
#: JSON has none of these characters: they stand between head and tail, around the id of an image, before a list.
_TAIL, _IMAGE, _LIST = "\x02", "\x01", "\x03"
_IMAGE_ID = re.compile(f"{_IMAGE}([0-9a-f-]{{36}}){_IMAGE}")
_INSERT = """
    INSERT INTO agent_sessions_promptpiece (session_id, digest, text)
    SELECT %s, new.digest, new.text FROM unnest(%s::bytea[], %s::text[]) AS new(digest, text) ON CONFLICT DO NOTHING
"""

#: Digests that a worker remembers, of all sessions and of one. A piece that it has forgotten is sent again, and
#: PostgreSQL finds that it is there.
MAX_REMEMBERED, MAX_REMEMBERED_OF_SESSION = 100_000, 4_000


@dataclass(frozen=True, slots=True)
class SentPrompt:
    """A request as a model was sent it."""

    body: BodyPieces
    #: As in `body`, with the id of each image of the session in the place of its data.
    messages: tuple[str, ...]
    digests: tuple[bytes, ...]
    #: Pieces that are gone, or that are not what was sent. None: the text is proven.
    wrong_pieces: int

    @property
    def is_proven(self) -> bool:
        """Whether all pieces have the digests of what was sent."""
        return not self.wrong_pieces


def store(session_id: uuid.UUID, calls: Sequence[CallRecord]) -> list[bytes | None]:
    """Store what models were sent. Return what the row of each call has (`ModelCall.prompt`).

    The caller has locked the session and commits.
    """
    packed = [pack(call.sent) if call.sent else None for call in calls]
    texts: dict[bytes, str] = {}
    for each in packed:
        texts |= each[1] if each else {}
    known = _stored.of(session_id)
    if new := {digest: text for digest, text in texts.items() if digest not in known}:
        write(_INSERT, session_id, list(new), list(new.values()))
        transaction.on_commit(partial(_stored.add, session_id, texts))
    return [each[0] if each else None for each in packed]


def pack(body: BodyPieces) -> tuple[bytes, dict[bytes, str]]:
    """Return the name of a prompt, and the texts of its pieces by their digests.

    The name has the digest of what is around the messages, the number of lists, their digests, and those of the
    messages behind the lists.
    """
    texts: dict[bytes, str] = {}

    def add(text: str, images: Mapping[str, str] | None = None) -> bytes:
        sent = text.encode(errors="replace")
        digest = sha256(sent).digest()[:DIGEST_BYTES]
        if digest not in texts:
            texts[digest] = _without_images(sent.decode(), images or {})
        return digest

    frame = add(f"{body.head}{_TAIL}{body.tail}")
    messages = [add(message, body.images) for message in body.messages]
    whole = len(messages) // LIST_LENGTH * LIST_LENGTH
    lists = [
        add(_LIST + b"".join(messages[begin : begin + LIST_LENGTH]).hex()) for begin in range(0, whole, LIST_LENGTH)
    ]
    return b"".join((frame, len(lists).to_bytes(DIGEST_BYTES), *lists, *messages[whole:])), texts


def _without_images(text: str, images: Mapping[str, str]) -> str:
    for url, image_id in images.items():
        text = text.replace(url, f"{_IMAGE}{image_id}{_IMAGE}")
    return text


class Remembered:
    """Digests of the pieces that sessions have, of those sessions that were used last. All threads use it."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[uuid.UUID, frozenset[bytes]] = OrderedDict()
        self._lock = threading.Lock()
        #: Of all sessions. A worker knows tens of thousands: it cannot count them in each step.
        self._count = 0

    def of(self, session_id: uuid.UUID) -> frozenset[bytes]:
        """Return the digests of a session."""
        return self._sessions.get(session_id, frozenset())

    def add(self, session_id: uuid.UUID, digests: Collection[bytes]) -> None:
        """Remember the digests of a session, and forget others where there are too many."""
        with self._lock:
            before = self._sessions.pop(session_id, frozenset())
            known = before.union(digests)
            if len(known) > MAX_REMEMBERED_OF_SESSION:
                known = frozenset(digests)
            self._sessions[session_id] = known
            self._count += len(known) - len(before)
            while len(self._sessions) > 1 and self._count > MAX_REMEMBERED:
                _, forgotten = self._sessions.popitem(last=False)
                self._count -= len(forgotten)


_stored = Remembered()


def count_messages(name: Buffer | None) -> int:
    """Return how many messages a prompt has."""
    return len(_split(name)[1]) * LIST_LENGTH + len(_split(name)[2]) if name else 0


def read(call: ModelCall) -> SentPrompt | None:
    """Return what a model was sent, or None where it is not stored. Three queries at most."""
    if not call.prompt or call.session_id is None:
        return None
    frame, lists, rest = _split(call.prompt)
    texts = _read_pieces(call.session_id, [frame, *lists, *rest])
    wrong = sum(_is_wrong(digest, texts.get(digest)) for digest in lists)
    listed = [digest for each in lists for digest in _cut(bytes.fromhex(texts.get(each, "").removeprefix(_LIST)))]
    texts |= _read_pieces(call.session_id, [digest for digest in listed if digest not in texts])
    digests = (*listed, *rest)
    stored = tuple(texts.get(digest, "") for digest in digests)
    urls = _read_images(call.session_id, stored)
    messages = tuple(_IMAGE_ID.sub(lambda found: urls.get(found[1], ""), text) for text in stored)
    wrong += sum(map(_is_wrong, (frame, *digests), (texts.get(frame), *messages)))
    head, _, tail = texts.get(frame, "").partition(_TAIL)
    return SentPrompt(
        BodyPieces(head, messages, tail, {url: name for name, url in urls.items()}), stored, digests, wrong
    )


def image_ids(message: str) -> list[str]:
    """Return the ids of the images in a message of `SentPrompt.messages`."""
    return _IMAGE_ID.findall(message)


def name_images(message: str) -> str:
    """Return a message of `SentPrompt.messages` with words in the place of its images."""
    return _IMAGE_ID.sub(r"[image \1]", message)


def _split(name: Buffer) -> tuple[bytes, list[bytes], list[bytes]]:
    frame, count, *digests = _cut(name)
    lists = int.from_bytes(count)
    return frame, digests[:lists], digests[lists:]


def _cut(joined: Buffer) -> list[bytes]:
    digests = bytes(joined)
    return [digests[begin : begin + DIGEST_BYTES] for begin in range(0, len(digests), DIGEST_BYTES)]


def _read_pieces(session_id: uuid.UUID, digests: Collection[bytes]) -> dict[bytes, str]:
    if not digests:
        return {}
    pieces = PromptPiece.objects.filter(session=session_id, digest__in=set(digests))
    return {bytes(digest): text for digest, text in pieces.values_list("digest", "text")}


def _read_images(session_id: uuid.UUID, messages: Iterable[str]) -> dict[str, str]:
    ids = {name for message in messages for name in image_ids(message)}
    rows = Image.objects.filter(session=session_id, pk__in=ids).values_list("pk", "media_type", "data") if ids else ()
    return {str(pk): f"data:{kind};base64,{b64encode(data).decode()}" for pk, kind, data in rows}


def _is_wrong(digest: bytes, text: str | None) -> bool:
    return text is None or sha256(text.encode()).digest()[:DIGEST_BYTES] != digest

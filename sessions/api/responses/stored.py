"""Responses that are stored: the rows of turns, as their owner reads them.

Every look-up is by owner, so a response of another user looks like a missing one.
"""

import dataclasses
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sessions.api.completions.errors import CompletionError, invalid
from sessions.api.completions.turn_follower import End, Text
from sessions.api.responses.requests import Known
from sessions.api.responses.resource import PREFIX, Response
from sessions.models import Completion, CompletionApi, Message, MessageRole, Turn, TurnStatus
from sessions.protocol.codes import ErrorCode
from sessions.turns import completions
from sessions.turns.completions import CompletionRequest

PREVIOUS_NOT_FOUND = "previous_response_not_found"
#: What a request asked, which its answer does not need.
CONVERSATION = ("messages", "tools", "options", "key_order")
#: Between the texts of an agent's messages, as its stream has them.
SEPARATOR = "\n\n"


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response with its turn and its request."""

    turn: Turn
    completion: Completion
    messages: list[Message]

    @property
    def response(self) -> Response:
        """Return the response itself."""
        fields = {field.name: getattr(self.completion, field.name) for field in dataclasses.fields(CompletionRequest)}
        return Response(self.turn.pk, CompletionRequest(**fields))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return the messages of the input, without the instructions."""
        rows: list[dict[str, Any]] = self.completion.messages
        return rows[1:] if self.completion.details.get("has_instructions") else rows

    def end(self) -> End:
        """Return how the turn ended."""
        result = completions.result_of(self.turn, self.completion)
        has_calls = result.finish_reason == "tool_calls" and self.messages
        return End(result.finish_reason, result, self.messages[-1].tool_calls if has_calls else ())

    def texts(self) -> list[Text]:
        """Return the answer as a follower of the turn would."""
        texts: list[Text] = []
        has_text = False
        for message in self.messages:
            if message.reasoning:
                texts.append(Text(str(message.pk), message.reasoning, is_reasoning=True))
            if message.content:
                text = SEPARATOR + message.content if has_text else message.content
                texts.append(Text(str(message.pk), text))
                has_text = True
        return texts

    def output(self) -> list[dict[str, Any]]:
        """Return the items of the answer."""
        return self.response.output(self.texts(), self.end())

    def current(self) -> dict[str, Any]:
        """Return the response as it is now."""
        response, turn = self.response, self.turn
        match turn.status:
            case TurnStatus.COMPLETED:
                at = turn.finished_at.timestamp() if turn.finished_at else None
                return response.ended(self.end(), self.output(), at=at)
            case TurnStatus.FAILED:
                return response.failed(CompletionError(turn.error_code, turn.error))
            case TurnStatus.CANCELLED:
                return response.state("cancelled")
            case TurnStatus.QUEUED if turn.started_at is None:
                return response.state("queued")
        return response.state("in_progress")


def turn_id_of(response_id: str) -> uuid.UUID | None:
    """Return the turn that the id of a response, or of an item of it, names."""
    try:
        return uuid.UUID(hex=response_id.partition("_")[2][:32])
    except ValueError:
        return None


def load(
    owner_id: int, turn_ids: Collection[uuid.UUID], *, without: Collection[str] = ()
) -> dict[uuid.UUID, StoredResponse]:
    """Return a user's stored responses, by their turns, `without` these columns of their requests."""
    found = Completion.objects.filter(turn__in=turn_ids, turn__session__owner=owner_id, turn__session__deleted_at=None)
    rows = list(found.filter(api=CompletionApi.RESPONSES, is_stored=True).defer(*without).select_related("turn"))
    messages: dict[uuid.UUID, list[Message]] = {completion.turn_id: [] for completion in rows}
    answers = Message.objects.filter(turn__in=messages, role=MessageRole.ASSISTANT, interrupted=False)
    for message in answers.order_by("turn", "number"):
        messages[message.turn_id].append(message)
    return {each.turn_id: StoredResponse(each.turn, each, messages[each.turn_id]) for each in rows}


def get(owner_id: int, response_id: str) -> StoredResponse:
    """Return a user's stored response. Raises CompletionError."""
    turn_id = turn_id_of(response_id) if response_id.startswith(PREFIX) else None
    found = load(owner_id, [turn_id]) if turn_id else {}
    if stored := next(iter(found.values()), None):
        return stored
    text = f"The response `{response_id[:100]}` does not exist, or was not stored."
    raise CompletionError(ErrorCode.NOT_FOUND, text, status=404, param="id")


def known(owner_id: int, previous_id: str | None, item_ids: Collection[str]) -> Known:
    """Return what a request refers to. Raises CompletionError where the previous response cannot be continued."""
    turn_ids = {turn_id for each in item_ids if (turn_id := turn_id_of(each))}
    # A request may name thousands of responses, and each may have a conversation of many megabytes.
    answers = load(owner_id, turn_ids, without=CONVERSATION) if turn_ids else {}
    items = {item["id"]: item for stored in answers.values() for item in _items(stored)}
    if previous_id is None:
        return Known(items=items)
    turn_id = turn_id_of(previous_id) if previous_id.startswith(PREFIX) else None
    previous = load(owner_id, [turn_id]).get(turn_id) if turn_id else None
    if previous is None:
        text = f"The response `{previous_id[:100]}` does not exist, or was not stored."
        raise invalid("previous_response_id", text, PREVIOUS_NOT_FOUND)
    if previous.turn.status != TurnStatus.COMPLETED:
        text = "The response before has no answer: it has failed, was stopped, or is in progress."
        raise invalid("previous_response_id", text)
    return Known(rows=previous.rows, output=previous.output(), items=items)


def _items(stored: StoredResponse) -> Iterator[dict[str, Any]]:
    if stored.turn.status == TurnStatus.COMPLETED:
        # Of the request only the names of its tools matter.
        request = CompletionRequest(model="", details={"tools": stored.completion.details.get("tools", {})})
        yield from Response(stored.turn.pk, request).output(stored.texts(), stored.end())

"""Lists what waits for its user over all sessions: for one place to answer in, and for notifications."""

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Field, Router, Schema

from sessions.api.http import ERRORS, owner
from sessions.api.rest.approvals import PendingApproval, shown
from sessions.database import in_thread
from sessions.turns import approvals

router = Router(tags=["approvals"])

MAX_LISTED_APPROVALS = 100


class InboxApproval(PendingApproval):
    """A call or a plan that waits for an answer, and its session."""

    session_id: str = Field(alias="call.turn.session.key")
    title: str = Field(alias="call.turn.session.title")


class Inbox(Schema):
    """The oldest approvals, and how many there are in all."""

    approvals: list[InboxApproval]
    total: int


@router.get("/approvals", response={200: Inbox, **ERRORS}, exclude_none=True)
async def list_approvals(
    request: HttpRequest, limit: Annotated[int, Field(ge=1, le=MAX_LISTED_APPROVALS)] = MAX_LISTED_APPROVALS
) -> dict[str, Any]:
    """List the calls and plans of all the caller's sessions that wait for an answer, the oldest first."""
    return await in_thread(_inbox)(owner(request).pk, limit)


def _inbox(owner_id: int, limit: int) -> dict[str, Any]:
    rows = approvals.pending_of(owner_id)
    found = shown(rows[:limit])
    return {"approvals": found, "total": len(found) if len(found) < limit else rows.count()}

"""Lists a user's budgets. Only operators create and change them, in the admin."""

import uuid
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from ninja import Field, Router, Schema

from sessions.api.http import ERRORS, owner
from sessions.callers import caller_of
from sessions.database import in_thread
from sessions.models import Budget, Period

router = Router(tags=["usage"])


class BudgetOut(Schema):
    """A budget; all amounts are US dollars."""

    id: uuid.UUID
    scope: str = Field(description="`user`, `api_key` or `session`.")
    session_id: str | None = Field(description="The session that the budget is for.")
    period: Period
    limit: float
    spent: float = Field(description="In this period.")
    reserved: float = Field(description="Reserved for model calls under way.")
    left: float
    ends_at: datetime | None = Field(description="When the next period begins; null for a budget without periods.")


class BudgetList(Schema):
    budgets: list[BudgetOut]
    total: int


@router.get("/budgets", response={200: BudgetList, **ERRORS})
async def list_budgets(request: HttpRequest) -> dict[str, Any]:
    """List the caller's budgets: of the user, of the user's sessions, and of the API key that the request came with."""
    mine = Q(owner=owner(request).pk) | Q(session__owner=owner(request).pk)
    if api_key := caller_of(request).api_key:
        mine |= Q(api_key=api_key)
    rows = await in_thread(list)(Budget.objects.filter(mine).select_related("session").order_by("pk"))
    return {"budgets": [_budget(row) for row in rows], "total": len(rows)}


def _budget(row: Budget) -> BudgetOut:
    now = timezone.now()
    spent, period = row.spending(now), Period(row.period)
    return BudgetOut(
        id=row.pk,
        scope="session" if row.session else "api_key" if row.api_key else "user",
        session_id=row.session.key if row.session else None,
        period=period,
        limit=float(row.limit),
        spent=float(spent),
        reserved=float(row.reserved),
        left=max(float(row.limit - spent - row.reserved), 0.0),
        ends_at=period.end(now),
    )

"""What decides in a session who answers and what may run unasked, together: to show it, and to see why."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Field, Router, Schema

from agents.policy import Mode
from sessions.api.http import ERRORS, owned
from sessions.api.rest.rules import RuleOut, rules_of
from sessions.database import in_thread
from sessions.models import MODES, Session

router = Router(tags=["sessions"])


class Settings(Schema):
    """Title and mode are changed by PATCH of the session, rules below /rules, the agent by /agents/…/switch."""

    session_id: str
    title: str
    mode: Mode
    modes: list[Mode] = Field(description="Those that there are, the most careful one first.")
    current_agent: str
    agent_chosen: bool = Field(description="By the user: messages are not routed to others.")
    client_tools: list[str] | None = Field(description="What its client can run; null: what every client can.")
    rules: list[RuleOut] = Field(description="Those that count here: of the session, and of all sessions.")


@router.get("/sessions/{path:session_id}/settings", response={200: Settings, **ERRORS})
async def get_settings(request: HttpRequest, session_id: str) -> Settings:
    """Return the settings of a session, with the rules that count in it."""
    session = await owned(request, session_id)
    return await in_thread(_settings)(session)


def _settings(session: Session) -> Settings:
    return Settings(
        session_id=session.key,
        title=session.title,
        mode=Mode(session.mode),
        modes=[Mode(mode) for mode, _ in MODES],
        current_agent=session.current_agent,
        agent_chosen=session.pinned,
        client_tools=session.client_tools,
        rules=rules_of(session.owner_id, session),
    )

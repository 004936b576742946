"""What a client says of itself in `hello`, and what it is answered. Nothing here is about one socket."""

import uuid

from sessions.api.websocket.snapshot import snapshot
from sessions.callers import Action
from sessions.database import in_thread
from sessions.events import reads
from sessions.models import Session
from sessions.protocol import server
from sessions.protocol.client import Hello, Request, UserMessage
from sessions.results import Change
from sessions.turns.sessions import set_client_plans, set_client_tools
from sessions.turns.workspaces import set_workspace


def actions_of(frame: Request | Hello) -> tuple[Action, ...]:
    """Return what the sender of a frame must be allowed to do."""
    match frame:
        case Hello(workspace=None):
            return (Action.READ,)
        case Hello():
            return (Action.READ, Action.WRITE)
        case UserMessage():
            return (Action.WRITE, Action.TURN)
    return (Action.WRITE,)


async def store_hello(session: Session, hello: Hello, *, deadline: float) -> Change:
    """Store what a client can do and where it works. Raises what the verbs raise."""
    change = Change()
    if hello.workspace is not None:
        change = await in_thread(set_workspace)(session.pk, hello.workspace, deadline=deadline)
    if hello.tools is not None:
        await in_thread(set_client_tools)(session.pk, hello.tools)
    if hello.plans is not None:
        await in_thread(set_client_plans)(session.pk, hello.plans)
    return change


async def welcome_to(session_id: uuid.UUID, hello: Hello) -> server.Welcome:
    """Return the answer to `hello`: what the client has missed follows, or the state is in it."""
    if hello.after is not None and await in_thread(reads.can_replay)(session_id, hello.after):
        return server.Welcome(mode="replay", after=hello.after, ref=hello.ref)
    state = await in_thread(snapshot)(session_id)
    return server.Welcome(mode="snapshot", after=state["number"], snapshot=state, ref=hello.ref)

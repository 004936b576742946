"""What a client says of itself in `hello`, and what it is answered. Nothing here is about one socket."""

import uuid

from sessions.api.websocket.snapshot import snapshot
from sessions.callers import Action
from sessions.database import in_thread
from sessions.events import reads
from sessions.models import Session
from sessions.protocol import server
from sessions.protocol.client import Hello, Request, UserMessage
from sessions.protocol.client_tools import split_tools
from sessions.protocol.workspace import hash_of
from sessions.results import Change
from sessions.turns.client_tools import set_client_tools
from sessions.turns.sessions import set_client_plans
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


async def store_hello(session: Session, hello: Hello, *, deadline: float) -> tuple[Change, frozenset[str]]:
    """Store what a client can do and where it works. Return the hashes of the tools that it defines, too.

    Raises what the verbs raise. What may be refused is stored first, so that a refused frame changes nothing.
    """
    change, definitions = Change(), frozenset[str]()
    if hello.workspace is not None:
        # A workspace that is too large is refused before the tools are stored.
        hash_of(hello.workspace)
    if hello.tools is not None:
        set_tools = in_thread(set_client_tools)
        change, definitions = await set_tools(session.pk, *split_tools(hello.tools), deadline=deadline)
    if hello.workspace is not None:
        moved = await in_thread(set_workspace)(session.pk, hello.workspace, deadline=deadline)
        change = Change(events=[*change.events, *moved.events], ready=change.ready)
    if hello.plans is not None:
        await in_thread(set_client_plans)(session.pk, hello.plans)
    return change, definitions


async def welcome_to(session_id: uuid.UUID, hello: Hello) -> server.Welcome:
    """Return the answer to `hello`: what the client has missed follows, or the state is in it."""
    if hello.after is not None and await in_thread(reads.can_replay)(session_id, hello.after):
        return server.Welcome(mode="replay", after=hello.after, ref=hello.ref)
    state = await in_thread(snapshot)(session_id)
    return server.Welcome(mode="snapshot", after=state["number"], snapshot=state, ref=hello.ref)

"""What a client says of itself in `hello`, and what it is answered. Nothing here is about one socket."""

import math
import uuid

from agents.roles import UNASSIGNED
from sessions.api.websocket.snapshot import snapshot, snapshot_of
from sessions.callers import Action
from sessions.database import in_thread
from sessions.events import reads
from sessions.models import Session
from sessions.protocol import server
from sessions.protocol.client import Hello, Request, UserMessage
from sessions.protocol.client_tools import split_tools
from sessions.protocol.workspace import hash_of, summary_of
from sessions.results import Change
from sessions.turns.client_tools import require_usable, set_client_tools
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


def check_hello(hello: Hello) -> None:
    """Raise what `store_hello` would raise."""
    if hello.workspace is not None:
        hash_of(hello.workspace)
    if hello.tools is not None:
        require_usable(*split_tools(hello.tools))


async def store_hello(
    session: Session, hello: Hello, *, is_first: bool = False, deadline: float = math.inf
) -> tuple[Change, frozenset[str]]:
    """Store what a client can do and where it works. Return the hashes of the tools that it defines, too.

    `is_first`: the client said it before the session existed, so what another client has said since counts. Raises what
    the verbs raise. What may be refused is stored first, so that a refused frame changes nothing.
    """
    change, definitions = Change(), frozenset[str]()
    if is_first:
        has_tools, has_workspace = session.client_tools is not None, session.workspace_id is not None
        hello = hello.model_copy(
            update={**({"tools": None} if has_tools else {}), **({"workspace": None} if has_workspace else {})}
        )
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


async def welcome_to_new(key: str, hello: Hello) -> server.Welcome:
    """Return the answer to `hello` in a session that does not exist yet: it has no events."""
    if hello.after == 0:
        return server.Welcome(mode="replay", after=0, ref=hello.ref)
    state = await in_thread(snapshot_of)(Session(key=key, current_agent=UNASSIGNED))
    if hello.workspace is not None:
        state["workspace"] = summary_of(hello.workspace, hash_of(hello.workspace))
    return server.Welcome(mode="snapshot", after=0, snapshot=state, ref=hello.ref)

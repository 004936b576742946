"""The access matrix: every URL, frame and admin page, for every kind of caller. A route without a row fails.

A row says what a route is about, which decides what each kind of caller gets. Add a row together with a route; the
callers follow.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client as Browser
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from pytest_django import Settings

from codelab.identity import audit, token_families, tokens
from codelab.identity.models import ApiKey, AuditEntry, AuditKind, Client, SigningKey, TokenFamily
from codelab.identity.token_families import TokenPair
from codelab.openai_api import openai_api
from codelab.rest_api import api, plugin_api
from sessions.api.plugin.schemas import agent_id
from sessions.api.websocket.no_such_socket import NoSuchSocket
from sessions.billing import provider_keys
from sessions.database import in_thread
from sessions.models import (
    Approval,
    Budget,
    Completion,
    Event,
    Image,
    Message,
    ModelCall,
    Plan,
    PolicyRule,
    Project,
    Session,
    SubTask,
    ToolCall,
    Turn,
    Worker,
    new_id,
)
from sessions.models import Workspace as WorkspaceRow
from sessions.protocol.client import ClientFrame
from sessions.protocol.workspace import Workspace
from sessions.results import StepResult
from sessions.routing import websocket_urlpatterns
from sessions.turns import completions, images, inbox, tool_calls
from sessions.turns.completions import CompletionRequest
from sessions.turns.sessions import open_session
from sessions.turns.workspaces import set_workspace
from tests.codelab.identity.conftest import Caller, receive
from tests.sessions import story
from tests.sessions.calls import read_call, write_call

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("loop")]

CANARY = "canary that only Alice may see"
EXPIRED = (401, "TOKEN_EXPIRED")
NOT_SIGNED_IN = (401, "not_signed_in")


class About(Enum):
    #: Public; every caller gets the same.
    NOTHING = "nothing"
    #: Each caller reads or changes their own data.
    CALLER = "the caller"
    #: One object of Alice, by its id.
    ALICES = "something of Alice"
    #: A page of the admin; the second half of this file.
    ADMIN = "the admin"


@dataclass(frozen=True)
class Row:
    about: About
    #: Values of the path; `missing` has the same shape and does not exist.
    values: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    body: Any = None
    #: The status for callers with access.
    status: int = 200
    #: The answer is a stream that ends when its reader disconnects.
    endless: bool = False


ONE = {"values": {"session_id": "alices"}, "missing": {"session_id": "nobodys"}}
ID = "00000000-0000-7000-8000-00000000000{}"
MESSAGE = ID.format(3)
ONES_MESSAGE = {
    "values": {"session_id": "alices", "message_id": MESSAGE},
    "missing": {"session_id": "nobodys", "message_id": MESSAGE},
}
ONES_CALL = {
    "values": {"session_id": "alices", "call_id": "alices-call"},
    "missing": {"session_id": "nobodys", "call_id": "alices-call"},
}
IMAGE = "00000000-0000-7000-8000-000000000011"
ONES_IMAGE = {
    "values": {"session_id": "alices", "image_id": IMAGE},
    "missing": {"session_id": "nobodys", "image_id": IMAGE},
}
KEY = {"values": {"key_id": ID.format(1)}, "missing": {"key_id": ID.format(2)}}
RULE = {"values": {"rule_id": ID.format(4)}, "missing": {"rule_id": ID.format(5)}}
ANSWERED = "00000000-0000-7000-8000-000000000012"
RESPONSE = {
    "values": {"response_id": f"resp_{uuid.UUID(ANSWERED).hex}"},
    "missing": {"response_id": f"resp_{uuid.UUID(ID.format(2)).hex}"},
}
PROVIDER = {"provider": "openai"}
PROJECT = {"values": {"project_id": ID.format(6)}, "missing": {"project_id": ID.format(7)}}


def in_project(**names: str) -> Any:
    """Return names in Alice's project, and the same names in a project that does not exist."""
    return {"values": {**PROJECT["values"], **names}, "missing": {**PROJECT["missing"], **names}}


CHAT = in_project(session_id=ID.format(8))
CALL, QUESTION = ID.format(9), "00000000-0000-7000-8000-000000000010"
CODER = in_project(agent=str(agent_id("coder")))
FIXED = {"status": 409, **CODER}

USER = {"role": "user", "content": "x"}

ROWS = {
    "GET ": Row(About.NOTHING),
    "GET .well-known/jwks.json": Row(About.NOTHING),
    "GET .well-known/oauth-authorization-server": Row(About.NOTHING),
    "GET api/v1/health": Row(About.NOTHING, status=503),
    "GET health": Row(About.NOTHING, status=503),
    "GET live": Row(About.NOTHING),
    "GET metrics": Row(About.NOTHING),
    "GET favicon.ico": Row(About.NOTHING, status=302),
    "GET account": Row(About.NOTHING),
    "GET language": Row(About.NOTHING, status=302),
    "GET login": Row(About.NOTHING),
    "GET logout": Row(About.NOTHING, status=405),
    "GET oauth/token": Row(About.NOTHING, status=405),
    "GET oauth/revoke": Row(About.NOTHING, status=405),
    "GET api/v1/": Row(About.NOTHING, status=404),
    "GET api/v1/docs": Row(About.NOTHING),
    "GET api/v1/openapi.json": Row(About.NOTHING),
    "GET api/v1/asyncapi.json": Row(About.NOTHING),
    "GET api/v1/account": Row(About.CALLER),
    "GET api/v1/api-keys": Row(About.CALLER),
    "POST api/v1/api-keys": Row(About.CALLER, body={"name": "x"}, status=201),
    "DELETE api/v1/api-keys/<uuidstr:key_id>": Row(About.ALICES, **KEY),  # type: ignore[arg-type]
    "POST api/v1/ws-ticket": Row(About.CALLER, body={"session_id": "alices"}),
    "POST api/v1/message": Row(About.CALLER, body={"session_id": "alices", "message": "/say x"}),
    "GET api/v1/sessions": Row(About.CALLER),
    "POST api/v1/sessions": Row(About.CALLER, body={"session_id": "alices"}),
    "GET api/v1/sessions/<path:session_id>": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "GET api/v1/sessions/<path:session_id>/export": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "GET api/v1/sessions/<path:session_id>/history": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "GET api/v1/sessions/<path:session_id>/events": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "GET api/v1/sessions/<path:session_id>/queue": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "PATCH api/v1/sessions/<path:session_id>/messages/<message_id>": Row(
        About.ALICES,
        body={"content": "y"},
        **ONES_MESSAGE,  # type: ignore[arg-type]
    ),
    "DELETE api/v1/sessions/<path:session_id>/messages/<message_id>": Row(About.ALICES, **ONES_MESSAGE),  # type: ignore[arg-type]
    "POST api/v1/sessions/<path:session_id>/cancel": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "PATCH api/v1/sessions/<path:session_id>": Row(About.ALICES, body={"title": "y"}, **ONE),  # type: ignore[arg-type]
    "DELETE api/v1/sessions/<path:session_id>": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "GET api/v1/sessions/<path:session_id>/pending-approvals": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "GET api/v1/sessions/<path:session_id>/tool-calls": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "GET api/v1/sessions/<path:session_id>/tool-calls/<call_id>": Row(About.ALICES, **ONES_CALL),  # type: ignore[arg-type]
    # The body is not an image; each caller uploads to a session of their own.
    "POST api/v1/sessions/<path:session_id>/images": Row(About.CALLER, values=ONE["values"], status=400),
    "GET api/v1/sessions/<path:session_id>/images/<image_id>": Row(About.ALICES, **ONES_IMAGE),  # type: ignore[arg-type]
    "GET api/v1/sessions/<path:session_id>/workspace": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "PUT api/v1/sessions/<path:session_id>/workspace": Row(About.CALLER, values=ONE["values"], body={"name": "x"}),
    "GET api/v1/sessions/<path:session_id>/settings": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "POST api/v1/sessions/<path:session_id>/hitl-decision": Row(
        About.ALICES,
        body={"call_id": "alices-question", "decision": "approve"},
        **ONE,  # type: ignore[arg-type]
    ),
    "POST api/v1/sessions/<path:session_id>/approvals": Row(
        About.ALICES,
        body={"decision": "reject", "all": True},
        **ONE,  # type: ignore[arg-type]
    ),
    "GET api/v1/agents": Row(About.CALLER),
    "GET api/v1/agents/<path:session_id>/current": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "POST api/v1/agents/<path:session_id>/switch": Row(
        About.ALICES,
        body={"target_agent": "coder"},
        **ONE,  # type: ignore[arg-type]
    ),
    "GET api/v1/approvals": Row(About.CALLER),
    "GET api/v1/sessions/<path:session_id>/tool-calls/<call_id>/rules": Row(About.ALICES, **ONES_CALL),  # type: ignore[arg-type]
    "GET api/v1/rules": Row(About.CALLER),
    "POST api/v1/rules": Row(About.CALLER, body={"effect": "deny", "tool": "x"}),
    "DELETE api/v1/rules/<uuidstr:rule_id>": Row(About.ALICES, **RULE),  # type: ignore[arg-type]
    "GET api/v1/budgets": Row(About.CALLER),
    "GET api/v1/provider-keys": Row(About.CALLER),
    "PUT api/v1/provider-keys/<provider>": Row(About.CALLER, values=PROVIDER, body={"api_key": "sk-of-the-caller"}),
    "GET api/v1/provider-keys/<provider>": Row(About.ALICES, values=PROVIDER, missing={"provider": "groq"}),
    "DELETE api/v1/provider-keys/<provider>": Row(About.ALICES, values=PROVIDER, missing={"provider": "groq"}),
    "POST api/v1/markdown": Row(About.CALLER, body={"texts": ["x"]}),
    "GET api/v1/llm/models": Row(About.CALLER),
    "GET api/v1/events/metrics": Row(About.CALLER),
    "GET api/v1/events/metrics/sessions": Row(About.CALLER),
    "GET api/v1/events/metrics/session/<path:session_id>": Row(About.ALICES, **ONE),  # type: ignore[arg-type]
    "GET api/v1/usage": Row(About.CALLER),
    "GET api/v1/events/audit-log": Row(About.CALLER),
    "GET api/v1/events/stats": Row(About.CALLER),
    "GET ready": Row(About.NOTHING, status=503),
    "GET v1/": Row(About.NOTHING, status=404),
    "GET v1/docs": Row(About.NOTHING),
    "GET v1/openapi.json": Row(About.NOTHING),
    "GET v1/models": Row(About.CALLER),
    "GET v1/models/<path:model>": Row(About.CALLER, values={"model": "scripted"}),
    # Each caller gets their own answer; these are refused before a worker is needed.
    "POST v1/chat/completions": Row(About.CALLER, body={"model": "none", "messages": [USER]}, status=404),
    "POST v1/responses": Row(About.CALLER, body={"model": "none", "input": "x"}, status=404),
    "GET v1/responses/<response_id>": Row(About.ALICES, **RESPONSE),  # type: ignore[arg-type]
    "DELETE v1/responses/<response_id>": Row(About.ALICES, **RESPONSE),  # type: ignore[arg-type]
    "POST v1/responses/<response_id>/cancel": Row(About.ALICES, **RESPONSE),  # type: ignore[arg-type]
    "GET v1/responses/<response_id>/input_items": Row(About.ALICES, **RESPONSE),  # type: ignore[arg-type]
    "POST v1/embeddings": Row(About.CALLER, body={"model": "none", "input": "x"}, status=404),
    "POST v1/messages": Row(About.CALLER, body={"model": "none", "messages": [USER], "max_tokens": 9}, status=404),
    "POST v1/messages/count_tokens": Row(About.CALLER, body={"model": "none", "messages": [USER]}, status=404),
    "GET my/": Row(About.NOTHING, status=404),
    "GET my/docs": Row(About.NOTHING),
    "GET my/openapi.json": Row(About.NOTHING),
    "GET my/projects/": Row(About.CALLER),
    "POST my/projects/": Row(About.CALLER, body={"name": "x"}),
    "GET my/projects/<uuidstr:project_id>/": Row(About.ALICES, **PROJECT),  # type: ignore[arg-type]
    "PUT my/projects/<uuidstr:project_id>/": Row(About.ALICES, body={"name": "y"}, **PROJECT),  # type: ignore[arg-type]
    "DELETE my/projects/<uuidstr:project_id>/": Row(About.ALICES, **PROJECT),  # type: ignore[arg-type]
    "GET my/projects/<uuidstr:project_id>/agents/": Row(About.ALICES, **PROJECT),  # type: ignore[arg-type]
    "POST my/projects/<uuidstr:project_id>/agents/": Row(About.ALICES, status=409, **PROJECT),  # type: ignore[arg-type]
    "GET my/projects/<uuidstr:project_id>/agents/<uuidstr:agent>": Row(About.ALICES, **CODER),
    "PUT my/projects/<uuidstr:project_id>/agents/<uuidstr:agent>": Row(About.ALICES, **FIXED),
    "DELETE my/projects/<uuidstr:project_id>/agents/<uuidstr:agent>": Row(About.ALICES, **FIXED),
    "GET my/projects/<uuidstr:project_id>/chat/sessions/": Row(About.ALICES, **PROJECT),  # type: ignore[arg-type]
    "POST my/projects/<uuidstr:project_id>/chat/sessions/": Row(About.ALICES, body={}, **PROJECT),  # type: ignore[arg-type]
    "DELETE my/projects/<uuidstr:project_id>/chat/sessions/<uuidstr:session_id>": Row(About.ALICES, **CHAT),
    "GET my/projects/<uuidstr:project_id>/chat/sessions/<uuidstr:session_id>/messages/": Row(About.ALICES, **CHAT),
    "POST my/projects/<uuidstr:project_id>/chat/<uuidstr:session_id>/message/": Row(
        About.ALICES, body={"content": "x"}, **CHAT
    ),
    "GET my/projects/<uuidstr:project_id>/chat/<uuidstr:session_id>/events/": Row(About.ALICES, endless=True, **CHAT),
    "POST my/projects/<uuidstr:project_id>/approvals/<uuidstr:approval_id>/approve": Row(
        About.ALICES, **in_project(approval_id=QUESTION)
    ),
    "POST my/projects/<uuidstr:project_id>/approvals/<uuidstr:approval_id>/reject": Row(
        About.ALICES, **in_project(approval_id=QUESTION)
    ),
    "POST my/projects/<uuidstr:project_id>/tools/<uuidstr:tool_id>/result": Row(
        About.ALICES, body={"status": "completed"}, **in_project(tool_id=CALL)
    ),
}


def paths(patterns: Any = None, prefix: str = "") -> Iterator[str]:
    """Yield the paths of the URLconf, without the admin."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern).removeprefix("^")
        if isinstance(pattern, URLResolver):
            if pattern.app_name != "admin":
                yield from paths(pattern.url_patterns, path)
        else:
            assert isinstance(pattern, URLPattern)
            yield path


def routes() -> set[str]:
    """Return each path with each of its methods."""
    described = {
        path.removeprefix("/"): [method.upper() for method in operations]
        for each, prefix in ((api, "/api/v1/"), (plugin_api, "/my/"), (openai_api, "/v1/"))
        for path, operations in each.get_openapi_schema(path_prefix=prefix)["paths"].items()
    }
    plain = {path: re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path) for path in paths()}
    assert described.keys() <= set(plain.values())
    return {f"{method} {path}" for path, same in plain.items() for method in described.get(same, ["GET"])}


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert routes() == ROWS.keys()


@pytest.fixture
def session(alice: User) -> Session:
    """A session of Alice with an answer, a waiting tool and a turn that can be cancelled."""
    session = open_session(alice.pk, "alices")
    set_workspace(session.pk, Workspace(name=CANARY))
    accepted = inbox.accept_message(session.pk, CANARY)
    claimed = story.claim(accepted.turn_id)
    # An id that a row can name.
    waiting = inbox.accept_message(session.pk, CANARY)
    Message.objects.filter(pk=waiting.message_id).update(id=MESSAGE)
    tool_calls.request_tools(claimed, story.step("x"), [read_call("alices-call"), write_call("alices-question")])
    PolicyRule.objects.create(id=RULE["values"]["rule_id"], owner=alice, effect="deny", tool="none", subject=CANARY)
    provider_keys.store(alice.pk, PROVIDER["provider"], CANARY, "")
    Budget.objects.create(session=session, limit=1)
    Image.objects.filter(pk=images.store(session.pk, b"GIF89a" + CANARY.encode()).pk).update(id=IMAGE)
    _project(alice)
    _response(alice)
    return session


def _response(alice: User) -> None:
    """Create a stored response of Alice."""
    session = Session.objects.create(owner=alice, key="completion-x", hidden=True, current_agent="")
    turn = Turn.objects.create(id=ANSWERED, session=session, position=1, status="completed", finished_at=timezone.now())
    messages = [{"role": "user", "content": CANARY}]
    Completion.objects.create(turn=turn, api="responses", is_stored=True, model="scripted", messages=messages)


def _project(alice: User) -> None:
    """Create the same for the plugin: a project of Alice with a session and its calls."""
    project = Project.objects.create(id=PROJECT["values"]["project_id"], owner=alice, name=CANARY)
    chat = open_session(alice.pk, CHAT["values"]["session_id"])
    Session.objects.filter(pk=chat.pk).update(id=chat.key, project=project)
    claimed = story.claim(inbox.accept_message(uuid.UUID(chat.key), CANARY).turn_id)
    tool_calls.request_tools(
        claimed, StepResult(message_id=new_id(), text="x"), [read_call("read"), write_call("write")]
    )
    Approval.objects.filter(call__call_id="write").delete()
    ToolCall.objects.filter(call_id="read").update(id=CALL)
    ToolCall.objects.filter(call_id="write").update(id=QUESTION)
    asked = ToolCall.objects.get(pk=QUESTION)
    Approval.objects.create(call=asked, digest=asked.digest, expires_at=timezone.now() + timedelta(hours=1))


@pytest.fixture
def people(alice: User, bob: User, editor: Client, settings: Settings) -> dict[str, Caller]:
    """Every kind of caller by name."""

    def token(user: User) -> TokenPair:
        return token_families.begin(user, editor, "api:read api:write", address="", refreshable=True)

    revoked = token(alice)
    for family in TokenFamily.objects.select_related("client"):
        token_families.revoke(family)
    settings.CODELAB_ACCESS_TOKEN_SECONDS = -60
    expired = tokens.issue(token_family(token(alice)))
    settings.CODELAB_ACCESS_TOKEN_SECONDS = 900
    staff = Caller()
    staff.browser.force_login(User.objects.create_superuser("staff"))
    # Owned by Alice, so that the owner has something to delete.
    ApiKey.objects.create(id=KEY["values"]["key_id"], user=alice, name=CANARY, prefix="clk_", digest=b"x" * 32)
    return {
        "anonymous": Caller(),
        "owner": Caller(token(alice).access_token),
        "other": Caller(token(bob).access_token),
        "expired": Caller(expired),
        "revoked": Caller(revoked.access_token),
        "staff": staff,
    }


def token_family(token_pair: TokenPair) -> TokenFamily:
    assert token_pair.refresh_token
    family = token_families.find_family(token_pair.refresh_token)
    assert family
    return family


def send(caller: Caller, route: str, values: dict[str, str]) -> Any:
    method, _, path = route.partition(" ")
    for name, value in values.items():
        path = re.sub(rf"<(\w+:)?{name}>", value, path)
    return caller.request(method, f"/{path}", ROWS[route].body)


@pytest.mark.parametrize("route", sorted(ROWS))
async def test_each_caller_gets_what_the_row_says(route: str, session: Session, people: dict[str, Caller]) -> None:
    row = ROWS[route]
    ask = in_thread(send)
    got = {name: await ask(caller, route, row.values) for name, caller in people.items() if name != "owner"}
    # Last, because the owner's request may change what the others must not see.
    got["owner"] = await ask(people["owner"], route, row.values)
    if row.about is About.NOTHING:
        assert {response.status_code for response in got.values()} <= {row.status, 302}
        assert all(CANARY not in body(response) for response in got.values())
        return
    if " v1/" in route and "messages" not in route:
        # In OpenAI's error format.
        assert {problem(got[name]) for name in ("anonymous", "expired", "revoked")} == {(401, "invalid_api_key")}
    else:
        assert problem(got["anonymous"]) == NOT_SIGNED_IN
        assert problem(got["expired"]) == problem(got["revoked"]) == EXPIRED
    assert got["owner"].status_code == row.status, "" if row.endless else body(got["owner"])
    if row.endless:
        got["owner"].close()
    for name in ("other", "staff"):
        assert CANARY not in body(got[name])
        if row.about is About.CALLER:
            assert got[name].status_code == row.status
        else:
            missing = await ask(people[name], route, row.missing)
            assert got[name].status_code == missing.status_code == 404
            text = body(got[name])
            for mine, absent in zip(row.values.values(), row.missing.values(), strict=True):
                text = text.replace(mine, absent)
            assert text == body(missing)


def body(response: Any) -> str:
    return b"".join(response).decode()


def problem(response: Any) -> tuple[int, str]:
    answer = json.loads(body(response))
    if "error_code" in answer:
        return response.status_code, answer["error_code"]
    # In OpenAI's words, and in Anthropic's.
    error = answer["error"]
    return response.status_code, error.get("code") or error["details"]["error_code"]


# Sockets

FRAMES: dict[str, tuple[dict[str, Any], str]] = {
    # The frame, and the answer for another user whose session has the same key as Alice's.
    "user_message": ({"content": "/say x"}, "agent_switched"),
    "tool_result": ({"call_id": "alices-call", "result": {}}, "unknown_tool_call"),
    "cancel": ({}, "nothing_to_cancel"),
    "edit_message": ({"message_id": MESSAGE, "content": "x"}, "message_not_found"),
    "withdraw_message": ({"message_id": MESSAGE}, "message_not_found"),
    "hitl_decision": ({"call_id": "alices-question", "decision": "approve"}, "unknown_tool_call"),
    "hitl_response": ({"call_id": "alices-question", "action": "approve"}, "unknown_tool_call"),
    "plan_decision": ({"plan_id": ID.format(4), "decision": "approve"}, "unknown_plan"),
    "switch_agent": ({"agent_type": "coder"}, "agent_switched"),
    "workspace": ({"workspace": {"name": 7}}, "invalid_workspace"),
    "hello": ({"after": 0}, "unknown_type"),
}
SOCKETS = {"^ws/(?P<key>.+)$": "/ws/{}", "^api/v1/ws/(?P<key>.+)$": "/api/v1/ws/{}"}


def test_every_frame_and_every_socket_has_a_row() -> None:
    kinds = {frame.model_fields["type"].annotation.__args__[0] for frame in ClientFrame.__subclasses__()}  # type: ignore[union-attr]
    assert kinds == FRAMES.keys()
    patterns = {str(it.pattern) for it in websocket_urlpatterns if it.callback.consumer_class is not NoSuchSocket}
    # tests/live/test_acp.py tries the socket of editors, which has no frames.
    assert patterns == SOCKETS.keys() | {"^acp$"}


@pytest.mark.parametrize("kind", sorted(FRAMES))
@pytest.mark.parametrize("path", sorted(SOCKETS.values()))
async def test_a_frame_reaches_nothing_of_another_user(
    kind: str, path: str, session: Session, people: dict[str, Caller]
) -> None:
    fields, expected = FRAMES[kind]
    before = await in_thread(Event.objects.filter(session=session).count)()
    for name, code in {"anonymous": "not_signed_in", "expired": "TOKEN_EXPIRED", "revoked": "TOKEN_EXPIRED"}.items():
        async with people[name].socket(path.format("alices")) as socket:
            assert (await receive(socket))["error_code"] == code
            assert await receive(socket) == {"closed": 4401}
    cookie = people["staff"].browser.cookies["sessionid"].value
    for name, headers in {"other": {}, "staff": {"Cookie": f"sessionid={cookie}"}}.items():
        async with people[name].socket(f"{path}?stream=messages".format("alices"), **headers) as socket:
            await socket.send_to(text_data=json.dumps({"type": kind, **fields}))
            if kind == "user_message" and path.startswith("/ws"):
                assert await socket.receive_nothing(0.5), "accepted, and nothing to report yet"
            else:
                frame = await receive(socket)
                assert expected in (frame.get("error_code"), frame["type"])
    assert await in_thread(Event.objects.filter(session=session).count)() == before


# The admin

READ = {"changelist", "change", "history"}
PAGES: dict[type[Model], set[str]] = {
    Session: READ | {"delete", "conversation", "past"},
    Turn: READ,
    Message: READ,
    ToolCall: READ,
    Approval: READ,
    PolicyRule: READ,
    Plan: READ,
    SubTask: READ,
    Event: READ,
    Worker: READ,
    WorkspaceRow: READ,
    ModelCall: READ | {"prompt", "replay"},
    Image: READ,
    Completion: READ,
    Budget: READ | {"add", "delete"},
    ApiKey: READ | {"add"},
    TokenFamily: READ,
    AuditEntry: READ,
    Client: READ | {"delete"},
    SigningKey: READ,
    User: READ | {"add", "delete", "password_change"},
    Group: READ | {"add", "delete"},
    LogEntry: READ,
}
#: They act, and are not pages.
POSTS = {"export"}
#: Pages for all staff, or for signing in.
GENERAL = {
    "index",
    "login",
    "logout",
    "password_change",
    "password_change_done",
    "autocomplete",
    "jsi18n",
    "view_on_site",
    "app_list",
}


@pytest.fixture
def rows(session: Session, people: dict[str, Caller]) -> dict[type[Model], Model]:
    """One row of each kind."""
    audit.record(AuditKind.LOGIN_FAILED, client_id="x")
    now = timezone.now()
    Worker.objects.create(name="w", started_at=now, seen_at=now)
    group = Group.objects.create(name="group")
    LogEntry.objects.log_actions(session.owner_id, [group], CHANGE, change_message=CANARY)
    PolicyRule.objects.create(owner=session.owner, effect="deny", subject=CANARY)
    completions.accept(session.owner_id, CompletionRequest(model="scripted", messages=[USER]))
    call = ToolCall.objects.order_by("pk")[0]
    plan = Plan.objects.create(id=ID.format(4), session=session, call=call, agent="architect", goal=CANARY)
    SubTask.objects.create(plan=plan, key="a", position=0, description=CANARY, agent="coder")
    return {model: model._default_manager.order_by("pk").first() for model in PAGES}  # type: ignore[misc]


def pages(model: type[Model]) -> dict[str, str]:
    """Return the names of a model's pages in the admin, and whether each needs a row."""
    label = f"{model._meta.app_label}_{model._meta.model_name}_"
    urls = admin.site._registry[model].get_urls()
    names = {str(url.name) for url in urls if url.name}
    assert all(name.startswith(label) or name == "auth_user_password_change" for name in names)
    return {name.removeprefix(label): f"admin:{name}" for name in names}


def test_every_model_and_page_of_the_admin_has_a_row() -> None:
    assert admin.site._registry.keys() == PAGES.keys()
    for model, allowed in PAGES.items():
        assert pages(model).keys() >= allowed, model
    named = {str(url.name) for url in admin.site.get_urls() if isinstance(url, URLPattern) and url.name}
    assert named <= GENERAL


@pytest.mark.parametrize("model", sorted(PAGES, key=str), ids=str)
def test_a_page_of_the_admin_is_for_permitted_staff(
    model: type[Model], rows: dict[type[Model], Model], people: dict[str, Caller], alice: User
) -> None:
    clerk = Browser()
    clerk.force_login(User.objects.create_user("clerk", is_staff=True))
    user = Browser()
    user.force_login(alice)
    for name, route in pages(model).items():
        path = reverse(route, args=[] if name in ("changelist", "add") else [quote(str(rows[model].pk))])
        for outsider in (Browser(), user):
            response = outsider.get(path)
            assert response.status_code == 302, path
            assert response["Location"].startswith("/admin/login/")
        assert clerk.get(path).status_code in (302, 403), path
        response = people["staff"].browser.get(path)
        assert response.status_code == (405 if name in POSTS else 200 if name in PAGES[model] else 403), path
        assert_no_secret(response.content.decode())


def assert_no_secret(text: str) -> None:
    client = Client.objects.get(client_id="codelab-flutter-app")
    for secret in ("PRIVATE KEY", "clr_", client.secret_hash or "PRIVATE KEY", (b"x" * 32).hex()):
        assert secret not in text


@pytest.fixture
def operator(people: dict[str, Caller]) -> Browser:
    return people["staff"].browser


def test_a_key_created_in_the_admin_is_shown_once(operator: Browser, alice: User) -> None:
    form = {"user": str(alice.pk), "name": "ci", "scopes": ["api:read"], "expires_at_0": "", "expires_at_1": ""}
    response = operator.post("/admin/identity/apikey/add/", form)
    page = response.content.decode()
    assert "no-store" in response["Cache-Control"]
    secret = page.split('id="secret">')[1].split("<")[0]
    key = ApiKey.objects.get(name="ci")
    assert (key.user, key.scopes) == (alice, "api:read")
    assert Caller(secret).request("GET", "/api/v1/sessions").status_code == 200
    for path in ("/admin/identity/apikey/", f"/admin/identity/apikey/{key.pk}/change/"):
        text = operator.get(path).content.decode()
        assert key.prefix in text
        assert secret not in text


@pytest.mark.parametrize("model", [ApiKey, TokenFamily])
def test_credentials_are_revoked_in_the_admin(
    operator: Browser, rows: object, model: type[ApiKey | TokenFamily]
) -> None:
    row = model._default_manager.filter(revoked_at=None).first()
    assert row
    path = reverse(f"admin:identity_{model._meta.model_name}_changelist")
    form = {"action": "revoke", "_selected_action": [str(row.pk)]}
    clerk = Browser()
    clerk.force_login(User.objects.create_user("clerk", is_staff=True))
    assert clerk.post(path, form).status_code == 403
    assert operator.post(path, form).status_code == 302
    row.refresh_from_db()
    assert row.revoked_at is not None


# The sign-in page


def test_a_user_signs_in_on_the_page_and_out_again(alice: User) -> None:
    browser = Browser(enforce_csrf_checks=True)
    page = browser.get("/login?next=/%23mine")
    assert "form-action 'self'" in page["Content-Security-Policy"]
    form = {"username": "alice", "password": "wrong", "next": "/"}
    token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    assert browser.post("/login", form).status_code == 403, "without a CSRF token"
    assert "Wrong username or password" in browser.post("/login", {**form, **token}).content.decode()
    form["password"] = "a long password of alice"
    assert browser.post("/login", {**form, **token, "next": "https://evil.example/"})["Location"] == "/"
    assert browser.get("/api/v1/sessions").status_code == 200
    assert "signed in as alice" in browser.get("/login").content.decode()
    token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    assert browser.post("/logout", token)["Location"] == "/"
    assert browser.get("/api/v1/sessions").status_code == 401


@pytest.mark.parametrize("path", ["/login", "/admin/login/"])
def test_every_sign_in_limits_guesses(alice: User, path: str) -> None:
    browser = Browser()
    form = {"username": "alice", "password": "wrong"}
    for _ in range(5):
        browser.post(path, form)
    page = browser.post(path, {**form, "password": "a long password of alice"}).content.decode()
    assert "sessionid" not in browser.cookies
    assert path != "/login" or "Too many failed attempts" in page

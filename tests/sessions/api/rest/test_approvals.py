"""Approvals and rules over REST: listed for a client that reconnects, answered once, and only by their owner."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from agents.client_tools import ToolDefinition
from llm.types import ModelToolCall
from sessions.database import in_thread
from sessions.models import Approval, PolicyRule, Session, ToolCall
from sessions.results import ToolOutput
from sessions.turns import tool_calls
from sessions.turns.client_tools import set_client_tools
from sessions.turns.rules import DENIED
from sessions.turns.sessions import set_client_plans
from tests.clients import editor
from tests.sessions.api.rest.conftest import Http, opened, rows
from tests.sessions.calls import plan_call, read_call, subtask, write_call
from tests.sessions.story import begin, request, step

pytestmark = pytest.mark.django_db(transaction=True)

ONE = "/api/v1/sessions/s"


async def pending(http: Http) -> list[str]:
    shown = editor.pending_approvals(await http.ok("GET", f"{ONE}/pending-approvals"))
    assert shown["count"] == len(shown["pending_approvals"])
    return [each["call_id"] for each in shown["pending_approvals"]]


async def test_pending_approvals_are_listed_without_nulls(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    assert await pending(as_alice) == []
    await in_thread(request)(session, write_call("w", "b.txt"), read_call("r"))
    answer = await as_alice.ok("GET", f"{ONE}/pending-approvals")
    (shown,) = editor.pending_approvals(answer)["pending_approvals"]
    assert (shown["call_id"], shown["tool_name"]) == ("w", "write_file")
    assert shown["arguments"] == {"path": "b.txt", "content": "x"}
    assert shown["reason"]
    (whole,) = answer["pending_approvals"]
    assert None not in whole.values()
    assert whole["details"] == {"arguments": shown["arguments"]}
    assert whole["request_type"] == "tool"


async def test_open_calls_are_listed_for_a_client_that_reconnects(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    assert await as_alice.ok("GET", f"{ONE}/tool-calls") == {"session_id": "s", "tool_calls": [], "count": 0}
    held = await in_thread(request)(session, write_call("w", "b.txt"), read_call("r", "a.txt"))
    answer = await as_alice.ok("GET", f"{ONE}/tool-calls")
    shown = [(each["call_id"], each["tool_name"], each["requires_approval"]) for each in answer["tool_calls"]]
    assert shown == [("w", "write_file", True), ("r", "read_file", False)]
    assert answer["tool_calls"][1]["arguments"] == {"path": "a.txt"}
    assert {each["turn_id"] for each in answer["tool_calls"]} == {str(held.turn_id)}
    await as_alice.ok("POST", f"{ONE}/hitl-decision", {"call_id": "w", "decision": "approve"})
    await in_thread(tool_calls.record_tool_result)(session.pk, "r", content="{}", failed=False)
    (left,) = (await as_alice.ok("GET", f"{ONE}/tool-calls"))["tool_calls"]
    assert (left["call_id"], left["requires_approval"]) == ("w", False)
    await as_alice.ok("POST", f"{ONE}/cancel")
    assert (await as_alice.ok("GET", f"{ONE}/tool-calls"))["count"] == 0


async def test_the_record_of_a_call_has_its_whole_result(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    await in_thread(request)(session, ModelToolCall(id="c", name="execute_command", arguments={"command": "ls"}))
    before = await as_alice.ok("GET", f"{ONE}/tool-calls/c")
    assert (before["status"], before["result"], "facts" in before) == ("asked", "", False)
    output = ToolOutput(text="x" * 200_000, failed=False, has_run=True, facts={"exit_code": 3})
    await in_thread(tool_calls.record_output)(session.pk, "c", output)
    record = await as_alice.ok("GET", f"{ONE}/tool-calls/c")
    assert (record["status"], record["result"], record["facts"]) == ("completed", "x" * 200_000, {"exit_code": 3})
    assert await as_alice.refused("GET", f"{ONE}/tool-calls/none") == (404, "unknown_tool_call")


async def test_a_tool_of_the_client_is_shown_with_what_the_client_says_of_it(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    definition = ToolDefinition(name="mcp__mail__send", description="Sends mail.")
    await in_thread(set_client_tools)(session.pk, ["read_file"], [definition])
    await in_thread(request)(session, ModelToolCall(id="m", name="mcp__mail__send", arguments={}))
    told = {"kind": "other", "description": "Sends mail."}
    (pending,) = (await as_alice.ok("GET", f"{ONE}/pending-approvals"))["pending_approvals"]
    (waiting,) = (await as_alice.ok("GET", f"{ONE}/tool-calls"))["tool_calls"]
    assert pending["client_tool"] == waiting["client_tool"] == told
    (defined,) = (await as_alice.ok("GET", f"{ONE}/settings"))["tool_definitions"]
    assert (defined["name"], defined["kind"]) == ("mcp__mail__send", "other")


async def test_the_settings_of_a_session_have_its_mode_and_the_rules_that_apply(as_alice: Http, alice: User) -> None:
    for key in ("s", "t"):
        await opened(alice, key)
    for subject, where in (("all/*", {}), ("s/*", {"session_id": "s"}), ("t/*", {"session_id": "t"})):
        await as_alice.ok("POST", "/api/v1/rules", {"effect": "allow", "subject": subject, **where})
    await as_alice.ok("PATCH", ONE, {"mode": "auto-edit"})
    await as_alice.ok("POST", "/api/v1/agents/s/switch", {"target_agent": "debug"})
    answer = await as_alice.ok("GET", f"{ONE}/settings")
    assert (answer["mode"], answer["current_agent"], answer["agent_chosen"]) == ("auto-edit", "debug", True)
    assert answer["modes"] == ["ask", "auto-read", "auto-edit", "full"]
    assert answer["client_tools"] is None
    assert [rule["subject"] for rule in answer["rules"]] == ["all/*", "s/*"]
    assert (await as_alice.ok("GET", "/api/v1/rules?session_id=s"))["rules"] == answer["rules"]
    assert (await as_alice.ok("GET", "/api/v1/rules"))["total"] == 3
    assert (await as_alice.ok("GET", "/api/v1/sessions/t/settings"))["mode"] == "ask"


async def test_a_plan_is_never_offered_as_a_tool(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    await in_thread(request)(session, write_call("p"))
    await rows(lambda: ToolCall.objects.update(tool="create_plan"))
    assert await pending(as_alice) == []
    answer = await as_alice.ok("GET", f"{ONE}/pending-approvals?plans=true")
    assert answer["pending_approvals"][0]["request_type"] == "plan"


@pytest.mark.parametrize(
    ("body", "approval", "call"),
    [
        ({"decision": "approve"}, "approved", "waiting"),
        ({"decision": "edit", "modified_arguments": {"path": "c.txt", "content": "y"}}, "edited", "waiting"),
        ({"decision": "reject", "feedback": "Not there."}, "rejected", "rejected"),
        ({"decision": "reject", "reason": "Not there."}, "rejected", "rejected"),
    ],
)
async def test_an_approval_is_answered_once(
    as_alice: Http, alice: User, body: dict[str, Any], approval: str, call: str
) -> None:
    session = await opened(alice)
    await in_thread(request)(session, write_call("w"))
    answer = await as_alice.ok("POST", f"{ONE}/hitl-decision", {"call_id": "w", **body})
    assert (answer["status"], answer["call_ids"]) == ("success", ["w"])
    row = await rows(lambda: Approval.objects.select_related("call").get())
    assert (row.status, row.via, row.decided_by_id, row.call.status) == (approval, "rest", alice.pk, call)
    assert row.feedback == (body.get("feedback") or body.get("reason") or "")
    if call == "rejected":
        assert row.call.result == "Error: Not there."
    second = await as_alice.refused("POST", f"{ONE}/hitl-decision", {"call_id": "w", **body})
    assert second in ((409, "approval_decided"), (409, "tool_call_finished"))
    assert await pending(as_alice) == []


async def test_invalid_answers_are_refused(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    await in_thread(request)(session, write_call("w"))
    path = f"{ONE}/hitl-decision"
    outside, unstorable = {"path": "../x", "content": ""}, {"path": "x", "content": "\x00"}
    for body, expected in (
        ({"call_id": "none", "decision": "approve"}, (404, "unknown_tool_call")),
        ({"call_id": "w", "decision": "edit"}, (400, "invalid_field")),
        ({"call_id": "w", "decision": "edit", "modified_arguments": outside}, (400, "invalid_arguments")),
        ({"call_id": "w", "decision": "edit", "modified_arguments": unstorable}, (400, "invalid_text")),
        ({"call_id": "w", "decision": "maybe"}, (400, "invalid_field")),
        ({"call_id": "w", "decision": "reject", "feedback": "\x00"}, (400, "invalid_text")),
        ({"decision": "approve"}, (400, "invalid_field")),
    ):
        assert await as_alice.refused("POST", path, body) == expected
    assert await pending(as_alice) == ["w"]


async def test_several_answers_are_taken_all_or_none(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    await in_thread(request)(session, write_call("a"), write_call("b"), write_call("c"), read_call("r"))
    path = f"{ONE}/approvals"
    assert await as_alice.refused("POST", path, {"decision": "approve"}) == (400, "invalid_field")
    assert await as_alice.refused("POST", path, {"decision": "approve", "call_ids": ["a", "r"]}) == (
        409,
        "approval_decided",
    )
    assert await pending(as_alice) == ["a", "b", "c"]
    answer = await as_alice.ok("POST", path, {"decision": "approve", "call_ids": ["a", "a"]})
    assert (answer["count"], answer["call_ids"]) == (1, ["a"])
    answer = await as_alice.ok("POST", path, {"decision": "reject", "all": True, "feedback": "No."})
    assert sorted(answer["call_ids"]) == ["b", "c"]
    assert (await as_alice.ok("POST", path, {"decision": "reject", "all": True}))["count"] == 0


async def test_a_rule_answers_for_the_user(as_alice: Http, as_bob: Http, alice: User) -> None:
    session = await opened(alice)
    rule = {"effect": "allow", "tool": "write_file", "subject": "docs/*", "session_id": "s"}
    made = await as_alice.ok("POST", "/api/v1/rules", rule)
    assert {key: made[key] for key in rule} == rule
    assert (made["agent"], made["folder"]) == ("*", ".")
    await as_alice.ok("POST", "/api/v1/rules", {"effect": "deny", "tool": "execute_command", "subject": "rm *"})
    listed = await as_alice.ok("GET", "/api/v1/rules")
    assert (listed["total"], [each["effect"] for each in listed["rules"]]) == (2, ["allow", "deny"])
    assert (await as_bob.ok("GET", "/api/v1/rules"))["rules"] == []
    held = await in_thread(begin)(session)
    await in_thread(tool_calls.request_tools)(held, step(), [write_call("w", "docs/a.md")])
    assert (await rows(lambda: ToolCall.objects.get())).rule == "rule: allow write_file docs/*"
    one = f"/api/v1/rules/{made['id']}"
    assert await as_bob.refused("DELETE", one) == (404, "rule_not_found")
    assert await as_alice.ok("DELETE", one) == {"id": made["id"], "status": "deleted"}
    assert await as_alice.refused("DELETE", one) == (404, "rule_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"effect": "maybe"},
        {"effect": "allow", "tool": ""},
        {"effect": "allow", "tol": "x"},
        {"effect": "allow", "tool": 1},
    ],
)
async def test_an_ambiguous_rule_is_refused(as_alice: Http, body: object) -> None:
    assert await as_alice.refused("POST", "/api/v1/rules", body) == (400, "invalid_field")
    assert not await rows(lambda: PolicyRule.objects.exists())


async def test_a_rule_whose_name_is_too_long_is_refused(as_alice: Http) -> None:
    rule = {"effect": "deny", "tool": "*" * 1000, "subject": "a" * 1000, "agent": "*" * 400}
    assert await as_alice.refused("POST", "/api/v1/rules", rule) == (400, "invalid_field")


async def with_plans(session: Session) -> None:
    """Let the session's agent propose plans."""
    await in_thread(set_client_plans)(session.pk, True)
    await rows(lambda: Session.objects.filter(pk=session.pk).update(current_agent="architect"))


async def test_the_inbox_has_what_waits_in_all_sessions_of_its_user(
    as_alice: Http, as_bob: Http, alice: User, bob: User
) -> None:
    assert await as_alice.ok("GET", "/api/v1/approvals") == {"approvals": [], "total": 0}
    first, second, third = [await opened(alice, key) for key in ("a/first", "second", "third")]
    bobs = await opened(bob, "bobs")
    await in_thread(request)(first, write_call("w1", "b.txt"), read_call("r"))
    command = {"command": "ls\u202e"}
    await in_thread(request)(second, ModelToolCall(id="c", name="execute_command", arguments=command))
    await with_plans(third)
    await in_thread(request)(third, plan_call("p", subtask("one")))
    await in_thread(request)(bobs, write_call("bobs"))
    inbox = await as_alice.ok("GET", "/api/v1/approvals")
    shown = [(each["session_id"], each["call_id"], each["request_type"]) for each in inbox["approvals"]]
    assert shown == [("a/first", "w1", "tool"), ("second", "c", "tool"), ("third", "p", "plan")]
    assert (inbox["total"], inbox["approvals"][1]["display"]) == (3, {"command": "ls⟨U+202E⟩"})
    assert inbox["approvals"][0]["title"] == "Do it."
    limited = await as_alice.ok("GET", "/api/v1/approvals?limit=1")
    assert ([each["call_id"] for each in limited["approvals"]], limited["total"]) == (["w1"], 3)
    assert await as_alice.refused("GET", "/api/v1/approvals?limit=101") == (400, "invalid_field")
    await as_alice.ok("POST", "/api/v1/sessions/a/first/approvals", {"decision": "approve", "all": True})
    await as_alice.ok("POST", "/api/v1/sessions/third/cancel")
    await as_alice.ok("DELETE", "/api/v1/sessions/second")
    assert (await as_alice.ok("GET", "/api/v1/approvals"))["total"] == 0
    assert (await as_bob.ok("GET", "/api/v1/approvals"))["total"] == 1


async def test_a_rule_is_shown_before_it_is_made(as_alice: Http, as_bob: Http, alice: User, bob: User) -> None:
    session = await opened(alice)
    await in_thread(request)(session, write_call("w", "src/b.py"))
    other = await opened(alice, "other")
    await with_plans(other)
    await in_thread(request)(other, plan_call("p", subtask("one")))
    path = f"{ONE}/tool-calls/w/rules"
    choices = (await as_alice.ok("GET", path))["choices"]
    assert [(each["coverage"], each["subject"]) for each in choices] == [
        ("file", "src/b.py"),
        ("folder", "src/**"),
        ("workspace", "**"),
    ]
    assert (await as_alice.ok("GET", "/api/v1/sessions/other/tool-calls/p/rules"))["choices"] == []
    assert await rows(PolicyRule.objects.count) == 0
    await opened(bob)
    assert await as_bob.refused("GET", path) == (404, "unknown_tool_call")
    rule = {name: value for name, value in choices[1].items() if name != "coverage"}
    await as_alice.ok("POST", "/api/v1/rules", {**rule, "session_id": "s"})
    await as_alice.ok("POST", f"{ONE}/cancel")
    await in_thread(request)(session, write_call("x", "src/c.py"), write_call("y", "c.py"))
    assert await pending(as_alice) == ["y"]


async def test_a_new_rule_answers_the_calls_that_wait(as_alice: Http, as_bob: Http, alice: User, bob: User) -> None:
    session, other = await opened(alice), await opened(alice, "t")
    bobs = await opened(bob)
    calls = [write_call("w", "a.txt"), write_call("x", "b.md"), write_call("y", "c.txt")]
    await in_thread(request)(session, *calls)
    for one in (other, bobs):
        await in_thread(request)(one, write_call("w", "a.txt"))

    # A rule of one session leaves the others alone, and what it does not match.
    rule = {"effect": "allow", "tool": "write_file", "subject": "*.txt"}
    await as_alice.ok("POST", "/api/v1/rules", {**rule, "session_id": "s"})
    assert await pending(as_alice) == ["x"]
    shown = {each["call_id"]: each for each in (await as_alice.ok("GET", f"{ONE}/tool-calls"))["tool_calls"]}
    assert [shown[name]["requires_approval"] for name in ("w", "x", "y")] == [False, True, False]
    assert shown["w"]["rule"] == "rule: allow write_file *.txt"
    approval = await in_thread(Approval.objects.get)(call__call_id="w", call__turn__session=session)
    assert (approval.status, approval.via, approval.decided_by_id) == ("approved", "rest", alice.pk)

    # Clients add a rule and approve the call then. It may have been run meanwhile.
    await in_thread(tool_calls.record_tool_result)(session.pk, "y", content="{}", failed=False)
    for call in ("w", "y"):
        await as_alice.ok("POST", f"{ONE}/hitl-decision", {"call_id": call, "decision": "approve"})
    refused = await as_alice.refused("POST", f"{ONE}/hitl-decision", {"call_id": "w", "decision": "reject"})
    assert refused == (409, "approval_decided")
    batch = {"call_ids": ["w", "x"], "decision": "approve"}
    assert (await as_alice.ok("POST", f"{ONE}/approvals", batch))["call_ids"] == ["x"]

    # A rule for all sessions answers everywhere, but for its user only. A rule that denies rejects.
    await as_alice.ok("POST", "/api/v1/rules", {**rule, "effect": "deny"})
    assert (await as_alice.ok("GET", "/api/v1/sessions/t/pending-approvals"))["count"] == 0
    assert await pending(as_bob) == ["w"]
    record = await as_alice.ok("GET", "/api/v1/sessions/t/tool-calls/w")
    assert (record["status"], record["result"]) == ("rejected", f"Error: {DENIED}")


async def test_a_rule_answers_no_plan_and_no_call_that_may_have_run(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    await in_thread(request)(session, write_call("w", "a.txt"))
    await in_thread(ToolCall.objects.update)(unknown_since=timezone.now())
    planned = await opened(alice, "t")
    await in_thread(set_client_plans)(planned.pk, True)
    await in_thread(Session.objects.filter(pk=planned.pk).update)(current_agent="architect")
    await in_thread(request)(planned, plan_call("p", subtask("1")))

    await as_alice.ok("POST", "/api/v1/rules", {"effect": "allow", "tool": "*", "subject": "*"})

    assert await pending(as_alice) == ["w"]
    assert await in_thread(list)(Approval.objects.values_list("status", flat=True)) == ["pending", "pending"]

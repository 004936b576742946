"""Tools that a client defines: what may be said of them, and what the policy makes of their calls."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from agents.argument_schemas import find_argument_problem, find_schema_problem
from agents.client_tools import ClientTool, InvalidTools, ToolDefinition, check, dump, load
from agents.policy import Mode, PolicyDecision, Verdict, decide
from agents.roles import ROLES, Role
from agents.rules import Effect, Rule
from llm.types import ModelToolCall

A, Q, D = Verdict.ALLOW, Verdict.ASK, Verdict.DENY
ISSUE = "mcp__github__create_issue"
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "labels": {"type": "array", "items": {"type": "string"}}},
    "required": ["title"],
    "additionalProperties": False,
}
CODER = ROLES["coder"]


def definition(name: str = ISSUE, **fields: Any) -> ToolDefinition:
    return ToolDefinition.model_validate({"name": name, "description": "Opens an issue.", **fields})


def tools(*definitions: ToolDefinition) -> dict[str, ClientTool]:
    return {tool.name: tool for tool in check(definitions, ())}


def judge(
    *rules: Rule,
    arguments: dict[str, Any] | None = None,
    mode: Mode = Mode.ASK,
    role: Role = CODER,
    offered: list[str] | None = None,
    **fields: Any,
) -> PolicyDecision:
    call = ModelToolCall(id="c", name=ISSUE, arguments=arguments or {})
    return decide(call, role=role, mode=mode, rules=rules, offered=offered, defined=tools(definition(**fields)))


def problem(*definitions: ToolDefinition, names: tuple[str, ...] = ()) -> str:
    with pytest.raises(InvalidTools) as caught:
        check(definitions, names)
    return str(caught.value)


def rule(effect: Effect, tool: str, subject: str = "*") -> Rule:
    return Rule(effect=effect, tool=tool, subject=subject)


# What may be said


def test_a_model_is_offered_what_the_client_says_and_keys_keep_their_order() -> None:
    schema = {"type": "object", "properties": {"zebra": {"type": "string"}, "a": {"type": "integer"}}, "required": []}
    (tool,) = load(dump(check([definition(parameters=schema)], ()))).values()
    assert (tool.for_model.name, tool.for_model.description) == (ISSUE, "Opens an issue.")
    assert json.dumps(tool.for_model.parameters) == json.dumps(schema)


def test_fields_that_are_missing_or_null_have_defaults() -> None:
    (tool,) = check([definition(description=None, parameters=None, kind=None, approval=None)], ())
    assert (tool.description, tool.parameters, tool.kind, tool.approval) == (
        "",
        {"type": "object", "properties": {}},
        "other",
        None,
    )


@pytest.mark.parametrize("name", ["read_file", "Read_File", "switch_mode", "calculator"])
def test_a_name_of_the_servers_own_tools_is_refused(name: str) -> None:
    assert problem(definition(name)).startswith(f"Tool `{name}`: the name belongs to a tool of this server.")


def test_two_tools_of_one_name_are_refused_also_where_one_is_only_named() -> None:
    twice = "the name belongs to another tool of this client"
    assert twice in problem(definition("a"), definition("A"))
    assert twice in problem(definition("a"), names=("a",))


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"type": "objekt"}, 'must have `"type": "object"`'),
        ({"type": "array"}, 'must have `"type": "object"`'),
        ({"properties": {"a": {}}}, 'must have `"type": "object"`'),
        ({"type": "object", "properties": ["a"]}, "an object in `properties`"),
        ({"type": "object", "required": "a"}, "is not a JSON Schema: `required`"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "is not a JSON Schema"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "is not a JSON Schema"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}, "is not a JSON Schema"),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/a.json"}}}, "is not a JSON Schema"),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "is not a JSON Schema"),
        ({"$schema": "http://127.0.0.1:9/schema", "type": "object"}, "is not a JSON Schema"),
        ({"type": "object", "maximum": 2**70}, "an integer of more than 64 bits"),
        ({"type": "object", "description": "x" * 40_000}, "more than 32,000 characters"),
    ],
)
def test_a_schema_that_is_none_is_refused_with_a_sentence(schema: dict[str, Any], sentence: str) -> None:
    text = problem(definition(parameters=schema))
    assert text.startswith(f"Tool `{ISSUE}`: the schema in `parameters` ")
    assert sentence in text
    assert len(text) < 500


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def test_sizes_are_bounded() -> None:
    assert not find_schema_problem(nested(15))
    assert "levels deep" in find_schema_problem(nested(25))
    assert "levels deep" in find_schema_problem(nested(2000))
    many = [definition(f"t{number}") for number in range(101)]
    assert problem(*many) == "A client may define at most 100 tools, and these are 101."
    large = [definition(f"t{number}", description="x" * 8000) for number in range(20)]
    assert "at most 128,000 fit" in problem(*large)


#: Each is a schema. None may cost more than a moment, whatever the arguments are.
DOUBLED = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(40)}
HOSTILE: dict[str, dict[str, Any]] = {
    "a loop": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "allOf": [{"$ref": "#/$defs/a"}]},
    "itself": {"allOf": [{"$ref": "#"}]},
    "twice itself": {"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}},
    "doubled": {"$defs": {**DOUBLED, "d40": {}}, "allOf": [{"$ref": "#/$defs/d0"}]},
    "a pattern": {"properties": {"b": {"pattern": r"^(?=a)(a+)+\1$"}}},
    "a chain": {
        "$defs": {**{f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(700)}, "d700": {}},
        "allOf": [{"$ref": "#/$defs/d0"}],
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_schema_holds_up_a_process_or_refuses_a_call_because_of_a_limit(name: str) -> None:
    schema = {"type": "object", **HOSTILE[name]}
    arguments: dict[str, Any] = {}
    for _ in range(50):
        arguments = {"a": arguments}
    arguments["b"] = "a" * 50_000 + "b"
    begin = time.process_time()
    assert not find_schema_problem(schema)
    assert not find_argument_problem(json.dumps(schema), arguments)
    assert time.process_time() - begin < 1


def unevaluated(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"properties": {"a": {}}}
    for _ in range(levels):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    return schema


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"properties": {"a": {"pattern": "^(?=a)(a+)+$"}}}, "a" * 900_000 + "b"),
        ({"properties": {"a": {"allOf": [{"pattern": f"^(?=a)(a+)+${n}"} for n in range(500)]}}}, "a" * 50_000),
        ({"properties": {"a": {"items": {"enum": [[n] for n in range(4000)]}}}}, [[3999]] * 20_000),
        (unevaluated(18), "x"),
    ],
)
def test_no_arguments_hold_up_a_process(schema: dict[str, Any], value: Any) -> None:
    schema = {"type": "object", **schema}
    begin = time.process_time()
    assert not find_schema_problem(schema)
    assert not find_argument_problem(json.dumps(schema), {"a": value})
    assert time.process_time() - begin < 1


# Arguments


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, '"title" is a required property'),
        ({"title": 1}, '`title`: 1 is not of type "string"'),
        ({"title": "x", "labels": ["a", None]}, '`labels.1`: null is not of type "string"'),
        ({"title": "x", "more": 1}, "Additional properties are not allowed ('more' was unexpected)"),
        ({"title": None}, '`title`: null is not of type "string"'),
    ],
)
def test_arguments_that_do_not_fit_are_told_to_the_model(arguments: dict[str, Any], sentence: str) -> None:
    decision = judge(arguments=arguments, parameters=SCHEMA, kind="read")
    assert (decision.verdict, decision.rule) == (D, "arguments")
    expected = f"{ISSUE} was not run: {sentence}. Its arguments are: title, labels. Correct them and call it again."
    assert decision.reason == expected


def test_arguments_that_fit_stay_as_they_are() -> None:
    arguments = {"title": "Ünï 🙂", "labels": []}
    decision = judge(arguments=arguments, parameters=SCHEMA, kind="read")
    assert (decision.verdict, decision.arguments) == (A, arguments)


def test_a_reference_is_followed_a_few_times_within_itself() -> None:
    schema = json.dumps(
        {"type": "object", "properties": {"left": {"$ref": "#"}, "value": {"type": "integer"}}, "required": ["value"]}
    )
    good = {"value": 1, "left": {"value": 2, "left": {"value": 3}}}
    assert not find_argument_problem(schema, good)
    assert "`left.left`" in find_argument_problem(schema, {"value": 1, "left": {"value": 2, "left": {}}})


def test_what_is_left_out_never_makes_a_schema_stricter() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"not": {"$ref": "#"}}, "b": {"oneOf": [{"$ref": "#/properties/b"}, {"type": "integer"}]}},
    }
    assert not find_argument_problem(json.dumps(schema), {"a": 1, "b": 1})
    part = {"if": {"unevaluatedProperties": False}, "then": {"properties": {"a": {}}}}
    assert not find_argument_problem(json.dumps({"type": "object", "unevaluatedProperties": False, **part}), {})
    assert not find_argument_problem(
        json.dumps({"type": "object", "unevaluatedProperties": False, "allOf": [part]}), {"a": 1}
    )


def test_words_beside_an_old_reference_do_not_count() -> None:
    draft = "http://json-schema.org/draft-07/schema#"
    a = {"$ref": "#/definitions/s", "type": "integer"}
    schema = {"$schema": draft, "type": "object", "properties": {"a": a}, "definitions": {"s": {"type": "string"}}}
    assert not find_argument_problem(json.dumps(schema), {"a": "text"})


# The policy


@pytest.mark.parametrize(
    ("kind", "approval", "verdicts"),
    [
        ("read", None, [A, A, A, A]),
        ("edit", None, [Q, Q, A, A]),
        ("command", None, [Q, Q, Q, A]),
        ("other", None, [Q, Q, Q, Q]),
        (None, None, [Q, Q, Q, Q]),
        ("read", "ask", [Q, Q, Q, Q]),
        ("edit", "ask", [Q, Q, Q, Q]),
        ("command", "ask", [Q, Q, Q, Q]),
        ("other", "ask", [Q, Q, Q, Q]),
        ("read", "never", [A, A, A, A]),
        # A client cannot widen what the mode allows.
        ("edit", "never", [Q, Q, A, A]),
        ("command", "never", [Q, Q, Q, A]),
        ("other", "never", [A, A, A, A]),
    ],
)
def test_kind_approval_and_mode_decide(kind: str | None, approval: str | None, verdicts: list[Verdict]) -> None:
    assert [judge(kind=kind, approval=approval, mode=mode).verdict for mode in Mode] == verdicts


@pytest.mark.parametrize("pattern", ["*", ISSUE, "mcp__github__*", "mcp__*", "mcp__git*__create_?ssue"])
def test_rules_name_tools_with_wildcards(pattern: str) -> None:
    assert judge(rule(Effect.ALLOW, pattern)).verdict is A
    denied = judge(rule(Effect.DENY, pattern), rule(Effect.ALLOW, "*"), kind="read", approval="never", mode=Mode.FULL)
    assert (denied.verdict, denied.rule) == (D, f"rule: deny {pattern} *")


def test_rules_about_other_servers_do_not_count() -> None:
    assert judge(rule(Effect.ALLOW, "mcp__gitlab__*")).verdict is Q
    assert judge(rule(Effect.DENY, "mcp__gitlab__*"), kind="read").verdict is A


@pytest.mark.parametrize(
    "arguments",
    [
        {"file": "secret/key.pem"},
        {"files": ["a.txt", {"to": "./Secret/KEY.pem"}]},
        {"uri": "file:///srv/shop/secret/key.pem"},
        {"path": "C:\\shop\\secret\\key.pem"},
        {"text": "Send secret/key.pem to me."},
    ],
)
@pytest.mark.parametrize("subject", ["secret/**", "*.pem"])
def test_deny_rules_about_files_count_for_every_text_in_the_arguments(arguments: dict[str, Any], subject: str) -> None:
    assert judge(rule(Effect.DENY, "*", subject), arguments=arguments, kind="read").verdict is D
    assert judge(rule(Effect.DENY, "*", subject), arguments={"file": "src/a.txt"}, kind="read").verdict is A


def test_allow_rules_about_files_allow_no_tool_whose_files_are_not_known() -> None:
    assert judge(rule(Effect.ALLOW, "*", "docs/*"), arguments={"path": "docs/a.md"}).verdict is Q


def test_arguments_that_are_too_long_to_compare_are_left_to_a_person() -> None:
    arguments = {"texts": [f"word{number} " * 100 for number in range(200)]}
    decision = judge(rule(Effect.DENY, "*", "secret/**"), arguments=arguments, kind="read")
    assert (decision.verdict, decision.rule) == (Q, "too many rules")


@pytest.mark.parametrize(
    "path", [".git/hooks/pre-commit", "/srv/shop/.vscode/tasks.json", "package.json", "C:\\shop\\.git.\\hooks\\x"]
)
@pytest.mark.parametrize("arguments", [lambda path: {"file": path}, lambda path: {"files": {path: "text"}}])
def test_edits_of_protected_files_ask_in_every_mode_and_under_rules_for_all(path: str, arguments: Any) -> None:
    decision = judge(rule(Effect.ALLOW, "mcp__*"), arguments=arguments(path), kind="edit", mode=Mode.FULL)
    assert (decision.verdict, decision.rule) == (Q, "protected path")


def test_a_deny_rule_counts_for_names_of_arguments_too() -> None:
    arguments = {"files": {"secret/key.pem": "text"}}
    assert judge(rule(Effect.DENY, "*", "secret/**"), arguments=arguments, kind="read").verdict is D
    assert judge(arguments={"head": "main", "make": "x"}, kind="edit", mode=Mode.AUTO_EDIT).verdict is A


@pytest.mark.parametrize(
    ("role", "kinds"),
    [
        ("coder", {"read", "edit", "command", "other"}),
        ("universal", {"read", "edit", "command", "other"}),
        ("debug", {"read", "command", "other"}),
        ("architect", {"read"}),
        ("ask", {"read"}),
        ("orchestrator", {"read"}),
    ],
)
def test_roles_that_limit_tools_limit_those_of_clients(role: str, kinds: set[str]) -> None:
    for kind in ("read", "edit", "command", "other"):
        decision = judge(rule(Effect.ALLOW, "*"), kind=kind, approval="never", mode=Mode.FULL, role=ROLES[role])
        assert (decision.verdict is A) is (kind in kinds)
        assert decision.verdict is A or decision.rule == "role tools"


def test_a_tool_that_the_model_was_not_offered_does_not_run() -> None:
    assert judge(kind="read", offered=["read_file"]).rule == "client tools"
    call = ModelToolCall(id="c", name="mcp__github__close", arguments={})
    decision = decide(call, role=CODER, mode=Mode.FULL, defined=tools(definition()))
    assert (decision.verdict, decision.rule) == (D, "unknown tool")
    assert ISSUE in decision.reason


def test_any_change_of_a_definition_is_another_tool() -> None:
    changes: list[dict[str, Any]] = [
        {"description": "Closes an issue."},
        {"parameters": SCHEMA},
        {"kind": "read"},
        {"approval": "never"},
    ]
    digests = {check([definition(**change)], ())[0].digest for change in [{}, *changes]}
    assert len(digests) == 5
    turned = {key: SCHEMA[key] for key in reversed(SCHEMA)}
    (one,), (other,) = (check([definition(parameters=schema)], ()) for schema in (SCHEMA, turned))
    assert one.digest == other.digest

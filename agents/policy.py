"""Decides whether a call may run, by the role, the session's mode and the user's rules.

The only input from a model or tool is the call itself, so no text can change a mode, a rule or the outcome. First come
checks that nothing can override: unknown tools, bad arguments, paths outside the workspace, other roles' tools and
files. Deny rules, allow rules and the mode follow in this order. Each decision names what decided.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agents import commands, paths, tools
from agents.arguments import ExecuteCommand, SwitchMode
from agents.client_tools import Approval, ClientTool
from agents.commands import Risk
from agents.roles import Role
from agents.rules import Comparison, Effect, ParsedCall, Rule
from agents.tools import CREATE_PLAN, TOOLS, InvalidArguments, ToolKind
from agents.wildcards import TooMuchWork
from llm.types import ModelToolCall


class Mode(StrEnum):
    """What a session lets its agents do without approval. Only its user can change it."""

    #: Reading.
    ASK = "ask"
    #: Also commands from a short list that only show something (agents.commands.SAFE_COMMANDS).
    AUTO_READ = "auto-read"
    #: Also changes of files, except those that other programs run or trust (agents.protected).
    AUTO_EDIT = "auto-edit"
    #: Also every command that is one program with plain words.
    FULL = "full"


class Verdict(StrEnum):
    """What happens to a call."""

    ALLOW = "allow"
    #: The user must approve it first.
    ASK = "ask"
    #: It does not run; the model gets the reason as the call's error.
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDecision:
    """What happens to a call, and why."""

    verdict: Verdict
    #: What decided: a mode, a rule of the user, or the name of a built-in check.
    rule: str
    #: A sentence. For DENY it is for the model, otherwise for people.
    reason: str
    #: The arguments in canonical form (agents.tools.parse). Empty if they are invalid.
    arguments: dict[str, Any] = field(default_factory=dict)


def _decided(call: ParsedCall, verdict: Verdict, rule: str, reason: str) -> PolicyDecision:
    return PolicyDecision(verdict=verdict, rule=rule, reason=reason, arguments=call.arguments)


def decide(
    call: ModelToolCall,
    *,
    role: Role,
    mode: Mode,
    rules: Iterable[Rule] = (),
    offered: Collection[str] | None = None,
    agents: Sequence[str] | None = None,
    defined: Mapping[str, ClientTool] | None = None,
) -> PolicyDecision:
    """Decide about one call of a model, or about one whose arguments the user has edited.

    `offered` are the tools that the model was offered (None: all of the role's), `agents` the names that it may hand
    over to or plan with, `defined` the tools that the client has defined.
    """
    defined = defined or {}
    if denial := _deny_unavailable(call.name, role, offered, defined):
        return denial
    try:
        parsed = parse_call(call, role, agents, defined)
    except InvalidArguments as error:
        return PolicyDecision(
            verdict=Verdict.DENY, rule="path" if error.unsafe_path else "arguments", reason=str(error)
        )
    for path in parsed.written_paths:
        if not paths.matches_any(role.writes, path):
            return _decided(
                parsed,
                Verdict.DENY,
                "role files",
                f"{call.name} was not run: {role.title} may only change files that match {', '.join(role.writes)}, and "
                f"{path} does not. Leave it to another agent, such as coder.",
            )
    return _decide_by_rules(parsed, list(rules)) or _decide_by_kind(parsed, mode)


def tools_of(role: Role, defined: Mapping[str, ClientTool]) -> list[str]:
    """Return the names of a role's tools, with those that the client has defined and the role may use."""
    return [*role.tools, *(tool.name for tool in defined.values() if role.may_use(tool.kind))]


def _deny_unavailable(
    name: str, role: Role, offered: Collection[str] | None, defined: Mapping[str, ClientTool]
) -> PolicyDecision | None:
    of_role = tools_of(role, defined)
    usable = [tool for tool in of_role if offered is None or tool in offered]
    choice = f"Your tools are: {', '.join(usable) or 'none'}."
    if name not in TOOLS and name not in defined:
        return PolicyDecision(
            verdict=Verdict.DENY, rule="unknown tool", reason=f"Tool {name[:60]!r} does not exist. {choice}"
        )
    if name not in of_role:
        return PolicyDecision(
            verdict=Verdict.DENY, rule="role tools", reason=f"The tool {name} is not allowed for {role.title}. {choice}"
        )
    if name not in usable:
        return PolicyDecision(
            verdict=Verdict.DENY, rule="client tools", reason=f"The user's editor cannot run {name}. {choice}"
        )
    return None


def parse_call(
    call: ModelToolCall, role: Role, agents: Sequence[str] | None, defined: Mapping[str, ClientTool]
) -> ParsedCall:
    """Return a call of a known tool with what rules compare. Raises InvalidArguments."""
    if definition := defined.get(call.name):
        return ParsedCall(
            tool=call.name,
            kind=definition.kind,
            arguments=definition.parse(call.arguments),
            agent=role.name,
            subjects=(),
            written_paths=(),
            definition=definition,
        )
    arguments = tools.parse(call.name, call.arguments, agents=agents)
    command, folder = None, "."
    subjects = tools.paths_of(call.name, arguments)
    match tools.complete(call.name, arguments):
        case ExecuteCommand() as typed:
            folder = typed.cwd or "."
            command = commands.parse(typed.command, shell=typed.shell, folder=folder)
            subjects = (typed.command,)
        case SwitchMode(mode=agent):
            subjects = (agent,)
    return ParsedCall(
        tool=call.name,
        kind=TOOLS[call.name].kind,
        arguments=arguments,
        agent=role.name,
        subjects=subjects or (".",),
        written_paths=tools.paths_of(call.name, arguments, writes_only=True),
        command=command,
        folder=folder,
    )


def _decide_by_rules(call: ParsedCall, rules: list[Rule]) -> PolicyDecision | None:
    comparison = Comparison(call)
    try:
        for rule in rules:
            if rule.effect is Effect.DENY and comparison.denied_by(rule):
                which = f"{rule.tool} {rule.subject}"
                reason = f"{call.tool} was not run: a rule of the user denies it ({which}). Do not try it another way."
                return _decided(call, Verdict.DENY, rule.label, reason)
        for rule in rules:
            if rule.effect is Effect.ALLOW and comparison.allowed_by(rule):
                return _decided(call, Verdict.ALLOW, rule.label, "A rule of the user allows it.")
    except TooMuchWork:
        # A rule that denies it may be among those that were not compared.
        return _decided(
            call, Verdict.ASK, "too many rules", "The call is too long to be compared with all of your rules."
        )
    return None


def _decide_by_kind(call: ParsedCall, mode: Mode) -> PolicyDecision:
    """Decide about a call that no rule matches."""
    name = f"mode: {mode}"
    if call.definition and call.definition.approval is Approval.ASK:
        return _decided(call, Verdict.ASK, "client tools", "The client asks about each call of this tool.")
    match call.kind:
        case ToolKind.READ:
            return _decided(call, Verdict.ALLOW, name, "Reading is free in every mode.")
        case ToolKind.CONTROL if call.tool == CREATE_PLAN:
            return _decided(call, Verdict.ASK, "plan", "A plan requires user approval.")
        case ToolKind.CONTROL:
            return _decided(call, Verdict.ALLOW, "control", "It touches nothing in the workspace.")
        case ToolKind.EDIT if mode in (Mode.AUTO_EDIT, Mode.FULL):
            if kind := call.protected_kind:
                reason = f"File modification requires user approval. {kind.reason}"
                return _decided(call, Verdict.ASK, "protected path", reason)
            return _decided(call, Verdict.ALLOW, name, "The session's mode allows changes of files.")
        case ToolKind.EDIT:
            return _decided(call, Verdict.ASK, name, "File modification requires user approval.")
        case ToolKind.COMMAND:
            return _decide_by_command(call, mode)
        case ToolKind.OTHER if call.definition and call.definition.approval is Approval.NEVER:
            return _decided(call, Verdict.ALLOW, "client tools", "The client says that this tool needs no question.")
        case ToolKind.OTHER:
            return _decided(call, Verdict.ASK, "client tools", "The client has not said what this tool can do.")


def _decide_by_command(call: ParsedCall, mode: Mode) -> PolicyDecision:
    command = call.command
    if command and command.risk is Risk.OPAQUE:
        reason = f"This command always requires user approval, because {command.reason}."
        return _decided(call, Verdict.ASK, "opaque command", reason)
    if mode is Mode.FULL:
        return _decided(call, Verdict.ALLOW, f"mode: {mode}", "The session's mode allows commands.")
    if command and command.risk is Risk.SAFE and mode is not Mode.ASK:
        return _decided(call, Verdict.ALLOW, "safe command", "The command only shows something.")
    return _decided(call, Verdict.ASK, f"mode: {mode}", "Command execution requires user approval.")

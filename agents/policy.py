"""May this call run? Decided by code outside of the model, from the role, the session's mode and the user's rules.

Nothing that a model says or a tool returns comes in here but the call itself, so no text can change a mode, a rule or
the outcome. First what no one can allow (unknown tools, bad arguments, paths outside of the workspace, what is not the
role's); then deny rules, then allow rules, then the mode. Each decision names what decided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from agents import commands, paths, tools
from agents.arguments import ExecuteCommand, SwitchMode
from agents.commands import Command, Risk
from agents.roles import Role
from agents.tools import TOOLS, InvalidArguments, Kind
from agents.wildcards import fits
from llm.types import ToolCall


class Mode(StrEnum):
    """What a session lets its agents do unasked. Only its user can change it."""

    #: Reading.
    ASK = "ask"
    #: And the commands of a short list that only show something (agents.commands.SAFE).
    AUTO_READ = "auto-read"
    #: And changes of files, except those that other programs run or trust (agents.paths.is_protected).
    AUTO_EDIT = "auto-edit"
    #: And every command that is one program with plain words.
    FULL = "full"


class Verdict(StrEnum):
    """What happens to a call."""

    ALLOW = "allow"
    #: A person must answer first.
    ASK = "ask"
    #: It does not run; the reason is the call's error, which the model sees.
    DENY = "deny"


class Effect(StrEnum):
    """What a rule does."""

    ALLOW = "allow"
    DENY = "deny"


type Wildcards = Annotated[str, Field(min_length=1, max_length=1000)]


class Rule(BaseModel):
    """A standing answer of the user: always allow or always deny what fits all patterns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effect: Effect
    #: Names of tools.
    tool: Wildcards = "*"
    #: Paths (agents.paths.matches) or, for execute_command, words of the command (agents.commands.covered). A rule that
    #: allows must fit all paths of a call, one that denies any of them.
    subject: Wildcards = "*"
    #: Names of agents.
    agent: Wildcards = "*"
    #: For commands that are allowed: the folders in which they are.
    folder: Wildcards = "."

    @property
    def label(self) -> str:
        """Name the rule as a decision names it."""
        return f"rule: {self.effect} {self.tool} {self.subject}" + (f" for {self.agent}" if self.agent != "*" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens to a call, and why."""

    verdict: Verdict
    #: What decided: a mode, a rule of the user, or a check of ours by name.
    rule: str
    #: A sentence. For DENY it is for the model, otherwise for people.
    reason: str
    #: The arguments in their one spelling: what is shown, hashed, sent. Empty if they were refused.
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A call whose arguments are valid, with what rules compare."""

    tool: str
    kind: Kind
    arguments: dict[str, Any]
    agent: str
    subjects: tuple[str, ...]
    written: tuple[str, ...]
    command: Command | None = None
    folder: str = "."

    def decided(self, verdict: Verdict, rule: str, reason: str) -> Decision:
        return Decision(verdict=verdict, rule=rule, reason=reason, arguments=self.arguments)


def decide(
    call: ToolCall,
    *,
    role: Role,
    mode: Mode,
    rules: Iterable[Rule] = (),
    offered: Collection[str] | None = None,
    agents: Sequence[str] | None = None,
) -> Decision:
    """Judge one call of a model; to judge arguments that a person has edited, give the call with those.

    `offered` are the tools that the model was offered (None: all of the role's), `agents` the names that it may hand
    over to or plan with.
    """
    refused = _refusal(call.name, role, offered)
    if refused:
        return refused
    try:
        judged = _read(call, role, agents)
    except InvalidArguments as error:
        return Decision(verdict=Verdict.DENY, rule="path" if error.unsafe_path else "arguments", reason=str(error))
    for path in judged.written:
        if not paths.matches_any(role.writes, path):
            return judged.decided(
                Verdict.DENY,
                "role files",
                f"{call.name} was not run: {role.title} may only change files that fit {', '.join(role.writes)}, and "
                f"{path} does not. Leave it to another agent, such as coder.",
            )
    return _by_rules(judged, list(rules)) or _by_kind(judged, mode)


def _refusal(name: str, role: Role, offered: Collection[str] | None) -> Decision | None:
    usable = [tool for tool in role.tools if offered is None or tool in offered]
    choice = f"Your tools are: {', '.join(usable) or 'none'}."
    if name not in TOOLS:
        return Decision(verdict=Verdict.DENY, rule="unknown tool", reason=f"There is no tool {name[:60]!r}. {choice}")
    if name not in role.tools:
        return Decision(
            verdict=Verdict.DENY, rule="role tools", reason=f"The tool {name} is not allowed for {role.title}. {choice}"
        )
    if name not in usable:
        return Decision(
            verdict=Verdict.DENY, rule="client tools", reason=f"The user's editor cannot run {name}. {choice}"
        )
    return None


def _read(call: ToolCall, role: Role, agents: Sequence[str] | None) -> _Call:
    """Raises InvalidArguments."""
    arguments = tools.parse(call.name, call.arguments, agents=agents)
    command, folder = None, "."
    subjects = tools.paths_of(call.name, arguments)
    match tools.complete(call.name, arguments):
        case ExecuteCommand() as given:
            folder = given.cwd or "."
            command = commands.read(given.command, shell=given.shell, folder=folder)
            subjects = (given.command,)
        case SwitchMode() as given:
            subjects = (given.mode,)
    return _Call(
        tool=call.name,
        kind=TOOLS[call.name].kind,
        arguments=arguments,
        agent=role.name,
        subjects=subjects or (".",),
        written=tools.paths_of(call.name, arguments, written=True),
        command=command,
        folder=folder,
    )


def _by_rules(call: _Call, rules: list[Rule]) -> Decision | None:
    for rule in rules:
        if rule.effect is Effect.DENY and _denies(rule, call):
            which = f"{rule.tool} {rule.subject}"
            reason = f"{call.tool} was not run: a rule of the user denies it ({which}). Do not try it in another way."
            return call.decided(Verdict.DENY, rule.label, reason)
    for rule in rules:
        if rule.effect is Effect.ALLOW and _allows(rule, call):
            return call.decided(Verdict.ALLOW, rule.label, "A rule of the user allows it.")
    return None


def _denies(rule: Rule, call: _Call) -> bool:
    if not (fits(rule.tool, call.tool) and fits(rule.agent, call.agent)):
        return False
    if call.command:
        return commands.forbidden(rule.subject, call.command) or _names_a_path(rule.subject, call.command, call.folder)
    return any(paths.matches(rule.subject, subject, ignore_case=True) for subject in call.subjects)


def _names_a_path(pattern: str, command: Command, folder: str) -> bool:
    """Say whether a word of a command is a path that fits, so that `ls secret` is denied by `secret/**`."""
    if "/" not in pattern:
        return False
    if paths.matches(pattern, folder, ignore_case=True):
        return True
    for word in commands.words(command):
        try:
            path = paths.normal(word)
        except paths.UnsafePath:
            continue
        if paths.matches(pattern, path if folder == "." else f"{folder}/{path}", ignore_case=True):
            return True
    return False


def _allows(rule: Rule, call: _Call) -> bool:
    if not (fits(rule.tool, call.tool) and fits(rule.agent, call.agent)):
        return False
    if call.command:
        return paths.matches(rule.folder, call.folder) and commands.covered(rule.subject, call.command)
    # A wildcard does not reach what other programs run or trust: the user may not have thought of it.
    if _is_protected(call) and set(rule.subject) & set("*?"):
        return False
    return all(paths.matches(rule.subject, subject) for subject in call.subjects)


def _by_kind(call: _Call, mode: Mode) -> Decision:
    """Decide what no rule speaks of."""
    name = f"mode: {mode}"
    match call.kind:
        case Kind.READ:
            return call.decided(Verdict.ALLOW, name, "Reading is free in every mode.")
        case Kind.CONTROL if call.tool == "create_plan":
            return call.decided(Verdict.ASK, "plan", "A plan requires user approval.")
        case Kind.CONTROL:
            return call.decided(Verdict.ALLOW, "control", "It touches nothing in the workspace.")
        case Kind.EDIT if mode in (Mode.AUTO_EDIT, Mode.FULL):
            if _is_protected(call):
                reason = "File modification requires user approval in every mode here: other programs run or trust it."
                return call.decided(Verdict.ASK, "protected path", reason)
            return call.decided(Verdict.ALLOW, name, "The session's mode allows changes of files.")
        case Kind.EDIT:
            return call.decided(Verdict.ASK, name, "File modification requires user approval.")
        case Kind.COMMAND:
            return _by_command(call, mode)


def _by_command(call: _Call, mode: Mode) -> Decision:
    command = call.command
    if command and command.risk is Risk.OPAQUE:
        reason = f"Command execution requires user approval of the whole text in every mode: {command.reason}."
        return call.decided(Verdict.ASK, "opaque command", reason)
    if mode is Mode.FULL:
        return call.decided(Verdict.ALLOW, f"mode: {mode}", "The session's mode allows commands.")
    if command and command.risk is Risk.SAFE and mode is not Mode.ASK:
        return call.decided(Verdict.ALLOW, "safe command", "The command only shows something.")
    return call.decided(Verdict.ASK, f"mode: {mode}", "Command execution requires user approval.")


def _is_protected(call: _Call) -> bool:
    return any(map(paths.is_protected, call.written))

"""Decides whether a call may run, by the role, the session's mode and the user's rules.

The only input from a model or tool is the call itself, so no text can change a mode, a rule or the outcome. First come
checks that nothing can override: unknown tools, bad arguments, paths outside the workspace, other roles' tools and
files. Deny rules, allow rules and the mode follow in this order. Each decision names what decided.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from agents import commands, paths, protected, tools
from agents.arguments import ExecuteCommand, SwitchMode
from agents.commands import Command, CommandWords, Risk
from agents.mentions import Mentions
from agents.paths import Paths
from agents.roles import Role
from agents.tools import CREATE_PLAN, TOOLS, InvalidArguments, ToolKind
from agents.wildcards import TooMuchWork, matches
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


class Effect(StrEnum):
    """What a rule does."""

    ALLOW = "allow"
    DENY = "deny"


type WildcardPattern = Annotated[str, Field(min_length=1, max_length=1000)]
#: Characters of the name of what decided.
MAX_LABEL_CHARACTERS = 2200


class Rule(BaseModel):
    """A standing decision of the user: always allow or always deny the calls that match all patterns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effect: Effect
    #: Names of tools.
    tool: WildcardPattern = "*"
    #: Paths (agents.paths.matches) or, for execute_command, words of the command (agents.commands.covers). An allow
    #: rule must match all paths of a call, a deny rule any of them.
    subject: WildcardPattern = "*"
    #: Names of agents.
    agent: WildcardPattern = "*"
    #: For allowed commands: the folders in which they may run.
    folder: WildcardPattern = "."

    @property
    def is_about_files(self) -> bool:
        """Return whether the subject may be a pattern of paths. For commands alone, a word such as `make` is none."""
        name = "." in self.subject and " " not in self.subject
        return "/" in self.subject or name or any(matches(self.tool, tool) for tool in ("read_file", "write_file"))

    @property
    def label(self) -> str:
        """Return the name of the rule in a decision."""
        return f"rule: {self.effect} {self.tool} {self.subject}" + (f" for {self.agent}" if self.agent != "*" else "")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _ParsedCall:
    """A call with valid arguments, and what rules compare."""

    tool: str
    kind: ToolKind
    arguments: dict[str, Any]
    agent: str
    subjects: tuple[str, ...]
    written_paths: tuple[str, ...]
    command: Command | None = None
    folder: str = "."

    def decision(self, verdict: Verdict, rule: str, reason: str) -> PolicyDecision:
        return PolicyDecision(verdict=verdict, rule=rule, reason=reason, arguments=self.arguments)


def decide(
    call: ModelToolCall,
    *,
    role: Role,
    mode: Mode,
    rules: Iterable[Rule] = (),
    offered: Collection[str] | None = None,
    agents: Sequence[str] | None = None,
) -> PolicyDecision:
    """Decide about one call of a model, or about one whose arguments the user has edited.

    `offered` are the tools that the model was offered (None: all of the role's), `agents` the names that it may hand
    over to or plan with.
    """
    if denial := _deny_unavailable(call.name, role, offered):
        return denial
    try:
        parsed = _parse(call, role, agents)
    except InvalidArguments as error:
        return PolicyDecision(
            verdict=Verdict.DENY, rule="path" if error.unsafe_path else "arguments", reason=str(error)
        )
    for path in parsed.written_paths:
        if not paths.matches_any(role.writes, path):
            return parsed.decision(
                Verdict.DENY,
                "role files",
                f"{call.name} was not run: {role.title} may only change files that match {', '.join(role.writes)}, and "
                f"{path} does not. Leave it to another agent, such as coder.",
            )
    return _decide_by_rules(parsed, list(rules)) or _decide_by_kind(parsed, mode)


def _deny_unavailable(name: str, role: Role, offered: Collection[str] | None) -> PolicyDecision | None:
    usable = [tool for tool in role.tools if offered is None or tool in offered]
    choice = f"Your tools are: {', '.join(usable) or 'none'}."
    if name not in TOOLS:
        return PolicyDecision(
            verdict=Verdict.DENY, rule="unknown tool", reason=f"Tool {name[:60]!r} does not exist. {choice}"
        )
    if name not in role.tools:
        return PolicyDecision(
            verdict=Verdict.DENY, rule="role tools", reason=f"The tool {name} is not allowed for {role.title}. {choice}"
        )
    if name not in usable:
        return PolicyDecision(
            verdict=Verdict.DENY, rule="client tools", reason=f"The user's editor cannot run {name}. {choice}"
        )
    return None


def _parse(call: ModelToolCall, role: Role, agents: Sequence[str] | None) -> _ParsedCall:
    """Raise InvalidArguments."""
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
    return _ParsedCall(
        tool=call.name,
        kind=TOOLS[call.name].kind,
        arguments=arguments,
        agent=role.name,
        subjects=subjects or (".",),
        written_paths=tools.paths_of(call.name, arguments, writes_only=True),
        command=command,
        folder=folder,
    )


class _Comparison:
    """A call that is compared with many rules: what they compare is prepared once."""

    def __init__(self, call: _ParsedCall) -> None:
        self._call = call

    @cached_property
    def _command(self) -> CommandWords:
        assert self._call.command
        return CommandWords(self._call.command)

    @cached_property
    def _folder(self) -> Paths:
        return Paths([self._call.folder])

    @cached_property
    def _subjects(self) -> Paths:
        return Paths(self._call.subjects)

    @cached_property
    def _folded_subjects(self) -> Paths:
        return Paths(self._call.subjects, ignore_case=True)

    @cached_property
    def _mentions(self) -> Mentions:
        assert self._call.command
        words = commands.words(self._call.command)
        # A program without a folder is not a file of the workspace.
        return Mentions(words if "/" in "".join(words[:1]) else words[1:], self._call.folder)

    def denied_by(self, rule: Rule) -> bool:
        call = self._call
        if not (matches(rule.tool, call.tool) and matches(rule.agent, call.agent)):
            return False
        if call.command:
            return self._command.forbidden_by(rule.subject) or (
                rule.is_about_files and self._mentions.match_any(rule.subject)
            )
        return self._folded_subjects.match_any(rule.subject)

    def allowed_by(self, rule: Rule) -> bool:
        call = self._call
        if not (matches(rule.tool, call.tool) and matches(rule.agent, call.agent)):
            return False
        if call.command:
            return self._folder.match_any(rule.folder) and self._command.covered_by(rule.subject)
        # Wildcards do not cover files that other programs run or trust: the user may not have thought of those.
        if _protected_kind(call) and set(rule.subject) & set("*?"):
            return False
        return self._subjects.match_all(rule.subject)


def _decide_by_rules(call: _ParsedCall, rules: list[Rule]) -> PolicyDecision | None:
    comparison = _Comparison(call)
    try:
        for rule in rules:
            if rule.effect is Effect.DENY and comparison.denied_by(rule):
                which = f"{rule.tool} {rule.subject}"
                reason = f"{call.tool} was not run: a rule of the user denies it ({which}). Do not try it another way."
                return call.decision(Verdict.DENY, rule.label, reason)
        for rule in rules:
            if rule.effect is Effect.ALLOW and comparison.allowed_by(rule):
                return call.decision(Verdict.ALLOW, rule.label, "A rule of the user allows it.")
    except TooMuchWork:
        # A rule that denies it may be among those that were not compared.
        return call.decision(
            Verdict.ASK, "too many rules", "The call is too long to be compared with all of your rules."
        )
    return None


def _decide_by_kind(call: _ParsedCall, mode: Mode) -> PolicyDecision:
    """Decide about a call that no rule matches."""
    name = f"mode: {mode}"
    match call.kind:
        case ToolKind.READ:
            return call.decision(Verdict.ALLOW, name, "Reading is free in every mode.")
        case ToolKind.CONTROL if call.tool == CREATE_PLAN:
            return call.decision(Verdict.ASK, "plan", "A plan requires user approval.")
        case ToolKind.CONTROL:
            return call.decision(Verdict.ALLOW, "control", "It touches nothing in the workspace.")
        case ToolKind.EDIT if mode in (Mode.AUTO_EDIT, Mode.FULL):
            if kind := _protected_kind(call):
                reason = f"File modification requires user approval. {kind.reason}"
                return call.decision(Verdict.ASK, "protected path", reason)
            return call.decision(Verdict.ALLOW, name, "The session's mode allows changes of files.")
        case ToolKind.EDIT:
            return call.decision(Verdict.ASK, name, "File modification requires user approval.")
        case ToolKind.COMMAND:
            return _decide_by_command(call, mode)


def _decide_by_command(call: _ParsedCall, mode: Mode) -> PolicyDecision:
    command = call.command
    if command and command.risk is Risk.OPAQUE:
        reason = f"This command always requires user approval, because {command.reason}."
        return call.decision(Verdict.ASK, "opaque command", reason)
    if mode is Mode.FULL:
        return call.decision(Verdict.ALLOW, f"mode: {mode}", "The session's mode allows commands.")
    if command and command.risk is Risk.SAFE and mode is not Mode.ASK:
        return call.decision(Verdict.ALLOW, "safe command", "The command only shows something.")
    return call.decision(Verdict.ASK, f"mode: {mode}", "Command execution requires user approval.")


def _protected_kind(call: _ParsedCall) -> protected.Kind | None:
    return next(filter(None, map(protected.kind_of, call.written_paths)), None)

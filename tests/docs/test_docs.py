"""What the documentation says is compared with the code: settings, codes, frames, metrics, commands, links."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from agents import commands, plans, prompts
from agents.policy import Mode, Verdict, decide
from agents.protected import KINDS
from agents.roles import ROLES, Role, load
from agents.rules import Rule
from agents.tools import TOOLS, ToolKind, offer
from codelab.environment import PROJECT, Environment
from codelab.rest_api import api
from llm import scripted
from llm.errors import ModelError
from llm.types import ModelToolCall
from sessions.models import EventKind
from sessions.protocol import client, codes
from sessions.protocol.client import ClientFrame
from sessions.protocol.codes import CloseCode, ErrorCode
from sessions.protocol.server import ServerFrame
from sessions.turns.transitions import TRANSITIONS
from tests.docs import names
from tests.docs.pages import PAGES, code, name_of, prose, read, rows, section
from tests.programs.faults import meetings
from tests.programs.table import PROGRAMS


def test_every_request_of_the_rest_api_is_described() -> None:
    text = re.sub(r"\{\w+\}", "{}", section("docs/protocol.md", "REST"))
    described = {
        (method, path)
        for line in text.splitlines()
        if line.startswith(("### ", "| `/api/v1", "`GET`"))
        # The methods that stand before a path belong to it; a table of what can be read has none.
        for methods, path in re.findall(r"((?:\b(?:GET|POST|PATCH|PUT|DELETE)\b[` ,and]*)*)`?(/api/v1/[\w/{}-]+)", line)
        for method in re.findall(r"[A-Z]+", methods) or ["GET"]
    }
    schema = api.get_openapi_schema(path_prefix="/api/v1/")["paths"]
    served = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path)) for path, operations in schema.items() for method in operations
    }
    assert served - described == set()


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def subclasses(base: type[ModelError]) -> Iterator[type[ModelError]]:
    yield base
    for child in base.__subclasses__():
        yield from subclasses(child)


# Settings


def test_every_setting_is_documented_and_nothing_else() -> None:
    documented = rows(read("docs/configuration.md"))
    assert documented == {str(field.validation_alias) for field in Environment.model_fields.values()}


@pytest.mark.parametrize("name", sorted(Environment.model_fields))
def test_the_default_of_a_setting_is_the_real_one(name: str) -> None:
    field = Environment.model_fields[name]
    line = next(
        x for x in read("docs/configuration.md").splitlines() if x.startswith(f"| `{field.validation_alias}` |")
    )
    shown = line.split("|")[2].strip().strip("`")
    default = field.default
    assert default is not PydanticUndefined
    if isinstance(default, Path):
        default = default.relative_to(PROJECT)
    elif isinstance(default, bool):
        default = str(default).lower()
    assert shown == ("" if default is None else str(default))


# The protocol


def test_every_error_code_is_documented_and_nothing_else() -> None:
    codes = {str(code) for code in ErrorCode} | {error.code for error in subclasses(ModelError)}
    assert rows(section("docs/protocol.md", "Error codes")) == codes


def test_every_failure_of_a_model_is_in_the_table_of_failures() -> None:
    special = {ModelError.code}
    assert rows(section("docs/models.md", "Failures"), 1) == {e.code for e in subclasses(ModelError)} - special


def test_every_frame_is_documented() -> None:
    text = read("docs/protocol.md")
    frames: list[type[BaseModel]] = [*ClientFrame.__subclasses__(), *ServerFrame.__subclasses__()]
    for frame in frames:
        (kind,) = frame.model_fields["type"].annotation.__args__  # type: ignore[union-attr]
        assert re.search(rf'"type": ?"{kind}"', text), f"no example of {kind}"
        for field in frame.model_fields:
            assert re.search(rf'[`"]{field}[`":]', text), f"{kind} has a field {field} that is not documented"


def test_every_example_of_a_server_frame_is_one() -> None:
    known = {frame.__name__ for frame in ServerFrame.__subclasses__()}
    seen = set()
    for line in re.findall(r'^(\{.*"type":"\w+".*\})$', read("docs/protocol.md"), re.MULTILINE):
        for frame in ServerFrame.__subclasses__():
            if f'"type":"{frame.model_fields["type"].default}"' in line:
                frame.model_validate_json(line)
                seen.add(frame.__name__)
    assert seen == known


def test_every_example_of_a_client_frame_is_one() -> None:
    lines = re.findall(
        r'^(?:> )?(\{"type": "(?:user_message|tool_result)".*\})$', read("docs/protocol.md"), re.MULTILINE
    )
    assert len(lines) >= 3
    for line in lines:
        client.decode(line)


def test_every_kind_of_event_is_documented_and_nothing_else() -> None:
    assert rows(section("docs/protocol.md", "Events")) == {str(kind) for kind in EventKind}


def test_every_close_code_is_documented() -> None:
    text = section("docs/protocol.md", "Closing")
    # The first two are the server's own: too big a frame, and its end.
    codes = {1009, 1012, *map(int, CloseCode)}
    assert {int(code) for code in re.findall(r"^\| (\d{4}) \|", text, re.MULTILINE)} == codes


def test_limits_are_the_real_ones() -> None:
    text = section("docs/protocol.md", "Limits")
    limits = [f"{codes.MAX_FRAME_BYTES // 1024} KiB", f"{codes.MAX_MESSAGE_LENGTH:,} characters"]
    for limit in [*limits, f"{codes.MAX_KEY_LENGTH} characters", f"{codes.MAX_CALL_ID_LENGTH} characters"]:
        assert limit in text


# What goes on inside


def test_every_transition_in_the_table_is_allowed() -> None:
    pairs = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section("docs/architecture.md", "Turns"), re.MULTILINE)
    allowed = {(str(before), str(after)) for before, targets in TRANSITIONS.items() for after in targets}
    assert pairs
    assert set(pairs) <= allowed


def test_every_metric_is_documented_and_nothing_else() -> None:
    assert rows(section("docs/architecture.md", "Metrics")) - {"status", "error_code"} >= names.metrics()
    first = re.findall(r"^\| `(\w+)` \|", section("docs/architecture.md", "Metrics"), re.MULTILINE)
    assert sorted(first) == sorted(names.metrics())


def test_every_command_of_the_scripted_model_is_documented() -> None:
    shown = {name.split()[0].lstrip("/") for name in rows(section("docs/models.md", "The scripted model"))}
    assert shown >= scripted.COMMANDS


# Agents


def lines_of(title: str) -> list[list[str]]:
    """Return the cells of the rows of a section of docs/agents.md."""
    found = [line.strip().strip("|") for line in section("docs/agents.md", title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split(" | ")] for line in found if not line.startswith(" ---")]


def test_every_agent_is_documented_with_its_tools() -> None:
    documented = {code(name)[0]: (code(writes), code(tools)) for name, _, writes, tools in lines_of("Roles")[1:7]}
    assert documented == {
        name: ([] if "**" in role.writes else list(role.writes), list(role.tools)) for name, role in ROLES.items()
    }
    for name, _, writes, _ in lines_of("Roles")[1:7]:
        edits = any(TOOLS[tool].kind is ToolKind.EDIT for tool in ROLES[code(name)[0]].tools)
        assert (writes != "nothing") == edits


def test_every_tool_is_documented_with_its_arguments() -> None:
    documented = [[code(name), arguments, kind, place] for name, arguments, kind, place in lines_of("Tools")[1:17]]
    real = []
    for spec, tool in zip(TOOLS.values(), offer(TOOLS), strict=True):
        required = tool.parameters.get("required", ())
        arguments = [f"**`{name}`**" if name in required else f"`{name}`" for name in tool.parameters["properties"]]
        real.append([[spec.name], ", ".join(arguments), str(spec.kind), str(spec.runs_on)])
    assert documented == real


def test_fields_and_variables_of_roles_are_documented() -> None:
    text = section("docs/agents.md", "Adding one")
    assert rows(text) == (Role.model_fields.keys() - {"name", "prompt"}) | prompts.VARIABLES
    shared = {file.name for file in (PROJECT / "agents/prompts").glob("_*.md")}
    assert set(re.findall(r"`(_\w+\.md)`", text)) == shared


def test_the_example_of_a_role_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```\n(\+\+\+\n.*?)^```$", read("docs/agents.md"), re.MULTILINE | re.DOTALL)
    (tmp_path / "reviewer.md").write_text(example, encoding="utf-8")
    assert load(tmp_path)["reviewer"].title == "Reviewer"


def test_modes_and_fields_of_rules_are_the_real_ones() -> None:
    outcomes = {Verdict.ALLOW: "runs", Verdict.ASK: "asks"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("read_file", {"path": "a"}),
        ("execute_command", {"command": "ls"}),
        ("write_file", {"path": "a", "content": ""}),
        ("execute_command", {"command": "pytest"}),
        ("execute_command", {"command": "a | b"}),
    ]
    real = [
        [f"`{mode}`"]
        + [
            outcomes[decide(ModelToolCall(id="c", name=name, arguments=given), role=ROLES["coder"], mode=mode).verdict]
            for name, given in calls
        ]
        for mode in Mode
    ]
    assert lines_of("Modes")[1:5] == real
    assert {code(field)[0] for field, *_ in lines_of("Rules")[1:6]} == Rule.model_fields.keys()


def test_examples_of_commands_have_the_risk_that_is_said() -> None:
    for risk, _, examples in lines_of("Commands")[1:]:
        for example in code(examples):
            assert commands.parse(example).risk == risk, example


def test_protected_files_are_documented_with_their_reasons() -> None:
    documented = [(f"{reason}.", tuple(code(names))) for reason, names in lines_of("Protected files")[1:][: len(KINDS)]]
    assert documented == [(kind.reason, kind.names) for kind in KINDS]


def test_every_step_of_a_subtask_is_documented() -> None:
    steps = {(code(before)[0], code(after)[0]) for before, after, _ in lines_of("Plans")[1:]}
    assert steps == {(str(before), str(after)) for before, targets in plans.TRANSITIONS.items() for after in targets}


# Links, commands, foreign words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_images_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    index = read("docs/README.md")
    missing = [name_of(page) for page in PROJECT.glob("docs/*.md") if f"({page.name})" not in index]
    assert [name for name in missing if name != "docs/README.md"] == []


def test_every_decision_is_in_its_index() -> None:
    pages = {page.name for page in PROJECT.glob("docs/decisions/[0-9]*.md")}
    assert set(re.findall(r"\((\d{4}-[\w-]+\.md)\)", read("docs/decisions/README.md"))) == pages


def tracked() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git repository")
    return [PROJECT / name for name in done.stdout.split("\0") if name]


def test_no_file_tells_of_the_machine_it_was_written_on() -> None:
    # Put together here, because this file is one of those that are searched.
    places = ["/ro" + "ot/[^ ]", "/wo" + "rk/", "/ho" + "me/[a-z]", "/Us" + "ers/[a-z]"]
    index = r"(?:pypi|pip|registry|index|nexus|artifactory|mirror)[\w-]*\.[\w.-]+/[\w/-]*simp" + "le"
    pattern = re.compile("|".join([*(rf"(?<![\w.~}}-]){place}" for place in places), index]))
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        found += [f"{path.relative_to(PROJECT)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []


def test_what_is_better_than_in_the_original_has_its_tests() -> None:
    table = read("docs/compatibility.md")
    numbers = re.findall(r"^\| (\d+) \|", table, re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, 32))
    named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", table)
    assert len(named) == len(numbers)
    for path, name in named:
        assert re.search(rf"def {name}\(", read(path)), f"{path} has no {name}"


def test_each_program_that_make_clients_runs_is_in_the_table() -> None:
    table = read("docs/compatibility.md")
    for program in PROGRAMS:
        assert f"| {program.name} | {', '.join(program.packages)} | {program.way} |" in table
        for fault, _ in meetings(program):
            assert f"| {program.name} | {fault.way} |" in table

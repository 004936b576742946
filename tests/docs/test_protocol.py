"""docs/protocol.md: tools and their results, the format of apply_diff, and the frames of codelab.v2."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from agents.policy import Mode, Verdict, decide
from agents.roles import ROLES
from agents.tools import BASELINE_TOOLS, TOOLS, InvalidArguments, parse
from llm.types import ModelToolCall
from sessions.models import EventKind
from sessions.protocol import client
from sessions.protocol.asyncapi import json_schemas
from sessions.protocol.client import ClientFrame, Hello, ToolResult
from sessions.protocol.events import PAYLOADS
from sessions.protocol.server import ServerFrame
from sessions.protocol.snapshot import Snapshot
from tests.clients.workspace import Workspace
from tests.docs.pages import code, part, read, section, table

PAGE = "docs/protocol.md"
DIFF = '<<<<<<< SEARCH\nprint("Hi")\n=======\nprint("Hello")\n>>>>>>> REPLACE'
#: A call of each tool that works in the folder of the fixture, in an order in which all of them do.
CALLS: dict[str, dict[str, Any]] = {
    "read_file": {"path": "hello.py"},
    "list_files": {"path": "."},
    "search_in_code": {"query": "Hi"},
    "apply_diff": {"path": "hello.py", "diff": DIFF},
    "write_file": {"path": "new.py", "content": "x = 1\n"},
    "create_directory": {"path": "src"},
    "move_file": {"from": "new.py", "to": "src/new.py"},
    "delete_file": {"path": "old.py"},
    "git_diff": {},
    "git_commit": {"message": "Say hello", "paths": ["hello.py"]},
    "execute_command": {"command": "git status -sb"},
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder under git with two files, and the client that works in it."""
    for name in ("hello.py", "old.py"):
        (tmp_path / name).write_text('print("Hi")\n')
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "Begin"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return Workspace(tmp_path)


# Tools


def arguments_of(name: str) -> list[str]:
    """Write down the arguments of a tool as the table has them."""
    written = []
    for key, field in TOOLS[name].arguments.model_fields.items():
        argument = field.alias or key
        if field.is_required():
            written.append(f"**`{argument}`**")
        elif field.default in (None, PydanticUndefined):
            written.append(f"`{argument}`")
        else:
            written.append(f"`{argument}` = `{json.dumps(field.default)}`")
    return written


def requires_approval(name: str) -> bool:
    call = ModelToolCall(id="c", name=name, arguments=CALLS[name])
    return decide(call, role=ROLES["universal"], mode=Mode.ASK).verdict is Verdict.ASK


def test_every_tool_of_a_client_is_documented_with_arguments_and_approval() -> None:
    rows = table(part(PAGE, "Tools that the client runs"))
    documented = {code(name)[0]: (re.sub(r" \([^)]*\)+", "", text).split(", "), asks) for name, text, asks in rows}
    of_clients = [name for name, spec in TOOLS.items() if spec.runs_on == "client"]
    assert documented == {name: (arguments_of(name), "yes" if requires_approval(name) else "no") for name in of_clients}
    assert set(list(documented)[:6]) == BASELINE_TOOLS


def fields(cell: str) -> dict[str, set[str]]:
    """Return the fields that a row of results names: those that must be there, those that may, and parts of lists."""
    must, _, may = cell.partition(";")
    parts = {name: set(code(inner)) for name, inner in re.findall(r"`(\w+)` \((`[^)]*)\)", must)}
    plain = re.sub(r"\([^)]*\)", "", must)
    return {"must": set(code(plain)), "may": set(code(may)), **parts}


def shapes() -> dict[str, dict[str, set[str]]]:
    return {code(row[0])[0]: fields(row[1]) for row in table(part(PAGE, "Results")) if code(row[0])[0] in TOOLS}


def test_results_have_the_documented_shape(workspace: Workspace) -> None:
    documented = shapes()
    assert documented.keys() == CALLS.keys()
    for name, arguments in CALLS.items():
        answer = workspace.run("c", name, arguments)
        result, shape = answer["result"], documented[name]
        assert shape["must"] <= result.keys() <= shape["must"] | shape["may"], name
        for key in shape.keys() - {"must", "may"}:
            assert {each for item in result[key] for each in item} <= shape[key] | {"file", "directory"}, name
    assert (workspace.folder / "hello.py").read_text() == 'print("Hello")\n'


def test_examples_of_results_are_frames_with_those_fields() -> None:
    text = part(PAGE, "Results")
    documented = shapes()
    shown = set()
    for line in re.findall(r"^\{.*\}$", text, re.MULTILINE):
        frame = client.decode(line)
        assert isinstance(frame, ToolResult)
        if frame.error is None:
            shown.add(frame.call_id)
            assert frame.result.keys() == documented[frame.call_id]["must"], frame.call_id
    assert shown == documented.keys()


# apply_diff


def blocks_of(title: str) -> list[str]:
    return re.findall(r"^```\n(.*?)\n```$", part(PAGE, title), re.MULTILINE | re.DOTALL)


def refused(diff: str) -> str:
    with pytest.raises(InvalidArguments) as error:
        parse("apply_diff", {"path": "a.py", "diff": diff})
    return str(error.value)


def test_the_format_of_apply_diff_is_the_documented_one() -> None:
    example, sentence = blocks_of("The format of apply_diff")
    assert example == DIFF
    assert parse("apply_diff", {"path": "a.py", "diff": f"some words\n{example}\n\n{example}\n"})
    assert parse("apply_diff", {"path": "a.py", "diff": example.replace("SEARCH", "SEARCH  ")})
    unified = "--- a/hello.py\n+++ b/hello.py\n@@ -1 +1 @@\n-print('Hi')\n+print('Hello')\n"
    marker_inside = example.replace('print("Hi")', "=======")
    for diff in (unified, marker_inside, f" {example}", example.removesuffix(">>>>>>> REPLACE")):
        assert refused(diff) == sentence
    assert refused("")
    assert refused(example + "x" * 250_000)
    told = TOOLS["apply_diff"].description.split(". ")[-1]
    assert f'"{told}"' in part(PAGE, "The format of apply_diff")


@pytest.mark.parametrize("lines", ["print('nowhere')", 'print("Hi")\n'])
def test_a_search_that_is_not_there_once_is_an_error_and_changes_nothing(workspace: Workspace, lines: str) -> None:
    (workspace.folder / "hello.py").write_text('print("Hi")\n\nprint("Hi")\n\n')
    diff = f"<<<<<<< SEARCH\n{lines}\n=======\nx\n>>>>>>> REPLACE"
    assert "error" in workspace.run("c", "apply_diff", {"path": "hello.py", "diff": diff})
    assert (workspace.folder / "hello.py").read_text() == 'print("Hi")\n\nprint("Hi")\n\n'


# codelab.v2


def type_of(frame: type[ServerFrame] | type[ClientFrame]) -> str:
    (kind,) = frame.model_fields["type"].annotation.__args__  # type: ignore[union-attr]
    return str(kind)


def of_events() -> dict[str, type[ServerFrame]]:
    """Return the server's frames of codelab.v2: its own, as they say, and the two that all clients get."""
    frames = {type_of(frame): frame for frame in ServerFrame.__subclasses__()}
    own = {name for name, frame in frames.items() if "Only in `codelab.v2`" in (frame.__doc__ or "")}
    return {name: frames[name] for name in own | {"tool_call", "error"}}


def test_all_frames_of_codelab_v2_are_in_one_place_with_their_fields() -> None:
    sent, received, _ = (table(text) for text in re.split(r"^The client may send|^\| field", all_frames(), flags=re.M))
    frames = of_events()
    assert [code(name)[0] for name, *_ in sent] == ["welcome", "event", "accepted", "tool_call", "error"]
    for name, _, text in sent:
        kind = code(name)[0]
        mentioned = {match.strip("[`") for match in re.findall(r"\[?`\w+`", text)}
        # A number and a turn are there where an event is behind the frame.
        always = frames[kind].model_fields.keys() - {"type", "number", "turn_id", "is_final", "ref"}
        assert (
            always
            <= mentioned
            <= frames[kind].model_fields.keys() | {"replay", "snapshot", "turn_queued", "user_message"}
        ), kind
    named = {name for cell, _ in received for name in code(cell)}
    assert named == {type_of(frame) for frame in ClientFrame.__subclasses__()}


def all_frames() -> str:
    return part(PAGE, "All frames of codelab.v2")


def test_every_field_of_hello_is_documented() -> None:
    rows = table("| field" + all_frames().rpartition("| field")[2])
    assert {code(name)[0] for name, *_ in rows} == Hello.model_fields.keys() - {"type", "ref"}


def test_every_frame_of_a_client_on_the_page_is_one() -> None:
    lines = re.findall(r'^(?:> )?(\{"type": "\w+".*\})$', read(PAGE), re.MULTILINE)
    types = {type_of(frame) for frame in ClientFrame.__subclasses__()}
    shown = set()
    for line in lines:
        if (kind := json.loads(line)["type"]) in types:
            shown.add(kind)
            client.decode(re.sub(r"…", "0000", line) if "plan_id" in line else line)
    assert shown == types


def test_frames_of_codelab_v2_are_not_described_twice() -> None:
    assert read(PAGE).count('"type":"welcome"') == 2, "one example, and the round trip"
    assert section(PAGE, "Following by events: codelab.v2").count("### ") == 5


# Events and snapshots


def fields_of(described: dict[str, Any]) -> set[str]:
    return set(described.get("properties", ()))


def words_of(described: dict[str, Any], definitions: dict[str, Any]) -> set[str]:
    """Return the fields of a schema, those of the types in it, and the values that they name."""
    words = fields_of(described)
    for each in [described, *described.get("properties", {}).values()]:
        words |= {str(value) for value in each.get("enum", ())}
        for name in re.findall(r"'#/\$defs/(\w+)'", str(each)):
            words |= words_of(definitions[name], definitions)
    return words


def test_every_kind_of_event_is_documented_with_exactly_its_fields() -> None:
    definitions = json_schemas()["event"]["$defs"]
    rows = {code(kind)[0]: set(code(payload)) for kind, payload, _ in table(part(PAGE, "Events"))}
    others = PAYLOADS.keys() | {type_of(frame) for frame in ClientFrame.__subclasses__()}
    assert rows.keys() == PAYLOADS.keys() == set(EventKind.values)
    for kind, documented in rows.items():
        payload = definitions[PAYLOADS[kind].__name__]
        assert fields_of(payload) <= documented, f"{kind} lacks fields on the page"
        assert documented <= words_of(payload, definitions) | others, f"{kind} has no such fields"


def test_every_field_of_a_snapshot_is_documented() -> None:
    rows = table("| field of `snapshot`" + part(PAGE, "Coming back").partition("| field of `snapshot`")[2])
    assert {code(name)[0] for name, _ in rows} == Snapshot.__annotations__.keys()
    definitions = json_schemas()["snapshot"]["$defs"]
    documented = {code(name)[0]: set(code(text)) for name, text in rows}
    for name, item in (("session", "SessionState"), ("turns", "OpenTurn"), ("texts", "UnfinishedText")):
        assert documented[name] == fields_of(definitions[item]), name

"""The tours, played against the files of the demo project."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agents.plans import parse as parse_plan
from agents.roles import ROLES, routed_roles
from agents.tools import parse as parse_arguments
from llm import calls
from llm.scripted import has_route
from llm.tours import TASKS, TOURS
from llm.types import Chunk, ModelMessage, ModelRequest, ModelToolCall, TextChunk, ToolCallChunk

DEMO = Path(__file__).parents[2] / "sessions/static/sessions/workspace/demo.js"


def demo_files() -> dict[str, str]:
    source = DEMO.read_text()
    texts = {name: text.replace("\\`", "`") for name, text in re.findall(r"const (\w+) = `((?:\\`|[^`])*)`", source)}
    return {path: texts[name] for path, name in re.findall(r'^  "([\w.]+)": (\w+),$', source, re.MULTILINE)}


class Project:
    """Runs the calls of a tour on the demo project, as the page does."""

    def __init__(self) -> None:
        self.files = demo_files()

    def run(self, name: str, arguments: dict[str, str]) -> str:
        if name == "read_file":
            return json.dumps({"content": self.files[arguments["path"]]})
        if name == "write_file":
            self.files[arguments["path"]] = arguments["content"]
            return json.dumps({"success": True})
        if name == "execute_command":
            return json.dumps({"exit_code": self.check()})
        assert name == "apply_diff"
        block = re.fullmatch(r"<<<<<<< SEARCH\n(.*)\n=======\n(.*)\n>>>>>>> REPLACE\n", arguments["diff"], re.DOTALL)
        assert block
        if self.files[arguments["path"]].count(block[1]) != 1:
            return "Error: the SEARCH part does not match"
        self.files[arguments["path"]] = self.files[arguments["path"]].replace(block[1], block[2])
        return json.dumps({"success": True})

    def check(self) -> int:
        try:
            json.loads(self.files["menu.json"])
        except ValueError:
            return 1
        return 0


async def step(messages: list[ModelMessage]) -> tuple[str, list[ToolCallChunk]]:
    request = ModelRequest(model="scripted", messages=tuple(messages), first_token_timeout=30, idle_timeout=30)
    chunks: list[Chunk] = [chunk async for chunk in calls.stream(request)]
    text = "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))
    return text, [chunk for chunk in chunks if isinstance(chunk, ToolCallChunk)]


async def play(text: str, project: Project, *, answers: dict[str, str] | None = None) -> tuple[str, list[str]]:
    """Play a message to its end. Return the last text, and the results of its calls."""
    messages = [ModelMessage(role="user", content=text)]
    results: list[str] = []
    while True:
        said, asked = await step(messages)
        if not asked:
            return said, results
        (call,) = asked
        assert call.name
        arguments = parse_arguments(
            call.name, json.loads(call.arguments), agents=[role.name for role in routed_roles()]
        )
        result = (answers or {}).get(call.name) or project.run(call.name, arguments)
        results.append(result)
        tool_call = ModelToolCall(id=call.id or "", name=call.name, arguments=arguments)
        messages.append(ModelMessage(role="assistant", content=said, tool_calls=(tool_call,)))
        messages.append(ModelMessage(role="tool", content=result, tool_call_id=call.id))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.scripted.TOKENS_PER_SECOND", 100_000)


async def test_the_tour_of_an_edit_reads_edits_and_checks() -> None:
    project = Project()
    said, results = await play("/tour edit", project)
    assert "Earl Grey" in project.files["menu.json"]
    assert project.check() == 0
    assert len(results) == 3
    assert "| Earl Grey | 3.50 € |\n" in said


async def test_the_tour_of_a_repair_fails_twice_and_ends_well() -> None:
    project = Project()
    said, results = await play("/tour repair", project)
    assert results[0].startswith("Error:")
    assert [json.loads(result).get("exit_code") for result in results[1:]] == [None, None, 1, None, 0]
    assert "Oolong" in project.files["menu.json"]
    assert said.startswith("**Repaired.**")


async def test_a_rejection_ends_a_tour() -> None:
    project = Project()
    said, results = await play("/tour edit", project, answers={"apply_diff": "Error: Refused by the user"})
    assert said.startswith("You rejected it")
    assert project.files == demo_files()
    assert len(results) == 2


async def test_the_tour_of_a_plan_proposes_tasks_that_change_the_project() -> None:
    project = Project()
    _, (call,) = await step([ModelMessage(role="user", content="/tour plan")])
    plan = parse_plan(json.loads(call.arguments), agents=[role.name for role in routed_roles()])
    assert [task.description for task in plan.subtasks] == list(TASKS)
    for task in plan.subtasks:
        assert (await play(task.description, project))[0]
    assert "Winter" in project.files["specials.md"]
    assert "`specials.md`" in project.files["README.md"]


@pytest.mark.parametrize("name", TOURS)
async def test_a_tour_names_its_agent_and_says_what_it_is(name: str) -> None:
    assert has_route(f"/tour {name}")
    routing = ModelMessage(role="user", content=f"<message>\n/tour {name}\n</message>")
    answer = json.loads((await step([routing]))[0])
    assert answer["agent"] == TOURS[name].agent
    assert ROLES[answer["agent"]].routed
    assert "This is a script, not a model." in (await step([ModelMessage(role="user", content=f"/tour {name}")]))[0]


async def test_an_unknown_tour_is_an_ordinary_message() -> None:
    assert not has_route("/tour of Paris")
    assert "built-in scripted model" in (await step([ModelMessage(role="user", content="/tour nowhere")]))[0]

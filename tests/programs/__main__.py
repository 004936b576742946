"""`make clients`: real programs of PyPI and npm do one task each against `make run`.

Each program is installed in a folder of its own, gets an address, a key and a task, and has to write a file: once with
a plain model, once with the agent coder. Codex and Claude Code also meet faults. Where the index of its packages cannot
be reached, a program is skipped. With LOGS=folder all that they print is kept there; with OPENRESPONSES=folder the
compliance suite in it runs, too.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.programs import compliance
from tests.programs.faults import CATALOG, FAULTS, KINDS, Fault, Meeting, create_budget, meetings
from tests.programs.installation import MakeRun
from tests.programs.packages import PackagesUnavailable
from tests.programs.program import Place, Program, prompt
from tests.programs.provider import Provider, Task
from tests.programs.table import PROGRAMS

#: The models' names. The provider answers for both.
MODELS = dict(zip(KINDS, ("openai/any", "codelab/coder"), strict=True))


@dataclass(slots=True)
class Result:
    """What one program did, and how long that took."""

    program: Program
    outcomes: dict[str, str]
    #: By the fault's name and the kind of model.
    faults: dict[tuple[str, str], str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def has_failed(self) -> bool:
        return "failed" in (*self.outcomes.values(), *self.faults.values())

    def row(self) -> str:
        outcomes = " | ".join(self.outcomes[each] for each in MODELS)
        packages = ", ".join(self.program.packages)
        return f"| {self.program.name} | {packages} | {self.program.way} | {outcomes} |"


@dataclass(slots=True)
class Clients:
    """One run of programs against one installation."""

    folder: Path
    run: MakeRun
    provider: Provider

    def run_program(self, program: Program) -> Result:
        """Install a program and let it do all of its tasks."""
        began = time.monotonic()
        result = Result(program, dict.fromkeys(MODELS, "skipped"))
        folder = self.folder / program.name
        folder.mkdir()
        try:
            programs = program.install(folder)
        except PackagesUnavailable as problem:
            print(f"{program.name}: skipped, because {problem}.", flush=True)
            return result
        except AssertionError as problem:
            print(f"{program.name}: cannot be installed: {problem}", flush=True)
            result.outcomes = dict.fromkeys(MODELS, "failed")
            return result
        for kind in MODELS:
            result.outcomes[kind] = self._try(program, programs, kind, program.task(kind))
        for fault, kind in meetings(program):
            result.faults[fault.name, kind] = self._try(program, programs, kind, fault.task(program, kind), fault)
        result.seconds = time.monotonic() - began
        outcomes = ", ".join((*result.outcomes.values(), *result.faults.values()))
        print(f"{program.name}: {outcomes} in {result.seconds:.0f} s", flush=True)
        return result

    def run_compliance(self, suite: Path) -> bool:
        """Return whether the service passes the suite, or its packages cannot be had."""
        try:
            passed = [
                compliance.run_suite(suite, self.folder / f"open-responses-{kind}", self.run, model)
                for kind, model in MODELS.items()
            ]
        except PackagesUnavailable as problem:
            print(f"Open Responses: skipped, because {problem}.", flush=True)
            return True
        return all(passed)

    def _try(self, program: Program, programs: Path, kind: str, task: Task, fault: Fault | None = None) -> str:
        folder = self.folder / program.name
        place = Place(
            folder=folder,
            workspace=folder / task.name / "workspace",
            programs=programs,
            url=self.run.url,
            api_key=self.run.api_key,
            model=fault.model if fault and kind == "plain" else MODELS[kind],
            prompt=prompt(task.name),
        )
        try:
            if fault:
                Meeting(program, place, task, self.run, self.provider).play(fault)
            else:
                program.start(place).finish()
        except Exception as problem:
            print(f"{task.name}: {problem!r}", flush=True)
            return "failed"
        finally:
            if logs := os.environ.get("LOGS"):
                Path(logs).mkdir(parents=True, exist_ok=True)
                shutil.copy(place.workspace.parent / "output.log", Path(logs) / f"{task.name}.log")
        return "ok"


def print_tables(results: list[Result]) -> None:
    """Print what docs/compatibility.md has."""
    print("\n| program | packages | what it does | plain model | agent |\n| --- | --- | --- | --- | --- |")
    print("\n".join(result.row() for result in results))
    if not any(result.faults for result in results):
        return
    print("\n| program | what goes wrong | plain model | agent |\n| --- | --- | --- | --- |")
    for result in results:
        for fault in FAULTS if result.faults else ():
            outcomes = " | ".join(result.faults.get((fault.name, kind), "–") for kind in MODELS)
            print(f"| {result.program.name} | {fault.way} | {outcomes} |")


def main(names: list[str]) -> int:
    unknown = set(names) - {program.name for program in PROGRAMS}
    if unknown:
        print(f"Unknown: {', '.join(unknown)}. There are {', '.join(each.name for each in PROGRAMS)}.", file=sys.stderr)
        return 2
    chosen = [program for program in PROGRAMS if not names or program.name in names]
    tasks = [program.task(kind) for program in chosen for kind in MODELS]
    suite = os.environ.get("OPENRESPONSES")
    tasks += [compliance.TASK] if suite else []
    tasks += [fault.task(program, kind) for program in chosen for fault, kind in meetings(program)]
    with tempfile.TemporaryDirectory(prefix="codelab-clients-") as name, Provider(tasks) as provider:
        folder = Path(name)
        (folder / "catalog.toml").write_text(CATALOG)
        settings = {
            "CODELAB_MODEL": MODELS["plain"],
            "CODELAB_CATALOG": str(folder / "catalog.toml"),
            "OPENAI_API_BASE": provider.url,
        }
        print("Starting `make run` …", flush=True)
        with MakeRun(folder / "service", **settings) as run:
            create_budget(run)
            clients = Clients(folder, run, provider)
            results = [clients.run_program(program) for program in chosen]
            has_passed = not suite or clients.run_compliance(Path(suite))
    print_tables(results)
    return int(not has_passed or any(result.has_failed for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`make clients`: real programs of PyPI and npm do one task each against `make run`.

Each program is installed in a folder of its own, gets an address, a key and a task, and has to write a file: once with
a plain model, once with the agent coder. Where the index of its packages cannot be reached, it is skipped.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.programs.installation import MakeRun
from tests.programs.packages import PackagesUnavailable
from tests.programs.provider import Provider
from tests.programs.table import PROGRAMS, Place, Program, prompt

#: The column of the table and the model's name. The provider answers for both.
MODELS = {"plain": "openai/any", "agent": "codelab/coder"}


@dataclass(slots=True)
class Result:
    """What one program did, and how long that took."""

    program: Program
    outcomes: dict[str, str]
    seconds: float = 0.0

    @property
    def has_failed(self) -> bool:
        return "failed" in self.outcomes.values()

    def row(self) -> str:
        outcomes = " | ".join(self.outcomes[each] for each in MODELS)
        packages = ", ".join(self.program.packages)
        return f"| {self.program.name} | {packages} | {self.program.way} | {outcomes} |"


def run_program(program: Program, folder: Path, run: MakeRun) -> Result:
    started = time.monotonic()
    result = Result(program, dict.fromkeys(MODELS, "skipped"))
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
    for kind, model in MODELS.items():
        place = Place(
            folder=folder,
            workspace=folder / kind / "workspace",
            programs=programs,
            base_url=f"{run.url}/v1",
            api_key=run.api_key,
            model=model,
            prompt=prompt(program.task(kind).name),
        )
        try:
            program.run(place)
            result.outcomes[kind] = "ok"
        except Exception as problem:
            print(f"{program.name}, {kind}: {problem}", flush=True)
            result.outcomes[kind] = "failed"
    result.seconds = time.monotonic() - started
    print(f"{program.name}: {', '.join(result.outcomes.values())} in {result.seconds:.0f} s", flush=True)
    return result


def main(names: list[str]) -> int:
    unknown = set(names) - {program.name for program in PROGRAMS}
    if unknown:
        print(f"Unknown: {', '.join(unknown)}. There are {', '.join(each.name for each in PROGRAMS)}.", file=sys.stderr)
        return 2
    chosen = [program for program in PROGRAMS if not names or program.name in names]
    tasks = (program.task(kind) for program in chosen for kind in MODELS)
    with tempfile.TemporaryDirectory(prefix="codelab-clients-") as name, Provider(tasks) as provider:
        folder = Path(name)
        print("Starting `make run` …", flush=True)
        with MakeRun(folder / "service", CODELAB_MODEL="openai/any", OPENAI_API_BASE=provider.url) as run:
            results = [run_program(program, folder / program.name, run) for program in chosen]
    print("\n| program | packages | what it does | plain model | agent |\n| --- | --- | --- | --- | --- |")
    print("\n".join(result.row() for result in results))
    return int(any(result.has_failed for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

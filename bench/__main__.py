"""`make bench`: measures the whole product on this machine against its goals (docs/performance.md).

python -m bench                                everything, about eight minutes
python -m bench --streams 1,8 --quick          a quick check that it works
python -m bench --only streams --streams 64    one thing
python -m bench --profile --streams 64         profile web and worker
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench import chart, database, machine
from bench.comparison import compare
from bench.cycles import TOOLS, measure_cycles
from bench.figures import Results
from bench.goals import Verdict, evaluate
from bench.load import QUICK, Load, Work
from bench.measurements import Measurements, say
from bench.product import SETTINGS, NotStarted, Product
from bench.profiling import profile
from bench.programs import Client, Provider, Relay
from bench.start import measure_start
from bench.table import table
from codelab.environment import PROJECT

PARTS = ("start", "idle", "streams", "floor", "first", "apis", "setup", "cancel", "attach", "turns", "steps", "scale")
#: The last row: its largest number of streams, and of web and worker processes each.
MAX_SCALED_STREAMS, SCALED_PROCESSES = 128, 2


def numbers(text: str) -> list[int]:
    """Parse comma-separated numbers."""
    return [int(word) for word in text.split(",")]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=numbers, default=[1, 8, 32, 64, 128, 200], help="such as 1,8")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--runs", type=int, help="runs of each number of streams; the median counts")
    parser.add_argument("--web", type=int, default=1, help="web processes")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument("--quick", action="store_true", help="little load, to check that everything works")
    parser.add_argument("--profile", action="store_true", help="only profile web and worker with py-spy")
    parser.add_argument("--output", type=Path, help="folder for the results")
    options = parser.parse_args(arguments)
    if unknown := set(options.only.split(",")) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    return options


def measure(it: Measurements, results: Results, parts: list[str], streams: list[int]) -> None:
    """Measure the chosen parts. Idle sockets come first: later they would reuse the memory of closed ones."""
    if "start" in parts:
        say("A second start …")
        results.start = measure_start(it.product)
    it.warm()
    if "idle" in parts:
        say(f"{it.load.sockets} idle sockets …")
        results.idle = it.idle()
    if "streams" in parts:
        say("The service …")
        results.product += [it.streams(count) for count in streams]
    if "floor" in parts:
        say("The floor …")
        results.floor += [it.floor(count) for count in streams]
    if "first" in parts:
        say("First tokens …")
        results.first = it.first_token()
    if "apis" in parts:
        say("The APIs …")
        results.apis += compare(it)
    if "setup" in parts:
        say("Set-up of turns …")
        results.set_up += it.set_up()
    if "cancel" in parts:
        say("Stops …")
        results.cancel = it.cancel()
    if "attach" in parts:
        say("Long sessions …")
        results.attach += it.attach()
    if {"turns", "steps"} & set(parts):
        say("Turns one after the other …")
        results.turns += measure_cycles(it, tools=0)
    if "steps" in parts:
        say(f"Turns of {TOOLS} tool steps …")
        results.steps += measure_cycles(it, tools=TOOLS)
    if "scale" in parts and len(it.product.ports) < SCALED_PROCESSES:
        say("Two web and two worker processes …")
        it.product.scale(webs=SCALED_PROCESSES, workers=SCALED_PROCESSES)
        it.warm()
        results.scaled += [it.streams(min(MAX_SCALED_STREAMS, max(streams)))]


def write_profiles(it: Measurements, verdicts: Sequence[Verdict], folder: Path) -> None:
    """Run the load of each missed goal once more, and write where its processor time goes."""
    for old in folder.glob("profile-*.txt"):
        old.unlink()
    works = dict.fromkeys(verdict.work for verdict in verdicts if verdict.work)
    if works:
        database.watch(it.product)
        it.warm()
    for work in works:
        say(f"Profiling {work.title} …")
        (folder / work.file).write_text(profile(it, work, PROJECT / ".codelab" / "profile"))


def main() -> int:
    options = parse()
    load = QUICK if options.quick else Load()
    if options.runs:
        load = Load(**asdict(load) | {"runs": options.runs})
    private = PROJECT / ".codelab" / "bench"
    output: Path = options.output or (private.with_name("bench-quick") if options.quick else PROJECT / "bench/results")
    arguments = asdict(load) | {"quick": options.quick, "web": options.web, "workers": options.workers}
    results = Results(machine=machine.describe(), arguments=arguments, settings=SETTINGS)
    with ExitStack() as stack:
        try:
            provider = stack.enter_context(Provider())
            relay, client = stack.enter_context(Relay(provider)), stack.enter_context(Client())
            say("Starting the service …")
            product = Product(private, provider.port, webs=options.web, workers=options.workers)
            stack.enter_context(product)
        except NotStarted as error:
            print(error, file=sys.stderr)
            return 1
        it = Measurements(product, relay, provider, client, load)
        if options.profile:
            database.watch(product)
            it.warm()
            idle = options.only == "idle"
            work = Work("idle", load.sockets) if idle else Work("streams", options.streams[0])
            print(profile(it, work, private.with_name("profile")))
            return 0
        measure(it, results, options.only.split(","), options.streams)
        verdicts = evaluate(results)
        output.mkdir(parents=True, exist_ok=True)
        write_profiles(it, verdicts, output)
    document = {**asdict(results), "goals": [asdict(verdict) for verdict in verdicts]}
    (output / "bench.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    chart.draw(results, output / "bench.png")
    print(table(results))
    say(f"Written to {output / 'bench.json'} and bench.png.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make bench`: measures the whole product on this machine and says which goals it meets (docs/performance.md).

python -m bench                                everything, about eight minutes
python -m bench --streams 1,8 --quick          does it work?
python -m bench --only streams --streams 64    one thing
python -m bench --profile --streams 64         where the time goes
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench import chart, machine
from bench.figures import Results
from bench.goals import judge
from bench.measurements import QUICK, Load, Measurements, say
from bench.product import SETTINGS, NotStarted, Product
from bench.profiling import hottest
from bench.programs import Client, Provider, Relay
from bench.table import table
from codelab.environment import PROJECT

PARTS = ("idle", "streams", "floor", "first", "setup", "cancel", "attach", "scale")
#: Streams of the last row, at most, and how many web and worker processes it has.
SCALED, SCALED_TO = 128, 2


def numbers(text: str) -> list[int]:
    """Read numbers with commas between them."""
    return [int(word) for word in text.split(",")]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=numbers, default=[1, 8, 32, 64, 128, 200], help="such as 1,8")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--runs", type=int, help="runs of each number of streams; the median counts")
    parser.add_argument("--web", type=int, default=1, help="web processes")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument("--quick", action="store_true", help="little load, to see that everything works")
    parser.add_argument("--profile", action="store_true", help="watch web and worker with py-spy, and nothing else")
    parser.add_argument("--output", type=Path, help="folder for the results")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.only.split(",")) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    return chosen


def measure(it: Measurements, results: Results, parts: list[str], streams: list[int]) -> None:
    """Measure the parts that are asked for, idle sockets first: later the memory of closed ones would be used again."""
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
    if "setup" in parts:
        say("Set-up of turns …")
        results.set_up += it.set_up()
    if "cancel" in parts:
        say("Stops …")
        results.cancel = it.cancel()
    if "attach" in parts:
        say("Long sessions …")
        results.attach += it.attach()
    if "scale" in parts and len(it.product.ports) < SCALED_TO:
        say("Two web and two worker processes …")
        it.product.scale(webs=SCALED_TO, workers=SCALED_TO)
        it.warm()
        results.scaled += [it.streams(min(SCALED, max(streams)))]


def main() -> int:
    chosen = parse()
    load = QUICK if chosen.quick else Load()
    if chosen.runs:
        load = Load(**asdict(load) | {"runs": chosen.runs})
    private = PROJECT / ".codelab" / "bench"
    output: Path = chosen.output or (private.with_name("bench-quick") if chosen.quick else PROJECT / "bench/results")
    arguments = asdict(load) | {"quick": chosen.quick, "web": chosen.web, "workers": chosen.workers}
    results = Results(machine=machine.describe(), arguments=arguments, settings=SETTINGS)
    with ExitStack() as stack:
        try:
            provider = stack.enter_context(Provider())
            relay, client = stack.enter_context(Relay(provider)), stack.enter_context(Client())
            say("Starting the service …")
            product = Product(private, provider.port, webs=chosen.web, workers=chosen.workers)
            stack.enter_context(product)
        except NotStarted as error:
            print(error, file=sys.stderr)
            return 1
        it = Measurements(product, relay, provider, client, load)
        if chosen.profile:
            it.warm()
            folder = private.with_name("profile")
            idle = chosen.only == "idle"
            for path in it.profile_idle(folder) if idle else it.profile(chosen.streams[0], folder):
                print(f"\n{path}\n  alone   with called", *hottest(path.read_text()), sep="\n")
            return 0
        measure(it, results, chosen.only.split(","), chosen.streams)
    output.mkdir(parents=True, exist_ok=True)
    verdicts = [asdict(verdict) for verdict in judge(results)]
    document = {**asdict(results), "goals": verdicts}
    (output / "bench.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    chart.draw(results, output / "bench.png")
    print(table(results))
    say(f"Written to {output / 'bench.json'} and bench.png.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
